import { describe, expect, it } from 'vitest';
import { InputError } from '../../model/input-error.ts';
import { formatMatcher, matches, newMatcher, parseMatcher, parseMatchers } from '../../model/matcher.ts';

const read = (text: string) => parseMatchers(text).map(({ label, op, value }) => [label, op, value]);

const problemOf = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (error instanceof InputError) return error.message;
    throw error;
  }
  return 'no problem';
};

describe('the syntax of matchers, by the cases of Alertmanager (matcher/parse/parse_test.go)', () => {
  it.each([
    ['', []],
    ['{}', []],
    ['{foo=bar}', [['foo', '=', 'bar']]],
    ['{foo=bar,}', [['foo', '=', 'bar']]],
    ['{foo!=bar}', [['foo', '!=', 'bar']]],
    ['{foo=~[a-z]+}', [['foo', '=~', '[a-z]+']]],
    ['{foo!~[a-z]+}', [['foo', '!~', '[a-z]+']]],
    ['{foo=🙂}', [['foo', '=', '🙂']]],
    ['{foo=🙂bar}', [['foo', '=', '🙂bar']]],
    ['foo=bar', [['foo', '=', 'bar']]],
    ['foo=bar,', [['foo', '=', 'bar']]],
    ['foo!=bar', [['foo', '!=', 'bar']]],
    ['foo=~[a-z]+', [['foo', '=~', '[a-z]+']]],
    ['foo!~[a-z]+', [['foo', '!~', '[a-z]+']]],
    ['{"foo"="bar"}', [['foo', '=', 'bar']]],
    ['{"foo"="bar",}', [['foo', '=', 'bar']]],
    ['{"foo"!="bar"}', [['foo', '!=', 'bar']]],
    ['{"foo"=~"[a-z]+"}', [['foo', '=~', '[a-z]+']]],
    ['{"foo"!~"[a-z]+"}', [['foo', '!~', '[a-z]+']]],
    ['{"foo"="🙂"}', [['foo', '=', '🙂']]],
    ['{"foo"="\\xf0\\x9f\\x99\\x82"}', [['foo', '=', '🙂']]],
    ['{"foo"="\\U0001f642"}', [['foo', '=', '🙂']]],
    ['{"foo"="🙂bar"}', [['foo', '=', '🙂bar']]],
    ['{"foo"="bar\\n"}', [['foo', '=', 'bar\n']]],
    ['{"foo"="bar\\t"}', [['foo', '=', 'bar\t']]],
    ['{"foo"="\\"bar\\""}', [['foo', '=', '"bar"']]],
    ['{"foo"="bar\\\\"}', [['foo', '=', 'bar\\']]],
    ['"foo"="bar"', [['foo', '=', 'bar']]],
    ['"foo"="bar",', [['foo', '=', 'bar']]],
    [
      '{foo=bar,bar!=baz}',
      [
        ['foo', '=', 'bar'],
        ['bar', '!=', 'baz'],
      ],
    ],
    [
      '{foo="bar",bar!="baz"}',
      [
        ['foo', '=', 'bar'],
        ['bar', '!=', 'baz'],
      ],
    ],
    [
      'foo=bar,bar!=baz',
      [
        ['foo', '=', 'bar'],
        ['bar', '!=', 'baz'],
      ],
    ],
    [
      'foo="bar",bar!="baz"',
      [
        ['foo', '=', 'bar'],
        ['bar', '!=', 'baz'],
      ],
    ],
  ])('reads %s', (text, expected) => {
    expect(read(text)).toEqual(expected);
  });

  it.each([
    [',', /expected a label name, at , \(character 1\)/],
    ['{,}', /expected a label name, at , \(character 2\)/],
    ['{', /expected a closing brace, but the text ends/],
    ['}', /no opening brace for it, at } \(character 1\)/],
    ['foo=bar}', /no opening brace for it, at } \(character 8\)/],
    ['{foo=bar', /closing brace, but the text ends/],
    ['{foo=:"bar"}', /expected a comma or a closing brace, at "bar" \(character 7\)/],
    ['{foo="bar\\w"}', /expected escapes as in a Go string .*, at "bar\\w" \(character 6\)/],
    ['{foo=bar\\n}', /reserved characters.*, at \\ \(character 9\)/],
    ['{"foo"="\\xf0\\x9f"}', /valid UTF-8, at "\\xf0\\x9f" \(character 8\)/],
    ['{{foo=bar}}', /expected a label name, at \{ \(character 2\)/],
    ['{foo=bar}}', /expected the end, at } \(character 10\)/],
    ['{foo=bar,,}', /expected a matcher or a closing brace after the comma, at ,/],
    ['foo=', /expected a value; the empty one is written "", but the text ends/],
    ['foo', /expected an operator: =, !=, =~ or !~, but the text ends/],
    ['foo bar', /expected an operator.*, at bar \(character 5\)/],
    ['=bar', /expected a label name, at = \(character 1\)/],
  ])('refuses %s', (text, expected) => {
    expect(problemOf(() => parseMatchers(text))).toMatch(expected);
  });

  it('takes exactly one where one is expected', () => {
    expect(parseMatcher('{foo=bar,}')).toMatchObject({ label: 'foo', op: '=', value: 'bar' });
    expect(problemOf(() => parseMatcher(''))).toMatch(/there is no matcher/);
    expect(problemOf(() => parseMatcher('{}'))).toMatch(/there is no matcher/);
    expect(problemOf(() => parseMatcher('foo=bar,bar=baz'))).toMatch(/one matcher is expected here, found 2/);
  });
});

