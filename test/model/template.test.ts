// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { describe, expect, it } from 'vitest';
import { InputError } from '../../model/input-error.ts';
import { parseTemplate, render } from '../../model/template.ts';

const values = {
  labels: { namespace: 'shop', 'a.b': 'dotted', 'with "quotes"': 'quoted', evil: '${labels.namespace}', empty: '' },
  annotations: { summary: 'a summary' },
};

describe('a template', () => {
  it.each([
    ['plain', 'plain'],
    ['', ''],
    ['${labels.namespace}', 'shop'],
    ['a-${labels.namespace}-b-${labels.namespace}', 'a-shop-b-shop'],
    ['${annotations.summary}!', 'a summary!'],
    ['${labels["a.b"]}', 'dotted'],
    ['${labels["with \\"quotes\\""]}', 'quoted'],
    ['costs $5 {really}', 'costs $5 {really}'],
    ['$${labels.namespace}', '$shop'],
  ])('renders %s', (text, expected) => {
    expect(render(parseTemplate(text), values)).toEqual({ ok: true, value: expected });
  });

  it('takes a value as data: what looks like a reference in it stays as it is', () => {
    expect(render(parseTemplate('${labels.evil}'), values)).toEqual({ ok: true, value: '${labels.namespace}' });
  });

  it.each([
    '${labels.namespace',
    '${}',
    '${labels}',
    '${labels.}',
    '${labels.a.b}',
    '${labels[a]}',
    "${labels['a']}",
    '${labels[""]}',
    '${labels["\\x"]}',
    '${ labels.a }',
    '${label.a}',
    '${env.HOME}',
    '${process.exit()}',
    '${labels.${labels.a}}',
    '${labels["${labels.a}"}',
  ])('refuses %s', (text) => {
    expect(() => parseTemplate(text)).toThrow(InputError);
    expect(() => parseTemplate(text)).toThrow(/is not a reference: only \$\{labels\.NAME\}/);
  });

  it.each([
    ['${labels.pod}', 'labels', 'pod', /the alert has no label "pod", which "\$\{labels\.pod\}" needs/],
    ['${labels.empty}', 'labels', 'empty', /no label "empty"/],
    ['${annotations.namespace}', 'annotations', 'namespace', /no annotation "namespace"/],
    ['${labels.constructor}', 'labels', 'constructor', /no label "constructor"/],
    ['${labels.__proto__}', 'labels', '__proto__', /no label "__proto__"/],
  ] as const)('names what is missing for %s', (text, from, name, message) => {
    const rendered = render(parseTemplate(text), values);
    expect(rendered).toMatchObject({ ok: false, missing: { from, name } });
    expect(rendered.ok ? '' : rendered.problem).toMatch(message);
  });
});
