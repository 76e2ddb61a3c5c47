import { afterAll, beforeAll, expect, test } from 'vitest';
import { BreakerStack, NAME } from '../support/breaker.ts';
import { eventually } from '../support/wait.ts';
import { type Ended, salvor } from './salvor.ts';

const stack = new BreakerStack();
beforeAll(() => stack.start({ dependency: { respectClose: '1s' } }));
afterAll(() => stack.stop());

const cli = (...args: string[]): Promise<Ended> => salvor(['breaker', ...args, '--config', stack.configFile]);
const read = (headers: Record<string, string> = {}, query = '') =>
  fetch(`${stack.gateway.url}/v1/breakers/${NAME}${query}`, { headers });

test('a person opens a breaker and closes it, and programs follow it', async () => {
  const before = await cli('list');
  expect(before).toMatchObject({ status: 0 });
  expect(before.stdout).toMatch(/payments +closed/);
  const first = await read();
  expect(await first.json()).toMatchObject({ dependency: NAME, state: 'closed' });
  const etag = first.headers.get('etag') ?? '';
  expect((await read({ 'if-none-match': etag })).status).toBe(304);
  const follows = read({ 'if-none-match': etag }, '?wait=1m');

  const opened = await cli('open', NAME, '--reason', 'they move house', '--json');
  expect(opened).toMatchObject({ status: 0 });
  expect(JSON.parse(opened.stdout)).toMatchObject({
    breaker: { state: 'open', by: expect.stringMatching(/^unverified:/) },
  });
  expect(await stack.call()).toEqual({ status: 503, overloaded: true });
  expect((await follows).status).toBe(200);
  expect((await cli('show', NAME)).stdout).toMatch(/payments is open.*they move house/);
  const all = await (await fetch(`${stack.gateway.url}/v1/breakers`)).json();
  expect(all).toMatchObject({ breakers: [{ dependency: NAME, state: 'open' }] });

  const closed = await cli('close', NAME);
  expect(closed).toMatchObject({ status: 0 });
  expect(await stack.call()).toEqual({ status: 200, overloaded: false });
  await eventually('it is over', async () => (await stack.remediation.describe()).status.name === 'COMPLETED');
  const story = await salvor(['show', 'dependency/payments', '--config', stack.configFile]);
  expect(story.stdout).toMatch(/closed → open: opened by unverified/);
  // The row over time, and what stands for what.
  expect(story.stdout).toMatch(/^Breaker {2}█ open \S+ {2}▁ closed \S+\n {2}[█▁]+$/m);
});

test('what there is none of is said', async () => {
  expect(await cli('show', 'payment')).toMatchObject({
    status: 1,
    stderr: expect.stringMatching(/no dependency payment/),
  });
  expect((await fetch(`${stack.gateway.url}/v1/breakers/payment`)).status).toBe(404);
  expect((await read({}, '?wait=soon')).status).toBe(422);
});

test('what is opened for a time is tried when that is up', async () => {
  const opened = await cli('open', NAME, '--for', '2s', '--json');
  expect(opened).toMatchObject({ status: 0 });
  const { breaker } = JSON.parse(opened.stdout) as { breaker: { state: string; until: string } };
  expect(breaker).toMatchObject({ state: 'open', until: expect.stringMatching(/^\d{4}-/) });
  const shown = await cli('show', NAME, '--json');
  expect(JSON.parse(shown.stdout)).toMatchObject({ dependency: NAME, relapses: 0, by: expect.any(String) });
  // The dependency is well: nobody has to close it.
  await eventually('callers are served', async () => (await stack.call()).status === 200);
  const listed = JSON.parse((await cli('list', '--json')).stdout) as object[];
  expect(listed).toMatchObject([{ dependency: NAME, state: 'closed' }]);
  await eventually('it is over', async () => (await stack.remediation.describe()).status.name === 'COMPLETED');
  expect((await stack.timeline()).map(({ to }) => to)).toEqual(['open', 'half-open', 'closed']);
});

test('a time that is none is wrong use, and nothing is done', async () => {
  const before = await stack.remediation.describe();
  expect(await cli('open', NAME, '--for', 'soon')).toMatchObject({
    status: 2,
    stderr: expect.stringMatching(/soon" is not a duration/),
  });
  expect((await stack.remediation.describe()).runId).toBe(before.runId);
});

test('a gateway that knows nobody takes no order', async () => {
  const env = { SALVOR_TOKEN: 'nobody' };
  const args = ['breaker', 'open', NAME, '--gateway', stack.gateway.url, '--config', stack.configFile];
  expect(await salvor(args, { env })).toMatchObject({ status: 3, stderr: expect.stringMatching(/names no people/) });
  expect(await stack.call()).toEqual({ status: 200, overloaded: false });
});

test('an order that no worker takes is not known to be obeyed', async () => {
  await stack.killWorker();
  const open = await cli('open', NAME);
  expect(open).toMatchObject({ status: 4, stderr: expect.stringMatching(/no worker answers/) });
  expect(await stack.call()).toEqual({ status: 200, overloaded: false });
  await stack.sandbox.temporal.kill();
  expect(await cli('list')).toMatchObject({ status: 4, stdout: '' });
}, 120_000);
