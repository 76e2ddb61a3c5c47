import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type handleUnaryCall, Server, ServerCredentials, status } from '@grpc/grpc-js';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { Confirm, Probe } from '../../../model/breaker/options.ts';
import type { Finding } from '../../../model/ports/switch.ts';
import { proberOf } from '../../../providers/prober-of.ts';
import type { Prober } from '../../../providers/switch.ts';
import { freePort } from '../../../sandbox/ports.ts';
import { listen, type Scraped, startScraped } from '../../support/servers.ts';
import { eventually } from '../../support/wait.ts';
import { dependency } from '../switch-support.ts';

let scraped: Scraped;
let prober: Prober;
const EXPOSED = 'calls 200\nfailed 90\nslow 20\nfew 3\nnone 0\nodd NaN\nless -1\nbacklog 12\n';

beforeAll(async () => {
  scraped = await startScraped(() => EXPOSED);
  prober = proberOf({ prometheus: scraped });
  await eventually(
    'a scrape',
    async () => (await ask({ promql: { query: 'sum(backlog)', atMost: 20 } })).verdict === 'healthy',
  );
});
afterAll(() => scraped?.stop());

const NEVER = new AbortController().signal;

const ask = (own: Partial<Probe>, by = prober, signal = NEVER): Promise<Finding> =>
  by.try(dependency({}, { probe: { within: 3_000, failures: 1, ...own } }), signal);

const numbers = (own: Partial<Confirm>, by = prober): Promise<Finding> => {
  const confirm = { calls: 'sum(calls)', minCalls: 100, failureRatio: 0.5, slowRatio: 0.5, ...own };
  return by.confirm(dependency({}, { confirm }), NEVER);
};

describe('by the numbers', () => {
  it.each<[string, Partial<Confirm>, Finding['verdict'], string]>([
    ['few enough failed', { failed: 'sum(failed)' }, 'healthy', '45% of 200 calls failed, and 50% is failing'],
    ['too many failed', { failed: 'sum(failed)', failureRatio: 0.45 }, 'failing', '45% of 200 calls failed'],
    [
      'too many were slow',
      { failed: 'sum(failed)', slow: 'sum(slow)', slowRatio: 0.1 },
      'failing',
      '10% of 200 calls were slow',
    ],
    ['too few calls', { calls: 'sum(few)', failed: 'sum(few)' }, 'unknown', '3 calls, and less than 100 tell nothing'],
    ['no calls, none needed', { calls: 'sum(none)', minCalls: 0, failed: 'sum(none)' }, 'unknown', '0 calls'],
    ['no such series', { calls: 'sum(nothing)' }, 'unknown', 'gives no series'],
    ['calls that are no number', { calls: 'sum(odd)' }, 'unknown', 'gives NaN'],
    ['calls that count nothing', { calls: 'sum(less)' }, 'unknown', 'counts nothing'],
    ['failures that nobody counts', { failed: 'sum(nothing)' }, 'unknown', 'how many failed'],
    [
      'the slow tell where nobody counts failures',
      { failed: 'sum(nothing)', slow: 'sum(slow)', slowRatio: 0.05 },
      'failing',
      'slow',
    ],
    ['a query that is none', { calls: 'sum(' }, 'unknown', 'parse error'],
  ])('%s', async (_, own, verdict, why) => {
    expect(await numbers(own)).toMatchObject({ verdict, why: expect.stringContaining(why) });
  });

  it('tells the numbers', async () => {
    const { facts } = await numbers({ failed: 'sum(failed)', slow: 'sum(slow)' });
    expect(facts).toEqual({ calls: 200, failed: 90, slow: 20 });
  });

  it('without an answer, or without a Prometheus, nobody knows', async () => {
    const dead = proberOf({ prometheus: { url: `http://127.0.0.1:${await freePort()}` } });
    expect(await numbers({}, dead)).toMatchObject({ verdict: 'unknown', why: expect.stringContaining('no answer') });
    expect(await numbers({}, proberOf({}))).toMatchObject({
      verdict: 'unknown',
      why: expect.stringContaining('prometheus.url'),
    });
  });

  it('where there are none, one probe tells; and of a trial without a probe the numbers', async () => {
    const port = await freePort();
    const only = dependency({}, { probe: { tcp: { host: '127.0.0.1', port }, within: 1_000, failures: 1 } });
    expect(await prober.confirm(only, NEVER)).toMatchObject({ verdict: 'failing' });
    const confirm = { calls: 'sum(calls)', failed: 'sum(failed)', minCalls: 1, failureRatio: 0.1, slowRatio: 1 };
    expect(await prober.try(dependency({}, { confirm }), NEVER)).toMatchObject({ verdict: 'failing' });
    expect(await prober.try(dependency({}), NEVER)).toMatchObject({ verdict: 'unknown' });
  });
});

