import type { AuditRecord } from '../audit/store.ts';
import type { AuditEntry } from '../model/audit.ts';
import type { Change, Held } from '../model/change.ts';
import { formatDuration } from '../model/duration.ts';
import type { ScalePoint } from '../model/ports/scalable.ts';
import type { Story } from '../model/remediation.ts';
import type { RecordedAlert } from '../model/request.ts';
import { wordsOf } from './audit-text.ts';
import type { Run } from './runs.ts';
import { type StateSpan, spansOf } from './states.ts';

/**
 * What happened to one target, in order: the model of everything that tells it (`salvor show`, `salvor report` as text and
 * as a page). Pure; made of the records of the audit store, or of a story that a worker or a history tells.
 */
export interface Timeline {
  /** First run ID. */
  id: string;
  target: string;
  rule: string;
  runbook: string;
  mode: string;
  scope?: string;
  alert?: Pick<RecordedAlert, 'alertname' | 'startsAt'> & Partial<RecordedAlert>;
  /** ISO times. */
  startedAt: string;
  endedAt?: string;
  /** An outcome, `running`, or how it ended without a word (`terminated`, `timed_out`). */
  outcome: string;
  reason?: string;
  entries: Entry[];
  /** What it was busy with, one after the other, without gaps; empty where that is not known. */
  phases: Phase[];
  /** Every field that was held, in the order in which they were. */
  held: Holding[];
  /** What a run that only observes would have done. */
  plan?: string[];
  /** Of scale-on-backlog: the looks at the signals, in order. */
  chart?: ScalePoint[];
  /** Of circuit-breaker: its states, in order. */
  states?: StateSpan[];
  source: Source;
}

/** Whose word it is: the audit store's records, a worker's, or the execution's history. */
export interface Source {
  from: 'audit' | 'worker' | 'history';
  /** Of the audit store: how many records, and the hash of the last one. */
  kept?: { records: number; head: string };
}

export const PARTS = ['alert', 'decision', 'found', 'held', 'change', 'released', 'outcome', 'note'] as const;

export interface Entry {
  /** ISO time. */
  at: string;
  part: (typeof PARTS)[number];
  text: string;
  /** Of a change: what is exactly known of it. */
  change?: Change;
  /** Of what was found: what it rests on. */
  facts?: Record<string, unknown>;
}

export interface Phase {
  name: string;
  /** ISO times. */
  from: string;
  to: string;
  /** Whether it waited for the world in it, or acted. */
  waits: boolean;
}

export interface Holding {
  held: Held;
  /** ISO times; without an end it is held still. */
  from: string;
  to?: string;
  /** A person, where it was not the remediation itself that gave it back. */
  by?: string;
}

/** What every source tells of a run. */
export type About = Omit<Run, 'workflowId'>;

/**
 * Phases in which a remediation mostly waits: for a person, for the target to heal, for a budget, for the replacement, or for
 * what it keeps.
 */
const WAITS: ReadonlySet<string> = new Set([
  'queue',
  'propose',
  'hold',
  'held back',
  'replace',
  'verify',
  'keep',
  'confirming',
  'open',
  'half-open',
  'closed',
]);

/**
 * @param more what else happened, such as a cancel that the story does not know of
 * @param now ISO time up to which a state that is not over is known to last; by default that of the last line
 */
export function timelineOfStory(
  about: About,
  story: Story | undefined,
  from: Source['from'],
  more: Entry[] = [],
  now?: string,
): Timeline {
  const lines = story?.lines ?? [];
  const { changes = [], held = [], ending, alert, chart, breaker } = story ?? {};
  const end = about.endedAt ?? now ?? lines.at(-1)?.at ?? about.startedAt;
  const entries = [
    ...lines.slice(0, 1).map(({ at, text }): Entry => ({ at, part: 'alert', text })),
    ...notesOf(lines.slice(1), changes.map(changeEntry), ending && endText(ending.outcome, ending.reason)),
    ...more,
  ];
  return {
    ...about,
    ...(alert && { alert: { alertname: alert.name, startsAt: alert.startsAt } }),
    entries: inOrder(entries),
    phases: phasesOf(lines, about.endedAt ?? lines.at(-1)?.at ?? about.startedAt),
    held: held.map((field) => ({ held: field, from: heldSince(field, changes) ?? about.startedAt })),
    ...(ending?.plan && { plan: ending.plan }),
    ...(chart && { chart }),
    ...(breaker && { states: spansOf(breaker.timeline, Date.parse(end)) }),
    source: { from },
  };
}

