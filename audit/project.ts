import type { AuditEntry, AuditStream } from '../model/audit.ts';
import type { Held } from '../model/change.ts';
import { describePause, prefixName } from '../model/pause.ts';
import { GENESIS, HISTORY, type Tables } from './schema.ts';

/** Text as both databases can hold it. */
export const plain = (text: string): string => text.toWellFormed().replaceAll('\0', '\u{fffd}');

/** A stream that has no records yet. @param at ISO time of its first */
export const newStream = (stream: AuditStream, at: string): Tables['streams'] => ({
  id: stream.id,
  kind: stream.kind,
  workflow_id: plain(stream.workflowId),
  rule: plain(stream.rule),
  target: stream.target === undefined ? null : plain(stream.target),
  runbook: stream.runbook ?? null,
  mode: stream.mode ?? null,
  scope: plain(stream.scope),
  started_at: at,
  ended_at: null,
  outcome: stream.kind === 'remediation' ? 'running' : null,
  reason: null,
  person: null,
  alertname: null,
  records: 0,
  head: GENESIS,
  sealed: 0,
  history: HISTORY.none,
});

/** What one more record makes of the stream's row. */
export function advance(row: Tables['streams'], at: string, entry: AuditEntry, hash: string): Tables['streams'] {
  const next = { ...row, records: row.records + 1, head: hash };
  if (entry.kind === 'history') next.history = HISTORY.kept;
  if (row.kind !== 'remediation') return next;
  if (entry.kind === 'begun') {
    next.person = plain(entry.alert.by);
    next.alertname = plain(entry.alert.alertname);
  }
  // A run that was taken for terminated may still have a word of its own; that counts, and only the first.
  if (entry.kind === 'ended' && (row.outcome === 'running' || row.outcome === 'terminated')) {
    next.ended_at = at;
    next.outcome = entry.outcome;
    next.reason = plain(entry.reason);
  }
  return next;
}

type Decided = Pick<Tables['records'], 'rule' | 'target' | 'outcome' | 'reason' | 'person' | 'alertname'>;

const NOT_DECIDED: Decided = {
  rule: null,
  target: null,
  outcome: null,
  reason: null,
  person: null,
  alertname: null,
};

/** What lists filter decisions by, Salvor's own and those of people; nothing for every other record. */
export function decided(entry: AuditEntry): Decided {
  if (entry.kind === 'pause') return ordered('paused', entry.pause, describePause(entry.pause));
  if (entry.kind === 'resume') {
    const why = entry.reason === '' ? '' : `: ${entry.reason}`;
    return ordered('resumed', entry, `${prefixName(entry.prefix)} is resumed by ${entry.by}${why}`);
  }
  if (entry.kind !== 'decision') return NOT_DECIDED;
  const { rule, target, decision, alert } = entry;
  return {
    rule: plain(rule),
    target: plain(target),
    outcome: decision.answer === 'wait' ? 'waiting' : 'refused',
    reason: plain(`${decision.gate}: ${decision.reason}`),
    person: plain(alert.by),
    alertname: plain(alert.alertname),
  };
}

function ordered(outcome: string, { prefix, by }: { prefix: string; by: string }, reason: string): Decided {
  const isRule = prefix.startsWith('rule/');
  return {
    ...NOT_DECIDED,
    rule: isRule ? plain(prefix.slice('rule/'.length)) : '',
    target: isRule || prefix === '' ? null : plain(prefix),
    outcome,
    reason: plain(reason),
    person: plain(by),
  };
}

/** What an entry does to what is held: `set` holds, without it it is given back. */
export function heldBy(entry: AuditEntry): { uid: string; field: string; set?: Held } | undefined {
  if (entry.kind === 'held')
    return { uid: plain(entry.held.object.uid), field: plain(entry.held.field), set: entry.held };
  if (entry.kind === 'released') return { uid: plain(entry.object.uid), field: plain(entry.field) };
  return undefined;
}