describe('the tokens of matchers, by the cases of Alertmanager (matcher/parse/lexer_test.go)', () => {
  it.each([
    ['!', /expected != or !~, at ! \(character 1\)/],
    ['~', /reserved characters.*, at ~ \(character 1\)/],
    ['foo=!', /expected != or !~, at ! \(character 5\)/],
    ['foo!=!!', /expected != or !~, at ! \(character 6\)/],
    ['hello!', /expected != or !~, at ! \(character 6\)/],
    ['\\n', /reserved characters.*, at \\ \(character 1\)/],
    ['\\nhello', /reserved characters.*, at \\ \(character 1\)/],
    ['hello\\r', /reserved characters.*, at \\ \(character 6\)/],
    ['"hello', /no closing quote, at "hello \(character 1\)/],
    ['"hello\\"', /no closing quote, at "hello\\" \(character 1\)/],
    ["foo='bar'", /reserved characters.*, at ' \(character 5\)/],
    ['foo=`bar`', /reserved characters.*, at ` \(character 5\)/],
    ['🙂=bar ,🙂 ~', /reserved characters.*, at ~ \(character 10\)/],
  ])('refuses %s', (text, expected) => {
    expect(problemOf(() => parseMatchers(text))).toMatch(expected);
  });

  it.each([
    ['hello:world=_x', ['hello:world', '=', '_x']],
    ['\n\r hello \t= \u202fworld\u2003', ['hello', '=', 'world']],
    ['$=Σ', ['$', '=', 'Σ']],
    ['"hello\u202fworld"="a\tb"', ['hello\u202fworld', '=', 'a\tb']],
    ['a="\\\\d+"', ['a', '=', '\\d+']],
    ['a="\\a\\b\\f\\r\\v\\101\\u00e9"', ['a', '=', '\x07\b\f\r\vAé']],
    ['a="\\ufeffx"', ['a', '=', '\ufeffx']],
  ])('reads %j', (text, expected) => {
    expect(read(text)).toEqual([expected]);
  });

  it.each(['a="\\d+"', 'a="line\nbreak"', 'a="\\\'"', 'a="\\ud800"', 'a="\\U00110000"', 'a="\\400"', 'a="\\xf"'])(
    'refuses %j, which is no string of Go',
    (text) => {
      expect(problemOf(() => parseMatchers(text))).toMatch(/expected escapes as in a Go string/);
    },
  );
});

describe('matching, by the cases of Alertmanager (matcher/matcher_test.go)', () => {
  it.each([
    ['=', 'bar', 'bar', true],
    ['=', 'bar', 'foo-bar', false],
    ['!=', 'bar', 'bar', false],
    ['!=', 'bar', 'foo-bar', true],
    ['=~', 'bar', 'bar', true],
    ['=~', 'bar', 'foo-bar', false],
    ['=~', '.*bar', 'foo-bar', true],
    ['!~', 'bar', 'bar', false],
    ['!~', 'bar', 'foo-bar', true],
    ['!~', '.*bar', 'foo-bar', false],
    ['=~', 'foo.bar', 'foo-bar', true],
    ['=~', 'foo\\.bar', 'foo-bar', false],
    ['=~', 'foo\\.bar', 'foo.bar', true],
    ['=', 'foo\nbar', 'foo\nbar', true],
    ['=~', 'foo.bar', 'foo\nbar', false],
    ['=~', '(?s)foo.bar', 'foo\nbar', true],
    ['=', '~!="', '~!="', true],
    // Anchored at both ends whatever the alternatives, and by code points.
    ['=~', 'a|ab', 'ab', true],
    ['=~', 'a|b', 'xb', false],
    ['=~', 'bar', 'bar\n', false],
    ['=~', '.', '🙂', true],
    ['=~', '(?i)PROD', 'prod', true],
    ['=~', '', '', true],
    ['=~', '', 'x', false],
  ] as const)('%s %j on %j: %s', (op, pattern, value, expected) => {
    expect(newMatcher('x', op, pattern).test(value)).toBe(expected);
  });

  it('composes: all must match (documentation: "Composition of matchers")', () => {
    const matchers = parseMatchers('{alertname="Watchdog", severity=~"warning|critical"}');
    expect(matches(matchers, { alertname: 'Watchdog', severity: 'critical' })).toBe(true);
    expect(matches(matchers, { alertname: 'Watchdog', severity: 'none' })).toBe(false);
    expect(matches([], {})).toBe(true);
  });

  it.each([
    'alertname="Watchdog", severity=~"warning|critical"',
    '{alertname="Watchdog", severity=~"warning|critical",}',
    '{\n   alertname = "Watchdog",\n   severity =~ "warning|critical",\n}',
  ])('reads the spellings of the documentation alike: %j', (text) => {
    expect(read(text)).toEqual([
      ['alertname', '=', 'Watchdog'],
      ['severity', '=~', 'warning|critical'],
    ]);
  });

  it('reads the other examples of the documentation', () => {
    expect(read('dings != bums')).toEqual([['dings', '!=', 'bums']]);
    expect(read('foo = "bar,baz"')).toEqual([['foo', '=', 'bar,baz']]);
    expect(read('{quote=~"She said: \\"Hi, all!( How\'re you…)?\\""}\n')).toEqual([
      ['quote', '=~', 'She said: "Hi, all!( How\'re you…)?"'],
    ]);
    expect(read('"foo!"="\\"baz qux\\""')).toEqual([['foo!', '=', '"baz qux"']]);
    expect(read('Προμηθεύς=x')).toEqual([['Προμηθεύς', '=', 'x']]);
  });

  it('takes a missing label for an empty one', () => {
    expect(matches(parseMatchers('team=""'), {})).toBe(true);
    expect(matches(parseMatchers('team!="web"'), {})).toBe(true);
    expect(matches(parseMatchers('team=~".+"'), {})).toBe(false);
    expect(matches(parseMatchers('team!~"web|db"'), {})).toBe(true);
  });

  it('finds no label in the prototype of a record', () => {
    expect(matches(parseMatchers('constructor="",__proto__="",toString=""'), {})).toBe(true);
  });

  it('refuses what RE2 does not know, and an expression that breaks out of its anchors', () => {
    expect(problemOf(() => parseMatcher('a=~"(?=b)"'))).toMatch(/not a regular expression of RE2/);
    expect(problemOf(() => parseMatcher('a=~"(b"'))).toMatch(/not a regular expression of RE2/);
    expect(problemOf(() => parseMatcher('a=~"b)|(.*"'))).toMatch(/not a regular expression of RE2/);
  });

  it('takes linear time where a backtracking engine would take for ever', () => {
    expect(newMatcher('a', '=~', '(a+)+b').test('a'.repeat(50_000))).toBe(false);
  });

  it('writes what it reads', () => {
    for (const text of ['foo="bar"', 'foo!="ba\\"r"', '"foo bar"=~"a\\\\.b"', 'foo!~"🙂"']) {
      expect(formatMatcher(parseMatcher(text))).toBe(text);
    }
  });
});
