import { UnavailableError } from '../errors.ts';
import { type Group, isOnStandby } from './group.ts';
import type { Note } from './notes.ts';
import type { Scene } from './scene.ts';

/**
 * Who gives a group back the one that he took from its desired capacity sets that to a number: so it is one at a time, by their
 * notes (stage `raising`). Of two that have noted it at once the one with the smaller id waits, and the other takes its own back.
 */

/** The others that are at it now; one that nobody should hold any more is at nothing. */
const beside = (group: Group, id: string): Note[] =>
  [...group.notes.values()].filter(
    (note) => note.instance !== id && note.stage === 'raising' && note.way === 'standby' && isOut(group, note),
  );

const isOut = (group: Group, { instance, until }: Note): boolean =>
  Date.parse(until) > Date.now() && group.instances.some((one) => one.id === instance && isOnStandby(one));

/** Who else sets the desired capacity of the group back at this moment, for a message; undefined where nobody does. */
export function raisedBy(group: Group, id: string): string | undefined {
  const other = beside(group, id)[0];
  return other && `remediation ${other.remediation} is setting the desired capacity of ${group.name} back`;
}

/** @throws UnavailableError while another one does it */
export function unlessRaising(group: Group, id: string): void {
  const by = raisedBy(group, id);
  if (by) throw new UnavailableError(`${by}: it is tried again after that`);
}

/**
 * Notes that it is about to be set back, unless another one does that.
 *
 * @returns the group as it is with that note, or why it is not the time
 */
export async function announce(scene: Scene, group: Group, note: Note): Promise<Group | string> {
  const { account } = scene;
  const others = beside(group, note.instance);
  const own = group.notes.get(note.instance);
  if (others.length > 0) {
    if (own?.stage === 'raising' && others.some(({ instance }) => instance < note.instance))
      await account.note(group.name, { ...note, stage: 'held' });
    return raisedBy(group, note.instance) ?? '';
  }
  if (own?.stage === 'raising') return group;
  await account.note(group.name, { ...note, stage: 'raising' });
  // Another one may have noted the same meanwhile.
  const now = await account.group(group.name);
  if (now?.notes.get(note.instance)?.stage !== 'raising') return 'its note is not there yet';
  return beside(now, note.instance).length > 0 ? announce(scene, now, note) : now;
}
