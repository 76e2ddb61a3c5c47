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
