import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { BREAKER_ENDS, BREAKER_PENDING } from '../../model/breaker/standing.ts';
import { MESSAGE } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { readBreaker } from '../../providers/temporal/breakers.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import type { Bench } from '../support/workflows.ts';
import {
  alerted,
  type BreakerBench,
  Dependant,
  type Given,
  type Handle,
  inPhase,
  orders,
  startBreakers,
  storyOf,
} from './breaker-support.ts';

let sandbox: Sandbox<'temporal'>;
let breakers: BreakerBench;
let bench: Bench;
const all = new Map<string, Dependant>();
let one: Dependant;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  breakers = await startBreakers(sandbox.temporal.address, all);
  bench = breakers.bench;
});
afterAll(async () => {
  await breakers.stop();
  await sandbox.stop();
});
beforeEach(() => {
  one = new Dependant();
  all.set(one.name, one);
});

const LONG = 600_000;
const endingOf = (handle: Handle) => handle.result() as Promise<Ending>;
/** Open for as long as the test takes, unless somebody ends it. */
const lasting = { openFor: LONG, maxOpen: LONG };

async function opened(given: Given = {}): Promise<Handle> {
  const handle = await alerted(bench, one, { ...given, dependency: { ...lasting, ...given.dependency } });
  await inPhase(handle, 'open');
  await eventually('it is driven open', () => one.position === 'open' && one.drives > 0);
  return handle;
}

const raised = (handle: Handle, what: string) =>
  eventually(`people are told that it is ${what}`, async () => {
    const { workflowExecutionInfo } = (await handle.describe()).raw;
    const id = `${workflowExecutionInfo?.firstRunId}-${what}`;
    return bench.heralded.flatMap(({ raise = [] }) => raise).find((alert) => alert.id === id);
  });
const calmed = (id: string) =>
  eventually('that is over', () => bench.heralded.some(({ clear }) => clear?.includes(id)));

describe('what drives an open breaker', () => {
  it('goes silent: an order is obeyed all the same, and callers are not let through', async () => {
    let speak = (): void => undefined;
    one.silent = new Promise((resolve) => {
      speak = resolve;
    });
    const handle = await opened({ options: { trustAlert: true } });
    const order = orders(handle, { order: 'open' });
    expect(await order).toMatchObject({ state: 'open', switch: 'open', by: 'person:ann' });
    one.silent = undefined;
    speak();
    expect(one.positions).toEqual(['open']);
    expect((await handle.describe()).status.name).toBe('RUNNING');
    expect(await orders(handle, { order: 'close' })).toMatchObject({ state: 'closed', switch: 'closed' });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'cancelled' });
  });

  it('goes silent while its alert is resolved: the next trial is brought forward all the same', async () => {
    let speak = (): void => undefined;
    one.silent = new Promise((resolve) => {
      speak = resolve;
    });
    const handle = await opened({ options: { trustAlert: true } });
    one.verdict = 'healthy';
    await handle.signal(MESSAGE.resolved);
    await eventually('it was heard', async () =>
      (await storyOf(handle)).lines.some(({ text }) => text.includes('brought forward')),
    );
    one.silent = undefined;
    speak();
    expect(await endingOf(handle)).toMatchObject({ outcome: 'recovered' });
    expect(one.positions).toEqual(['open', 'closed']);
  });

  it('fails for good: it stays open, people are told, and it goes on when that is mended', async () => {
    const handle = await opened({ escalate: true });
    one.unreadable = 'the file of its flags is no JSON';
    const { id, annotations } = await raised(handle, 'undriven');
    expect(JSON.stringify(annotations)).toContain('the file of its flags is no JSON');
    expect(one.positions).toEqual(['open']);
    one.unreadable = undefined;
    await calmed(id);
    expect((await handle.describe()).status.name).toBe('RUNNING');
    expect(one.positions).toEqual(['open']);
    await orders(handle, { order: 'close' });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'cancelled' });
    expect(one.positions).toEqual(['open', 'closed']);
  });

  it('fails for good: a person closes it nevertheless', async () => {
    const handle = await opened();
    one.unreadable = 'its API answers 404';
    await eventually('it was tried again', () => one.drives > 3);
    expect(await orders(handle, { order: 'close' })).toMatchObject({ state: 'closed', switch: 'closed' });
    expect(one.positions).toEqual(['open', 'closed']);
  });
});

describe('a breaker that somebody else closes in part', () => {
  it('puts back what still is as it was set, and says so', async () => {
    const handle = await opened();
    one.contestedBy = 'somebody';
    await expect(endingOf(handle)).rejects.toThrow();
    expect(one.positions).toEqual(['open', 'closed']);
    const { ending, held } = await storyOf(handle);
    expect(ending).toMatchObject({ outcome: 'failed', reason: expect.stringMatching(/it is theirs.*was put back/) });
    expect(held).toEqual([]);
  });
});

