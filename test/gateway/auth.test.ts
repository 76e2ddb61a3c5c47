import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startGateway } from '../../gateway/server.ts';
import type { Config } from '../../model/config.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import {
  type Answered,
  alert,
  scopeOf,
  signalled,
  startTestGateway,
  type TestGateway,
  testConfig,
  uniqueNamespace,
  webhook,
} from './harness.ts';

const FIXTURES = join(import.meta.dirname, 'fixtures');
const TOKEN = 'correct-horse-battery';

let sandbox: Sandbox<'temporal'>;
let folder: string;
let running: TestGateway | undefined;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-gateway-'));
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
});
afterEach(async () => {
  await running?.close();
  running = undefined;
  delete process.env.SALVOR_TEST_TOKEN;
});
afterAll(async () => {
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function file(content: string): string {
  const path = join(folder, `secret-${Math.random()}`);
  writeFileSync(path, content);
  return path;
}

async function start(gateway: object): Promise<TestGateway> {
  running = await startTestGateway(testConfig({ address: sandbox.temporal.address }, gateway));
  return running;
}

const basic = (user: string, password: string) => `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

/** Posts a good webhook; answers its status, after a check that only a 200 has started something. */
async function post(gateway: TestGateway, authorization?: string): Promise<Answered> {
  const namespace = uniqueNamespace();
  const body = webhook([alert({ namespace, pod: 'web-0' })]);
  const answered = await gateway.post(body, authorization === undefined ? {} : { authorization });
  const batches = await signalled(gateway.client, 'pods', scopeOf(namespace));
  expect(batches?.length).toBe(answered.status === 200 ? 1 : undefined);
  return answered;
}

describe('credentials', () => {
  test('a bearer token', async () => {
    const gateway = await start({ bearerTokenFile: file(`${TOKEN}\n`) });
    const wrong = [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      `Bearer ${TOKEN}x`,
      `Bearer ${TOKEN.slice(1)}`,
      `Bearer ${TOKEN} ${TOKEN}`,
      TOKEN,
      `Token ${TOKEN}`,
      basic('salvor', TOKEN),
      'Basic ????',
    ];
    for (const authorization of wrong) {
      const { status, headers, body } = await post(gateway, authorization);
      expect(status, `${authorization}`).toBe(401);
      expect(headers.get('www-authenticate')).toBe('Bearer');
      expect(body).toEqual({ error: 'The credentials are missing or wrong.' });
    }
    expect((await post(gateway, `Bearer ${TOKEN}`)).status).toBe(200);
    expect((await post(gateway, `bearer ${TOKEN}`)).status).toBe(200);
    expect(await gateway.counter('salvor_gateway_rejections_total{reason="unauthenticated"}')).toBe(wrong.length);
    expect(await gateway.counter('salvor_gateway_requests_total{code="401"}')).toBe(wrong.length);
    expect(JSON.stringify(gateway.log)).not.toContain(TOKEN.slice(1));
  });

  test('user name and password', async () => {
    const gateway = await start({ basicAuth: { username: 'alertmanager', passwordFile: file('a:b') } });
    const { status, headers } = await post(gateway, basic('alertmanager', 'a'));
    expect(status).toBe(401);
    expect(headers.get('www-authenticate')).toBe('Basic realm="salvor"');
    expect((await post(gateway, basic('somebody', 'a:b'))).status).toBe(401);
    expect((await post(gateway, 'Bearer a:b')).status).toBe(401);
    expect((await post(gateway, basic('alertmanager', 'a:b'))).status).toBe(200);
  });

  test('either of both, from files and the environment', async () => {
    process.env.SALVOR_TEST_TOKEN = TOKEN;
    const gateway = await start({
      bearerTokenEnv: 'SALVOR_TEST_TOKEN',
      basicAuth: { username: 'am', passwordFile: file('pw') },
    });
    expect((await post(gateway)).headers.get('www-authenticate')).toBe('Bearer, Basic realm="salvor"');
    expect((await post(gateway, `Bearer ${TOKEN}`)).status).toBe(200);
    expect((await post(gateway, basic('am', 'pw'))).status).toBe(200);
    expect((await post(gateway, basic('am', TOKEN))).status).toBe(401);
  });

  test('a token that is rotated on disk is taken up; a rotation under way locks nobody out', async () => {
    const path = file('first');
    const gateway = await start({ bearerTokenFile: path });
    expect((await post(gateway, 'Bearer first')).status).toBe(200);
    writeFileSync(path, 'second');
    expect((await post(gateway, 'Bearer first')).status).toBe(401);
    expect((await post(gateway, 'Bearer second')).status).toBe(200);
    writeFileSync(path, '');
    expect((await post(gateway, 'Bearer second')).status).toBe(200);
    expect((await post(gateway, 'Bearer ')).status).toBe(401);
    rmSync(path);
    expect((await post(gateway, 'Bearer second')).status).toBe(200);
    writeFileSync(path, 'third');
    expect((await post(gateway, 'Bearer second')).status).toBe(401);
    expect((await post(gateway, 'Bearer third')).status).toBe(200);
  });

  test('are asked before the body is looked at; probes and metrics need none', async () => {
    const gateway = await start({ bearerTokenFile: file(TOKEN), maxBody: '1KiB' });
    expect((await gateway.post('x'.repeat(5_000), { 'content-type': 'text/plain' })).status).toBe(401);
    for (const path of ['/healthz', '/readyz', '/metrics']) expect((await gateway.get(path)).status).toBe(200);
  });

  test.each([
    [
      'a file that is not there',
      { bearerTokenFile: '/nonexistent/token' },
      /bearerTokenFile: .*nonexistent.*ENOENT.*Create it/,
    ],
    ['an empty file', () => ({ bearerTokenFile: file(' \n') }), /bearerTokenFile: .* is empty/],
    [
      'a variable that is not set',
      { bearerTokenEnv: 'SALVOR_TEST_ABSENT' },
      /bearerTokenEnv: .*SALVOR_TEST_ABSENT is not set/,
    ],
    [
      'a password file that is not there',
      { basicAuth: { username: 'a', passwordFile: '/nonexistent' } },
      /basicAuth\.passwordFile/,
    ],
    [
      'a certificate that is not there',
      { tls: { certFile: '/nonexistent', keyFile: '/nonexistent' } },
      /tls\.certFile/,
    ],
  ])('%s refuses the start', async (_name, gateway, message) => {
    await expect(start(typeof gateway === 'function' ? gateway() : gateway)).rejects.toThrow(message);
  });
});

describe('where it listens', () => {
  /** As a configuration that was not read from a file, past the schema's own check. */
  const listening = (host: string, gateway: object = {}): Config => {
    const config = testConfig({ address: sandbox.temporal.address }, gateway);
    return { ...config, gateway: { ...config.gateway, listen: { host, port: 0 } } };
  };

  const ours = Object.values(networkInterfaces())
    .flat()
    .filter((one) => one !== undefined && !one.internal && !one.address.startsWith('fe80'))
    .map((one) => one!.address);

  test.each(['0.0.0.0', '::', ...ours])('%s without authentication refuses the start', async (host) => {
    await expect(startGateway({ config: listening(host) })).rejects.toThrow(
      /can be reached from other machines, and no authentication is configured.*bearerTokenFile/,
    );
  });

  test('beyond loopback with authentication', async () => {
    running = await startTestGateway(listening('0.0.0.0', { bearerTokenFile: file(TOKEN) }));
    expect(running.url).toMatch(/^http:\/\/0\.0\.0\.0:\d+$/);
    expect((await post(running)).status).toBe(401);
    expect((await post(running, `Bearer ${TOKEN}`)).status).toBe(200);
  });

  test.each(['127.0.0.1', '127.0.0.2', 'localhost'])('%s without authentication', async (host) => {
    running = await startTestGateway(listening(host));
    expect((await post(running)).status).toBe(200);
  });

  test('an address that is taken, and a name that is none, are said', async () => {
    const gateway = await start({});
    const config = listening('127.0.0.1');
    const port = Number(new URL(gateway.url).port);
    const taken = { ...config, gateway: { ...config.gateway, listen: { host: '127.0.0.1', port } } };
    await expect(startGateway({ config: taken })).rejects.toThrow(/cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\)/);
    await expect(startGateway({ config: listening('no.such.name.invalid') })).rejects.toThrow(/has no address/);
  });

  test('HTTPS', async () => {
    const [certFile, keyFile] = [join(FIXTURES, 'cert.pem'), join(FIXTURES, 'key.pem')];
    const gateway = await start({ tls: { certFile, keyFile } });
    expect(gateway.url).toMatch(/^https:/);
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const sent = request(`${gateway.url}/healthz`, { ca: readFileSync(join(FIXTURES, 'ca.pem')) }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.on('error', reject).end();
    });
    expect(status).toBe(200);
    await expect(fetch(`${gateway.url.replace('https', 'http')}/healthz`)).rejects.toThrow();
  });
});
