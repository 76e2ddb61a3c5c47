import type { Client } from '@temporalio/client';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import { openAuditStore } from '../../audit/open.ts';
import type { AuditRecord, AuditStore } from '../../audit/store.ts';
import type { AuditEntry, AuditNote } from '../../model/audit.ts';
import { canonicalJson } from '../../model/digest.ts';
import { MESSAGE } from '../../model/names.ts';
import type { ResponderState } from '../../model/responder.ts';
import { type Firing, fingerprintOf } from './alerts.ts';
import { type Execution, executionsOf, pagesOf } from './executions.ts';
import { notesOf } from './notes.ts';
import { patiently } from './patience.ts';
import { altered, type Kind, OUTCOME } from './patients.ts';
import { compare } from './witness.ts';
import { SALVOR, type World } from './world.ts';

/** What there is on record, and everything that is not as it must be. */
export interface Reckoning {
  problems: string[];
  remediations: Execution[];
  outcomes: Record<string, number>;
  records: number;
  decisions: number;
  mutations: number;
  histories: number;
}

/** Milliseconds that what was written last has to be sealed, and the last histories to be kept. */
const SETTLE = 120_000;

/**
 * Compares what is on record with what happened, as Temporal and the API server tell it. To be called when all is up and
 * every remediation has ended.
 *
 * @param firings all alerts whose delivery was answered 200
 */
export async function reckon(world: World, firings: Firing[]): Promise<Reckoning> {
  const { postgres, auditUrl, client } = world;
  const store = await openAuditStore({ url: auditUrl, password: postgres.password, mustExist: true });
  try {
    // What is not settled by then is told below.
    await patiently('all is on record', () => isSettled(world, store), SETTLE).catch(() => undefined);
    const executions = await executionsOf(client);
    const records = await recordsOf(store);
    const all = [...records.values()].flat();
    const remediations = executions.filter(({ type }) => type === 'remediation');
    const changes = all.flatMap(({ entry }) => (entry.kind === 'change' ? [entry.change] : []));
    const events = await world.sandbox.kubernetes.readAudit({ user: SALVOR, resource: 'pods' });
    const witness = compare(events, changes);
    const namespaces = [...new Set(firings.map(({ namespace }) => namespace))];
    const problems = [
      ...world.deaths,
      ...(await againstHistories(executions, records)),
      ...remediations.flatMap((execution) => shapeOf(execution, records.get(execution.stream) ?? [])),
      ...(await againstTallies(client, records)),
      ...unanswered(firings, executions, all),
      ...witness.problems,
      ...(await ofTheStore(store, remediations)),
      ...(await Promise.all(namespaces.map((namespace) => altered(world, namespace)))).flat(),
    ];
    const outcomes = Object.groupBy(remediations, ({ outcome, status }) => outcome ?? status);
    return {
      problems,
      remediations,
      outcomes: Object.fromEntries(Object.entries(outcomes).map(([name, some]) => [name, some?.length ?? 0])),
      records: all.length,
      decisions: all.filter(({ entry }) => entry.kind === 'decision').length,
      mutations: witness.mutations,
      histories: all.filter(({ entry }) => entry.kind === 'history').length,
    };
  } finally {
    await store.close();
  }
}

async function isSettled({ client }: World, store: AuditStore): Promise<boolean> {
  const running = (await store.streams({ outcome: 'running' })).length;
  if (running > 0 || (await store.withoutHistory(1)).length > 0) return false;
  if ((await againstTallies(client, await recordsOf(store))).length > 0) return false;
  return (await store.verify()).unsealed === 0;
}

async function recordsOf(store: AuditStore): Promise<Map<string, AuditRecord[]>> {
  const records = new Map<string, AuditRecord[]>();
  for await (const record of store.export({}))
    records.set(record.stream, [...(records.get(record.stream) ?? []), record]);
  return records;
}

/** Its records are the notes that the workflow made, each once, in their order; and then, of a remediation, its history. */
async function againstHistories(executions: Execution[], records: Map<string, AuditRecord[]>): Promise<string[]> {
  const { notes, problems } = await notesOf(executions);
  for (const { stream, workflowId, type, history } of executions) {
    const noted = [...(notes.get(stream)?.values() ?? [])];
    const written = records.get(stream) ?? [];
    const is = written.map(({ key }) => key).join(' ');
    const should = [...noted.map(({ key }) => key), ...(type === 'remediation' ? ['history'] : [])].join(' ');
    const of = `${workflowId} (${stream})`;
    if (is !== should) problems.push(`${of}: on record are the notes ${is}; made were ${should}`);
    if (written.some(({ seq }, at) => seq !== at + 1)) problems.push(`${of}: its records are not numbered from 1`);
    const durable = pagesOf(history).flatMap((page) => page.notes);
    for (const record of written) {
      const made = [...noted, ...durable].filter(({ key }) => key === record.key);
      problems.push(...differences(of, made, record));
    }
  }
  const known = new Set(executions.map(({ stream }) => stream));
  for (const stream of records.keys())
    if (!known.has(stream)) problems.push(`stream ${stream} is of no execution that Temporal knows`);
  return problems;
}

/**
 * A note is on record as the history has it. Where a task had to wait for a slow local activity, a replay sees a later
 * time than the worker did; what was to be written is in the history too.
 */
function differences(of: string, made: AuditNote[], record: AuditRecord): string[] {
  const [written = '', ...versions] = [record, ...made].map(({ at, entry }) => canonicalJson({ at, entry }));
  if (record.key === 'history' || versions.includes(written)) return [];
  return [`${of}: note ${record.key} was ${versions[0]} and is on record as ${written}`];
}

