import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { HttpSwitch } from '../../../model/breaker/options.ts';
import { switchOf } from '../../../providers/switches-of.ts';
import { eventually } from '../../support/wait.ts';
import { actor, attempt, dependency, heldOf, inMs, pulse, setRequest } from '../switch-support.ts';

const SECRET = 's3cret-of-the-test';

let folder: string;
let base: string;
/** The API of whatever stands before the dependency. */
let state: unknown;
let calls: { method: string | undefined; body: unknown; headers: IncomingMessage['headers'] }[];
let answer: ((request: IncomingMessage, response: ServerResponse) => boolean) | undefined;

const server = createServer(async (request, response) => {
  if (answer?.(request, response)) return;
  if (request.headers.authorization !== `Bearer ${SECRET}`) {
    response.writeHead(401).end(`no: ${request.headers.authorization}`);
    return;
  }
  if (request.method !== 'GET') {
    const body = JSON.parse(await text(request)) as { to: { state: string } };
    calls.push({ method: request.method, body, headers: request.headers });
    state = body.to.state;
  }
  response.setHeader('content-type', 'application/json').end(JSON.stringify({ upstreams: [{ 'a/b': state }] }));
});

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-http-switch-'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(async () => {
  [state, calls, answer] = ['closed', [], undefined];
  await writeFile(join(folder, 'headers'), `# of the gateway\nAuthorization: Bearer ${SECRET}\r\n\nX-Team: shop\n`);
});
afterAll(async () => {
  server.close();
  server.closeAllConnections();
  await rm(folder, { recursive: true, force: true });
});

function make(change: Partial<HttpSwitch> = {}) {
  const http: HttpSwitch = {
    url: `${base}/upstreams?key=in-the-query`,
    method: 'PATCH',
    body: { to: { state: '${state}', why: '${dependency} at ${share}% ${other}' }, percent: '${share}' },
    headers: { 'x-team': 'nobody' },
    headersFile: join(folder, 'headers'),
    read: { url: `${base}/upstreams`, pointer: '/upstreams/0/a~1b', open: 'open', closed: 'closed' },
    ...change,
  };
  const it = dependency({ http });
  return { it, own: switchOf(it, { clusters: new Map() }) };
}

async function opened() {
  const { it, own } = make();
  const held = heldOf(await own.read());
  return { it, own, held, changes: await own.set(setRequest(it, 'open', held), attempt()) };
}

describe('a switch by HTTP', () => {
  it('is set by one call, read back, and never called where it stands so already', async () => {
    const { it, own, held, changes } = await opened();
    expect(held).toMatchObject([
      { object: { key: 'dependency/payments', uid: `${base}/upstreams` }, before: 'closed', set: 'open' },
    ]);
    expect(changes).toMatchObject([{ step: 'open', before: 'closed', after: 'open' }]);
    expect(calls).toHaveLength(1);
    expect(calls[0]).toMatchObject({
      method: 'PATCH',
      body: { to: { state: 'open', why: 'payments at 0% ${other}' }, percent: 0 },
      headers: { 'x-team': 'shop', 'content-type': 'application/json' },
    });
    expect(await own.read()).toMatchObject({ position: 'open', held: [] });
    expect(await own.set(setRequest(it, 'open', held), attempt())).toEqual([]);
    await own.set(setRequest(it, { share: 10 }, held), attempt());
    expect(calls.at(-1)?.body).toEqual({ to: { state: 'share', why: 'payments at 10% ${other}' }, percent: 10 });
    expect(await own.read()).toMatchObject({ position: 'mixed', why: expect.stringContaining('"share"') });
    expect(await own.set(setRequest(it, 'closed', held), attempt())).toMatchObject([
      { before: 'share', after: 'closed' },
    ]);
    expect(await own.set(setRequest(it, 'closed', held), attempt())).toEqual([]);
    expect(calls).toHaveLength(3);
    expect(await own.release(held[0]!, false)).toMatchObject({ result: 'as-before' });
  });

  it('its secrets are in no result and no message', async () => {
    const { it, own, held, changes } = await opened();
    expect(JSON.stringify([held, changes, await own.read()])).not.toMatch(/s3cret|in-the-query/);
    answer = (request, response) => {
      response
        .writeHead(request.method === 'GET' ? 200 : 403)
        .end(request.method === 'GET' ? '{}' : `you sent ${SECRET}`);
      return true;
    };
    const refused = await own.set(setRequest(it, 'closed', held), attempt()).catch((error: unknown) => error);
    expect(refused).toMatchObject({ name: 'FinalError', type: 'Forbidden' });
    expect(`${refused} ${JSON.stringify(refused)}`).not.toMatch(/s3cret|in-the-query/);
    await writeFile(join(folder, 'headers'), `Authorization Bearer ${SECRET}\n`);
    const broken = await own.read().catch((error: unknown) => error);
    expect(String(broken)).toContain('headers:1 is no header');
    expect(String(broken)).not.toContain('s3cret');
  });

  it.each([
    [401, 'FinalError', 'Forbidden'],
    [403, 'FinalError', 'Forbidden'],
    [404, 'FinalError', 'Invalid'],
    [302, 'FinalError', 'Invalid'],
    [429, 'UnavailableError', undefined],
    [500, 'UnavailableError', undefined],
    [503, 'UnavailableError', undefined],
  ])('%i is %s %s', async (status, name, type) => {
    let asked = 0;
    answer = (_, response) => {
      asked += 1;
      response.writeHead(status, { location: `${base}/elsewhere` }).end();
      return true;
    };
    const failed = await make()
      .own.read()
      .catch((error: unknown) => error);
    expect(failed).toMatchObject({ name, ...(type && { type }) });
    expect(asked, 'redirects are not followed, and it is tried again by whoever asks').toBe(1);
  });

  it('a call that was taken and changed nothing is no success', async () => {
    const { it, own } = make();
    answer = (request, response) => {
      if (request.method !== 'GET') response.writeHead(202).end();
      return request.method !== 'GET';
    };
    await expect(own.set(setRequest(it, 'open', []), attempt())).rejects.toThrow('is still "closed", expected open');
  });

  it('what somebody else has set is set again once, and then left', async () => {
    const { it, own, held } = await opened();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, pulse());
    state = 'closed';
    await eventually('it is set again', () => state === 'open');
    state = 'closed';
    expect(await kept).toMatchObject({
      contested: { object: { key: 'dependency/payments' } },
      changes: [{ step: 'keep' }],
    });
    expect(state).toBe('closed');
  });
});
