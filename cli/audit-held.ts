import type { AuditStore, HeldNow } from '../audit/store.ts';
import type { Held } from '../model/change.ts';
import { remediationId } from '../model/names.ts';
import type { HeldOn } from '../providers/instance.ts';
import type { Place } from '../providers/registry.ts';
import { shownValue } from './audit-text.ts';
import { paint, table } from './output.ts';
import { printable } from './report/text.ts';
import { shortId } from './runs.ts';
import { dateAndTime, zone } from './times.ts';

/** A field that is altered now, as the audit store, or the object itself, or both have it. */
export interface Altered {
  held: Held;
  workflowId: string;
  /** Run ID of its remediation, as the store has it: another one than `held` names where the remediation was reset. */
  stream?: string;
  /** What the store alone tells: rule and target of the remediation, and the ISO time since which it is held. */
  rule?: string;
  target?: string;
  since?: string;
  /** Whether the store has it. */
  recorded: boolean;
  /** Whether the object carries the note of it; absent where nobody could look. */
  noted?: boolean;
  /** Its time has run out: nobody should still hold it. */
  overdue: boolean;
}

/** All that is known to be altered now, and who could not be asked. */
export interface Gathered {
  altered: Altered[];
  /** Why the store has nothing to say; for people. */
  storeProblem?: string;
  /** Likewise, for each cluster that was asked and did not answer. */
  placeProblems: string[];
  /** Whether anybody answered. */
  answered: boolean;
  /** Objects whose own note cannot be read; for people. */
  unreadable: string[];
}

/**
 * Asks the store and every configured cluster, side by side. What one does not know the other may: the store may be lost
 * or behind, a note removed, an object gone.
 *
 * @param store the open store, or why there is none
 */
export async function gather(store: AuditStore | string, places: Place[]): Promise<Gathered> {
  const [kept, looks] = await Promise.all([
    // Whatever is the matter with it, the objects are asked all the same.
    typeof store === 'string' ? store : store.held().catch(messageOf),
    Promise.all(places.map(lookAt)),
  ]);
  const storeProblem = typeof kept === 'string' ? kept : undefined;
  const recorded = typeof kept === 'string' ? [] : kept;
  const objects = looks.flatMap((look) => look.objects ?? []);
  const looked = looks.filter((look) => look.objects !== undefined);
  return {
    altered: merge(
      recorded,
      objects.flatMap(({ holds = [] }) => holds),
      looked.map(({ prefix }) => prefix),
    ),
    ...(storeProblem !== undefined && { storeProblem }),
    placeProblems: looks.flatMap(({ problem }) => (problem === undefined ? [] : [problem])),
    answered: storeProblem === undefined || looked.length > 0,
    unreadable: objects.flatMap(({ object, problem }) => (problem === undefined ? [] : [`${object.key}: ${problem}`])),
  };
}

async function lookAt({
  name,
  prefix,
  find,
}: Place): Promise<{ prefix: string; objects?: HeldOn[]; problem?: string }> {
  try {
    return { prefix, objects: await find() };
  } catch (error) {
    return { prefix, problem: `${name} did not say what is held there: ${messageOf(error)}` };
  }
}

export const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** @param looked beginnings of the keys of the objects that were looked at */
function merge(recorded: HeldNow[], notes: Held[], looked: string[]): Altered[] {
  const noted = new Map(notes.map((held) => [nameOf(held), held]));
  const known = recorded.map(({ held, stream, workflowId, rule, target, since }): Altered => {
    const isNoted = noted.delete(nameOf(held));
    const isLooked = looked.some((prefix) => held.object.key.startsWith(prefix));
    const overdue = isOverdue(held);
    const kept = { held, stream, workflowId, rule, target, since, recorded: true };
    return { ...kept, ...(isLooked && { noted: isNoted }), overdue };
  });
  const unknown = [...noted.values()].map((held): Altered => {
    const workflowId = remediationId(held.object.key);
    return { held, workflowId, recorded: false, noted: true, overdue: isOverdue(held) };
  });
  return [...known, ...unknown.sort((a, b) => a.held.until.localeCompare(b.held.until))];
}

const nameOf = ({ object, field, remediation }: Held): string => `${object.uid} ${field} ${remediation}`;
const isOverdue = ({ until }: Held): boolean => Date.parse(until) < Date.now();

/** What is altered, for people. */
export function alteredTable(altered: Altered[]): string[] {
  const head = ['OBJECT', 'FIELD', 'WAS → IS', `SINCE (${zone()})`, 'UNTIL', 'RULE', 'REMEDIATION', ''];
  const rows = altered.map((one) => {
    const { object, field, before, set, until, remediation } = one.held;
    return [
      printable(object.key),
      printable(field),
      printable(`${shownValue(before)} → ${shownValue(set)}`),
      one.since === undefined ? '-' : dateAndTime(one.since),
      dateAndTime(until),
      one.rule ?? '-',
      printable(shortId(remediation)),
      stateOf(one),
    ];
  });
  return table([head, ...rows], (text, column, row) => {
    if (row === 0) return paint('bold', text);
    return column === 7 ? paint('yellow', text) : text;
  });
}

function stateOf({ overdue, recorded, noted }: Altered): string {
  const says = overdue ? ['overdue'] : [];
  if (!recorded) says.push('not in the audit store');
  if (noted === false) says.push('no note on the object: it is gone, or the field is as it was');
  return says.join('; ');
}