const heldName = (entry: AuditEntry): string => {
  if (entry.kind === 'held') return `${entry.held.object.uid} ${entry.held.field}`;
  return entry.kind === 'released' ? `${entry.object.uid} ${entry.field}` : '';
};

/** Begun first; what is held is noted before it is cut and released after; ended last, once, as Temporal says it ended. */
function shapeOf({ workflowId, stream, outcome, status }: Execution, records: AuditRecord[]): string[] {
  const problems: string[] = [];
  const entries = records.map(({ entry }) => entry);
  const kinds = entries.map(({ kind }) => kind);
  const say = (problem: string) => problems.push(`${workflowId} (${stream}): ${problem}: ${kinds.join(' ')}`);
  if (kinds[0] !== 'begun' || kinds.lastIndexOf('begun') !== 0) say('not begun once, first');
  // A person may still ask for its end while the last of it is put on record.
  const rest = kinds.slice(kinds.indexOf('ended') + 1).filter((kind) => kind !== 'cancel');
  if (!kinds.includes('ended') || rest.join() !== 'history') say('not ended once, and then kept');
  const ended = entries.find((entry) => entry.kind === 'ended');
  if (ended?.outcome !== outcome) say(`${ended?.outcome} is on record, and it ended as ${outcome ?? status}`);
  const held = new Set<string>();
  for (const entry of entries) {
    if (entry.kind === 'held') held.add(heldName(entry));
    if (entry.kind === 'released' && !held.delete(heldName(entry))) say('released what was not held');
    if (entry.kind === 'change' && entry.change.step === 'cut' && held.size === 0)
      say('cut before it was noted as held');
  }
  if (held.size > 0) say('held, and never released');
  return problems;
}

/** Every decision to wait or to refuse that a responder counts is on record, once. */
async function againstTallies({ workflow }: Client, records: Map<string, AuditRecord[]>): Promise<string[]> {
  const problems: string[] = [];
  for await (const { workflowId, runId, raw } of workflow.list({ query: "WorkflowType = 'responder'" })) {
    const { tally } = await workflow.getHandle(workflowId).query<ResponderState>(MESSAGE.state);
    const entries = (records.get(raw.firstRunId || runId) ?? []).map(({ entry }) => entry);
    const decisions = entries.flatMap((entry) => (entry.kind === 'decision' ? [entry.decision.answer] : []));
    for (const answer of ['wait', 'refuse'] as const) {
      const count = decisions.filter((one) => one === answer).length;
      if (count !== tally[answer])
        problems.push(`${workflowId}: ${count} × ${answer} on record, ${tally[answer]} told`);
    }
  }
  return problems;
}

/** Every alert that was taken came to one remediation, which healed, or to a decision that is on record. */
function unanswered(firings: Firing[], executions: Execution[], records: AuditRecord[]): string[] {
  return firings.flatMap((firing) => {
    const { namespace, pod, rule } = firing;
    const all = executions.filter(({ workflowId }) => workflowId.endsWith(`/${namespace}/pod/${pod}`));
    const runs = all.filter((run) => !wasPutOff(run));
    const count = runs.length;
    const turnedAway = records.some(
      ({ entry }) =>
        (entry.kind === 'dropped' || (entry.kind === 'decision' && entry.decision.answer === 'refuse')) &&
        entry.alert.fingerprint === fingerprintOf(firing),
    );
    const expected = OUTCOME[rule as Kind];
    const others = runs.filter(({ outcome }) => outcome !== expected);
    return [
      ...(count + (turnedAway ? 1 : 0) === 1 ? [] : [`the alert of ${namespace}/${pod} came to ${count} remediations`]),
      ...others.map(({ workflowId, outcome, reason }) => `${workflowId} ended ${outcome}, not ${expected}: ${reason}`),
    ];
  });
}

/**
 * It ended before it acted, for a gate could not be asked in time (a budget whose worker was killed): its request is decided
 * anew, and comes to another one. That it changed nothing the witness tells.
 */
const wasPutOff = ({ outcome, reason }: Execution): boolean =>
  outcome === 'refused' && reason?.startsWith('it was not the time to act: ') === true;

/** The chains hold, all is sealed, nothing is held, and each history is the one that Temporal has. */
async function ofTheStore(store: AuditStore, remediations: Execution[]): Promise<string[]> {
  const { faults, unsealed } = await store.verify();
  const problems = faults.map(({ kind, stream, message }) => `verify: ${kind} ${stream ?? 'log'}: ${message}`);
  if (unsealed > 0) problems.push(`${unsealed} records are not sealed`);
  for (const { stream, held } of await store.held())
    problems.push(`${stream} still holds ${held.object.key} ${held.field}`);
  const kept = new Map<string, string>();
  for await (const { stream, json } of store.histories({})) kept.set(stream, json);
  for (const { stream, workflowId, history } of remediations)
    problems.push(...unlike(`${workflowId} (${stream})`, kept.get(stream), history));
  if (kept.size !== remediations.length) problems.push(`${kept.size} histories of ${remediations.length} remediations`);
  return problems;
}

function unlike(of: string, kept: string | undefined, history: History): string[] {
  if (kept === undefined) return [`${of}: its history is not kept`];
  const [is, should] = [kept, historyToJSON(history)].map((json) => (JSON.parse(json) as { events: unknown[] }).events);
  const at = should?.findIndex((event, index) => canonicalJson(event) !== canonicalJson(is?.[index])) ?? -1;
  if (at < 0 && is?.length === should?.length) return [];
  return [`${of}: event ${at + 1} was ${JSON.stringify(should?.[at])} and is kept as ${JSON.stringify(is?.[at])}`];
}
