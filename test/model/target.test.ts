// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InputError } from '../../model/input-error.ts';
import {
  defaultScope,
  formatTarget,
  literalSegment,
  parseTarget,
  parseTargetTemplate,
  renderTarget,
  type Target,
} from '../../model/target.ts';

const FORMS: [string, Target, string][] = [
  [
    'k8s/prod/shop/pod/web-0',
    { type: 'k8s', cluster: 'prod', namespace: 'shop', kind: 'pod', name: 'web-0' },
    'prod/shop',
  ],
  [
    'k8s/prod/shop/deployment.apps/web',
    { type: 'k8s', cluster: 'prod', namespace: 'shop', kind: 'deployment', group: 'apps', name: 'web' },
    'prod/shop',
  ],
  [
    'k8s/prod/shop/rollout.argoproj.io/web.v2',
    { type: 'k8s', cluster: 'prod', namespace: 'shop', kind: 'rollout', group: 'argoproj.io', name: 'web.v2' },
    'prod/shop',
  ],
  [
    'k8s/Prod_1/node/ip-10-0-0-1.ec2.internal',
    { type: 'node', cluster: 'Prod_1', name: 'ip-10-0-0-1.ec2.internal' },
    'Prod_1/node',
  ],
  // A namespace may be called node: the number of segments tells.
  [
    'k8s/prod/node/pod/web-0',
    { type: 'k8s', cluster: 'prod', namespace: 'node', kind: 'pod', name: 'web-0' },
    'prod/node',
  ],
  ['asg/main/web%20tier%2Fa', { type: 'asg', aws: 'main', group: 'web tier/a' }, 'main/web tier/a'],
  [
    'asg/main/web/i-0123456789abcdef0',
    { type: 'asg', aws: 'main', group: 'web', instance: 'i-0123456789abcdef0' },
    'main/web',
  ],
  ['asg/main/a%21%27%28%29%2A%25', { type: 'asg', aws: 'main', group: "a!'()*%" }, "main/a!'()*%"],
  ['dependency/payments', { type: 'dependency', name: 'payments' }, 'payments'],
  ['stack/net', { type: 'stack', name: 'net' }, 'net'],
];

