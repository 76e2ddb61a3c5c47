import type { Held } from '../../model/change.ts';
import { HELD_ANNOTATION } from '../../model/names.ts';

/**
 * What is held of an instance, as a tag of its group says: key `salvor.dev/held/<instance>`, value `name=value` pairs with
 * spaces between, for the value of a tag has 256 characters at most, and no quotes or braces.
 */
export interface Note {
  instance: string;
  runbook: string;
  remediation: string;
  /** ISO time after which nobody should still hold it. */
  until: string;
  /** `standby`: it comes back by ExitStandby. `standby-replaced`: its replacement was asked for, so it must not. */
  way: 'standby' | 'standby-replaced';
  /** The DesiredCapacity before it was taken out. */
  before: number;
  /** The group's own desired capacity then: what is before, and what else Salvor had taken away. */
  own: number;
  /**
   * `returning`: ExitStandby is about to be asked for, or was: where it is in service again, that was Salvor. `raising`: the
   * desired capacity is about to be set back, or was (raise.ts).
   */
  stage: (typeof STAGES)[number];
}

/** What comes next is noted before it is asked for: a worker may be killed after it, and others count with the same numbers. */
const STAGES = ['held', 'returning', 'raising'] as const;
const PREFIX = `${HELD_ANNOTATION}/`;

export const noteKey = (instance: string): string => `${PREFIX}${instance}`;

export const noteValue = ({ instance: _instance, ...fields }: Note): string =>
  Object.entries(fields)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

/** @returns undefined where Salvor did not write it so: then nobody knows what is held */
export function parseNote(instance: string, text: string): Note | undefined {
  const fields = pairsOf(text);
  const { runbook, remediation, until, way, stage } = fields;
  const [before, own] = [fields['before'], fields['own']].map(Number);
  if (!runbook || !remediation || !until || Number.isNaN(Date.parse(until))) return undefined;
  const known = STAGES.find((one) => one === stage);
  if ((way !== 'standby' && way !== 'standby-replaced') || !known) return undefined;
  if (![before, own].every(Number.isSafeInteger)) return undefined;
  return {
    ...{ instance, runbook, remediation, until, way, stage: known },
    ...{ before: before ?? 0, own: own ?? 0 },
  };
}

const pairsOf = (text: string): Partial<Record<string, string>> =>
  Object.fromEntries(
    text.split(' ').map((pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );

/** In the key of the tag, in the place of an instance: what is held is the size of the group itself. */
export const SIZE = 'DesiredCapacity';

/** What is held of the size of a group, as its tag `salvor.dev/held/DesiredCapacity` says. It is written before each change. */
export interface SizeNote {
  runbook: string;
  remediation: string;
  /** ISO time after which nobody should still hold it. */
  until: string;
  /** The group's own desired capacity before Salvor changed it: what it goes back to. */
  before: number;
  /** That from which it is about to be changed, or was; and to which. */
  from: number;
  set: number;
}

export const sizeNoteValue = (note: SizeNote): string =>
  Object.entries(note)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

/** @returns undefined where there is none that can be read */
export function sizeNoteIn(tags: ReadonlyMap<string, string>): SizeNote | undefined {
  const { runbook, remediation, until, ...fields } = pairsOf(tags.get(noteKey(SIZE)) ?? '');
  const [before = Number.NaN, from = Number.NaN, set = Number.NaN] = [
    fields['before'],
    fields['from'],
    fields['set'],
  ].map((text) => (text ? Number(text) : Number.NaN));
  if (!runbook || !remediation || !until || Number.isNaN(Date.parse(until))) return undefined;
  if (![before, from, set].every(Number.isSafeInteger)) return undefined;
  return { runbook, remediation, until, before, from, set };
}

/** Whether there is a note of the size that Salvor did not write so. */
export const hasUnreadableSize = (tags: ReadonlyMap<string, string>): boolean =>
  tags.has(noteKey(SIZE)) && sizeNoteIn(tags) === undefined;

/** Tags of Salvor's on a group whose value cannot be read, by instance id. */
export const unreadableIn = (tags: ReadonlyMap<string, string>): string[] =>
  held(tags).flatMap(([instance, text]) => (parseNote(instance, text) ? [] : [instance]));

export const notesIn = (tags: ReadonlyMap<string, string>): Map<string, Note> =>
  new Map(
    held(tags).flatMap(([instance, text]): [string, Note][] => {
      const note = parseNote(instance, text);
      return note ? [[instance, note]] : [];
    }),
  );

const held = (tags: ReadonlyMap<string, string>): [string, string][] =>
  [...tags]
    .filter(([key]) => key.startsWith(PREFIX) && key !== noteKey(SIZE))
    .map(([key, text]) => [key.slice(PREFIX.length), text]);

export const LIFECYCLE_STATE = 'LifecycleState';
export const DESIRED_CAPACITY = SIZE;

/** The fields that a note says are held. */
export function fieldsOf({ way, before }: Pick<Note, 'way' | 'before'>): Fields {
  const state = { field: LIFECYCLE_STATE, before: 'InService', set: 'Standby' };
  if (way === 'standby-replaced') return [state];
  return [state, { field: DESIRED_CAPACITY, before, set: before - 1 }];
}

type Fields = Pick<Held, 'field' | 'before' | 'set'>[];

/** By which way a cut with these fields takes its instance out. */
export const wayOf = (held: Pick<Held, 'field'>[]): Note['way'] =>
  held.some(({ field }) => field === DESIRED_CAPACITY) ? 'standby' : 'standby-replaced';
