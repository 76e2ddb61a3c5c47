import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { CheckResult } from '../../../providers/checks.ts';
import { UnavailableError } from '../../../providers/errors.ts';
import { POD } from '../../../providers/kubernetes/examine.ts';
import type { Pod } from '../../../providers/kubernetes/objects.ts';
import { Recovery } from '../../../providers/kubernetes/recovery.ts';

const START = Date.parse('2026-01-01T00:00:00Z');

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['Date'], now: START });
});
afterEach(() => {
  vi.useRealTimers();
});

/** `changed`: what tells one state of its conditions from another. */
const pod = (ready: boolean, changed = 'a'): Pod => ({
  metadata: { name: 'web', uid: 'u', resourceVersion: '1' },
  status: {
    conditions: ['ContainersReady', 'Ready'].map((type) => ({
      ...{ type, status: ready ? 'True' : 'False', lastTransitionTime: changed },
    })),
  },
});

const HEALTHY: CheckResult = { healthy: true, why: 'it is fine' };
const SICK: CheckResult = { healthy: false, why: 'it is not' };

/** Of a pod whose check answers as the test says, each time that it is asked. */
function made(stableFor: number, checks = true) {
  const returns = { flaps: 0, wasHealthy: false };
  const asked: { at: number; answer(result: CheckResult | Error): Promise<void> }[] = [];
  const ask = () =>
    new Promise<CheckResult>((resolve, reject) => {
      const answer = async (result: CheckResult | Error) => {
        if (result instanceof Error) reject(result);
        else resolve(result);
        await new Promise((done) => setImmediate(done)); // it has been taken in
      };
      asked.push({ at: Date.now() - START, answer });
    });
  const recovery = new Recovery({
    kind: POD,
    stableFor,
    ask: checks ? ask : undefined,
    wake: () => undefined,
    returns,
  });
  /** Sees the pod at this time, and lets the check answer if it is asked. */
  const see = async (at: number, seen: Pod, result: CheckResult | Error = HEALTHY) => {
    vi.setSystemTime(START + at);
    const before = asked.length;
    recovery.see(seen);
    if (asked.length > before) await asked.at(-1)?.answer(result);
  };
  return { recovery, returns, asked, see, at: (ms: number) => vi.setSystemTime(START + ms) };
}

test('without checks it is stable when the platform has said so for long enough, and due then', async () => {
  const { recovery, see, at } = made(10_000, false);
  await see(0, pod(true));
  expect(recovery.next).toBe(START + 10_000);
  at(9_999);
  expect(recovery.isStable).toBe(false);
  at(10_000);
  expect(recovery.isStable).toBe(true);
});

test.each([
  [30_000, 5_000],
  [9_000, 3_000],
  [500, 1_000],
])('stable for %i ms: its checks are asked every %i ms, and the last answer decides', async (stableFor, every) => {
  const { recovery, asked, see } = made(stableFor);
  for (let at = 0; !recovery.isStable; at = recovery.next - START) await see(at, pod(true));
  const times = asked.map(({ at }) => at);
  expect(times).toEqual(times.map((_, i) => i * every));
  expect(times.at(-1)).toBe(Math.ceil(stableFor / every) * every);
});

test.each([
  ['a sick answer', SICK, 1],
  ['no answer', new UnavailableError('silence'), 0],
])('%s breaks it, and is a return of the sickness or not', async (_, answer, flaps) => {
  const { recovery, returns, see } = made(3_000);
  await see(0, pod(true));
  await see(1_000, pod(true));
  await see(2_000, pod(true), answer);
  expect(returns.flaps).toBe(flaps);
  expect(recovery.describe(pod(true))).toMatchObject({ healthy: false });
  for (const at of [3_000, 4_000, 5_000]) {
    await see(at, pod(true));
    expect(recovery.isStable).toBe(false);
  }
  await see(6_000, pod(true));
  expect(recovery.isStable).toBe(true);
});

test('a break of the platform counts once, however long it lasts; one that nobody saw only counts the time anew', async () => {
  const { recovery, returns, see } = made(3_000);
  await see(0, pod(true));
  await see(500, pod(false, 'b'));
  await see(600, pod(false, 'c'));
  expect(returns).toEqual({ flaps: 1, wasHealthy: false });
  expect(recovery.next).toBe(Number.POSITIVE_INFINITY);
  for (const at of [1_000, 2_000, 3_000]) await see(at, pod(true, 'd'));
  await see(4_000, pod(true, 'e'));
  expect(recovery.isStable).toBe(false);
  expect(recovery.isStill(pod(true, 'd'))).toBe(false);
  expect(returns.flaps).toBe(1);
});

test('an answer to a question from before a break says nothing of the time after it', async () => {
  const { recovery, returns, asked, at } = made(1_000);
  recovery.see(pod(true));
  recovery.see(pod(false, 'b'));
  at(100);
  recovery.see(pod(true, 'c'));
  await asked[0]?.answer(HEALTHY);
  expect(returns).toEqual({ flaps: 0, wasHealthy: false });
  expect(recovery.describe(pod(true, 'c'))).toMatchObject({ healthy: false, why: expect.stringMatching(/no check/) });
});

test('what no further try will mend is thrown by the next look', async () => {
  const { recovery, see } = made(1_000);
  await see(0, pod(true), new Error('the query is none'));
  expect(() => recovery.see(pod(true))).toThrow('the query is none');
});