describe('a number that is at most so much', () => {
  it.each<[string, number, Finding['verdict']]>([
    ['sum(backlog)', 12, 'healthy'],
    ['sum(backlog)', 11, 'failing'],
    ['sum(nothing)', 11, 'unknown'],
  ])('%s at most %i: %s', async (query, atMost, verdict) => {
    expect(await ask({ promql: { query, atMost } })).toMatchObject({ verdict });
  });
});

describe('HTTP', () => {
  it('tells by the status, on a connection of its own each time', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'salvor-probe-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const headersFile = join(folder, 'headers');
    await writeFile(headersFile, 'x-key: of the test\n');
    let connections = 0;
    let code = 204;
    const server = createServer((request, response) => {
      response.writeHead(request.headers['x-key'] === 'of the test' ? code : 401, { location: '/' }).end();
    }).on('connection', () => {
      connections += 1;
    });
    const url = `http://${await listen(server)}/healthz?key=secret`;
    onTestFinished(() => void server.close());
    const http = { url, status: 204, headersFile };
    expect(await ask({ http })).toMatchObject({ verdict: 'healthy', facts: { status: 204 } });
    for (code of [500, 302, 200])
      expect(await ask({ http })).toMatchObject({
        verdict: 'failing',
        why: expect.stringContaining(`answered ${code}, expected 204`),
      });
    expect(connections).toBe(4);
    expect((await ask({ http })).why).not.toContain('secret');
    const without = await ask({ http: { ...http, headersFile: join(folder, 'nothing') } });
    expect(without, 'what Salvor lacks says nothing of the dependency').toMatchObject({ verdict: 'unknown' });
  });

  it('an answer that comes too late, or never ends, is a failure', async () => {
    const server = createServer((request, response) => {
      if (request.url === '/stalls') response.writeHead(200).write('a');
    });
    const origin = `http://${await listen(server)}`;
    onTestFinished(() => {
      server.close();
      server.closeAllConnections();
    });
    for (const path of ['/hangs', '/stalls']) {
      const http = { url: origin + path, status: 200 };
      const found = await ask({ http, within: 200 });
      expect(found).toMatchObject({ verdict: 'failing', why: expect.stringContaining('nothing within 200 ms') });
    }
  });

  it('a port on which nothing listens is a failure', async () => {
    const http = { url: `http://127.0.0.1:${await freePort()}/`, status: 200 };
    expect(await ask({ http })).toMatchObject({ verdict: 'failing', why: expect.stringContaining('ECONNREFUSED') });
  });
});

describe('TCP', () => {
  it('tells whether a connection is taken', async () => {
    const server = createTcpServer((socket) => socket.on('error', () => undefined));
    const port = Number((await listen(server)).split(':')[1]);
    expect(await ask({ tcp: { host: '127.0.0.1', port } })).toMatchObject({ verdict: 'healthy' });
    await new Promise((resolve) => server.close(resolve));
    expect(await ask({ tcp: { host: '127.0.0.1', port } })).toMatchObject({
      ...{ verdict: 'failing', why: expect.stringContaining('ECONNREFUSED') },
    });
  });
});

