import { randomUUID } from 'node:crypto';
import { type WorkflowHandle, WorkflowUpdateFailedError } from '@temporalio/client';
import { ApplicationFailure } from '@temporalio/common';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { settleActivities } from '../../activities/settle.ts';
import { type Approval, VERDICT_ERRORS, type Verdict } from '../../model/approval.ts';
import type { OwnAlert } from '../../model/herald.ts';
import { MESSAGE, proposalId, remediationId, responderId, WORKFLOW, watchQueue } from '../../model/names.ts';
import type { InstancePort } from '../../model/ports/instance.ts';
import type { Ending, RemediationInput, Story } from '../../model/remediation.ts';
import type { Batch } from '../../model/request.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';
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
  sick,
  startBench,
} from '../support/workflows.ts';
import { nameIn, reportOf } from './support.ts';

/** What a look finds, by pod name; sick where nothing is said. */
const looks = new Map<string, InstancePort['assess']>();
/** What was handed to responders by the proposals that are started here by hand. */
const submitted: { responder: string; batch: Batch }[] = [];
/** What a hold waits for before it says that it recovered. */
const doors = new Map<string, Promise<void>>();
const usual = instance();
const world = instance({
  hold: async (asked) => {
    await doors.get(nameIn(asked.instance.key));
    return usual.hold(asked);
  },
  assess: (asked) => (looks.get(nameIn(asked.target)) ?? (async () => sick(asked.target)))(asked),
});

let sandbox: Sandbox<'temporal'>;
/** Approvals go nowhere: what they are is looked at. */
let bench: Bench;
let name: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, world, {
    submit: async (asked) => {
      submitted.push(asked);
    },
  });
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  name = `t${randomUUID().slice(0, 8)}`;
});

type Handle = WorkflowHandle<(input: RemediationInput) => Promise<Ending>>;

/** A proposal, or, with an approval, the remediation that acts on it. */
async function begin(
  overrides: Partial<ResolvedRule<'drain-instance'>> = {},
  on = bench,
  approved?: Approval,
): Promise<Handle> {
  const { status: _, target, ...alert } = request(name, { labels: { alertname: 'KubePodNotReady', pod: name } });
  const input: RemediationInput = {
    ...{ target, alert, rule: { ...rule(name, {}, 'propose'), ...overrides }, ruleDigest: 'd', scope: 'shop' },
    ...{ episode: randomUUID(), responder: responderId(name, 'shop'), searchAttributes: true },
    ...(approved && { approval: approved }),
  };
  const workflowId = approved ? remediationId(target) : proposalId(name, target);
  const { taskQueue } = on;
  const started = await on.client.workflow.start(WORKFLOW.remediation, { workflowId, taskQueue, args: [input] });
  return bench.client.workflow.getHandle(workflowId, started.firstExecutionRunId);
}

const storyOf = (handle: Handle): Promise<Story> => handle.query<Story>(MESSAGE.story);
/** Until it waits and people are told. Answers its run ID. */
async function waiting(handle: Handle): Promise<string> {
  const { runId } = await handle.describe();
  await eventually('it asks', () => alerts().some(({ id }) => id === runId));
  await eventually('it waits', async () => (await storyOf(handle)).waits);
  return runId;
}
const alerts = (): OwnAlert[] => bench.heralded.flatMap(({ raise = [] }) => raise);
const callsOf = () => bench.calls.filter((call) => call.endsWith(name)).map((call) => call.split(' ')[0]);
const eventsOf = async (handle: Handle): Promise<number> => (await handle.fetchHistory()).events?.length ?? 0;
/** How many events it has when nothing but its timer is left. */
const atRest = (handle: Handle): Promise<number> =>
  eventually('nothing but its timer is left', async () => {
    const { events } = await handle.fetchHistory();
    return events?.at(-1)?.timerStartedEventAttributes != null && events.length;
  });
const notesOf = () =>
  bench.pages
    .filter(({ stream }) => stream.kind === 'remediation' && stream.rule === name)
    .flatMap(({ notes }) => notes.map(({ entry }) => entry));

const verdict = (overrides: Partial<Verdict> = {}): Verdict => ({
  ...{ answer: 'approve', by: 'person:ada', groups: [], digest: 'd-plan', comment: 'go on' },
  ...overrides,
});
const decide = (handle: Handle, given: Partial<Verdict> = {}) =>
  handle.executeUpdate<void, [Verdict]>(MESSAGE.decide, { args: [verdict(given)] });

/** The error with which a verdict was refused. */
async function refusalOf(answer: Promise<unknown>): Promise<ApplicationFailure> {
  const error = await answer.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof WorkflowUpdateFailedError && error.cause instanceof ApplicationFailure) return error.cause;
  throw new Error('it was not refused', { cause: error });
}

/** What its responder was told of the end. */
const toldOf = async (handle: Handle) => reportOf(bench, name, (await handle.describe()).runId);

const approval = (digest = 'd-plan'): Approval => ({
  ...{ by: 'person:ada', at: '2026-01-01T00:00:00.000Z', digest, comment: '', proposal: randomUUID() },
});

