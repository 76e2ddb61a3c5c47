// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the places of queries are written so
import { readFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createSecureServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { HealthChecks } from '../../model/rule.ts';
import type { Check } from '../../providers/checks.ts';
import { checksOf } from '../../providers/checks-of.ts';
import { UnavailableError } from '../../providers/errors.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually, inTime } from '../support/wait.ts';

let sandbox: Sandbox<'prometheus'>;
let check: Check;
const metrics = ['errors{namespace="shop",pod="web-0"} 0.31', 'errors{namespace="shop",pod="web-1"} 0.01', ''];
const exporter = createServer((_, response) => response.end(metrics.join('\n')));

beforeAll(async () => {
  const port = await listen(exporter);
  sandbox = await startSandbox({
    parts: ['prometheus'],
    prometheus: { scrape: [{ job: 'app', targets: [`127.0.0.1:${port}`] }] },
  });
  const real = checksOf({ prometheus: { url: sandbox.prometheus.url } });
  check = (...given) => inTime(() => real(...given));
  await eventually(
    'a scrape',
    async () => (await check({ promql: { query: 'sum(up)', atLeast: 1 } }, { values: {} })).healthy,
  );
});
afterAll(async () => {
  await sandbox?.stop();
  exporter.close();
  exporter.closeAllConnections();
});

async function listen(server: Server | TcpServer, host = '127.0.0.1'): Promise<number> {
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, host, resolve));
  return (server.address() as AddressInfo).port;
}

/** An instance of the test on a port of its own, until the end of the test. */
async function instance(answer: RequestListener, host = '127.0.0.1'): Promise<number> {
  const server = createServer(answer);
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return listen(server, host);
}

type Http = NonNullable<HealthChecks['http']>;
const http = (over: Partial<Http> & { port: number }): HealthChecks => ({
  http: { scheme: 'http', path: '/healthz', status: 200, within: 60_000, ...over },
});
const LOCAL = { values: {}, address: '127.0.0.1', local: true };
const pod = (name: string) => ({ values: { cluster: 'prod', namespace: 'shop', pod: name } });

describe('a check in Prometheus', () => {
  const query = 'errors{namespace="${namespace}",pod="${pod}"}';

  it.each([
    ['web-0', { atMost: 0.05 }, false, 'errors{namespace="shop",pod="web-0"} is 0.31, and healthy is at most 0.05'],
    ['web-1', { atMost: 0.05 }, true, 'errors{namespace="shop",pod="web-1"} is 0.01, and healthy is at most 0.05'],
    ['web-0', { atMost: 0.31 }, true, 'errors{namespace="shop",pod="web-0"} is 0.31, and healthy is at most 0.31'],
    ['web-0', { atLeast: 0.31 }, true, 'errors{namespace="shop",pod="web-0"} is 0.31, and healthy is at least 0.31'],
    ['web-1', { atLeast: 0.31 }, false, 'errors{namespace="shop",pod="web-1"} is 0.01, and healthy is at least 0.31'],
    [
      'web-1',
      { atLeast: 0.1, atMost: 0.5 },
      false,
      'errors{namespace="shop",pod="web-1"} is 0.01, and healthy is at least 0.1 and at most 0.5',
    ],
    ['web-9', { atMost: 0.05 }, false, 'errors{namespace="shop",pod="web-9"} gives no series, expected 1'],
  ])('of %s, %j', async (name, bounds, healthy, why) => {
    expect(await check({ promql: { query, ...bounds } }, pod(name))).toEqual({ healthy, why });
  });

  it('of more than one series is not healthy, whatever they say', async () => {
    const { healthy, why } = await check({ promql: { query: 'errors', atMost: 1 } }, pod('web-0'));
    expect(healthy).toBe(false);
    expect(why).toMatch(/^errors gives 2 series, expected 1: /);
  });

  it('that asks for what the target has not, or of nobody, is final', async () => {
    const asked = { promql: { query: 'up{node="${node}"}', atLeast: 1 } };
    await expect(check(asked, pod('web-0'))).rejects.toMatchObject({ name: 'FinalError', type: 'Invalid' });
    await expect(check(asked, pod('web-0'))).rejects.toThrow(
      'the target has no node, which the query up{node="${node}"}',
    );
    await expect(checksOf({})(asked, { values: { node: 'n' } })).rejects.toThrow(/expected prometheus\.url/);
  });

  it('is unknown where Prometheus does not answer, also where the instance itself is well', async () => {
    const server = createTcpServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const unreachable = checksOf({ prometheus: { url: `http://127.0.0.1:${port}` } });
    const well = http({ port: await instance((_, response) => response.end()) });
    const asked = unreachable({ promql: { query: 'up', atLeast: 1 }, ...well }, LOCAL);
    await expect(asked).rejects.toBeInstanceOf(UnavailableError);
  });
});

