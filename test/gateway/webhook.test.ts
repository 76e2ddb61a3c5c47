import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import {
  alert,
  scopeOf,
  signalled,
  startTestGateway,
  type TestGateway,
  testConfig,
  uniqueNamespace,
  webhook,
} from './harness.ts';

let sandbox: Sandbox<'temporal'>;
let gateway: TestGateway;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  gateway = await startTestGateway(testConfig({ address: sandbox.temporal.address }));
});
afterAll(async () => {
  await gateway?.close();
  await sandbox?.stop();
});

const pod = (namespace: string, name: string, labels: object = {}) => alert({ namespace, pod: name, ...labels });

describe('what responders are told', () => {
  test('an alert is handed to the responder of its rule and scope, which is started', async () => {
    const namespace = uniqueNamespace();
    const answered = await gateway.post(webhook([pod(namespace, 'web-0')]));

    expect(answered.status).toBe(200);
    expect(answered.body).toEqual({ accepted: 1, dropped: 0, unmatched: 0, truncated: 0, problems: [] });
    const [batch, ...more] = (await signalled(gateway.client, 'pods', scopeOf(namespace))) ?? [];
    expect(more).toEqual([]);
    expect(batch).toMatchObject({ rule: { name: 'pods', mode: 'observe' }, scope: scopeOf(namespace) });
    expect(batch?.ruleDigest).toMatch(/^[0-9a-f]{16}$/);
    expect(batch?.requests).toEqual([
      {
        fingerprint: expect.stringMatching(/^[0-9a-f]{16}$/),
        startsAt: '2026-03-01T12:00:00.123Z',
        status: 'firing',
        target: `k8s/prod/${namespace}/pod/web-0`,
        alertname: 'PodNotReady',
        digest: expect.stringMatching(/^[0-9a-f]{16}$/),
        by: 'alertmanager',
        labels: { alertname: 'PodNotReady', namespace, pod: 'web-0' },
        annotations: { summary: 'a pod is not ready' },
      },
    ]);
    const { type, taskQueue } = await gateway.client.workflow
      .getHandle(`responder/pods/${encodeURIComponent(scopeOf(namespace))}`)
      .describe();
    expect({ type, taskQueue }).toEqual({ type: 'responder', taskQueue: gateway.taskQueue });
  });

  test('one signal for each scope and request, with all its alerts in order', async () => {
    const [a, b] = [uniqueNamespace(), uniqueNamespace()];
    const answered = await gateway.post(
      webhook([pod(a, 'web-0'), pod(b, 'db-0'), pod(a, 'web-1'), pod(b, 'db-1'), pod(a, 'web-2')]),
    );

    expect(answered.body.accepted).toBe(5);
    const targets = async (namespace: string) =>
      (await signalled(gateway.client, 'pods', scopeOf(namespace)))?.map(({ requests }) =>
        requests.map(({ target }) => target.split('/').at(-1)),
      );
    expect(await targets(a)).toEqual([['web-0', 'web-1', 'web-2']]);
    expect(await targets(b)).toEqual([['db-0', 'db-1']]);
  });

  test('450 alerts for one scope are three signals', async () => {
    const namespace = uniqueNamespace();
    const answered = await gateway.post(webhook(Array.from({ length: 450 }, (_, i) => pod(namespace, `web-${i}`))));

    expect(answered).toMatchObject({ status: 200, body: { accepted: 450, problems: [] } });
    const batches = (await signalled(gateway.client, 'pods', scopeOf(namespace))) ?? [];
    expect(batches.map(({ requests }) => requests.length).sort((a, b) => a - b)).toEqual([50, 200, 200]);
    expect(new Set(batches.flatMap(({ requests }) => requests.map(({ target }) => target))).size).toBe(450);
  });

  test('more scopes than signals travel at once', async () => {
    const namespaces = Array.from({ length: 120 }, uniqueNamespace);
    const answered = await gateway.post(webhook(namespaces.map((namespace) => pod(namespace, 'web-0'))));

    expect(answered).toMatchObject({ status: 200, body: { accepted: 120 } });
    const told = await Promise.all(namespaces.map((one) => signalled(gateway.client, 'pods', scopeOf(one))));
    expect(told.map((batches) => batches?.length)).toEqual(namespaces.map(() => 1));
  });

  test('a resolved alert is told as resolved, beside a firing one', async () => {
    const namespace = uniqueNamespace();
    const resolved = alert(
      { namespace, pod: 'web-0' },
      { status: 'resolved', endsAt: '2026-03-01T12:05:00Z', startsAt: '2026-03-01T13:00:00.5+01:00' },
    );
    await gateway.post(webhook([resolved, pod(namespace, 'web-1')], { status: 'firing' }));

    const batches = await signalled(gateway.client, 'pods', scopeOf(namespace));
    expect(batches?.[0]?.requests).toMatchObject([
      { status: 'resolved', startsAt: '2026-03-01T12:00:00.500Z', target: `k8s/prod/${namespace}/pod/web-0` },
      { status: 'firing', target: `k8s/prod/${namespace}/pod/web-1` },
    ]);
  });

  test('an alert that two rules match goes to both', async () => {
    const namespace = uniqueNamespace();
    const answered = await gateway.post(webhook([pod(namespace, 'web-0', { alertname: 'Twice' })]));

    expect(answered.body.accepted).toBe(2);
    expect(await signalled(gateway.client, 'first', scopeOf(namespace))).toHaveLength(1);
    expect(await signalled(gateway.client, 'second', scopeOf(namespace))).toHaveLength(1);
  });

  test('a group delivered by both members of a pair at once names the same alerts each time', async () => {
    const namespace = uniqueNamespace();
    const group = webhook([pod(namespace, 'web-0'), pod(namespace, 'web-1')]);
    const answers = await Promise.all(Array.from({ length: 4 }, () => gateway.post(group)));

    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const batches = (await signalled(gateway.client, 'pods', scopeOf(namespace))) ?? [];
    const requests = batches.flatMap((batch) => batch.requests);
    expect(requests).toHaveLength(8);
    expect(new Set(requests.map((one) => JSON.stringify(one))).size).toBe(2);
    expect(new Set(batches.map(({ delivery }) => delivery)).size).toBe(batches.length);
  });

  test('webhooks for one scope that come at once share signals, and nothing is lost or doubled', async () => {
    const namespace = uniqueNamespace();
    const names = Array.from({ length: 60 }, (_, n) => `web-${n}`);
    const answers = await Promise.all(
      names.map((name) => gateway.post(webhook([pod(namespace, name), pod(namespace, `${name}-b`)]))),
    );
    expect(answers.map(({ status, body }) => [status, body.accepted])).toEqual(names.map(() => [200, 2]));
    const batches = (await signalled(gateway.client, 'pods', scopeOf(namespace))) ?? [];
    expect(Math.max(...batches.map(({ requests }) => requests.length))).toBeLessThanOrEqual(200);
    expect(new Set(batches.map(({ delivery }) => delivery)).size).toBe(batches.length);
    const targets = batches.flatMap(({ requests }) => requests.map(({ target }) => target));
    expect(new Set(targets).size).toBe(120);
    expect(targets).toHaveLength(120);
  });

  test('unknown fields of a later Alertmanager are no reason to refuse', async () => {
    const namespace = uniqueNamespace();
    const later = alert({ namespace, pod: 'web-0' }, { silencedBy: [{ any: 'thing' }] });
    const answered = await gateway.post(webhook([later], { notificationReason: 'new', routeID: { a: [1] } }));
    expect(answered).toMatchObject({ status: 200, body: { accepted: 1 } });
  });
});