/**
 * @param records of one remediation, in order
 * @param decisions records of its responder that are about the same request, while it waited
 * @returns undefined where they are not those of a remediation
 */
export function timelineOfRecords(records: AuditRecord[], decisions: AuditRecord[] = []): Timeline | undefined {
  const begun = records.find((record): record is Recorded<'begun'> => is(record, 'begun'));
  if (!begun) return undefined;
  const { target, rule, scope, alert, ruleDigest } = begun.entry;
  const ended = records.findLast((record): record is Recorded<'ended'> => is(record, 'ended'));
  const told = records.flatMap(entryOf);
  const lines = ended?.entry.lines ?? [];
  const entries: Entry[] = [
    { at: alert.startsAt, part: 'alert', text: `${alert.alertname} fires` },
    ...decisions.flatMap(entryOf),
    {
      at: begun.at,
      part: 'decision',
      text: `admitted: no gate objects in ${scope} (rule ${rule.name}, digest ${ruleDigest.slice(0, 8)}, mode ${rule.mode})`,
    },
    ...notesOf(lines.slice(1), told, ended && endText(ended.entry.outcome, ended.entry.reason)),
  ];
  const { plan, outcome = 'running', reason, chart, breaker } = ended?.entry ?? {};
  const last = records.at(-1);
  return {
    id: begun.stream,
    target,
    rule: rule.name,
    runbook: rule.runbook,
    mode: rule.mode,
    scope,
    alert,
    startedAt: begun.at,
    ...(ended && { endedAt: ended.at }),
    outcome,
    ...(reason !== undefined && { reason }),
    entries: inOrder(entries),
    phases: [...queuePhase(decisions, begun.at), ...phasesOfRecords(records, begun.at, ended)],
    held: holdingsOf(records),
    ...(plan && { plan }),
    ...(chart && { chart }),
    ...(breaker && ended && { states: spansOf(breaker.timeline, Date.parse(ended.at)) }),
    source: { from: 'audit', kept: { records: records.length, head: last?.hash ?? '' } },
  };
}

type Recorded<K extends AuditEntry['kind']> = AuditRecord & { entry: Extract<AuditEntry, { kind: K }> };

const is = <K extends AuditEntry['kind']>(record: AuditRecord, kind: K): record is Recorded<K> =>
  record.entry.kind === kind;

const inOrder = (entries: Entry[]): Entry[] => entries.toSorted((a, b) => Date.parse(a.at) - Date.parse(b.at));

const endText = (outcome: string, reason: string): string => `${outcome}: ${reason}`;

/** One record as people read it; those that say how the others are kept say nothing of what happened. */
function entryOf({ at, entry }: AuditRecord): Entry[] {
  switch (entry.kind) {
    case 'begun':
    case 'history':
      return [];
    case 'decision': {
      const { answer, gate, reason } = entry.decision;
      return [{ at, part: 'decision', text: `${answer === 'wait' ? 'waits for' : 'refused by'} ${gate}: ${reason}` }];
    }
    case 'change':
      return [changeEntry(entry.change)];
    case 'evidence':
      return [{ at, part: 'found', text: wordsOf(entry), ...(entry.facts && { facts: entry.facts }) }];
    default:
      return [{ at, part: PART_OF[entry.kind], text: wordsOf(entry) }];
  }
}

/** What people decided, and what Salvor did, by kind of record. */
const PART_OF = {
  dropped: 'decision',
  cancel: 'decision',
  verdict: 'decision',
  storm: 'decision',
  pause: 'decision',
  resume: 'decision',
  escalated: 'note',
  held: 'held',
  released: 'released',
  lost: 'note',
  ended: 'outcome',
} as const;

const changeEntry = (change: Change): Entry => ({ at: change.at, part: 'change', text: change.what, change });

