import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs, promisify } from 'node:util';
import type { WorkflowHandle } from '@temporalio/client';
import type { Verdict } from '../model/approval.ts';
import { parseConfig } from '../model/config.ts';
import { MESSAGE, proposalId, remediationId, responderId, runRule, TRAFFIC_LABEL, tickId } from '../model/names.ts';
import type { Story } from '../model/remediation.ts';
import { tickOf } from '../model/routing.ts';
import { parseTargetTemplate } from '../model/target.ts';
import { keepSchedule } from '../providers/temporal/schedules.ts';
import { UNREADY_ANNOTATION } from '../sandbox/kubernetes.ts';
import type { Complaint } from './e2e/exporter.ts';
import { PATIENCE, Stack } from './e2e/support.ts';
import { breakerGroup } from './recording/breaker.ts';
import { end, type Group, namedAll, type Recording, textOf } from './recording/group.ts';
import { continuedScaleGroup, scaleGroup } from './recording/scale.ts';
import { budget, deployment, nameOf } from './support/kubernetes.ts';
import { Pool, placed } from './support/nodes.ts';
import { eventually } from './support/wait.ts';

/**
 * Records what test/replay replays: the histories of whole ways on real components, one for each way in which a workflow
 * can go, into test/histories/<version>. Run by hand (`npm run histories`) before a release, or when a workflow has
 * learned a new way; the histories of earlier releases stay as they are. `npm run histories -- refused dropped` records
 * only those whose names hold one of these words; `--into DIR` puts them elsewhere.
 */
const ROOT = join(import.meta.dirname, '..');
const EVICT_AT_ONCE = { recoverWithin: '0s', stableFor: '0s', quietFor: '0s' };
/** Both of two pods may be sick. */
const BOTH = { maxUnavailable: '100%', storm: { above: '100%' } };
const OF_NODES = { target: `k8s/sandbox/node/\${labels.pod}` };
const AFTER_A_SECOND = { keepFor: '1s' };
const stack = new Stack();

const RULES = {
  recovers: { with: { recoverWithin: '5m', stableFor: '1s' }, gates: { cooldown: '1s', ...BOTH } },
  replaced: { with: EVICT_AT_ONCE },
  observed: { mode: 'observe' },
  proposed: { mode: 'propose', with: EVICT_AT_ONCE },
  unanswered: { mode: 'propose', approveWithin: '1s', onFailure: { escalate: true } },
  blocked: { with: { ...EVICT_AT_ONCE, evictWithin: '1s' } },
  unverified: { with: { ...EVICT_AT_ONCE, verifyWithin: '1s' }, gates: BOTH },
  kept: { with: { recoverWithin: '1s', stableFor: '1s', replace: false } },
  unqueued: { with: { recoverWithin: '5m', stableFor: '1s' }, gates: { cooldown: '1s', maxQueue: 0, ...BOTH } },
  impatient: { with: { recoverWithin: '5m', stableFor: '1s' }, gates: { cooldown: '1s', waitAtMost: '1s', ...BOTH } },
  quarantined: {
    with: { traffic: 'quarantine', quarantine: { ...AFTER_A_SECOND, afterwards: 'delete' } },
    gates: BOTH,
  },
  lent: { with: { traffic: 'quarantine', quarantine: { ...AFTER_A_SECOND, afterwards: 'give-back' } }, gates: BOTH },
  drained: { ...OF_NODES, with: { ...EVICT_AT_ONCE, stableFor: '1s', node: { keepFor: '10m' } }, gates: BOTH },
  'drained-in-vain': { ...OF_NODES, with: { ...EVICT_AT_ONCE, node: AFTER_A_SECOND }, gates: BOTH },
} as const;
type Rule = keyof typeof RULES;

/** Events after which the server suggests to continue as new: few, so that this history is small too. */
const CONTINUE_AT = 60;