describe('mixed groups', () => {
  test("Salvor's own alerts are dropped, unmatched ones counted, the rest accepted", async () => {
    const namespace = uniqueNamespace();
    const answered = await gateway.post(
      webhook([
        pod(namespace, 'web-0', { salvor_id: 'abc' }),
        pod(namespace, 'web-1', { alertname: 'SomethingElse' }),
        pod(namespace, 'web-2'),
      ]),
    );

    expect(answered.body).toEqual({ accepted: 1, dropped: 1, unmatched: 1, truncated: 0, problems: [] });
    const batches = await signalled(gateway.client, 'pods', scopeOf(namespace));
    expect(batches?.flatMap(({ requests }) => requests.map(({ target }) => target))).toEqual([
      `k8s/prod/${namespace}/pod/web-2`,
    ]);
  });

  const namespace = uniqueNamespace();
  const bad: [name: string, reason: string, alert: unknown][] = [
    ['a label missing that the target needs', 'missing-label', alert({ namespace })],
    ['a label value that is not a name', 'invalid-value', pod(namespace, '../../kube-system/pod/etcd')],
    ['a label value with a line break', 'invalid-value', pod(namespace, 'web-0\nx')],
    ['a label value without end', 'invalid-value', pod(namespace, 'a'.repeat(100_000))],
    ['half a surrogate pair', 'invalid-value', pod(namespace, 'web-\ud800')],
    [
      'a cluster that is not configured',
      'unknown-cluster',
      pod(namespace, 'web-0', { alertname: 'AnyCluster', cluster: 'mars' }),
    ],
    ['a scope that is missing', 'missing-label', pod(namespace, 'web-0', { alertname: 'TeamPod' })],
    ['a scope that is no text', 'invalid-scope', pod(namespace, 'web-0', { alertname: 'TeamPod', team: '\u0000' })],
    [
      'a scope of half a surrogate pair',
      'invalid-scope',
      pod(namespace, 'web-0', { alertname: 'TeamPod', team: '\ud800' }),
    ],
    [
      'a scope too long for a Workflow ID',
      'invalid-scope',
      pod(namespace, 'web-0', { alertname: 'TeamPod', team: '船'.repeat(200) }),
    ],
    ['a label that is no text', 'malformed', pod(namespace, 'web-0', { zone: 7 })],
    ['a time that is none', 'malformed', alert({ namespace, pod: 'web-0' }, { startsAt: 'yesterday' })],
    ['another status', 'malformed', alert({ namespace, pod: 'web-0' }, { status: 'pending' })],
    ['no labels', 'malformed', { status: 'firing', startsAt: '2026-03-01T12:00:00Z' }],
    ['null', 'malformed', null],
    ['a list', 'malformed', [[]]],
    ['a text', 'malformed', 'firing'],
  ];

  test.each(bad)(
    '%s: reported with its reason, and the good ones of the group are accepted',
    async (_name, reason, one) => {
      const good = uniqueNamespace();
      const before = gateway.log.length;
      const answered = await gateway.post(webhook([pod(good, 'web-0'), one, pod(good, 'web-1')]));

      expect(answered).toMatchObject({ status: 200, body: { accepted: 2, problems: [{ index: 1, reason }] } });
      expect(answered.body.problems).toHaveLength(1);
      const text = JSON.stringify(answered.body);
      expect(text.length).toBeLessThan(1_000);
      expect(text).not.toMatch(/\bat \S+ \(|node_modules|\.ts:\d/);
      const batches = await signalled(gateway.client, 'pods', scopeOf(good));
      expect(batches?.map(({ requests }) => requests.length)).toEqual([2]);
      expect(await signalled(gateway.client, 'pods', scopeOf(namespace))).toBeUndefined();
      const [line, ...more] = gateway.log.slice(before);
      expect(more).toEqual([]);
      expect(line).toMatchObject({ level: 40, accepted: 2, bad: 1, problems: [{ index: 1, reason }] });
    },
  );

  test('names that mean something to JavaScript are labels like any other', async () => {
    const namespace = uniqueNamespace();
    const odd = JSON.stringify(webhook([pod(namespace, 'web-0', { ODD: 'x', constructor: 'y', toString: 'z' })]));
    const plain = await gateway.post(odd.replace('"ODD"', '"__proto__"'));
    expect(plain).toMatchObject({ status: 200, body: { accepted: 1, problems: [] } });

    const hostile = JSON.stringify(webhook([pod(namespace, 'web-1', { ODD: 'x' }), pod(namespace, 'web-2')]));
    const nested = await gateway.post(hostile.replace('"ODD":"x"', '"__proto__":{"polluted":"yes"}'));
    expect(nested).toMatchObject({ status: 200, body: { accepted: 1, problems: [{ index: 0, reason: 'malformed' }] } });

    const everywhere = await gateway.post(
      `{"__proto__":{"version":"4"},"constructor":{"prototype":{"polluted":1}},${JSON.stringify(webhook([pod(namespace, 'web-3')])).slice(1)}`,
    );
    expect(everywhere).toMatchObject({ status: 200, body: { accepted: 1 } });
    expect('polluted' in {}).toBe(false);
  });

  test('more problems than anybody reads are counted, not listed', async () => {
    const answered = await gateway.post(webhook(Array.from({ length: 250 }, () => alert({ namespace }))));
    expect(answered).toMatchObject({ status: 200, body: { accepted: 0, problemsLeftOff: 150 } });
    expect(answered.body.problems).toHaveLength(100);
  });
});

describe('counters and the log', () => {
  test('each alert is counted by rule and result, each batch and each request too', async () => {
    const namespace = uniqueNamespace();
    const names = [
      'salvor_gateway_requests_total{code="200"}',
      'salvor_gateway_alerts_total{rule="pods",result="accepted"}',
      'salvor_gateway_alerts_total{rule="pods",result="bad"}',
      'salvor_gateway_alerts_total{rule="",result="own"}',
      'salvor_gateway_alerts_total{rule="",result="unmatched"}',
      'salvor_gateway_alerts_total{rule="",result="bad"}',
      'salvor_gateway_problems_total{rule="pods",reason="missing-label"}',
      'salvor_gateway_batches_total{rule="pods"}',
      'salvor_gateway_truncated_alerts_total',
      'salvor_gateway_signal_duration_seconds_count',
    ];
    const read = () => Promise.all(names.map((name) => gateway.counter(name)));
    const before = await read();
    await gateway.post(
      webhook(
        [
          pod(namespace, 'web-0'),
          pod(namespace, 'web-1'),
          alert({ namespace }),
          pod(namespace, 'web-2', { salvor_id: 'x' }),
          pod(namespace, 'web-3', { alertname: 'Other' }),
          null,
        ],
        { truncatedAlerts: 7 },
      ),
    );
    const after = await read();
    expect(after.map((value, i) => value - (before[i] ?? 0))).toEqual([1, 2, 1, 1, 1, 1, 1, 1, 7, 1]);
  });

  test('no label value becomes a label of a metric', async () => {
    const namespace = uniqueNamespace();
    await gateway.post(webhook([pod(namespace, 'canary-pod', { alertname: 'CanaryAlert' }), pod(namespace, 'web-0')]));
    const metrics = await (await gateway.get('/metrics')).text();
    expect(metrics).toContain('salvor_gateway_alerts_total');
    expect(metrics).not.toMatch(/canary|CanaryAlert/);
    expect(metrics).not.toContain(namespace);
  });

  test('a truncated group is reported in the answer and the log', async () => {
    const namespace = uniqueNamespace();
    const answered = await gateway.post(webhook([pod(namespace, 'web-0')], { truncatedAlerts: 3 }));
    expect(answered.body).toMatchObject({ accepted: 1, truncated: 3 });
    expect(gateway.log.at(-1)).toMatchObject({ level: 40, truncated: 3, accepted: 1 });
  });

  test('health, readiness and metrics answer', async () => {
    expect((await gateway.get('/healthz')).status).toBe(200);
    expect((await gateway.get('/readyz')).status).toBe(200);
    expect((await gateway.get('/metrics')).headers.get('content-type')).toContain('text/plain');
    expect((await gateway.get('/nothing')).status).toBe(404);
  });
});