describe('a check on the instance itself', () => {
  it('asks for its path by its address, on a connection of its own', async () => {
    const seen: (string | undefined)[][] = [];
    let connections = 0;
    const server = createServer(({ method, url, headers }, response) => {
      seen.push([method, url, headers.host, headers.connection, headers['user-agent']]);
      response.end('fine');
    }).on('connection', () => connections++);
    onTestFinished(() => void server.close());
    const port = await listen(server);
    const result = await check(http({ port, path: '/ready?full=1' }), LOCAL);
    expect(result).toEqual({ healthy: true, why: `GET http://127.0.0.1:${port}/ready?full=1 answered 200` });
    await check(http({ port, path: '/ready?full=1' }), LOCAL);
    const once = ['GET', '/ready?full=1', `127.0.0.1:${port}`, 'close', 'salvor'];
    expect(seen).toEqual([once, once]);
    expect(connections).toBe(2);
    await eventually(
      'no connection is left',
      () => new Promise<boolean>((resolve) => server.getConnections((_, n) => resolve(n === 0))),
    );
  });

  it.each([
    [500, 200, false],
    [204, 204, true],
    [200, 204, false],
    [503, 503, true],
  ])('compares the status: %i, expected %i', async (status, expected, healthy) => {
    const port = await instance((_, response) => response.writeHead(status).end());
    expect(await check(http({ port, status: expected }), LOCAL)).toEqual({
      healthy,
      why: `GET http://127.0.0.1:${port}/healthz answered ${status}${healthy ? '' : `, expected ${expected}`}`,
    });
  });

  it('follows no redirect', async () => {
    const asked: (string | undefined)[] = [];
    const port = await instance(({ url }, response) => {
      asked.push(url);
      response.writeHead(url === '/healthz' ? 302 : 200, { location: '/login' }).end();
    });
    expect(await check(http({ port }), LOCAL)).toMatchObject({
      healthy: false,
      why: expect.stringMatching(/answered 302, expected 200$/),
    });
    expect(asked).toEqual(['/healthz']);
  });

  it('takes a certificate that nobody vouches for', async () => {
    const fixtures = join(import.meta.dirname, '..', 'gateway', 'fixtures');
    const [cert, key] = ['cert.pem', 'key.pem'].map((name) => readFileSync(join(fixtures, name)));
    const server = createSecureServer({ cert, key }, (_, response) => response.end());
    onTestFinished(() => void server.close());
    const port = await listen(server);
    expect(await check(http({ port, scheme: 'https' }), LOCAL)).toMatchObject({ healthy: true });
    expect(await check(http({ port }), LOCAL)).toMatchObject({ healthy: false });
  });

  it('of an address of IPv6', async () => {
    const port = await instance((_, response) => response.end(), '::1');
    expect(await check(http({ port }), { values: {}, address: '::1', local: true })).toEqual({
      healthy: true,
      why: `GET http://[::1]:${port}/healthz answered 200`,
    });
  });

  it.each<[string, RequestListener]>([
    ['hangs', () => undefined],
    ['stalls in its answer', (_, response) => void response.write('just a mom')],
    [
      'drips',
      (_, response) => {
        const drip = setInterval(() => response.write('.'), 20);
        response.on('close', () => clearInterval(drip));
      },
    ],
  ])('that %s is not healthy', async (_, answer) => {
    const gone = Promise.withResolvers<void>();
    const port = await instance((request, response) => {
      response.on('close', gone.resolve);
      answer(request, response);
    });
    const result = await check(http({ port, within: 1_000 }), LOCAL);
    expect(result).toMatchObject({
      healthy: false,
      why: expect.stringMatching(/^GET http.* got no answer: nothing within 1000 ms$/),
    });
    await gone.promise;
  });

  it('that takes the connection and says nothing, or no HTTP, or breaks off, is not healthy', async () => {
    const byes: ((socket: Socket) => void)[] = [
      (socket) => socket.end('hello\r\n\r\n'),
      (socket) => socket.destroy(),
      (socket) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf'),
      () => undefined,
    ];
    for (const bye of byes) {
      const server = createTcpServer((socket) => {
        socket.on('error', () => socket.destroy());
        socket.once('data', () => bye(socket));
      });
      onTestFinished(() => void server.close());
      const port = await listen(server);
      const result = await check(http({ port, within: 1_000 }), LOCAL);
      expect(result).toMatchObject({ healthy: false, why: expect.stringContaining('got no answer: ') });
    }
  });

  it('that answers without end has answered', async () => {
    const port = await instance((_, response) => {
      const more = (): void => {
        let going = true;
        while (going && !response.destroyed) going = response.write('x'.repeat(65_536));
      };
      response.on('drain', more);
      more();
    });
    expect(await check(http({ port }), LOCAL)).toMatchObject({ healthy: true });
  });

  it('that refuses, or has no address, is not healthy', async () => {
    const server = createTcpServer();
    const port = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    expect(await check(http({ port }), LOCAL)).toEqual({
      healthy: false,
      why: `GET http://127.0.0.1:${port}/healthz got no answer: ECONNREFUSED`,
    });
    expect(await check(http({ port }), { values: {} })).toEqual({
      healthy: false,
      why: 'it has no address yet on which to ask for /healthz',
    });
  });

  it.each([
    ['169.254.169.254', /169\.254\.169\.254 is link-local, multicast or of a metadata service, and no instance's own/],
    ['::ffff:169.254.169.254', /link-local/],
    ['::ffff:a9fe:a9fe', /link-local/],
    ['64:ff9b::169.254.169.254', /link-local/],
    ['fd00:ec2::254', /metadata service/],
    ['168.63.129.16', /metadata service/],
    ['fe80::1', /link-local/],
    ['fe80::1%lo', /is no IP address|link-local/],
    ['224.0.0.1', /multicast/],
    ['255.255.255.255', /multicast/],
    ['ff02::1', /multicast/],
    ['0.0.0.0', /no instance's own/],
    ['::', /no instance's own/],
    ['metadata.google.internal', /is no IP address/],
    ['2852039166', /is no IP address/],
  ])('by the address %s is not asked: it is no instance', async (address, why) => {
    for (const local of [true, false]) {
      const asked = check(http({ port: 9 }), { values: {}, address, local });
      await expect(asked).rejects.toMatchObject({ type: 'Invalid', message: expect.stringMatching(why) });
    }
  });

  it.each(['127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1'])(
    'by the loopback address %s is asked only where its platform is on this machine too',
    async (address) => {
      let asked = 0;
      const port = await instance((_, response) => {
        asked += 1;
        response.end();
      }, address);
      await expect(check(http({ port }), { values: {}, address })).rejects.toThrow(
        `${address} is Salvor's own machine`,
      );
      expect(asked).toBe(0);
      expect(await check(http({ port }), { values: {}, address, local: true })).toMatchObject({ healthy: true });
      expect(asked).toBe(1);
    },
  );

  it('ends when the caller wants no more', async () => {
    const asked = Promise.withResolvers<void>();
    const gone = Promise.withResolvers<void>();
    const port = await instance((_, response) => {
      response.on('close', gone.resolve);
      asked.resolve();
    });
    const caller = new AbortController();
    const given = expect(check(http({ port }), LOCAL, caller.signal)).rejects.toThrow('enough');
    await asked.promise;
    caller.abort(new Error('enough'));
    await given;
    await gone.promise;
  });
});

describe('both checks', () => {
  it('must be met, and what is not is told', async () => {
    const port = await instance(({ url }, response) => response.writeHead(url === '/well' ? 200 : 500).end());
    const promql = (name: string) => ({ promql: { query: `errors{pod="${name}"}`, atMost: 0.05 } });
    const all = (name: string, path: string) => check({ ...promql(name), ...http({ port, path }) }, LOCAL);
    expect(await all('web-1', '/well')).toEqual({
      healthy: true,
      why: `errors{pod="web-1"} is 0.01, and healthy is at most 0.05; GET http://127.0.0.1:${port}/well answered 200`,
    });
    expect(await all('web-0', '/well')).toEqual({
      healthy: false,
      why: 'errors{pod="web-0"} is 0.31, and healthy is at most 0.05',
    });
    expect(await all('web-1', '/sick')).toMatchObject({
      healthy: false,
      why: expect.stringMatching(/^GET .*\/sick answered 500, expected 200$/),
    });
    expect(await all('web-0', '/sick')).toMatchObject({
      healthy: false,
      why: expect.stringMatching(/is 0\.31, .*; GET .* answered 500/),
    });
  });
});
