import type { AuditRecord } from '../audit/store.ts';
import type { AuditEntry } from '../model/audit.ts';
import type { FieldValue } from '../model/change.ts';
import { describePause } from '../model/pause.ts';

/** One entry of the audit as a person reads it; times in it are ISO. */
export function wordsOf(entry: AuditEntry): string {
  switch (entry.kind) {
    case 'decision': {
      const { decision, alert } = entry;
      const verb = decision.answer === 'wait' ? 'waits' : 'refused';
      return `${verb} (${decision.gate}): ${decision.reason}; ${alert.alertname} of ${alert.startsAt}, rule ${entry.rule}`;
    }
    case 'dropped':
      return `dropped: ${entry.why}; ${entry.alert.alertname} of ${entry.alert.startsAt}, rule ${entry.rule}`;
    case 'begun': {
      const { alert, rule } = entry;
      return `${alert.alertname} of ${alert.startsAt}, rule ${rule.name}, mode ${rule.mode}, asked for by ${alert.by}`;
    }
    case 'evidence':
      return `${entry.what}: ${entry.verdict}: ${entry.why}`;
    case 'held': {
      const { object, field, before, set, until } = entry.held;
      return `holds ${object.key} ${field}: ${shownValue(before)} → ${shownValue(set)}, until ${until}`;
    }
    case 'change':
      return `${entry.change.step}: ${entry.change.what}`;
    case 'released': {
      const by = entry.by === undefined ? '' : ` by ${entry.by}`;
      return `released${by} ${entry.object.key} ${entry.field}${entry.why === undefined ? '' : `: ${entry.why}`}`;
    }
    case 'verdict': {
      const groups = entry.groups.length > 0 ? ` (${entry.groups.join(', ')})` : '';
      const comment = entry.comment === '' ? '' : `: ${entry.comment}`;
      return `${entry.answer === 'approve' ? 'approved' : 'denied'} by ${entry.by}${groups}, plan ${entry.digest}${comment}`;
    }
    case 'storm': {
      const by = entry.by === undefined ? '' : ` by ${entry.by}`;
      return `storm ${entry.state}${by}: ${entry.why}`;
    }
    case 'escalated':
      return `escalated as ${entry.id}: ${entry.why}`;
    case 'pause':
      return `${describePause(entry.pause)}${entry.undo ? ', and what runs is undone' : ''}`;
    case 'resume': {
      const what = entry.prefix === '' ? 'everything' : entry.prefix;
      return `${what} is resumed by ${entry.by}${entry.reason === '' ? '' : `: ${entry.reason}`}`;
    }
    case 'cancel':
      return `its end was asked for by ${entry.by}${entry.reason === '' ? '' : `: ${entry.reason}`}`;
    case 'lost':
      return `${entry.count} notes before this one are lost: the store was down for too long`;
    case 'ended':
      return `${entry.outcome}: ${entry.reason}`;
    case 'history':
      return `its history is kept: ${entry.events} events, ${entry.bytes} bytes, SHA-256 ${entry.sha256}`;
  }
}

/** What a record is about, as far as it says so itself: the records of one stream are told by its first. */
export function aboutOf({ entry }: Pick<AuditRecord, 'entry'>): { rule?: string; target?: string; by?: string } {
  switch (entry.kind) {
    case 'decision':
    case 'dropped':
      return { rule: entry.rule, target: entry.target, by: entry.alert.by };
    case 'begun':
      return { rule: entry.rule.name, target: entry.target, by: entry.alert.by };
    case 'held':
      return { target: entry.held.object.key };
    case 'change':
      return { target: entry.change.object.key };
    case 'cancel':
    case 'verdict':
    case 'resume':
      return { by: entry.by };
    case 'pause':
      return { by: entry.pause.by };
    case 'released':
      return { target: entry.object.key, ...(entry.by !== undefined && { by: entry.by }) };
    default:
      return {};
  }
}

export const shownValue = (value: FieldValue): string => (value === null ? 'absent' : JSON.stringify(value));
