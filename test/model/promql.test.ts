// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the places of queries are written so
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../model/input-error.ts';
import { longestRange, parseQuery, renderQuery } from '../../model/promql.ts';

/** That the real Prometheus reads what is rendered in the same way is tested with its client. */
describe('a query', () => {
  it('is text, and places between', () => {
    expect(parseQuery('sum(x{pod="${pod}", a=~"^${node}:.+"})')).toEqual([
      'sum(x{pod="',
      { value: 'pod', regexp: false },
      '", a=~"^',
      { value: 'node', regexp: true },
      ':.+"})',
    ]);
    expect(parseQuery('up')).toEqual(['up']);
  });

  it.each([
    ['x{a="${pod}${node}"}', 'x{a="web-0n.1"}'],
    ['x{a != "${pod}"} or y{a !~ "${node}"}', 'x{a != "web-0"} or y{a !~ "n\\\\.1"}'],
    ['x{a=\'"\', b="${pod}"}', 'x{a=\'"\', b="web-0"}'],
    ['x{a=`"\\`, b="${pod}"}', 'x{a=`"\\`, b="web-0"}'],
    ['x{a="\\"", b="\\\\${pod}"}', 'x{a="\\"", b="\\\\web-0"}'],
    ['x # what\'s "up\n+ y{b="${pod}"} # "', 'x # what\'s "up\n+ y{b="web-0"} # "'],
    ['x{a="# no comment",b="${pod}"}', 'x{a="# no comment",b="web-0"}'],
    ['x{a="$pod$1{}"}', 'x{a="$pod$1{}"}'],
  ])('%s', (text, expected) => {
    expect(renderQuery(text, { pod: 'web-0', node: 'n.1' })).toBe(expected);
  });

  it.each([
    ['', 'expected a query'],
    [' \n', 'expected a query'],
    ['x{pod="${labels.pod}"}', /^expected one of \$\{cluster\}, .*, \$\{instance\} in place of \$\{labels\.pod\}$/],
    ['x{pod="${}"}', /in place of \$\{\}$/],
    ['${pod}', /^expected \$\{pod\} within a label value in double quotes, such as pod="\$\{pod\}"$/],
    ['x{${pod}="a"}', /within a label value/],
    ["x{pod='${pod}'}", /within a label value/],
    ['x{pod=`${pod}`}', /within a label value/],
    ['x{"${pod}"="a"}', /within a label value/],
    ['{"${pod}"}', /within a label value/],
    ['label_replace(x, "a", "${pod}", "b", "")', /within a label value/],
    ['x == "${pod}"', /within a label value/],
    ['x # pod="${pod}"', /within a label value/],
    ['x # "\n + ${pod} # "', /within a label value/],
    ['x{a="b} + ${pod}', 'expected a query in which every " is closed'],
    ['x{a="b} + y{pod="${pod}"}', 'expected a query in which every " is closed'],
    ['x{a=\'b} + y{pod="${pod}"}', "expected a query in which every ' is closed"],
    ['x{pod="a\n${pod}"}', 'expected a query in which every " is closed'],
    ['x{pod="\\${pod}"}', 'expected no backslash right before ${pod}'],
    ['x{pod="\\\\\\${pod}"}', 'expected no backslash right before ${pod}'],
  ])('that could not be filled safely is refused: %j', (text, message) => {
    expect(() => parseQuery(text)).toThrow(InputError);
    expect(() => parseQuery(text)).toThrow(message);
  });

  it('asks for nothing that the target has not', () => {
    expect(() => renderQuery('x{pod="${pod}"}', { node: 'n' })).toThrow(
      new InputError('the target has no pod, which the query x{pod="${pod}"} asks for'),
    );
  });

  it('with any value is the same text around one string, which says that value', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (pod, node) => {
        const text = renderQuery('x{a="${pod}",b!~"${node}"} > 1', { pod, node });
        const [, a, b] = /^x\{a=("(?:[^"\\]|\\.)*"),b!~("(?:[^"\\]|\\.)*")\} > 1$/s.exec(text) ?? [];
        expect(JSON.parse(a ?? '')).toBe(pod);
        // The only metacharacters are those that are escaped.
        const pattern = JSON.parse(b ?? '') as string;
        expect(pattern.replaceAll(/\\([\\.+*?()|[\]{}^$])/g, '$1')).toBe(node);
        expect(pattern.replaceAll(/\\[\\.+*?()|[\]{}^$]/g, '')).not.toMatch(/[\\.+*?()|[\]{}^$]/);
      }),
    );
  });

  it('is never read otherwise for what stands around its places', () => {
    const piece = fc.constantFrom('"', "'", '`', '\\', '#', '\n', '=', '=~', '{', '}', 'a', ' ', '${pod}', '""', 'x="');
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 14 }), (pieces) => {
        const text = pieces.join('');
        let rendered: string;
        try {
          rendered = renderQuery(text, { pod: '"\n`\'#\\' });
        } catch (error) {
          expect(error).toBeInstanceOf(InputError);
          return;
        }
        // With a harmless value in its place the query has the same strings and comments.
        const skeleton = (query: string) =>
          query.replaceAll(/#[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`/g, '§');
        expect(skeleton(rendered)).toBe(skeleton(renderQuery(text, { pod: 'p' })));
      }),
      { numRuns: 2_000 },
    );
  });
});

describe('the longest range of queries', () => {
  it.each([
    [['sum(increase(a[1m]))', 'sum(increase(b{c="[9h]"}[2m30s])) # [1d]'], 150_000],
    [['max_over_time(rate(a[5m])[1h:1m])'], 3_600_000],
    [['job:calls:rate1m', ''], undefined],
  ])('of %j is %s', (queries, expected) => {
    expect(longestRange(queries)).toBe(expected);
  });
});