async function workload(rule: Rule, options: { trafficLabel?: boolean; broken?: boolean } = {}) {
  const { trafficLabel = true, broken = false } = options;
  const namespace = await stack.cluster.namespace('history');
  const web = deployment({ namespace, name: 'web', trafficLabel });
  // Its pods never become ready, so that no replacement does.
  if (broken) web.spec!.template.metadata!.annotations = { [UNREADY_ANNOTATION]: 'true' };
  await stack.cluster.create(stack.exposed(namespace, 'web'), web);
  const pods = await eventually('the pods', async () => {
    const found = await stack.cluster.pods(namespace, 'web');
    return found.length === 2 && found.every(({ status }) => status?.podIP) && found;
  });
  const [first, second] = pods.map((pod): Complaint => ({ namespace, pod: nameOf(pod), rule }));
  if (!broken) await stack.cluster.readyPods(namespace, 'web', 2);
  return { namespace, it: first!, other: second! };
}

/** The remediation of a broken pod, to its end. */
async function toItsEnd(it: Complaint): Promise<WorkflowHandle> {
  await stack.breakPod(it);
  const handle = stack.remediation(it);
  await end(handle);
  stack.exporter.set(it, false);
  return handle;
}

/** The alert alone: nothing is done to the pod, if there is one. */
async function alertOnly(it: Complaint): Promise<WorkflowHandle> {
  stack.exporter.set(it, true);
  const handle = stack.remediation(it);
  await end(handle);
  stack.exporter.set(it, false);
  return handle;
}

/** Of this very run, whatever goes by its Workflow ID later. */
async function thisRun(handle: WorkflowHandle): Promise<WorkflowHandle> {
  return stack.client.workflow.getHandle(handle.workflowId, (await handle.describe()).runId);
}

/** A command of a person. */
async function salvor(...args: string[]): Promise<void> {
  await promisify(execFile)(process.execPath, [join(ROOT, 'bin', 'salvor.mjs'), '--config', stack.configFile, ...args]);
}

/** The proposal about a broken pod. */
async function proposed(rule: Rule): Promise<{ it: Complaint; proposal: WorkflowHandle }> {
  const { it, namespace } = await workload(rule);
  await stack.breakPod(it);
  const proposal = stack.client.workflow.getHandle(proposalId(it.rule, stack.cluster.target(namespace, it.pod)));
  await eventually('a proposal', () => proposal.describe(), PATIENCE);
  return { it, proposal };
}

/** One that waits for a person. */
async function asking(): Promise<{ it: Complaint; proposal: WorkflowHandle }> {
  const made = await proposed('proposed');
  await eventually('it waits', async () => (await made.proposal.query<Story>(MESSAGE.story)).waits, PATIENCE);
  return made;
}

/** One that comes to its end by itself. */
async function ended(rule: Rule): Promise<WorkflowHandle> {
  const { it, proposal } = await proposed(rule);
  await end(proposal);
  stack.exporter.set(it, false);
  return proposal;
}

async function answered(proposal: WorkflowHandle, answer: Verdict['answer']): Promise<void> {
  const { plan } = await proposal.query<Story>(MESSAGE.story);
  const verdict = { answer, by: 'person:ada', groups: [], digest: plan?.digest ?? '', comment: 'as discussed' };
  await proposal.executeUpdate<void, [Verdict]>(MESSAGE.decide, { args: [verdict] });
  await end(proposal);
}

const heldBy = (it: Complaint) => stack.untilAt(it, 'hold');

/** A node with pods turns sick. @returns its pool, and its remediation, which has begun */
async function sickNode(rule: Rule): Promise<{ pool: Pool; handle: WorkflowHandle; mend(): Promise<void> }> {
  const pool = await Pool.make(stack.cluster);
  await pool.run('web', 2, placed({ namespace: pool.namespace, name: 'web' }));
  await pool.setUnready(true);
  const it: Complaint = { namespace: pool.namespace, pod: pool.first, rule };
  stack.exporter.set(it, true);
  const handle = stack.client.workflow.getHandle(remediationId(pool.key()));
  await eventually('its remediation', () => handle.describe(), PATIENCE);
  const mend = async () => {
    await pool.setUnready(false);
    stack.exporter.set(it, false);
  };
  return { pool, handle, mend };
}

const inPhase = (handle: WorkflowHandle, phase: string) =>
  eventually(`in ${phase}`, async () => (await handle.query<Story>(MESSAGE.story)).phase === phase, PATIENCE);

const responderOf = ({ namespace, rule }: Complaint) =>
  stack.client.workflow.getHandle(responderId(rule, `sandbox/${namespace}`));

