import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { NOT_CLEARED, type Objection, STORM_MEMO, type StormMemo } from '../../model/clearance.ts';
import type { Evidence, LookRequest } from '../../model/evidence.ts';
import type { GiveBack } from '../../model/limits.ts';
import { MESSAGE, proposalId, remediationId, responderId } from '../../model/names.ts';
import type { HoldResult, InstancePort } from '../../model/ports/instance.ts';
import type { Ending, RemediationInput } from '../../model/remediation.ts';
import type { LookAgain } from '../../model/responder.ts';
import type { ResolvedGates, ResolvedRule } from '../../model/rule.ts';
import { WAITING_MEMO, type WaitingMemo } from '../../model/standing.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { allIsWell } from '../support/evidence.ts';
import { door, eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  pod,
  remediationOf,
  request,
  rule,
  runsOf,
  startBench,
  stateOf,
} from '../support/workflows.ts';

const usual = instance();
const recovered: HoldResult = { verdict: 'recovered', why: 'healthy', changes: [] };
/** Doors by pod name: a hold that has one waits until the test opens it. */
const doors = new Map<string, ReturnType<typeof door<HoldResult>>>();
/** Objections to the cuts of a pod, one after the other. */
const objections = new Map<string, Objection[]>();
/** What the responder told of a storm when a pod was cut, for those in it. */
const memosAtCut = new Map<string, StormMemo | null | undefined | 'not cut'>();
const nameOf = (target: string): string => target.split('/').at(-1) ?? '';
const world: Partial<InstancePort> = {
  cut: async (asked) => {
    if (memosAtCut.has(nameOf(asked.instance.key))) memosAtCut.set(nameOf(asked.instance.key), await stormMemo());
    const objection = objections.get(nameOf(asked.instance.key))?.shift();
    if (!objection) return usual.cut(asked);
    const { reason: message } = objection;
    throw ApplicationFailure.create({ message, type: NOT_CLEARED, nonRetryable: true, details: [objection, 1] });
  },
  hold: async ({ instance: { key } }) => (await doors.get(nameOf(key))?.opened) ?? recovered,
};

/** What the world says to a rule's responder, by rule; else all is well. */
const views = new Map<string, (asked: LookRequest) => Partial<Evidence>>();
const given: ({ key: string } & GiveBack)[] = [];

let sandbox: Sandbox<'temporal'>;
let bench: Bench;
/** Unique for each test: rule names and pod names start with it. */
let id: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, instance(world), {
    look: async (asked) => ({ ...allIsWell(asked), ...views.get(asked.rule.name)?.(asked) }),
    give: async (key, back) => void given.push({ key, ...back }),
  });
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  id = `t${randomUUID().slice(0, 8)}`;
});

const escalating = (
  gates: Partial<ResolvedGates>,
  mode: ResolvedRule['mode'] = 'act',
): ResolvedRule<'drain-instance'> => ({
  ...rule(id, gates, mode),
  onFailure: { escalate: true },
});
const sees = (view: Partial<Evidence>) => views.set(id, () => view);
const responder = () => bench.client.workflow.getHandle(responderId(id, 'shop'));
const look = (again: LookAgain = {}) => responder().signal(MESSAGE.look, again);
const looks = () => bench.looks.filter((asked) => asked.rule.name === id);
const heralded = () =>
  bench.heralded.filter(({ raise = [], clear = [] }) =>
    [...raise.map(({ labels }) => labels['salvor_rule']), ...clear].some(
      (one) => one === id || raisedIds.has(`${one}`),
    ),
  );
const raisedIds = new Set<string>();
const raised = () => {
  const all = bench.heralded.flatMap(({ raise = [] }) => raise).filter(({ labels }) => labels['salvor_rule'] === id);
  for (const one of all) raisedIds.add(one.id);
  return all;
};
const stormMemo = async () => (await responder().describe()).memo?.[STORM_MEMO] as StormMemo | null | undefined;
const waitingMemo = async () => (await responder().describe()).memo?.[WAITING_MEMO] as WaitingMemo | null | undefined;
const isOver = (name: string) =>
  eventually(`${name} is over`, async () => (await remediationOf(bench, name).describe()).status.name === 'COMPLETED');
const waiting = (gate: string, count = 1) =>
  eventually(`${count} wait for ${gate}`, async () => {
    const queued = Object.values((await stateOf(bench, id)).queue).filter((one) => one.gate === gate);
    return queued.length === count && queued;
  });
const entries = () =>
  bench.pages
    .filter(({ stream }) => stream.kind === 'responder' && stream.rule === id)
    .flatMap(({ notes }) => notes.map(({ entry }) => entry));

