import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Transition } from '../../model/breaker/machine.ts';
import { BreakerStack } from '../support/breaker.ts';
import { Load } from '../support/data-plane/load.ts';
import { PROBE_PATH } from '../support/dependency.ts';
import { eventually } from '../support/wait.ts';

const stack = new BreakerStack();
const { dependency } = stack;
beforeAll(() => stack.start({ timeout: 3_000 }));
afterAll(() => stack.stop());
beforeEach(async () => {
  await dependency.is('well');
  await eventually('callers are served', async () => (await stack.call()).status === 200);
  if (!stack.worker) await stack.startWorker();
});
afterEach(async () => {
  // A test that failed may have left it open.
  await stack.remediation.terminate('the test is over').catch(() => undefined);
});

const ways = (timeline: Transition[]): string[] => timeline.map(({ to, cause }) => `${to} (${cause})`);
const REFUSED = { status: 503, overloaded: true };

/** Resolves when callers are refused at once. */
async function untilRefused(): Promise<void> {
  await eventually('callers are refused', async () => {
    const { status, overloaded } = await stack.call();
    return status === 503 && overloaded;
  });
}

describe('a dependency that is down', () => {
  test.each(['refuses', 'hangs'] as const)(
    'and %s: callers are refused at once, nothing but trials reaches it, and they are let back when it has healed',
    async (how) => {
      const load = new Load({ url: stack.envoy.url, perSecond: 50 });
      await dependency.is(how);
      await stack.heal();
      await untilRefused();
      const openSince = Date.now();
      const { until } = await stack.standing();
      expect(until).toBeDefined();
      await eventually('it was tried in vain', async () =>
        (await stack.timeline()).some(({ cause }) => cause === 'failures'),
      );
      await dependency.is('well');
      const healedAt = Date.now();
      await eventually('callers are served', async () => (await stack.call()).status === 200);
      expect(await stack.ending()).toMatchObject({ outcome: 'recovered' });
      const answers = await load.stop();
      const timeline = await stack.timeline();
      const closedAt = timeline.find(({ to }) => to === 'closed')?.at ?? 0;

      // One trial period, and no more, was needed after it had healed.
      const tried = timeline.filter(({ to, at }) => to === 'half-open' && at > healedAt);
      expect(tried.length).toBeLessThanOrEqual(1);
      // While it was open every caller was answered by Envoy itself, without waiting for anybody.
      const meanwhile = answers.filter(({ start }) => start >= openSince && start < closedAt);
      expect(meanwhile.length).toBeGreaterThan(50);
      expect(meanwhile.every(({ status, upstream }) => status === 503 && upstream === undefined)).toBe(true);
      const reached = dependency.requests.filter(({ at }) => at >= openSince && at < closedAt);
      expect(reached.every(({ path }) => path === PROBE_PATH)).toBe(true);
      // Afterwards it is as it was before: no override is left in Envoy.
      const runtime = await (await fetch(`${stack.envoy.adminUrl}/runtime`)).json();
      const entries = Object.values((runtime as { entries: Record<string, { final_value: string }> }).entries);
      expect(entries.filter(({ final_value }) => final_value !== '')).toEqual([]);
    },
  );

  test('is open for twice as long after each relapse, up to the most', async () => {
    await dependency.is('refuses');
    await stack.heal();
    const timeline = await eventually('three relapses', async () => {
      const seen = await stack.timeline();
      return seen.filter(({ to }) => to === 'open').length >= 4 && seen;
    });
    const factors = timeline
      .filter(({ to }) => to === 'open')
      .slice(0, 4)
      .map(({ at, until }, n) => ((until ?? 0) - at) / (2_000 * Math.min(4, 2 ** n)));
    for (const factor of factors) {
      expect(factor).toBeGreaterThanOrEqual(0.899);
      expect(factor).toBeLessThanOrEqual(1.101);
    }
    await dependency.is('well');
    await stack.ending();
  });
});

test('an alert alone opens nothing: the dependency is well', async () => {
  await stack.heal();
  expect(await stack.ending()).toMatchObject({ outcome: 'not-needed', changes: [] });
  expect(await stack.call()).toEqual({ status: 200, overloaded: false });
  expect(await stack.standing()).toMatchObject({ state: 'closed' });
});

test('an Envoy that is restarted while it is open is opened again', async () => {
  await dependency.is('hangs');
  await stack.heal();
  await untilRefused();
  await stack.envoy.stop();
  await stack.startEnvoy();
  await untilRefused();
  await dependency.is('well');
  const { outcome, changes } = await stack.ending();
  expect(outcome).toBe('recovered');
  expect(changes.map(({ step }) => step)).toContain('keep-open');
  expect(await stack.call()).toEqual({ status: 200, overloaded: false });
});

describe('the worker is killed', () => {
  test('while it is confirmed: the next one confirms, and opens it', async () => {
    await dependency.is('hangs');
    await stack.heal();
    await eventually('it is being confirmed', () => dependency.requests.some(({ path }) => path === PROBE_PATH));
    await stack.killWorker();
    await stack.startWorker();
    await untilRefused();
    await dependency.is('well');
    expect(await stack.ending()).toMatchObject({ outcome: 'recovered' });
    expect(ways(await stack.timeline()).slice(0, 2)).toEqual(['confirming (alert)', 'open (confirmed)']);
  });

  test('while it is open: it stays open meanwhile, and for no longer than it was to be', async () => {
    await dependency.is('refuses');
    await stack.heal();
    await untilRefused();
    const before = await stack.standing();
    await stack.killWorker();
    expect(await stack.call()).toEqual(REFUSED);
    // A program can read it, although no worker answers.
    expect(await stack.standing()).toMatchObject({ state: before.state });
    await dependency.is('well');
    await stack.startWorker();
    expect(await stack.ending()).toMatchObject({ outcome: 'recovered' });
    const open = (await stack.timeline()).filter(({ to }) => to === 'open');
    expect(new Date(open.at(-1)?.until ?? 0).toISOString()).toBe(before.until);
  });

  test('while it is tried: no more trials are made than are allowed', async () => {
    await dependency.is('refuses');
    await stack.heal();
    await untilRefused();
    await dependency.is('hangs');
    const since = Date.now();
    await eventually('a trial', () => dependency.requests.some(({ at, path }) => at > since && path === PROBE_PATH));
    await stack.killWorker();
    expect(await stack.call()).toEqual(REFUSED);
    await dependency.is('well');
    await stack.startWorker();
    expect(await stack.ending()).toMatchObject({ outcome: 'recovered' });
    expect(await stack.call()).toEqual({ status: 200, overloaded: false });
  });

  test('while it is watched after it was closed: what fails again is opened again, for longer', async () => {
    await dependency.is('refuses');
    await stack.heal();
    await untilRefused();
    await dependency.is('well');
    const closed = await eventually('it is closed', async () => {
      const seen = await stack.timeline();
      return seen.at(-1)?.to === 'closed' && seen;
    });
    await stack.killWorker();
    await dependency.is('refuses');
    await stack.startWorker();
    const after = await eventually('it was looked at again', async () => {
      const seen = await stack.timeline();
      const { status } = await stack.remediation.describe();
      return (seen.length > closed.length || status.name !== 'RUNNING') && seen.slice(closed.length);
    });
    await dependency.is('well');
    expect(await stack.ending()).toMatchObject({ outcome: 'recovered' });
    // Whether it was still to be watched when the next worker was there, the clock of this machine has decided.
    if (after.length > 0) expect(ways(after)).toContain('open (relapse)');
    expect(await stack.call()).toEqual({ status: 200, overloaded: false });
  });
});
