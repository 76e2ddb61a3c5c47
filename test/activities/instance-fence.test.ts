import { Client } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Fence, fenceOf } from '../../activities/attempt.ts';
import { instanceActivities } from '../../activities/instance.ts';
import { MESSAGE } from '../../model/names.ts';
import type { Story } from '../../model/remediation.ts';
import type { Attempt, InstanceProvider, Pulse } from '../../providers/instance.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  remediationOf,
  request,
  rule,
  startBench,
} from '../support/workflows.ts';

/** The fence as Temporal itself answers it, around a provider that does as the test says. */
let sandbox: Sandbox<'temporal'>;
let bench: Bench;
let fence: Fence;

/** What the provider does in each of its attempts, by pod name. */
const cuts = new Map<string, (attempt: Attempt) => Promise<void>>();
const holds = new Map<string, (pulse: Pulse) => Promise<void>>();

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  const usual = instance();
  const provider = (target: string): InstanceProvider => {
    const name = target.split('/').at(-1) ?? '';
    return {
      ...usual,
      cut: async (asked, attempt) => {
        await cuts.get(name)?.(attempt);
        return usual.cut(asked);
      },
      hold: async (asked, pulse) => {
        await holds.get(name)?.(pulse);
        return usual.hold(asked);
      },
    };
  };
  const evidence = () => {
    throw new Error('nobody asks for evidence here');
  };
  const registry = {
    instance: provider,
    evidence,
    canonical: async (key: string) => key,
    close: async () => undefined,
  };
  bench = await startBench(
    sandbox.temporal.address,
    instanceActivities(registry, (...given) => fence(...given)),
  );
  fence = fenceOf(bench.client); // on a connection like the worker's
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});

async function heal(name: string) {
  await deliver(bench, batch(rule(name), [request(name)]));
  const handle = remediationOf(bench, name);
  await eventually('it runs', () => handle.query<Story>(MESSAGE.story).then(() => true));
  return handle;
}

const NOT_MINE = { type: 'NotMine', nonRetryable: false, message: expect.stringMatching(/Temporal does not confirm/) };

test('an attempt counts until the next begins, which then counts until the remediation has ended', async () => {
  const attempts: Attempt[] = [];
  cuts.set('retried', async (attempt) => {
    attempts.push(attempt);
    await attempt.stillMine();
    if (attempts.length === 1) throw ApplicationFailure.retryable('once more');
    await expect(attempts[0]!.stillMine()).rejects.toMatchObject(NOT_MINE);
    await attempt.stillMine();
  });
  const handle = await heal('retried');
  expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
  const [first, second] = attempts;
  expect(first!.aloneUntil).toBe(first!.since + 10_000);
  expect(second).toMatchObject({ aloneUntil: 0, since: first!.since });
  for (const attempt of attempts) await expect(attempt.stillMine()).rejects.toMatchObject(NOT_MINE);
});

test('what an attempt has to remember reaches the next with the question', async () => {
  const lasts: unknown[] = [];
  holds.set('remembered', async (pulse) => {
    lasts.push(pulse.last);
    expect(pulse.aloneUntil).toBe(0); // its place may be taken as soon as its heartbeats are missed
    if (lasts.length > 1) return;
    pulse.beat({ contests: [] });
    pulse.beat({ contests: ['kubectl-edit'] });
    await pulse.stillMine();
    throw ApplicationFailure.retryable('once more');
  });
  await (await heal('remembered')).result();
  expect(lasts).toEqual([undefined, { contests: ['kubectl-edit'] }]);
});

test.each(['cut', 'hold'] as const)('a %s that is cancelled is told so, and ends as cancelled', async (step) => {
  const name = `cancelled-${step}`;
  let asking = false;
  const ask = async (attempt: Attempt): Promise<void> => {
    for (;;) {
      await attempt.stillMine();
      asking = true;
    }
  };
  (step === 'cut' ? cuts : holds).set(name, ask);
  const handle = await heal(name);
  await eventually('it asks', () => asking);
  await handle.cancel();
  await expect(handle.result()).rejects.toMatchObject({ cause: { name: 'CancelledFailure' } });
  const { ending } = await handle.query<Story>(MESSAGE.story);
  expect(ending).toMatchObject({ outcome: 'cancelled' });
  expect(ending?.changes.at(-1)).toMatchObject({ what: 'label off → on' });
});

test('while Temporal cannot be asked nothing counts, and the attempt is made again later', async () => {
  const failures: unknown[] = [];
  const closed = await connectTo(sandbox.temporal.address);
  await closed.close();
  const real = fence;
  cuts.set('deaf', async (attempt) => {
    if (failures.length > 0) return attempt.stillMine();
    fence = fenceOf(new Client({ connection: closed }));
    await attempt.stillMine().catch((error: unknown) => {
      failures.push(error);
      fence = real;
      throw error;
    });
  });
  expect(await (await heal('deaf')).result()).toMatchObject({ outcome: 'recovered' });
  expect(failures).toMatchObject([NOT_MINE]);
});