describe('a proposal', () => {
  it('asks by an alert with the plan, the command and the time, and says the same of itself', async () => {
    const handle = await begin({ approvers: ['ada', 'group:sre'] });
    const runId = await waiting(handle);
    const [alert] = alerts().filter(({ id }) => id === runId);
    expect(alert).toMatchObject({ alertname: 'SalvorApproval', labels: { alert: 'KubePodNotReady', pod: name } });
    const command = `salvor approve ${runId.slice(0, 18)} --digest d-plan`;
    expect(alert?.annotations).toMatchObject({ command, description: expect.stringContaining('evict') });
    const story = await storyOf(handle);
    expect(story.waits).toEqual({ until: alert?.until, approvers: ['ada', 'group:sre'] });
    expect(story.next).toMatchObject({ what: expect.stringContaining(command), until: alert?.until });
    expect(story.plan).toMatchObject({ digest: 'd-plan', steps: expect.arrayContaining(['evict']) });
    const { searchAttributes } = await handle.describe();
    expect(searchAttributes).toMatchObject({ SalvorReason: [expect.stringContaining('wait for an approval')] });
    await decide(handle, { answer: 'deny', comment: '' });
    await handle.result();
  });

  it('that is approved changes nothing itself: its request goes back, with the approval', async () => {
    const handle = await begin();
    await waiting(handle);
    await decide(handle, { groups: ['sre'] });
    expect(await handle.result()).toMatchObject({
      outcome: 'observed',
      reason: expect.stringContaining('approved by person:ada ("go on")'),
      changes: [],
    });
    const { runId } = await handle.describe();
    const [handed, ...more] = submitted.filter(({ batch: { delivery } }) => delivery === runId);
    expect(more).toEqual([]);
    expect(handed).toMatchObject({
      responder: responderId(name, 'shop'),
      batch: { requests: [{ status: 'firing', target: pod(name), approval: { by: 'person:ada', digest: 'd-plan' } }] },
    });
    expect(callsOf()).toEqual(['assess']);
    expect(bench.heralded).toContainEqual({ clear: [runId] });
    expect(notesOf()).toMatchObject([
      { kind: 'begun' },
      { kind: 'evidence' },
      { kind: 'verdict', answer: 'approve', by: 'person:ada', groups: ['sre'], digest: 'd-plan', comment: 'go on' },
      { kind: 'ended', outcome: 'observed', planDigest: 'd-plan' },
    ]);
    expect((await toldOf(handle)).again).toBeUndefined();
  });

  it('that is denied is refused, and nothing is handed on', async () => {
    const handle = await begin();
    await waiting(handle);
    await decide(handle, { answer: 'deny', comment: 'not today' });
    expect(await handle.result()).toMatchObject({ outcome: 'refused', reason: 'denied by person:ada ("not today")' });
    const { runId } = await handle.describe();
    expect(submitted.filter(({ batch: { delivery } }) => delivery === runId)).toEqual([]);
    expect(callsOf()).toEqual(['assess']);
  });

  it('refuses at once what is not about its plan, and who may not decide, which writes no history', async () => {
    const handle = await begin({ approvers: ['ada', 'group:sre'] });
    await waiting(handle);
    const before = await atRest(handle);
    const stale = await refusalOf(decide(handle, { digest: 'd-older' }));
    expect(stale).toMatchObject({
      type: VERDICT_ERRORS.stale,
      message: expect.stringContaining('d-plan, not d-older'),
    });
    const stranger = await refusalOf(decide(handle, { by: 'person:bob' }));
    expect(stranger).toMatchObject({ type: VERDICT_ERRORS.notAllowed, message: expect.stringContaining('group:sre') });
    const unverified = await refusalOf(decide(handle, { by: 'unverified:ada', groups: ['sre'] }));
    expect(unverified.type).toBe(VERDICT_ERRORS.notAllowed);
    expect(await eventsOf(handle)).toBe(before);
    await decide(handle, { by: 'person:eve', groups: ['sre'], answer: 'deny' });
    expect(await handle.result()).toMatchObject({ outcome: 'refused' });
  });

  it('that is denied and approved in the same moment is what came first', async () => {
    const handle = await begin();
    await waiting(handle);
    const answers = await Promise.allSettled([
      decide(handle, { answer: 'deny', comment: '' }),
      decide(handle, { by: 'person:bob' }),
    ]);
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await handle.result();
    expect(notesOf().filter(({ kind }) => kind === 'verdict')).toHaveLength(1);
  });

  it('that nobody answers is refused and escalated', async () => {
    const handle = await begin({ approveWithin: 500, onFailure: { escalate: true } });
    expect(await handle.result()).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('nobody decided about plan d-plan'),
    });
    const { runId } = await handle.describe();
    const last = bench.heralded.find(({ clear }) => clear?.includes(runId));
    expect(last?.raise).toMatchObject([
      { alertname: 'SalvorEscalation', target: pod(name), annotations: { description: expect.any(String) } },
    ]);
    expect(last?.clear).not.toContain(last?.raise?.[0]?.id);
    expect(notesOf().map(({ kind }) => kind)).toEqual(['begun', 'evidence', 'escalated', 'ended']);
    expect(callsOf()).toEqual(['assess']);
  });

  it('whose alert is resolved looks again: still sick, it goes on waiting; healthy, it is not needed', async () => {
    const handle = await begin();
    await waiting(handle);
    await handle.signal(MESSAGE.resolved);
    await eventually('looked again', () => callsOf().length === 2);
    expect((await storyOf(handle)).waits).toBeDefined();
    looks.set(name, async () => ({ verdict: 'healthy', why: 'Ready' }));
    await handle.signal(MESSAGE.resolved);
    expect(await handle.result()).toMatchObject({ outcome: 'not-needed', reason: 'Ready' });
    expect(bench.heralded).toContainEqual({ clear: [(await handle.describe()).runId] });
  });

  it('that is cancelled while it waits ends so, and its alert is over', async () => {
    const handle = await begin();
    await waiting(handle);
    await handle.cancel();
    await expect(handle.result()).rejects.toThrow();
    const { status, runId } = await handle.describe();
    expect(status.name).toBe('CANCELLED');
    expect(bench.heralded).toContainEqual({ clear: [runId] });
    expect(callsOf()).toEqual(['assess']);
  });

  it('waits on without a step of its own when its worker is gone', async () => {
    const first = await startBench(sandbox.temporal.address, world);
    const { taskQueue } = first;
    const handle = await begin({}, first);
    await eventually('it waits', async () => (await storyOf(handle)).waits && first.heralded.length > 0);
    const before = await atRest(handle);
    await first.stop();
    const stop = await anotherWorker(taskQueue);
    expect((await storyOf(handle)).waits).toBeDefined();
    expect(await eventsOf(handle)).toBe(before);
    await decide(handle, { answer: 'deny' });
    expect(await handle.result()).toMatchObject({ outcome: 'refused' });
    await stop();
  });
});