describe('a switch that nobody drives any more', () => {
  const close = { order: 'close', by: 'person:ann', reason: 'it was left' } as const;

  it.each(['open', { share: 10 }] as const)('is closed by a person (%j)', async (position) => {
    one.position = position;
    const handle = await alerted(bench, one, { options: { order: close } });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'cancelled' });
    expect(one.positions).toEqual(['closed']);
  });

  it('is not said to be closed where it is not', async () => {
    one.position = 'open';
    one.foreign = true;
    const handle = await alerted(bench, one, { options: { order: close } });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'refused', reason: expect.stringMatching(/not closed/) });
  });

  it('keeps an alert from being healed, and people are told how it is closed', async () => {
    one.position = 'open';
    const handle = await alerted(bench, one, { escalate: true });
    const { outcome, reason } = await endingOf(handle);
    expect([outcome, reason]).toEqual(['refused', expect.stringContaining(`salvor breaker close ${one.name}`)]);
    const told = bench.heralded
      .flatMap(({ raise = [] }) => raise)
      .filter((alert) => JSON.stringify(alert).includes(one.name));
    expect(told).toHaveLength(1);
    expect(one.positions).toEqual([]);
  });
});

describe('how a breaker stands', () => {
  it('is told of its switch, not of what is wanted of it, and an order that is not done is not said to be', async () => {
    one.unopenable = 'no Envoy answers';
    const handle = await alerted(bench, one, { dependency: lasting });
    await inPhase(handle, 'open');
    await eventually('it is being opened', async () => {
      const { state, switch: stands } = await readBreaker(bench.client, one.name);
      return state === 'open' && stands === 'opening';
    });
    const order = orders(handle, { order: 'open' });
    await expect(order).rejects.toMatchObject({ type: BREAKER_PENDING });
    one.unopenable = undefined;
    await eventually('it is open', async () => (await readBreaker(bench.client, one.name)).switch === 'open');
    await handle.terminate();
    expect(await readBreaker(bench.client, one.name)).toMatchObject({
      ...{ state: 'closed', switch: 'unknown' },
      reason: expect.stringContaining(`salvor breaker close ${one.name}`),
    });
  }, 60_000);
});

describe('an order', () => {
  it('that waits while it fails is not answered as if it were obeyed', async () => {
    one.unopenable = 'no Envoy answers';
    const handle = await alerted(bench, one, { dependency: lasting });
    await inPhase(handle, 'open');
    const order = orders(handle, { order: 'close' });
    await eventually('it waits', async () =>
      ((await handle.fetchHistory()).events ?? []).some(({ workflowExecutionUpdateAcceptedEventAttributes: at }) => at),
    );
    one.broken = 'no rights';
    await expect(order).rejects.toMatchObject({ type: BREAKER_ENDS });
    await expect(endingOf(handle)).rejects.toThrow();
    expect(one.positions).toEqual([]);
  });

  it('is refused while what was done is taken back', async () => {
    const handle = await opened();
    one.unclosable = 'no answer';
    await handle.cancel();
    await eventually('it is taken back', async () => (await storyOf(handle)).phase === 'undo');
    await expect(orders(handle, { order: 'open' })).rejects.toMatchObject({ type: BREAKER_ENDS });
    one.unclosable = undefined;
    await expect(endingOf(handle)).rejects.toThrow();
    expect(one.positions).toEqual(['open', 'closed']);
  });

  it('is obeyed while its switch cannot be closed, of which people are told', async () => {
    const handle = await opened({ escalate: true });
    one.unclosable = 'an Envoy does not answer';
    await expect(orders(handle, { order: 'close' })).rejects.toMatchObject({ type: BREAKER_PENDING });
    expect(await readBreaker(bench.client, one.name)).toMatchObject({ state: 'closed', switch: 'closing' });
    expect(await orders(handle, { order: 'open' })).toMatchObject({ state: 'open', switch: 'open', by: 'person:ann' });
    one.unclosable = undefined;
    expect(await orders(handle, { order: 'close' })).toMatchObject({ state: 'closed', switch: 'closed' });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'cancelled' });
    expect(one.positions).toEqual(['open', 'closed']);
  }, 60_000);

  it('whose time is over when it is taken up opens nothing', async () => {
    const order = {
      order: 'open',
      by: 'person:ann',
      reason: 'their maintenance',
      until: '2026-01-01T00:00:00Z',
    } as const;
    const handle = await alerted(bench, one, { options: { order } });
    expect(await endingOf(handle)).toMatchObject({ outcome: 'not-needed', reason: expect.stringMatching(/is over/) });
    expect(one.positions).toEqual([]);
  });
});

it('a switch that somebody else has opened while it is watched is left to them', async () => {
  const handle = await alerted(bench, one, { dependency: { healthyFor: LONG } });
  await inPhase(handle, 'open');
  one.verdict = 'healthy';
  await inPhase(handle, 'closed');
  await eventually('it is closed', () => one.positions.at(-1) === 'closed');
  one.position = 'open';
  one.verdict = 'failing';
  expect(await endingOf(handle)).toMatchObject({
    outcome: 'recovered',
    reason: expect.stringMatching(/somebody else/),
  });
  expect(one.position).toBe('open');
});