/** By name of the file; each answers whose history is to be kept. */
const REMEDIATIONS: Record<string, () => Promise<WorkflowHandle>> = {
  async recovered() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await stack.mendPod(it);
    await end(stack.remediation(it));
    return stack.remediation(it);
  },
  async 'recovered-uncut'() {
    const { it } = await workload('recovers', { trafficLabel: false });
    await stack.breakPod(it);
    await heldBy(it);
    await stack.mendPod(it);
    await end(stack.remediation(it));
    return stack.remediation(it);
  },
  async 'recovered-after-resolved'() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    stack.exporter.set(it, false);
    const handle = stack.remediation(it);
    await eventually('the look after it was resolved', async () => {
      const { events } = await handle.fetchHistory();
      return events?.some((event) => event.workflowExecutionSignaledEventAttributes?.signalName === 'resolved');
    });
    await stack.mendPod(it);
    await end(handle);
    return handle;
  },
  remediated: async () => toItsEnd((await workload('replaced')).it),
  'not-needed-healthy': async () => alertOnly((await workload('replaced')).it),
  'not-needed-gone': async () => alertOnly({ ...(await workload('replaced')).it, pod: 'web-gone' }),
  async 'not-needed-deleted'() {
    const { it, namespace } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await stack.cluster.core.deleteNamespacedPod({ namespace, name: it.pod });
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
  async 'refused-protected'() {
    const namespace = await stack.cluster.namespace('history');
    const spec = { nodeName: 'node-0', containers: [{ name: 'app', image: 'app:1' }] };
    await stack.cluster.core.createNamespacedPod({ namespace, body: { metadata: { name: 'alone' }, spec } });
    return toItsEnd({ namespace, pod: 'alone', rule: 'replaced' });
  },
  observed: async () => ended('observed'),
  'proposal-unanswered': async () => ended('unanswered'),
  async 'proposal-approved'() {
    const { it, proposal } = await asking();
    await answered(proposal, 'approve');
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return proposal;
  },
  /** The remediation that acts on what was approved. */
  async 'remediated-as-approved'() {
    const { it, proposal } = await asking();
    await answered(proposal, 'approve');
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
  async 'proposal-denied'() {
    const { it, proposal } = await asking();
    await answered(proposal, 'deny');
    stack.exporter.set(it, false);
    return proposal;
  },
  async 'proposal-resolved'() {
    const { it, proposal } = await asking();
    await stack.mendPod(it);
    await end(proposal);
    return proposal;
  },
  async 'failed-blocked'() {
    const { it, namespace } = await workload('blocked');
    await stack.cluster.create(budget(namespace, 'web', 2));
    return toItsEnd(it);
  },
  'failed-unverified': async () => toItsEnd((await workload('unverified', { broken: true })).it),
  /** Somebody lets the traffic in again, each time that Salvor has cut it. */
  async 'failed-contested'() {
    const { it, namespace } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    const run = await thisRun(stack.remediation(it));
    const contest = async () => {
      if ((await run.describe()).status.name !== 'RUNNING') return true;
      if ((await stack.cluster.trafficLabel(namespace, it.pod)) === 'off')
        await stack.cluster.patchPod(namespace, it.pod, { metadata: { labels: { [TRAFFIC_LABEL]: 'on' } } });
      return false;
    };
    await eventually('it gives up', contest, PATIENCE);
    stack.exporter.set(it, false);
    return run;
  },
  /** Its replacement serves; it is kept for a second, and deleted. */
  'remediated-quarantine-deleted': async () => toItsEnd((await workload('quarantined')).it),
  'remediated-quarantine-given-back': async () => toItsEnd((await workload('lent')).it),
  /** Drained, and uncordoned when it is well again. */
  async 'remediated-node-recovered'() {
    const { pool, handle, mend } = await sickNode('drained');
    await inPhase(handle, 'keep');
    await mend();
    await end(handle);
    await pool.stop();
    return handle;
  },
  /** Drained, and still sick after its time: it stays cordoned. */
  async 'failed-node-kept'() {
    const { pool, handle, mend } = await sickNode('drained-in-vain');
    await end(handle);
    await mend();
    await pool.stop();
    return handle;
  },
  async 'cancelled-node-kept'() {
    const { pool, handle, mend } = await sickNode('drained');
    await inPhase(handle, 'keep');
    await salvor('cancel', pool.key(), '--reason', 'it is wanted');
    await end(handle);
    await mend();
    await pool.stop();
    return handle;
  },
  'failed-kept': async () => toItsEnd((await workload('kept')).it),
  async cancelled() {
    const { it, namespace } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await salvor('cancel', stack.cluster.target(namespace, it.pod), '--reason', 'wrong pod');
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
  /** In Temporal's UI, which leaves no word of why. */
  async 'cancelled-without-a-word'() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    await stack.remediation(it).cancel();
    await end(stack.remediation(it));
    stack.exporter.set(it, false);
    return stack.remediation(it);
  },
};

/** The first one is held; the second one, of the same scope, has to do without the only slot. */
async function heldAndAnother(rule: Rule): Promise<{ it: Complaint; other: Complaint }> {
  const { it, other } = await workload(rule);
  await stack.breakPod(it);
  await heldBy(it);
  await stack.breakPod(other);
  return { it, other };
}

/** Both are well again; the responder's run ends when it has nothing left to remember. */
async function mended(...all: Complaint[]): Promise<void> {
  for (const one of all) await stack.mendPod(one);
}

const tally = async (it: Complaint): Promise<{ refuse: number }> => (await stack.responder(it)).tally;
const queued = async (it: Complaint): Promise<number> => Object.keys((await stack.responder(it)).queue).length;

const RESPONDERS: Record<string, () => Promise<WorkflowHandle>> = {
  /** Admits one, coalesces its repeats, hears of its end, and ends itself after the cooldown. */
  async ended() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    const body = await stack.webhookOf(it);
    for (let repeats = 0; repeats < 2; repeats++) await stack.deliver(body);
    await stack.mendPod(it);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** The second one waits for the only slot, and gets it. */
  async waited() {
    const { it, other } = await heldAndAnother('recovers');
    await eventually('it waits', async () => (await queued(it)) === 1, PATIENCE);
    await mended(it);
    await heldBy(other);
    await mended(other);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** No other may wait for the only slot. */
  async refused() {
    const { it, other } = await heldAndAnother('unqueued');
    await eventually('it is refused', async () => (await tally(it)).refuse === 1, PATIENCE);
    await mended(it, other);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** The second one waits for the only slot, for too long. */
  async overdue() {
    const { it, other } = await heldAndAnother('impatient');
    await eventually('it is refused', async () => (await tally(it)).refuse === 1, PATIENCE);
    await mended(it, other);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** The second one is well again while it waits. */
  async dropped() {
    const { it, other } = await heldAndAnother('recovers');
    await eventually('it waits', async () => (await queued(it)) === 1, PATIENCE);
    await mended(other);
    await eventually('it waits no more', async () => (await queued(it)) === 0, PATIENCE);
    await mended(it);
    await end(responderOf(it));
    return responderOf(it);
  },
  /** By a person, while a remediation is open; its end starts the next run. */
  async cancelled() {
    const { it } = await workload('recovers');
    await stack.breakPod(it);
    await heldBy(it);
    const run = await thisRun(responderOf(it));
    await run.cancel();
    await end(run);
    await mended(it);
    await end(stack.remediation(it));
    return run;
  },
  /** A person's request, by `salvor run`. */
  async run() {
    const { it, namespace } = await workload('recovers');
    await stack.cluster.setUnready(namespace, it.pod, true);
    const target = stack.cluster.target(namespace, it.pod);
    const options = ['--mode', 'act', '--wait', '--with', 'recoverWithin=1s', '--with', 'stableFor=1s'];
    await salvor('run', 'drain-instance', target, ...options, '--with', 'quietFor=0s');
    return responderOf({ ...it, rule: runRule('drain-instance') });
  },
};

/** Two runs of one responder: the one that continues as new, and the one that goes on with what it carried. */
async function continued(): Promise<Record<string, WorkflowHandle>> {
  const { it } = await workload('recovers');
  await stack.breakPod(it);
  await heldBy(it);
  const body = await stack.webhookOf(it);
  const { runId } = await responderOf(it).describe();
  const second = await eventually(
    'it continues as new',
    async () => {
      await stack.deliver(body);
      const now = (await responderOf(it).describe()).runId;
      return now !== runId && now;
    },
    PATIENCE,
  );
  await stack.mendPod(it);
  await end(responderOf(it));
  const { workflow } = stack.client;
  const { workflowId } = responderOf(it);
  return {
    'responder-continued-as-new': workflow.getHandle(workflowId, runId),
    'responder-carried-on': workflow.getHandle(workflowId, second),
  };
}

/** One time of a schedule, of a rule about a pod that is not there. */
async function ticked(): Promise<WorkflowHandle> {
  const parsed = parseConfig(await readFile(stack.configFile, 'utf8'), stack.configFile);
  const configured = parsed.ok && parsed.config.rules.find(({ rule }) => rule.name === 'observed');
  if (!parsed.ok || !configured) throw new Error('there is no such rule');
  const schedule = { every: 3_600_000, jitter: 0, overlap: 'skip' as const, catchUp: 60_000 };
  const target = parseTargetTemplate('k8s/sandbox/default/pod/web-0');
  const tick = tickOf({ ...configured, schedule, target }, parsed.config);
  if (!tick) throw new Error('there is no schedule');
  const place = { client: stack.client, taskQueue: parsed.config.temporal.taskQueue };
  await keepSchedule(place, { rule: 'observed', schedule, tick, digest: '' });
  const handle = stack.client.schedule.getHandle(tickId('observed'));
  await handle.trigger();
  const { workflow } = await eventually(
    'it is started',
    async () => (await handle.describe()).info.recentActions[0]?.action,
  );
  await handle.delete();
  const run = stack.client.workflow.getHandle(workflow.workflowId, workflow.firstExecutionRunId);
  await end(run);
  return run;
}

const drainGroup: Group = {
  start: () => stack.start(RULES, { dynamicConfig: { 'limit.historyCount.suggestContinueAsNew': CONTINUE_AT } }),
  stop: () => stack.stop(),
  recordings: {
    ...namedAll('drain-instance', REMEDIATIONS),
    ...namedAll('responder', RESPONDERS),
    'responder-continued': continued,
    tick: async () => ({ tick: await ticked() }),
  },
};

/** One after the other: each has a world of its own. */
const GROUPS: readonly Group[] = [drainGroup, scaleGroup, continuedScaleGroup, breakerGroup];

/** A busy machine may let a wait run out; each scenario has a workload of its own, so it can be played again. */
const TRIES = 2;

async function record(name: string, recording: Recording): Promise<Map<string, string>> {
  for (let tried = 1; ; tried++) {
    try {
      const texts = new Map<string, string>();
      for (const [file, handle] of Object.entries(await recording())) {
        const text = await textOf(handle);
        texts.set(`${file}.json`, text);
        console.log(`${file}: ${text.length} characters, ${handle.workflowId}`);
      }
      return texts;
    } catch (error) {
      console.error(`${name}, try ${tried} of ${TRIES}:`, error);
      if (tried === TRIES) throw error;
    }
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { into: { type: 'string' } } });
const isChosen = (name: string): boolean => positionals.length === 0 || positionals.some((part) => name.includes(part));

async function recordGroup({ start, stop, recordings }: Group): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const chosen = Object.entries(recordings).filter(([name]) => isChosen(name));
  if (chosen.length === 0) return texts;
  try {
    await start();
    for (const [name, recording] of chosen) for (const entry of await record(name, recording)) texts.set(...entry);
  } finally {
    await stop();
  }
  return texts;
}

/** Nothing is written before all of it is recorded. Those of this version that were not chosen stay. */
async function main(): Promise<void> {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const names = GROUPS.flatMap(({ recordings }) => Object.keys(recordings));
  if (!names.some(isChosen)) throw new Error(`there is no such scenario; there are: ${names.join(', ')}`);
  const texts = new Map<string, string>();
  for (const group of GROUPS) for (const entry of await recordGroup(group)) texts.set(...entry);
  const folder = values.into ?? join(ROOT, 'test', 'histories', version);
  if (positionals.length === 0) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const [name, text] of texts) await writeFile(join(folder, name), text);
  console.log(`${texts.size} histories in ${folder}`);
}

await main();