/** Of the same task queue, with what a proposal needs. Answers what ends it. */
async function anotherWorker(taskQueue: string): Promise<() => Promise<void>> {
  const { client } = bench;
  const connection = await NativeConnection.connect({ address: sandbox.temporal.address });
  const nothing = async () => undefined;
  const settle = settleActivities({ client, taskQueue, store: { append: nothing }, free: nothing, herald: nothing });
  const shared = { connection, activities: { ...world, ...settle, herald: nothing } };
  const workers = [
    await Worker.create({ ...shared, taskQueue, workflowBundle: await bundleWorkflows() }),
    await Worker.create({ ...shared, taskQueue: watchQueue(taskQueue) }),
  ];
  const running = workers.map((worker) => worker.run());
  return async () => {
    for (const worker of workers) worker.shutdown();
    await Promise.all(running);
    await connection.close();
  };
}

describe('what a person has approved', () => {
  it('acts on that very plan, and says who approved it', async () => {
    const handle = await begin({}, bench, approval());
    expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
    expect(callsOf()).toEqual(['assess', 'cut', 'hold']);
    const [, , approved] = notesOf();
    expect(approved).toMatchObject({ kind: 'evidence', what: 'approval', verdict: 'same-plan' });
    expect(notesOf().at(-1)).toMatchObject({
      kind: 'ended',
      planDigest: 'd-plan',
      lines: expect.arrayContaining([expect.objectContaining({ text: expect.stringContaining('person:ada') })]),
    });
  });

  it('and whose plan is another by now changes nothing: its request is proposed anew', async () => {
    const handle = await begin({}, bench, approval('d-older'));
    expect(await handle.result()).toMatchObject({ outcome: 'refused', changes: [] });
    // The new proposal may have looked by now, too.
    expect(new Set(callsOf())).toEqual(new Set(['assess']));
    expect((await toldOf(handle)).again).toMatchObject({
      gate: 'plan-changed',
      reason: expect.stringContaining('d-plan'),
      request: { fingerprint: `fp-${name}`, alertname: 'KubePodNotReady' },
    });
  });

  it('takes no further verdict', async () => {
    const held = door();
    doors.set(name, held.opened);
    const handle = await begin({}, bench, approval());
    await eventually('held', () => callsOf().includes('hold'));
    const refused = await refusalOf(decide(handle));
    expect(refused).toMatchObject({ type: VERDICT_ERRORS.nothingWaits, message: expect.stringContaining('"hold"') });
    held.open();
    await handle.result();
  });
});

it('from the alert to the healing: proposed, approved, gated again, and done', async () => {
  const own = await startBench(sandbox.temporal.address, world);
  await deliver(own, batch(rule(name, {}, 'propose'), [request(name)]));
  const proposal = own.client.workflow.getHandle(proposalId(name, pod(name)));
  await eventually('it waits', async () => (await proposal.query<Story>(MESSAGE.story)).waits);
  await expect(remediationOf(own, name).describe()).rejects.toThrow();
  await proposal.executeUpdate<void, [Verdict]>(MESSAGE.decide, { args: [verdict()] });
  await eventually('it acts', () => remediationOf(own, name).describe());
  expect(await remediationOf(own, name).result()).toMatchObject({ outcome: 'recovered' });
  expect(await proposal.result()).toMatchObject({ outcome: 'observed' });
  await own.stop();
});
