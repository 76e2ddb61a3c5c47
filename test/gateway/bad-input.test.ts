import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import {
  alert,
  head,
  rawConnection,
  scopeOf,
  signalled,
  startTestGateway,
  type TestGateway,
  testConfig,
  uniqueNamespace,
  webhook,
} from './harness.ts';

const MAX_BODY = 1024 ** 2;

let sandbox: Sandbox<'temporal'>;
let gateway: TestGateway;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  gateway = await startTestGateway(testConfig({ address: sandbox.temporal.address }, { maxBody: '1MiB' }));
});
afterAll(async () => {
  await gateway?.close();
  await sandbox?.stop();
});

/** Whatever came before: the process lives, and takes what is good. */
afterEach(async () => {
  const namespace = uniqueNamespace();
  expect(await gateway.post(good(namespace))).toMatchObject({ status: 200, body: { accepted: 1 } });
  expect(await signalled(gateway.client, 'pods', scopeOf(namespace))).toHaveLength(1);
});

/** A webhook that would start something if anything in it were looked at. */
const good = (namespace: string) => webhook([alert({ namespace, pod: 'web-0' })]);

const bytes = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));

interface Bad {
  status: number;
  reason: string;
  /** In the answer. */
  says: RegExp;
  body: (namespace: string) => string | Uint8Array;
  headers?: Record<string, string>;
}

