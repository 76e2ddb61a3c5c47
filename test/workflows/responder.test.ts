import { randomUUID } from 'node:crypto';
import { WithStartWorkflowOperation } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { dispatchActivities } from '../../activities/dispatch.ts';
import { MESSAGE, proposalId, remediationId, responderId, WORKFLOW } from '../../model/names.ts';
import type { HoldResult, InstancePort } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import type { Batch, RunAnswer } from '../../model/request.ts';
import type { ResponderInput } from '../../model/responder.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import type { responder } from '../../workflows/responder.ts';
import { door, eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  listedAtLeast,
  pod,
  remediationOf,
  request,
  rule,
  runsOf,
  sick,
  startBench,
  stateOf,
} from '../support/workflows.ts';
import { reportOf } from './support.ts';

/** Doors by pod name: a hold that has one waits until the test opens it. */
const doors = new Map<string, ReturnType<typeof door<HoldResult>>>();
const recovered: HoldResult = { verdict: 'recovered', why: 'healthy', changes: [] };

const held: Partial<InstancePort> = {
  // A pod of a burst is well when it is looked at: a thousand whole drains would test the machine, not the responder.
  assess: async ({ target }) => (target.includes('-burst-') ? { verdict: 'healthy', why: 'Ready' } : sick(target)),
  hold: async ({ instance: { key } }) => (await doors.get(key.split('/').at(-1) ?? '')?.opened) ?? recovered,
};

let sandbox: Sandbox<'temporal'>;
let bench: Bench;
/** Unique for each test: rule names and pod names start with it. */
let id: string;