describe('a storm', () => {
  it('of 5,000 alerts starts nothing, tells people once, and writes a bounded history', async () => {
    sees({ population: { live: 8_000, unhealthy: 5_000 } });
    const r = escalating({ storm: { above: 40, settleFor: 600_000 }, maxInFlight: 10 });
    const names = Array.from({ length: 5_000 }, (_, i) => `${id}-${i}`);
    for (let from = 0; from < names.length; from += 200)
      await deliver(
        bench,
        batch(
          r,
          names.slice(from, from + 200).map((name) => request(name)),
        ),
      );
    await eventually(
      'all are decided and on record',
      () => entries().filter(({ kind }) => kind === 'decision').length === 5_000,
      240_000,
    );
    const { tally, storm, open } = await stateOf(bench, id);
    // As many wait as may (maxQueue, or their size); the others are refused, for nobody could look at them all.
    expect(tally).toMatchObject({ admit: 0, coalesce: 0 });
    expect(tally.wait + tally.refuse).toBe(5_000);
    expect(tally.wait).toBeGreaterThan(800);
    expect(open).toEqual({});
    expect(storm).toMatchObject({ live: 8_000, unhealthy: 5_000 });
    expect((await stormMemo())?.reason).toBe('5000 of 8000 pods in the scope are unhealthy, above 40%, which is 3200');
    expect(raised()).toHaveLength(1);
    expect(raised()[0]).toMatchObject({ alertname: 'SalvorEscalation', annotations: { summary: expect.any(String) } });
    expect(entries().filter(({ kind }) => kind === 'storm')).toHaveLength(1);
    // One look found it; after that none is made for each alert, but one a minute.
    expect(looks().length).toBeLessThan(10);
    const { count } = await bench.client.workflow.count(`WorkflowId STARTS_WITH '${remediationId(pod(`${id}-`))}'`);
    expect(count).toBe(0);
    const { events } = await responder().fetchHistory();
    const bytes = (await responder().describe()).historySize ?? Number.NaN;
    console.info(`a storm of 5,000 alerts: ${events?.length} events, ${Math.round(bytes / 1024)} KiB`);
    expect(events?.length).toBeLessThan(600);
    const memos = events?.filter((one) => one.workflowPropertiesModifiedEventAttributes?.upsertedMemo) ?? [];
    // The storm, and how many wait, each time that they are twice as many.
    expect(memos.length).toBeLessThan(10);
    expect((await waitingMemo())?.count).toBeGreaterThan(500);
    await responder().terminate();
  }, 300_000);

  it('ends by itself when it was calm for settleFor: what waits is healed, and people are told', async () => {
    sees({ population: { live: 10, unhealthy: 6 } });
    const r = escalating({ storm: { above: 40, settleFor: 1_000 }, maxInFlight: 10 });
    await deliver(bench, batch(r, [request(`${id}-a`), request(`${id}-b`)]));
    await waiting('storm', 2);
    for (const name of ['a', 'b']) memosAtCut.set(`${id}-${name}`, 'not cut');
    await deliver(bench, batch(r, [request(`${id}-a`)]));
    const [alert] = await eventually('escalated', () => raised().length === 1 && raised());
    sees({ population: { live: 10, unhealthy: 2 } });
    await Promise.all(['a', 'b'].map((name) => isOver(`${id}-${name}`)));
    expect(await stormMemo()).toBeFalsy();
    // Or they would be held back by a storm that is over.
    for (const name of ['a', 'b']) expect(memosAtCut.get(`${id}-${name}`)).toBeFalsy();
    expect(heralded().map(({ raise, clear }) => raise?.map((one) => one.id) ?? clear)).toEqual([
      [alert!.id],
      [alert!.id],
    ]);
    await eventually('on record', () => entries().filter(({ kind }) => kind === 'storm').length === 2);
    expect((await stateOf(bench, id)).tally).toMatchObject({ admit: 2, wait: 2, coalesce: 1 });
  });

  it('is ended at once by a person, who is on record, and does not begin again with what he has seen', async () => {
    sees({ population: { live: 10, unhealthy: 6 } });
    const r = escalating({ storm: { above: 40, settleFor: 600_000 }, maxInFlight: 10 });
    await deliver(bench, batch(r, [request(`${id}-a`)]));
    await waiting('storm');
    await look({ resume: { by: 'person:ada', reason: 'known' } });
    await isOver(`${id}-a`);
    await eventually('on record', () =>
      entries().some((entry) => entry.kind === 'storm' && entry.state === 'ends' && entry.by === 'person:ada'),
    );
    // More than that is another storm.
    sees({ population: { live: 10, unhealthy: 7 } });
    await deliver(bench, batch(r, [request(`${id}-b`)]));
    await waiting('storm');
    await eventually('people are told again', () => raised().length === 2);
    expect(raised().map((one) => one.id.split('-').at(-1))).toEqual(['1', '2']);
    await responder().terminate();
  });
});

