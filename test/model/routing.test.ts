// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type Alert, parsePayload } from '../../model/alertmanager.ts';
import { type Config, parseConfig } from '../../model/config.ts';
import { batches, explain, route } from '../../model/routing.ts';

function configOf(text: string): Config {
  const parsed = parseConfig(text, 'salvor.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems, null, 1));
  return parsed.config;
}

const config = configOf(`
clusters: [{ name: prod }, { name: eu }]
aws: [{ name: main, region: eu-west-1 }]
rules:
  - name: recorded
    match: ['team="sre"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
    continue: true
  - name: pod-unready
    match: ['alertname="KubePodNotReady"', 'namespace!~"kube-.*"']
    runbook: drain-instance
    target: k8s/\${labels.cluster}/\${labels.namespace}/pod/\${labels.pod}
    mode: act
  - name: by-zone
    match: ['alertname="KubePodNotReady"', 'namespace=~"kube-.*"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
    gates: { scope: '\${labels.zone}', maxInFlight: 4 }
  - name: any-kind
    match: ['alertname="Any"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/\${labels.kind}/\${labels.pod}
  - name: node
    match: ['alertname="KubeNodeNotReady"']
    runbook: drain-instance
    target: k8s/\${labels.cluster}/node/\${labels.node}
  - name: machine
    match: ['alertname="InstanceDown"']
    runbook: drain-instance
    target: asg/\${labels.account}/-/\${labels.instance_id}
`);

function alertOf(labels: Record<string, string>, over: object = {}): Alert {
  const alert = { status: 'firing', labels, annotations: {}, startsAt: '2026-01-31T12:00:00Z', ...over };
  const parsed = parsePayload({
    version: '4',
    groupKey: 'g',
    status: 'firing',
    receiver: 'salvor',
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: 'http://alertmanager:9093',
    alerts: [alert],
  });
  if ('problem' in parsed) throw new Error(parsed.problem);
  const [first] = parsed.alerts;
  if (!first?.ok) throw new Error(first?.problem);
  return first.alert;
}

const UNREADY = { alertname: 'KubePodNotReady', cluster: 'eu', namespace: 'shop', pod: 'web-0' };

describe('an alert', () => {
  it('goes to the first rule that matches, as a request', () => {
    const alert = alertOf(UNREADY);
    expect(route(alert, config)).toEqual([
      {
        kind: 'matched',
        rule: config.rules[1]?.rule,
        ruleDigest: config.rules[1]?.digest,
        scope: 'eu/shop',
        request: {
          fingerprint: alert.fingerprint,
          startsAt: '2026-01-31T12:00:00.000Z',
          status: 'firing',
          target: 'k8s/eu/shop/pod/web-0',
          alertname: 'KubePodNotReady',
          digest: expect.stringMatching(/^[0-9a-f]{16}$/),
          by: 'alertmanager',
          labels: UNREADY,
          annotations: {},
        },
      },
    ]);
  });

  it('goes on after a rule that says continue', () => {
    const names = route(alertOf({ ...UNREADY, team: 'sre' }), config).map(
      (one) => one.kind === 'matched' && one.rule.name,
    );
    expect(names).toEqual(['recorded', 'pod-unready']);
  });

  it('that no rule matches goes nowhere', () => {
    expect(route(alertOf({ alertname: 'Other' }), config)).toEqual([]);
  });

  it('of Salvor itself is dropped before the rules', () => {
    expect(route(alertOf({ ...UNREADY, salvor_id: 'x' }), config)).toEqual([{ kind: 'own' }]);
    expect(route(alertOf({ ...UNREADY, salvor_id: '' }), config)).toHaveLength(1);
  });

  it('that is resolved makes a request too', () => {
    const [routed] = route(alertOf(UNREADY, { status: 'resolved', endsAt: '2026-01-31T12:05:00Z' }), config);
    expect(routed).toMatchObject({ kind: 'matched', request: { status: 'resolved', target: 'k8s/eu/shop/pod/web-0' } });
  });

  it('has a digest of what it says', () => {
    const digestOf = (over: object) => {
      const [routed] = route(alertOf(UNREADY, over), config);
      return routed?.kind === 'matched' ? routed.request.digest : undefined;
    };
    expect(digestOf({})).toBe(digestOf({ unknown: { deep: 1 } }));
    expect(digestOf({ annotations: { a: '1', b: '2' } })).toBe(digestOf({ annotations: { b: '2', a: '1' } }));
    expect(digestOf({ annotations: { a: '1' } })).not.toBe(digestOf({}));
  });

  it.each([
    [{ cluster: 'us' }, 'unknown-cluster', /the cluster us is not configured: the clusters are prod, eu/],
    [{ cluster: '' }, 'missing-label', /no label "cluster"/],
    [{ pod: '' }, 'missing-label', /no label "pod"/],
    [{ pod: 'web-0/../x' }, 'invalid-value', /labels\.pod gives "web-0\/\.\.\/x"/],
    [{ namespace: 'kube-system' }, 'missing-label', /no label "zone", which .* needs as its scope/],
    [{ namespace: 'kube-system', zone: 'a\nb' }, 'invalid-scope', /"a\\nb" cannot be a scope/],
    [{ namespace: 'kube-system', zone: 'z'.repeat(201) }, 'invalid-scope', /cannot be a scope: expected at most 200/],
    [{ namespace: 'kube-system', zone: '\ud800' }, 'invalid-scope', /cannot be a scope/],
    [{ alertname: 'Any', kind: 'deployment.apps' }, 'unsupported-target', /drain-instance takes pods .* only/],
  ])('of which no target can be made (%j) is a problem, and no later rule is asked', (labels, reason, problem) => {
    const [routed, ...others] = route(alertOf({ ...UNREADY, ...labels }), config);
    expect(others).toEqual([]);
    expect(routed).toMatchObject({ kind: 'problem', reason, problem: expect.stringMatching(problem) });
  });

  it('keeps the scope that its rule names', () => {
    const [routed] = route(alertOf({ ...UNREADY, namespace: 'kube-system', zone: 'eu-1 a/ü' }), config);
    expect(routed).toMatchObject({ kind: 'matched', scope: 'eu-1 a/ü' });
  });
});

describe('an alert of a machine', () => {
  it.each([
    [{ alertname: 'KubeNodeNotReady', cluster: 'eu', node: 'ip-10-0-0-1' }, 'k8s/eu/node/ip-10-0-0-1', 'eu/node'],
    [
      { alertname: 'InstanceDown', account: 'main', instance_id: 'i-0123456789abcdef0' },
      'asg/main/-/i-0123456789abcdef0',
      'main/-',
    ],
  ])('goes to it: %j', (labels, target, scope) => {
    expect(route(alertOf(labels), config)).toMatchObject([{ kind: 'matched', scope, request: { target } }]);
  });

  it.each([
    [{ instance_id: '10.0.0.1:9100' }, 'invalid-value', /labels\.instance_id gives "10\.0\.0\.1:9100"/],
    [{ instance_id: 'i-0123456789abcdef0/x' }, 'invalid-value', /cannot be the instance of a target/],
    [{ account: 'mian' }, 'unknown-aws', /the AWS account mian is not configured: the accounts are main; did you mean/],
    [{ account: '' }, 'missing-label', /no label "account"/],
  ])('of which no target can be made is a problem: %j', (labels, reason, problem) => {
    const alert = alertOf({
      alertname: 'InstanceDown',
      account: 'main',
      instance_id: 'i-0123456789abcdef0',
      ...labels,
    });
    expect(route(alert, config)).toMatchObject([{ kind: 'problem', reason, problem: expect.stringMatching(problem) }]);
  });
});

describe('batches', () => {
  const routed = (labels: Record<string, string>) => route(alertOf({ ...UNREADY, ...labels }), config);
  const pods = (count: number, labels: Record<string, string> = {}) =>
    Array.from({ length: count }, (_, i) => routed({ ...labels, pod: `web-${i}` })).flat();

  it('are made by rule and scope, in the order of the alerts', () => {
    const made = batches(
      [
        ...routed({ pod: 'a' }),
        ...routed({ pod: 'b', namespace: 'other' }),
        ...routed({ pod: 'c', team: 'sre' }),
        ...routed({ salvor_id: 'x' }),
        ...routed({ pod: 'NOT A NAME' }),
      ],
      'd',
    );
    expect(made.map(({ rule, scope, requests }) => [rule.name, scope, requests.map(({ target }) => target)])).toEqual([
      ['pod-unready', 'eu/shop', ['k8s/eu/shop/pod/a', 'k8s/eu/shop/pod/c']],
      ['pod-unready', 'eu/other', ['k8s/eu/other/pod/b']],
      ['recorded', 'prod/shop', ['k8s/prod/shop/pod/c']],
    ]);
  });

  it('are none of nothing', () => {
    expect(batches([], 'd')).toEqual([]);
    expect(batches([{ kind: 'own' }], 'd')).toEqual([]);
  });

  it('hold at most 200 requests', () => {
    const made = batches(pods(401), 'd');
    expect(made.map(({ requests }) => requests.length)).toEqual([200, 200, 1]);
    expect(made.flatMap(({ requests }) => requests.map(({ target }) => target))).toEqual(
      Array.from({ length: 401 }, (_, i) => `k8s/eu/shop/pod/web-${i}`),
    );
  });

  it('hold at most 512 KiB of JSON, counted in bytes, whatever the labels hold', () => {
    const made = batches(pods(50, { alertname: 'KubePodNotReady', summary: 'x'.repeat(100_000) }), 'd');
    expect(made).toHaveLength(1);
    const [first] = pods(1);
    if (first?.kind !== 'matched') throw new Error('expected a match');
    // A name of 200 characters in three bytes each is the most that a label can bring in; ten times it is too much for one.
    const long = { ...first, request: { ...first.request, alertname: 'ü'.repeat(100_000) } };
    const split = batches(
      Array.from({ length: 10 }, () => long),
      'd',
    );
    expect(split.map(({ requests }) => requests.length)).toEqual([2, 2, 2, 2, 2]);
    for (const batch of split) expect(Buffer.byteLength(JSON.stringify(batch))).toBeLessThanOrEqual(512 * 1024);
  });

  it('cut an alert name that is too long for people', () => {
    const long = configOf(`
clusters: [{ name: prod }]
rules: [{ name: all, match: ['alertname=~".+"'], runbook: drain-instance, target: 'k8s/prod/shop/pod/\${labels.pod}' }]
`);
    const [one] = route(alertOf({ alertname: '🙂'.repeat(5000), pod: 'a' }), long);
    const alertname = one?.kind === 'matched' ? one.request.alertname : '';
    expect(alertname.length).toBe(200);
    expect(alertname.isWellFormed()).toBe(true);
  });

  it('lose nothing and double nothing', () => {
    const one = fc.record({
      pod: fc.constantFrom('a', 'b', 'c'),
      namespace: fc.constantFrom('x', 'y'),
      cluster: fc.constantFrom('eu', 'prod', 'us'),
    });
    fc.assert(
      fc.property(fc.array(one, { maxLength: 300 }), (labels) => {
        const all = labels.flatMap((one) => routed(one));
        const matched = all.filter((one) => one.kind === 'matched');
        const made = batches(all, 'd');
        expect(made.flatMap(({ requests }) => requests).length).toBe(matched.length);
        for (const { scope, requests } of made) {
          expect(requests.length).toBeLessThanOrEqual(200);
          for (const { target } of requests) expect(target.startsWith(`k8s/${scope}/pod/`)).toBe(true);
        }
      }),
      { numRuns: 20 },
    );
  });
});

describe('the explanation of an alert', () => {
  it('says of each rule whether and why', () => {
    const { own, rules } = explain(alertOf(UNREADY), config);
    expect(own).toBe(false);
    expect(rules.map(({ rule, reached, matched }) => [rule, reached, matched])).toEqual([
      ['recorded', true, false],
      ['pod-unready', true, true],
      ['by-zone', false, false],
      ['any-kind', false, false],
      ['node', false, false],
      ['machine', false, false],
    ]);
    expect(rules[0]).toMatchObject({
      line: 5,
      matchers: [{ matcher: 'team="sre"', label: 'team', value: '', matched: false }],
    });
    expect(rules[1]).toMatchObject({
      mode: 'act',
      runbook: 'drain-instance',
      target: 'k8s/eu/shop/pod/web-0',
      scope: 'eu/shop',
      gates: { maxInFlight: 1, cooldown: 600_000 },
      matchers: [
        { matcher: 'alertname="KubePodNotReady"', value: 'KubePodNotReady', matched: true },
        { matcher: 'namespace!~"kube-.*"', value: 'shop', matched: true },
      ],
    });
    expect(rules[0]).not.toHaveProperty('target');
  });

  it('says what is wrong with the target', () => {
    const { rules } = explain(alertOf({ ...UNREADY, cluster: 'us' }), config);
    expect(rules[1]).toMatchObject({
      matched: true,
      problem: expect.stringMatching(/the cluster us is not configured/),
    });
    expect(rules[1]).not.toHaveProperty('target');
  });

  it('reaches no rule for an alert of its own', () => {
    const { own, rules } = explain(alertOf({ ...UNREADY, salvor_id: 'x' }), config);
    expect(own).toBe(true);
    expect(rules.some(({ reached }) => reached)).toBe(false);
    expect(rules[1]?.matched).toBe(true);
  });
});