/** What is told, and what the lines say beside it: a line that says the same as an entry says it once. */
function notesOf(lines: Story['lines'], told: Entry[], end: string | undefined): Entry[] {
  // A line names the object of a change where it is not the target.
  const said = told.flatMap(({ text, change }) => (change ? [text, `${text} (${change.object.key})`] : [text]));
  const isTold = (text: string): boolean => said.some((one) => one === text || one.endsWith(`: ${text}`));
  const notes = lines
    .filter(({ text }) => !isTold(text))
    .map(({ at, text }): Entry => ({ at, part: text === end ? 'outcome' : 'note', text }));
  return [...told, ...notes];
}

function phasesOf(lines: Story['lines'], end: string): Phase[] {
  const begun = lines.filter(({ phase }, at) => phase !== undefined && phase !== lines[at - 1]?.phase);
  const phases = begun.map(({ at, phase = '' }, place): Phase => {
    return { name: phase, from: at, to: begun[place + 1]?.at ?? end, waits: WAITS.has(phase) };
  });
  // The last line says how it ended: that is no phase.
  return phases.filter(({ from, to }) => Date.parse(to) > Date.parse(from));
}

/** Where the lines do not say it, each piece of evidence ends the phase that looked for it. */
function phasesOfRecords(records: AuditRecord[], start: string, ended: Recorded<'ended'> | undefined): Phase[] {
  const lines = ended?.entry.lines ?? [];
  if (ended && lines.some(({ phase }: Story['lines'][number]) => phase !== undefined)) return phasesOf(lines, ended.at);
  const phases: Phase[] = [];
  let from = start;
  const close = (name: string, to: string): void => {
    if (Date.parse(to) > Date.parse(from)) phases.push({ name, from, to, waits: WAITS.has(name) });
    from = to;
  };
  for (const { at, entry } of records) {
    if (entry.kind === 'evidence') close(entry.what === 'diagnosis' ? 'diagnose' : entry.what, at);
    if (entry.kind === 'change' && entry.change.step === 'cut') close('cut', entry.change.at);
    if (entry.kind === 'ended') close('end', at);
  }
  return phases;
}

/** From the first time that it was made to wait until it was admitted. */
function queuePhase(decisions: AuditRecord[], to: string): Phase[] {
  const first = decisions.find((record): record is Recorded<'decision'> => is(record, 'decision'));
  return first ? [{ name: 'queue', from: first.entry.since, to, waits: true }] : [];
}

function holdingsOf(records: AuditRecord[]): Holding[] {
  const holdings: Holding[] = [];
  for (const { at, entry } of records) {
    if (entry.kind === 'held') holdings.push({ held: entry.held, from: at });
    if (entry.kind !== 'released') continue;
    const { object, field, by } = entry;
    const open = holdings.find(
      ({ held, to }) => to === undefined && held.field === field && held.object.uid === object.uid,
    );
    if (open) Object.assign(open, { to: at, ...(by !== undefined && { by }) });
  }
  return holdings;
}

const heldSince = ({ object, field }: Held, changes: Change[]): string | undefined =>
  changes.find((change) => change.field === field && change.object.uid === object.uid)?.at;

/** Milliseconds from one ISO time to another, never negative. */
export const between = (from: string, to: string): number => Math.max(0, Date.parse(to) - Date.parse(from));

/** As precise as people read it: `850ms`, `1.3s`, `1m12s`. */
export function roughly(ms: number): string {
  if (ms < 1_000) return formatDuration(Math.round(ms));
  if (ms < 10_000) return `${Math.round(ms / 100) / 10}s`;
  return formatDuration(Math.round(ms / 1000) * 1000);
}

export const lasted = (from: string, to: string): string => roughly(between(from, to));

/** Milliseconds spent waiting and working, over the phases that are known. */
export function timeSpent({ phases }: Timeline): { waiting: number; working: number } {
  const sum = (waits: boolean) =>
    phases.filter((phase) => phase.waits === waits).reduce((ms, { from, to }) => ms + between(from, to), 0);
  return { waiting: sum(true), working: sum(false) };
}
