import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { BreakerOrder } from '../../model/breaker/options.ts';
import type { BreakerStanding } from '../../model/breaker/standing.ts';
import { MESSAGE } from '../../model/names.ts';
import type { Story } from '../../model/remediation.ts';
import { BreakerStack } from '../support/breaker.ts';
import { Load } from '../support/data-plane/load.ts';
import { eventually } from '../support/wait.ts';

const stack = new BreakerStack();
const { dependency } = stack;

beforeAll(() =>
  stack.start({
    timeout: 20_000,
    // Long enough for a person to speak while it is open.
    dependency: { openFor: '3s', maxOpen: '12s', respectClose: '2s' },
  }),
);
afterAll(() => stack.stop());
beforeEach(async () => {
  await dependency.is('well');
  await eventually('callers are served', async () => (await stack.call()).status === 200);
});
afterEach(async () => {
  await stack.remediation.terminate('the test is over').catch(() => undefined);
});

const phase = async () => (await stack.timeline().catch(() => [])).at(-1)?.to;

const isOpen = () =>
  eventually('it is open', async () => (await phase()) === 'open' && (await stack.call()).overloaded);

const orders = (order: Pick<BreakerOrder, 'order' | 'until'>): Promise<BreakerStanding> =>
  stack.remediation.executeUpdate<BreakerStanding, [BreakerOrder]>(MESSAGE.breaker, {
    args: [{ ...order, by: 'person:ann', reason: 'she says so' }],
  });

describe('callers of a dependency that hangs', () => {
  test('pile up without a breaker; with it they are refused, and hold no more connections', async () => {
    await dependency.is('hangs');
    const load = new Load({ url: stack.envoy.url, perSecond: 20 });
    // Nobody is answered: each call holds a connection to the dependency.
    await eventually('they pile up', async () => (await dependency.connections()) >= 40);
    expect(load.answers).toEqual([]);
    await stack.alert();
    await isOpen();
    const since = Date.now();
    const held = await dependency.connections();
    // Those that waited come to an end; those who call now wait for nobody.
    const refused = await eventually('many are refused', () => {
      const now = load.answers.filter(({ start, status }) => start >= since && status === 503);
      return now.length >= 40 && now;
    });
    expect(refused.every(({ upstream }) => upstream === undefined)).toBe(true);
    expect(dependency.calls(since)).toBe(0);
    // Those of before, which still wait, and at most a trial of Salvor.
    expect(await dependency.connections()).toBeLessThanOrEqual(held + 1);
    await dependency.is('well');
    expect(await stack.ending()).toMatchObject({ outcome: 'recovered' });
    await load.stop();
  });
});

describe('a person', () => {
  test('opens it: it stays open although the dependency is well, until she closes it', async () => {
    await dependency.is('hangs');
    const startsAt = await stack.alert();
    await isOpen();
    expect(await orders({ order: 'open' })).toMatchObject({ state: 'open', by: 'person:ann' });
    await dependency.is('well');
    const since = Date.now();
    await stack.alert('resolved', startsAt);
    await eventually('it is heard', async () => {
      const { lines } = await stack.remediation.query<Story>(MESSAGE.story);
      return lines.some(({ text }) => text.includes('the alert is resolved'));
    });
    expect((await stack.timeline()).at(-1)).toMatchObject({ to: 'open', cause: 'person', until: null });
    expect(await stack.call()).toEqual({ status: 503, overloaded: true });
    expect(dependency.calls(since)).toBe(0);
    expect(await orders({ order: 'close' })).toMatchObject({ state: 'closed', by: 'person:ann' });
    expect(await stack.call()).toEqual({ status: 200, overloaded: false });
    expect(await stack.ending()).toMatchObject({ outcome: 'cancelled' });
  });

  test('closes it: callers are let through although the dependency is down', async () => {
    await dependency.is('refuses');
    await stack.alert();
    await isOpen();
    expect(await orders({ order: 'close' })).toMatchObject({ state: 'closed', by: 'person:ann' });
    // Envoy tries, and says that it could not connect: it is not the breaker that refuses.
    expect(await stack.call()).toEqual({ status: 503, overloaded: false });
    expect(await stack.ending()).toMatchObject({ outcome: 'cancelled' });
  });
});