const BAD: Record<string, Bad> = {
  'a body cut short': {
    status: 400,
    reason: 'not-json',
    says: /not JSON/,
    body: (namespace) => bytes(good(namespace)).subarray(0, -1),
  },
  'a body that goes on': {
    status: 400,
    reason: 'not-json',
    says: /not JSON/,
    body: (namespace) => `${bytes(good(namespace))}{}`,
  },
  'an empty body': { status: 400, reason: 'not-json', says: /not JSON/, body: () => '' },
  'another payload version': {
    status: 400,
    reason: 'not-a-webhook',
    says: /version/,
    body: (namespace) => bytes({ ...good(namespace), version: '3' }),
  },
  'a version that is a number': {
    status: 400,
    reason: 'not-a-webhook',
    says: /version/,
    body: (namespace) => bytes({ ...good(namespace), version: 4 }),
  },
  'alerts that are no list': {
    status: 400,
    reason: 'not-a-webhook',
    says: /alerts/,
    body: (namespace) => bytes({ ...good(namespace), alerts: { 0: alert({ namespace, pod: 'web-0' }) } }),
  },
  'JSON that is no object': { status: 400, reason: 'not-a-webhook', says: /not a webhook/, body: () => '[null]' },
  'invalid UTF-8': {
    status: 400,
    reason: 'not-utf8',
    says: /UTF-8/,
    body: (namespace) => {
      const body = bytes(webhook([alert({ namespace, pod: 'web-0', note: 'X' })]));
      body[body.indexOf('"X"') + 1] = 0xff;
      return body;
    },
  },
  'nesting without end': {
    status: 400,
    reason: 'too-deep',
    says: /nested deeper than 32/,
    body: (namespace) =>
      bytes(good(namespace))
        .toString()
        .replace(/^\{/, `{"deep":${'['.repeat(900_000)},`),
  },
  'nesting that is closed again': {
    status: 400,
    reason: 'too-deep',
    says: /nested deeper than 32/,
    body: (namespace) =>
      bytes(good(namespace))
        .toString()
        .replace(/^\{/, `{"deep":${'{"a":'.repeat(60_000)}1${'}'.repeat(60_000)},`),
  },
  'more than the limit': {
    status: 413,
    reason: 'too-large',
    says: /maxBody/,
    body: (namespace) => bytes({ ...good(namespace), padding: 'x'.repeat(3 * MAX_BODY) }),
  },
  'text/plain': {
    status: 415,
    reason: 'content-type',
    says: /application\/json/,
    body: (namespace) => bytes(good(namespace)),
    headers: { 'content-type': 'text/plain' },
  },
  'a form': {
    status: 415,
    reason: 'content-type',
    says: /application\/json/,
    body: (namespace) => bytes(good(namespace)),
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
  },
  'no type at all': {
    status: 415,
    reason: 'content-type',
    says: /application\/json/,
    body: (namespace) => bytes(good(namespace)),
    headers: { 'content-type': '' },
  },
  'a charset other than UTF-8': {
    status: 415,
    reason: 'charset',
    says: /UTF-8/,
    body: (namespace) => bytes(good(namespace)),
    headers: { 'content-type': 'application/json; charset=iso-8859-1' },
  },
  'a compressed body': {
    status: 415,
    reason: 'content-encoding',
    says: /compressed/,
    body: (namespace) => gzipSync(bytes(good(namespace))),
    headers: { 'content-encoding': 'gzip' },
  },
};

describe('a bad request is answered clearly and counted, and starts nothing', () => {
  test.each(Object.entries(BAD))('%s', async (_name, { status, reason, says, body, headers }) => {
    const namespace = uniqueNamespace();
    const series = [
      `salvor_gateway_rejections_total{reason="${reason}"}`,
      `salvor_gateway_requests_total{code="${status}"}`,
    ];
    const read = () => Promise.all(series.map((one) => gateway.counter(one)));
    const before = await read();
    const lines = gateway.log.length;

    const answered = await gateway.post(body(namespace), headers);

    expect(answered.status).toBe(status);
    expect(Object.keys(answered.body)).toEqual(['error']);
    expect(answered.body.error).toMatch(says);
    expect(answered.body.error).not.toMatch(/\bat \S+ \(|node_modules|\.ts:\d/);
    expect(await signalled(gateway.client, 'pods', scopeOf(namespace))).toBeUndefined();
    expect((await read()).map((value, i) => value - (before[i] ?? 0))).toEqual([1, 1]);
    expect(gateway.log.slice(lines)).toMatchObject([{ level: 40, status, reason }]);
  });

  test('what is within the limits is taken: a charset of UTF-8, a byte order mark, identity, any depth of 32', async () => {
    const namespace = uniqueNamespace();
    const deep = `${'['.repeat(31)}${']'.repeat(31)}`;
    const body = `\ufeff${JSON.stringify(good(namespace)).replace(/^\{/, `{"deep":${deep},"braces":"${'['.repeat(99)}\\"",`)}`;
    const answered = await gateway.post(body, {
      'content-type': 'Application/JSON; charset=UTF-8',
      'content-encoding': 'identity',
    });
    expect(answered).toMatchObject({ status: 200, body: { accepted: 1 } });
  });

  test('GET and other paths are not found', async () => {
    expect((await gateway.get('/webhook/alertmanager')).status).toBe(404);
    expect((await fetch(`${gateway.url}/webhook`, { method: 'POST', body: '{}' })).status).toBe(404);
  });
});

describe('bodies that are slow or broken', () => {
  const rejected = (reason: string) => gateway.counter(`salvor_gateway_rejections_total{reason="${reason}"}`);

  test('a body that stops half way holds nobody up, and is ended', async () => {
    const namespace = uniqueNamespace();
    const before = await rejected('too-slow');
    const body = JSON.stringify(good(namespace));
    const slow = await rawConnection(gateway.url);
    slow.write(head(Buffer.byteLength(body)) + body.slice(0, 40));
    const dripping = await rawConnection(gateway.url);
    dripping.write('POST /webhook/alertmanager HTTP/1.1\r\nHost: x');

    expect(await gateway.post(good(uniqueNamespace()))).toMatchObject({ status: 200 });
    expect(await slow.closed).toMatch(/^HTTP\/1\.1 408/);
    expect(await dripping.closed).toMatch(/^HTTP\/1\.1 408/);
    expect(await rejected('too-slow')).toBe(before + 2);
    expect(await signalled(gateway.client, 'pods', scopeOf(namespace))).toBeUndefined();
  });

  test('a body that comes in drops is taken when it is whole', async () => {
    const namespace = uniqueNamespace();
    const body = JSON.stringify(good(namespace));
    const slow = await rawConnection(gateway.url);
    slow.write(head('chunked').replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'));
    for (const drop of body.match(/.{1,60}/gs) ?? []) {
      slow.write(`${drop.length.toString(16)}\r\n${drop}\r\n`);
      await gateway.get('/healthz');
    }
    slow.write('0\r\n\r\n');
    expect(await slow.closed).toMatch(/^HTTP\/1\.1 200[\s\S]*"accepted":1/);
  });

  test('a sender that goes away in the middle is counted, and starts nothing', async () => {
    const namespace = uniqueNamespace();
    const before = await rejected('broken');
    const body = JSON.stringify(good(namespace));
    const leaving = await rawConnection(gateway.url);
    leaving.write(head(body.length + 10) + body);
    await gateway.get('/healthz');
    leaving.destroy();
    await eventually('the broken body is counted', async () => (await rejected('broken')) === before + 1);
    expect(await signalled(gateway.client, 'pods', scopeOf(namespace))).toBeUndefined();
  });

  test.each([
    ['what is not HTTP', 'HELO salvor\r\n\r\n', /^HTTP\/1\.1 400/, 'not-http'],
    ['a chunk size that is none', `${head('chunked')}xyz\r\n`, /^HTTP\/1\.1 400/, 'not-http'],
    [
      'two lengths',
      head(5).replace('\r\n\r\n', '\r\nTransfer-Encoding: chunked\r\n\r\n'),
      /^HTTP\/1\.1 400/,
      'not-http',
    ],
    ['headers without end', `GET / HTTP/1.1\r\nX: ${'x'.repeat(100_000)}`, /^HTTP\/1\.1 431/, 'headers-too-large'],
  ])('%s', async (_name, sent, answer, reason) => {
    const before = await rejected(reason);
    const broken = await rawConnection(gateway.url);
    broken.write(sent);
    expect(await broken.closed).toMatch(answer);
    expect(await rejected(reason)).toBe(before + 1);
  });

  test('a chunked body beyond the limit is answered 413 while it still comes', async () => {
    const endless = await rawConnection(gateway.url);
    endless.write(head('chunked'));
    const chunk = `10000\r\n${'x'.repeat(0x10000)}\r\n`;
    for (let sent = 0; sent < 2 * MAX_BODY; sent += 0x10000) endless.write(chunk);
    endless.write('0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(await endless.closed).toMatch(/^HTTP\/1\.1 413[\s\S]*HTTP\/1\.1 200/);
  });
});

describe('whatever a stranger sends', () => {
  const json = fc.jsonValue({ maxDepth: 4 });
  const text = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc.constantFrom(
      'PodNotReady',
      'TeamPod',
      'AnyCluster',
      'Twice',
      '',
      '__proto__',
      'prod',
      '\ud800',
      '${labels.pod}',
    ),
  );
  const name = fc.oneof(text, fc.constantFrom('alertname', 'namespace', 'pod', 'team', 'cluster', 'constructor'));
  const labels = fc.oneof(fc.dictionary(name, text), fc.dictionary(name, json), json);
  const anyAlert = fc.oneof(
    json,
    fc.record({ status: fc.constantFrom('firing', 'resolved', 'x'), labels, annotations: labels, startsAt: text }),
    fc
      .record({ namespace: fc.oneof(text, fc.constant('fuzz')), pod: text, team: text, cluster: text, alertname: text })
      .map((some) => alert(some)),
  );
  const anyWebhook = fc.oneof(
    json,
    fc.array(anyAlert, { maxLength: 5 }).map((alerts) => webhook(alerts)),
    fc
      .tuple(fc.array(anyAlert, { maxLength: 3 }), fc.dictionary(name, json))
      .map(([alerts, more]) => webhook(alerts, more)),
  );

  test('JSON of any kind is answered 200 or 400, with every alert accounted for', async () => {
    await fc.assert(
      fc.asyncProperty(anyWebhook, async (body) => {
        const answered = await gateway.post(JSON.stringify(body));
        expect([200, 400]).toContain(answered.status);
        if (answered.status === 400) expect(answered.body.error).toMatch(/^The body/);
        else {
          const { alerts } = body as { alerts: unknown[] };
          const { accepted, dropped, unmatched, problems } = answered.body;
          // An alert that two rules match counts for both.
          expect(accepted + dropped + unmatched + problems.length).toBeGreaterThanOrEqual(alerts.length);
          expect(accepted + dropped + unmatched + problems.length).toBeLessThanOrEqual(2 * alerts.length);
        }
      }),
      { numRuns: 500 },
    );
  });

  test('bytes of any kind are answered 400', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (body) => {
        expect((await gateway.post(body)).status).toBe(400);
      }),
      { numRuns: 200 },
    );
  });
});