describe('gRPC health', () => {
  /** A server whose service says of itself what the test wants. */
  async function serve(answer: handleUnaryCall<{ service: string }, number>): Promise<number> {
    const server = new Server();
    const read = (bytes: Buffer) => ({ service: bytes.subarray(2).toString('utf8') });
    server.addService(
      {
        Check: {
          ...{ path: '/grpc.health.v1.Health/Check', requestStream: false, responseStream: false },
          requestSerialize: Buffer.from,
          requestDeserialize: read,
          responseSerialize: (value: number) => (value === 0 ? Buffer.alloc(0) : Buffer.from([0x08, value])),
          responseDeserialize: (bytes: Buffer) => bytes[1],
        },
      },
      { Check: answer },
    );
    onTestFinished(() => server.forceShutdown());
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      );
    });
  }

  const grpc = (port: number, service = '') => ({ host: '127.0.0.1', port, service, tls: false });

  it.each([
    [0, 'failing', 'UNKNOWN'],
    [1, 'healthy', 'SERVING'],
    [2, 'failing', 'NOT_SERVING'],
    [3, 'failing', 'SERVICE_UNKNOWN'],
  ])('%i is %s', async (value, verdict, name) => {
    const asked: string[] = [];
    const port = await serve((call, respond) => {
      asked.push(call.request.service);
      respond(null, value);
    });
    expect(await ask({ grpc: grpc(port, 'shop.Payments') })).toMatchObject({ verdict, facts: { status: name } });
    expect(await ask({ grpc: grpc(port) })).toMatchObject({ verdict });
    expect(asked).toEqual(['shop.Payments', '']);
  });

  it('a name of any length is asked for', async () => {
    const names: number[] = [];
    const port = await serve((call, respond) => {
      names.push(call.request.service.length);
      respond(null, 1);
    });
    expect(await ask({ grpc: grpc(port, 'x'.repeat(300)) })).toMatchObject({ verdict: 'healthy' });
    // Its length takes two bytes, of which the server of the test reads one as a letter.
    expect(names).toEqual([301]);
  });

  it('an error, a silence, and nobody there are failures', async () => {
    const unknown = await serve((_, respond) => respond({ code: status.NOT_FOUND, details: 'unknown service' }));
    expect(await ask({ grpc: grpc(unknown, 'x') })).toMatchObject({
      verdict: 'failing',
      why: expect.stringContaining('NOT_FOUND: unknown service'),
    });
    const silent = await serve(() => undefined);
    expect(await ask({ grpc: grpc(silent), within: 300 })).toMatchObject({
      verdict: 'failing',
      why: expect.stringContaining('nothing within 300 ms'),
    });
    expect(await ask({ grpc: grpc(await freePort()) })).toMatchObject({
      verdict: 'failing',
      why: expect.stringContaining('UNAVAILABLE'),
    });
  });
});

describe('a stop', () => {
  it.each<[string, (address: { host: string; port: number }) => Partial<Probe>]>([
    ['http', ({ host, port }) => ({ http: { url: `http://${host}:${port}/`, status: 200 } })],
    ['grpc', (address) => ({ grpc: { ...address, service: '', tls: false } })],
  ])('ends a probe by %s with its reason, and is no finding', async (_, own) => {
    const taken = Promise.withResolvers<void>();
    const server = createTcpServer((socket) => {
      taken.resolve();
      socket.on('error', () => undefined);
      onTestFinished(() => void socket.destroy());
    });
    const port = Number((await listen(server)).split(':')[1]);
    onTestFinished(() => void server.close());
    const controller = new AbortController();
    const found = ask({ ...own({ host: '127.0.0.1', port }), within: 60_000 }, prober, controller.signal);
    await taken.promise;
    controller.abort(new Error('stopped by the test'));
    await expect(found).rejects.toThrow('stopped by the test');
  });
});