beforeAll(async () => {
  sandbox = await startSandbox({
    parts: ['temporal'],
    // Continue as new early, so that a burst of 1,000 alerts meets it many times.
    temporal: { dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': 200 } },
  });
  bench = await startBench(sandbox.temporal.address, instance(held));
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  id = `t${randomUUID().slice(0, 8)}`;
});

const shut = (name: string) => {
  const made = door<HoldResult>();
  doors.set(name, made);
  return made;
};
/** Resolves when the target's remediation, which may not have started yet, has ended. */
const ended = async (name: string) => {
  await eventually(`${name} started`, () => remediationOf(bench, name).describe());
  return remediationOf(bench, name).result();
};
const isHeld = (name: string) => eventually(`hold ${name}`, () => bench.calls.includes(`hold ${name}`));

describe('the same alert', () => {
  it('acts once, however often it is delivered, before and after its remediation has ended', async () => {
    const r = rule(id);
    const it = request(`${id}-a`);
    const held = shut(`${id}-a`);
    await Promise.all([1, 2, 3].map(() => deliver(bench, batch(r, [it]))));
    await isHeld(`${id}-a`);
    await deliver(bench, batch(r, [it, it]));
    held.open(recovered);
    await ended(`${id}-a`);
    await eventually('the end is told', async () => Object.keys((await stateOf(bench, id)).settled).length === 1);
    await deliver(bench, batch(r, [it]));
    const { tally } = await eventually('all counted', async () => {
      const state = await stateOf(bench, id);
      return state.tally.coalesce === 5 && state;
    });
    expect(tally).toEqual({ admit: 1, wait: 0, refuse: 0, coalesce: 5 });
    expect(await runsOf(bench, `${id}-a`, 1)).toBe(1);
    expect(bench.calls.filter((call) => call === `cut ${id}-a`)).toHaveLength(1);
  });
});

describe('what waits', () => {
  it('is dropped when its alert is resolved', async () => {
    const r = rule(id);
    const first = shut(`${id}-a`);
    await deliver(bench, batch(r, [request(`${id}-a`), request(`${id}-b`), request(`${id}-c`)]));
    await isHeld(`${id}-a`);
    const queued = await eventually('two wait', async () => {
      const all = Object.values((await stateOf(bench, id)).queue);
      return all.length === 2 && all;
    });
    expect(queued.map(({ target, gate }) => [target, gate])).toEqual([
      [pod(`${id}-b`), 'in-flight'],
      [pod(`${id}-c`), 'in-flight'],
    ]);
    await deliver(bench, batch(r, [request(`${id}-b`, { status: 'resolved' })]));
    first.open(recovered);
    await eventually(
      'c is healed',
      async () => (await remediationOf(bench, `${id}-c`).describe()).status.name === 'COMPLETED',
    );
    const state = await eventually('nothing is open', async () => {
      const seen = await stateOf(bench, id);
      return Object.keys(seen.open).length === 0 && seen;
    });
    expect(state.queue).toEqual({});
    expect(await runsOf(bench, `${id}-b`)).toBe(0);
  });

  it('waits for the whole cooldown of its target', async () => {
    const cooldown = 3_000;
    const r = rule(id, { cooldown });
    const again = request(`${id}-a`, { startsAt: '2026-01-01T00:05:00Z' });
    const held = shut(`${id}-a`);
    await deliver(bench, batch(r, [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    // It waits before the cooldown begins, so that it is there for the whole of it.
    await deliver(bench, batch(r, [again]));
    await eventually(
      'it waits',
      async () => Object.values((await stateOf(bench, id)).queue)[0]?.gate === 'target-busy',
    );
    const { runId } = await remediationOf(bench, `${id}-a`).describe();
    held.open(recovered);
    await eventually('a second run', async () => (await runsOf(bench, `${id}-a`)) === 2);
    const second = await remediationOf(bench, `${id}-a`).describe();
    // From the end that was told: the first run closes a moment after it.
    const { at } = await reportOf(bench, id, runId);
    expect(second.startTime.getTime() - Date.parse(at)).toBeGreaterThanOrEqual(cooldown - 100);
  });

  it('waits for a target that another rule holds', async () => {
    const mine = shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    await deliver(bench, batch(rule(`${id}-other`), [request(`${id}-a`, { fingerprint: 'other' })]));
    const queued = await eventually(
      'queued',
      async () => Object.values((await stateOf(bench, `${id}-other`)).queue)[0],
    );
    expect(queued).toMatchObject({ gate: 'target-busy', reason: expect.stringContaining(id) });
    expect(await runsOf(bench, `${id}-a`, 1)).toBe(1);
    mine.open(recovered);
  });
});

describe('a burst', () => {
  it('of 1,000 alerts over many continue-as-new is handled, each exactly once', async () => {
    const r = rule(id, { maxInFlight: 200 });
    const requests = Array.from({ length: 1_000 }, (_, i) => request(`${id}-burst-${i}`));
    await Promise.all(
      Array.from({ length: 100 }, (_, i) => deliver(bench, batch(r, requests.slice(i * 10, i * 10 + 10)))),
    );
    const looksOf = () => bench.calls.filter((call) => call.startsWith(`assess ${id}-`));
    await eventually('all looked at', () => looksOf().length >= 1_000, 300_000);
    await eventually(
      'all told their end',
      async () => {
        const { open, queue, settled } = await stateOf(bench, id);
        return Object.keys(settled).length === 1_000 && Object.keys(queue).length + Object.keys(open).length === 0;
      },
      120_000,
    );
    // A look may be made twice (a worker may be too slow for the server); a remediation may not.
    expect(new Set(looksOf()).size).toBe(1_000);
    const listed = (query: string) => async () => (await bench.client.workflow.count(query)).count;
    const burst = listed(`WorkflowId STARTS_WITH '${remediationId(pod(`${id}-burst-`))}'`);
    expect(await listedAtLeast(1_000, burst)).toBe(1_000);
    await listedAtLeast(3, listed(`WorkflowId = '${responderId(id, 'shop')}'`));
  }, 500_000);
});

describe('a responder', () => {
  it('ends when it has nothing left to remember', async () => {
    const r = rule(id, { cooldown: 500 });
    await deliver(bench, batch(r, [request(`${id}-a`)]));
    await ended(`${id}-a`);
    await deliver(bench, batch(r, [request(`${id}-a`, { status: 'resolved' })]));
    await bench.client.workflow.getHandle(responderId(id, 'shop')).result();
  });

  it('that was terminated is started again by the end of a remediation, and remembers it', async () => {
    const held = shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    await bench.client.workflow.getHandle(responderId(id, 'shop')).terminate();
    held.open(recovered);
    await ended(`${id}-a`);
    await deliver(
      bench,
      batch(rule(id), [request(`${id}-a`), request(`${id}-a`, { startsAt: '2026-01-01T01:00:00Z' })]),
    );
    const state = await eventually('both decided', async () => {
      const seen = await stateOf(bench, id);
      return seen.tally.coalesce === 1 && seen.tally.wait === 1 && seen;
    });
    expect(Object.values(state.queue)[0]?.gate).toBe('cooldown');
  });

  it('that observes starts a proposal, which changes nothing and holds nothing', async () => {
    const r = rule(id, {}, 'observe');
    await deliver(bench, batch(r, [request(`${id}-a`), request(`${id}-b`)]));
    const handles = ['a', 'b'].map((name) => bench.client.workflow.getHandle(proposalId(id, pod(`${id}-${name}`))));
    const endings = (await eventually('proposals', () => Promise.all(handles.map((h) => h.result())))) as Ending[];
    expect(endings).toMatchObject([
      { outcome: 'observed', plan: ['label salvor.dev/traffic: on → off', 'evict'], changes: [] },
      { outcome: 'observed' },
    ]);
    // A look may be made twice (a worker may be too slow for the server); and nothing else is done.
    const done = new Set(bench.calls.filter((call) => call.includes(id)));
    expect(done).toEqual(new Set([`assess ${id}-a`, `assess ${id}-b`]));
    expect(await runsOf(bench, `${id}-a`)).toBe(0);
  });
});

describe('salvor run', () => {
  const run = async (b: Batch, updateId: string): Promise<RunAnswer> =>
    await bench.client.workflow.executeUpdateWithStart<typeof responder, RunAnswer, [Batch]>(MESSAGE.run, {
      updateId,
      args: [b],
      startWorkflowOperation: new WithStartWorkflowOperation(WORKFLOW.responder, {
        workflowId: responderId(b.rule.name, b.scope),
        taskQueue: bench.taskQueue,
        workflowIdConflictPolicy: 'USE_EXISTING',
        args: [{ rule: b.rule.name, scope: b.scope } satisfies ResponderInput],
      }),
    });

  it('repeated with its Update ID acts once; another one waits for the target', async () => {
    const held = shut(`${id}-a`);
    const mine = batch(rule(id), [request(`${id}-a`, { fingerprint: 'run-1' })]);
    const first = await run(mine, 'run-1');
    const repeated = await run(mine, 'run-1');
    expect(first).toMatchObject({
      decision: { answer: 'admit' },
      remediation: { workflowId: remediationId(pod(`${id}-a`)) },
    });
    expect(repeated).toEqual(first);
    const other = await run(batch(rule(id), [request(`${id}-a`, { fingerprint: 'run-2' })]), 'run-2');
    expect(other).toMatchObject({ decision: { answer: 'wait', gate: 'target-busy' }, remediation: first.remediation });
    held.open(recovered);
    await ended(`${id}-a`);
    expect(await runsOf(bench, `${id}-a`, 1)).toBe(1);
  });
});

describe('a start that is made twice', () => {
  it('is one start, also when its remediation has ended meanwhile', async () => {
    const { dispatch } = dispatchActivities({
      client: bench.client,
      taskQueue: bench.taskQueue,
      searchAttributes: false,
      give: async () => undefined,
      herald: async () => undefined,
    });
    const { fingerprint, startsAt, target, alertname, digest, by } = request(`${id}-a`);
    const start = (episode: string) =>
      dispatch({
        responder: responderId(id, 'shop'),
        scope: 'shop',
        rule: rule(id),
        ruleDigest: '',
        starts: [
          {
            episode,
            request: { fingerprint, startsAt, target, alertname, digest, by, delivery: 'd' },
            since: Date.now(),
          },
        ],
        resolved: [],
        check: [],
      });
    const first = await start(`${id}/1`);
    await ended(`${id}-a`);
    expect(await start(`${id}/1`)).toEqual(first);
    expect(await runsOf(bench, `${id}-a`, 1)).toBe(1);
    expect(await start(`${id}/2`)).not.toEqual(first);
    await ended(`${id}-a`);
    expect(await runsOf(bench, `${id}-a`, 2)).toBe(2);
  });
});