describe('a pause', () => {
  it('makes wait, and what waits goes on when it is told to look again', async () => {
    const since = new Date().toISOString();
    sees({ pauses: [{ prefix: '', by: 'person:ada', reason: 'migration', since }] });
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    const [queued] = await waiting('paused');
    expect(queued?.reason).toBe('everything is paused by person:ada (migration)');
    const told = await eventually('metrics are told', waitingMemo);
    expect(told).toEqual({ count: 1, oldest: new Date(queued!.since).toISOString() });
    sees({});
    await look();
    await isOver(`${id}-a`);
    await eventually('that nothing waits', async () => !(await waitingMemo()));
  });
});

describe('one alert', () => {
  it('costs one look and one dispatch', async () => {
    const held = door<HoldResult>();
    doors.set(`${id}-a`, held);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await eventually('held', () => bench.calls.includes(`hold ${id}-a`));
    // A repeat says nothing new: nothing is looked at for it.
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await eventually('heard', async () => (await stateOf(bench, id)).tally.coalesce === 1);
    const { events } = await responder().fetchHistory();
    const markers = events?.flatMap(({ markerRecordedEventAttributes: marker }) => marker?.markerName ?? []) ?? [];
    expect(markers.filter((name) => name === 'core_local_activity')).toHaveLength(2);
    held.open(recovered);
    await isOver(`${id}-a`);
  });

  it('of a target whose cut is not cleared waits again, and is started anew when it may be', async () => {
    objections.set(`${id}-a`, [{ gate: 'paused', reason: 'everything is paused by person:ada' }]);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    const [queued] = await waiting('paused');
    expect(queued).toMatchObject({ target: pod(`${id}-a`), after: expect.any(String) });
    expect((await stateOf(bench, id)).cooling).toEqual({});
    await look();
    await eventually('a second run', async () => (await runsOf(bench, `${id}-a`)) === 2);
    await isOver(`${id}-a`);
    expect(await remediationOf(bench, `${id}-a`).result()).toMatchObject({ outcome: 'recovered' });
  });

  it('under limits takes a slot, and gives it back when it has ended', async () => {
    const limited: ResolvedRule<'drain-instance'> = { ...rule(id), limits: { maxInFlight: 5 } };
    await deliver(bench, batch(limited, [request(`${id}-a`)]));
    const back = await eventually('given back', () => given.find((one) => one.responder === responderId(id, 'shop')));
    expect(back).toEqual({ key: 'k8s/test', responder: responderId(id, 'shop'), slots: 1, unused: 0, has: 0 });
    expect(looks().map(({ leases }) => leases['k8s/test'])).toMatchObject([{ want: 1, has: 0 }]);
    expect((await remediationOf(bench, `${id}-a`).result()) as Ending).toMatchObject({ outcome: 'recovered' });
  });
});

describe('an approval', () => {
  it('starts the remediation of the plan; meanwhile the proposal holds nothing, and a repeat says nothing new', async () => {
    const r = rule(id, {}, 'propose');
    const alert = request(`${id}-a`);
    await deliver(bench, batch(r, [alert, request(`${id}-b`)]));
    const proposals = await eventually('both proposals', async () => {
      const { proposed = {} } = await stateOf(bench, id);
      return Object.values(proposed).every(({ runId }) => runId) && Object.keys(proposed).length === 2 && proposed;
    });
    const { runId } = proposals[pod(`${id}-a`)]!;
    const proposal = bench.client.workflow.getHandle(proposalId(id, pod(`${id}-a`)), runId);
    expect((await proposal.describe()).status.name).toBe('RUNNING');
    await deliver(bench, batch(r, [alert]));
    await eventually('coalesced', async () => (await stateOf(bench, id)).tally.coalesce === 1);
    expect((await stateOf(bench, id)).open).toEqual({});
    const approval = { by: 'person:ada', at: new Date().toISOString(), digest: 'd-plan', comment: '', proposal: runId };
    await deliver(bench, batch(r, [{ ...alert, approval }]));
    await isOver(`${id}-a`);
    const started = (await remediationOf(bench, `${id}-a`).fetchHistory()).events?.[0];
    const payload = started?.workflowExecutionStartedEventAttributes?.input?.payloads?.[0]?.data;
    const input = JSON.parse(Buffer.from(payload ?? []).toString()) as RemediationInput;
    expect(input).toMatchObject({ approval, rule: { mode: 'propose' }, responder: responderId(id, 'shop') });
    expect(await remediationOf(bench, `${id}-a`).result()).toMatchObject({ outcome: 'recovered' });
    expect(await runsOf(bench, `${id}-b`)).toBe(0);
    // What waits for a person is told that its alert is resolved.
    await deliver(bench, batch(r, [{ ...request(`${id}-b`), status: 'resolved' }]));
    const other = bench.client.workflow.getHandle(proposalId(id, pod(`${id}-b`)));
    await eventually('told', async () => {
      const { events } = await other.fetchHistory();
      return events?.some((one) => one.workflowExecutionSignaledEventAttributes?.signalName === MESSAGE.resolved);
    });
    await Promise.all([proposal.terminate(), other.terminate()]);
  });
});