describe('a target key', () => {
  it.each(FORMS)('%s is read, written, and has a scope', (key, target, scope) => {
    expect(parseTarget(key)).toEqual(target);
    expect(formatTarget(target)).toBe(key);
    expect(defaultScope(target)).toBe(scope);
  });

  it.each([
    ['', /is not a target: write k8s\//],
    ['k8s', /is not a target/],
    ['k8s/prod/shop/web-0', /"shop" cannot be the kind of a target: expected node/],
    ['k8s/prod/shop/pod/web-0/log', /is not a target/],
    ['K8s/prod/shop/pod/web-0', /is not a target/],
    ['ec2/prod/i-0123456789abcdef0', /is not a target/],
    ['k8s//shop/pod/web-0', /"" cannot be the cluster/],
    ['k8s/prod//pod/web-0', /"" cannot be the namespace/],
    ['k8s/prod/shop/pod/', /"" cannot be the name/],
    ['k8s/prod/Shop/pod/web-0', /"Shop" cannot be the namespace of a target: expected lower-case letters/],
    ['k8s/prod/sh.op/pod/web-0', /"sh\.op" cannot be the namespace/],
    [`k8s/prod/${'n'.repeat(64)}/pod/web-0`, /cannot be the namespace/],
    ['k8s/prod/shop/Pod/web-0', /"Pod" cannot be the kind/],
    ['k8s/prod/shop/node/web-0', /a node's key is k8s\/<cluster>\/node\/<name>/],
    ['k8s/prod/shop/pod/-web', /"-web" cannot be the name/],
    ['k8s/prod/shop/pod/web..0', /"web\.\.0" cannot be the name/],
    ['k8s/prod/shop/pod/..', /"\.\." cannot be the name/],
    [`k8s/prod/shop/pod/${'p'.repeat(254)}`, /… \(254 characters\)" cannot be the name/],
    ['k8s/prod/shop/pod/web%2d0', /"web%2d0" is not a segment/],
    ['k8s/prod/shop/pod/web%2D0', /"web%2D0" is not a segment/],
    ['k8s/prod/shop/pod/web%2F0', /"web\/0" cannot be the name/],
    ['k8s/prod/shop/pod/web%', /"web%" is not a segment/],
    ['k8s/prod/shop/pod/web 0', /"web 0" is not a segment/],
    ['k8s/prod/shop/pod/web-0\n', /is not a segment/],
    ['k8s/prod/shop/pod/web\ud800', /is not a segment/],
    ['asg/main/web/i-xyz', /"i-xyz" cannot be the instance/],
    ['asg/main/a%3Ab', /"a:b" cannot be the group/],
    ['asg/main/%20', /cannot be the group/],
    ['dependency/-x', /"-x" cannot be the name/],
    ['stack/a/b', /is not a target/],
  ])('%j is refused', (key, message) => {
    expect(() => parseTarget(key)).toThrow(InputError);
    expect(() => parseTarget(key)).toThrow(message);
  });

  it('is read as it was written, whatever the group is called', () => {
    const group = fc.string({
      unit: fc.constantFrom(...' !"#$%&\'()*+,-./09;<=>?@AZ[\\]^_`az{|}~'),
      minLength: 1,
      maxLength: 255,
    });
    fc.assert(
      fc.property(
        group.filter((name) => name.trim() === name),
        (name) => {
          const target: Target = { type: 'asg', aws: 'main', group: name };
          expect(parseTarget(formatTarget(target))).toEqual(target);
        },
      ),
    );
  });
});

const template = parseTargetTemplate('k8s/prod/${labels.namespace}/pod/${labels.pod}');
const alert = (labels: Record<string, string>) => ({ labels, annotations: {} });

describe("a rule's target", () => {
  it('renders', () => {
    expect(renderTarget(template, alert({ namespace: 'shop', pod: 'web-0' }))).toMatchObject({
      ok: true,
      key: 'k8s/prod/shop/pod/web-0',
      target: { type: 'k8s', cluster: 'prod', namespace: 'shop', kind: 'pod', name: 'web-0' },
    });
    const pieces = parseTargetTemplate(
      'k8s/${labels["k8s.cluster"]}/shop/pod/web-${labels.shard}-${annotations.ordinal}',
    );
    const values = { labels: { 'k8s.cluster': 'eu', shard: 'a' }, annotations: { ordinal: '3' } };
    expect(renderTarget(pieces, values)).toMatchObject({ ok: true, key: 'k8s/eu/shop/pod/web-a-3' });
  });

  it('knows its literal segments', () => {
    expect([0, 1, 2, 3, 4].map((i) => literalSegment(template, i))).toEqual([
      'k8s',
      'prod',
      undefined,
      'pod',
      undefined,
    ]);
  });

  it.each([
    'web-0/../../kube-system/pod/dns',
    'web/0',
    '..',
    '.',
    'web%2f0',
    'web%2F0',
    '%2e%2e',
    'web 0',
    ' web-0',
    'web-0\n',
    'web\u00000',
    '${labels.namespace}',
    'Web-0',
    'WEB',
    'wéb',
    'web_0',
    '-web',
    'web-',
    'web..0',
    '*',
    "web';rm -rf",
    'web\ud800',
    'web\u202e0',
    '🙂',
    'p'.repeat(254),
    '__proto__',
  ])('refuses the value %j', (pod) => {
    const rendered = renderTarget(template, alert({ namespace: 'shop', pod }));
    expect(rendered).toMatchObject({
      ok: false,
      problem: { reason: 'invalid-value', reference: { from: 'labels', name: 'pod' } },
    });
    const message = rendered.ok ? '' : rendered.problem.message;
    expect(message).toMatch(/^labels\.pod gives ".*", which cannot be the name of a target: expected lower-case/);
    expect(message.length).toBeLessThan(600);
    expect(message).not.toMatch(/\p{Cc}/u);
  });

  it.each<Record<string, string>>([{}, { pod: '' }])('names a label that is missing or empty: %j', (labels) => {
    expect(renderTarget(template, alert({ namespace: 'shop', ...labels }))).toMatchObject({
      ok: false,
      problem: {
        reason: 'missing-label',
        reference: { name: 'pod' },
        message: expect.stringMatching(/no label "pod".*the name of its target/),
      },
    });
  });

  it('holds each value to the rules of its own place', () => {
    const problem = (labels: Record<string, string>) => {
      const rendered = renderTarget(template, alert({ namespace: 'shop', pod: 'web-0', ...labels }));
      return rendered.ok ? rendered.key : rendered.problem.message;
    };
    expect(problem({ pod: 'web.0' })).toBe('k8s/prod/shop/pod/web.0');
    expect(problem({ namespace: 'shop.eu' })).toMatch(
      /labels\.namespace gives "shop\.eu", which cannot be the namespace/,
    );
    expect(problem({ namespace: 'n'.repeat(64) })).toMatch(/cannot be the namespace/);
  });

  it('encodes what is valid for AWS but not literal in a key', () => {
    const group = parseTargetTemplate('asg/main/${labels.group}/${labels.instance_id}');
    const values = { group: 'web tier/a', instance_id: 'i-0123456789abcdef0' };
    expect(renderTarget(group, alert(values))).toMatchObject({
      ok: true,
      key: 'asg/main/web%20tier%2Fa/i-0123456789abcdef0',
    });
    for (const instance_id of ['i-1', 'I-0123456789abcdef0', 'i-0123456789abcdef0/x', '']) {
      expect(renderTarget(group, alert({ ...values, instance_id })).ok).toBe(false);
    }
  });

  it.each([
    ['', /is not a target/],
    ['${labels.target}', /is not a target/],
    ['${labels.type}/prod/shop/pod/web', /is not a target/],
    ['k8s/prod/Shop/pod/${labels.pod}', /"Shop" cannot be the namespace/],
    ['k8s/prod/shop/Pod/${labels.pod}', /"Pod" cannot be the kind/],
    ['k8s/prod/shop/pod/${labels.pod}/x', /is not a target/],
    ['k8s/prod/shop/pod/a b', /percent-encode/],
    ['k8s/prod/shop/pod/${pod}', /is not a reference/],
    ['k8s/prod//pod/${labels.pod}', /"" cannot be the namespace/],
  ])('%j is refused as a template', (text, message) => {
    expect(() => parseTargetTemplate(text)).toThrow(InputError);
    expect(() => parseTargetTemplate(text)).toThrow(message);
  });

  it('fills the place of the word node by nothing else', () => {
    const rendered = renderTarget(
      parseTargetTemplate('k8s/prod/${labels.namespace}/${labels.pod}'),
      alert({ namespace: 'shop', pod: 'web-0' }),
    );
    expect(rendered).toMatchObject({
      ok: false,
      problem: { reason: 'invalid-value', reference: { name: 'namespace' } },
    });
  });

  it('never gets a segment more or another place from any value', () => {
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 40 }),
      fc.string({
        unit: fc.constantFrom('/', '.', '%', '2', 'f', 'F', 'a', '0', '-', '$', '{', '}', '\n'),
        maxLength: 12,
      }),
      fc.stringMatching(/^[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?$/),
    );
    fc.assert(
      fc.property(hostile, hostile, (namespace, pod) => {
        const rendered = renderTarget(template, alert({ namespace, pod }));
        if (!rendered.ok) return;
        const segments = rendered.key.split('/');
        expect(segments).toEqual(['k8s', 'prod', namespace, 'pod', pod]);
        expect(parseTarget(rendered.key)).toEqual(rendered.target);
      }),
      { numRuns: 500 },
    );
  });
});
