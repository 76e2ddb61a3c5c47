import type { Change, Held } from '../../model/change.ts';
import { HELD_ANNOTATION } from '../../model/names.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import { FinalError } from '../errors.ts';
import type { Attempt } from '../instance.ts';
import type { Cluster } from './cluster.ts';
import { ApiError, explain } from './errors.ts';
import {
  describeChange,
  type Field,
  holdsOn,
  type Note,
  nameOf,
  noteWriterOf,
  parseField,
  readField,
  shown,
  writerOf,
} from './fields.ts';
import { isPresent } from './health.ts';
import type { Pod, Ref } from './objects.ts';
import { readController } from './owner.ts';
import { deciding, PodWriter, type Writing } from './pod-writer.ts';
import { isQuarantined, notedController } from './quarantine.ts';

/**
 * The undo: gives the traffic back, and sees to it that a cut which is still on its way is refused when it arrives. It
 * does not ask whether it still counts: it only ever takes back what this remediation has set, and it must be able to.
 *
 * @throws FinalError `Contested` as {@link giveBack} does
 */
export async function restore(
  cluster: Cluster,
  ref: Ref,
  request: CutRequest,
  { since }: Pick<Attempt, 'since'>,
): Promise<Change[]> {
  if (request.held.length === 0) return [];
  const writing: Writing = { cluster, ref, request, mayWrite: async () => undefined };
  const changes: Change[] = [];
  return deciding(cluster, ref, async (pod) => {
    if (!isPresent(pod, request.instance.uid)) return changes;
    const writer = new PodWriter(writing, pod);
    await giveBackAll(writer, changes);
    if (changes.length > 0) return changes;
    // Nothing here to take back, so nothing was written that would have changed the pod's version: the cut may have been
    // sent and not have arrived. It carries the version of its read; with another one it is refused.
    const made = request.held.flatMap((held) => givenBackBefore(writer, held, since));
    await overtake(writer);
    return made;
  });
}

/** With rights that do not allow the write, a write that is still on its way is refused by them as well. */
async function overtake(writer: PodWriter): Promise<void> {
  try {
    await writer.overtake();
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 403) throw error;
  }
}

/**
 * Gives the traffic back exactly as it was, and takes the note away. What somebody else has changed meanwhile stays as
 * it is. Where the pod is gone there is nothing to do.
 *
 * @param may asked on the fresh read; where it says no, nothing is touched and the answer is undefined
 * @throws FinalError `Contested` where the field is as it was set, but neither the note nor its last writer is Salvor's
 */
export async function giveBack(
  writing: Writing,
  may: (pod: Pod | undefined) => boolean = () => true,
): Promise<Change[] | undefined> {
  const { cluster, ref, request } = writing;
  // Kept over the tries: a gate is given back in two writes, and the second may have to be tried again.
  const changes: Change[] = [];
  return deciding(cluster, ref, async (pod) => {
    // Not asked again once something was given back: that changes what the pod looks like.
    if (changes.length === 0 && !may(pod)) return undefined;
    if (isPresent(pod, request.instance.uid)) await giveBackAll(new PodWriter(writing, pod), changes);
    return changes;
  });
}

/** Adds each change to `changes` as soon as it is made. */
async function giveBackAll(writer: PodWriter, changes: Change[]): Promise<void> {
  const together = writer.request.held
    .flatMap((held) => writer.ownHold(held) ?? [])
    .filter((own) => parseField(own.field).in !== 'conditions' && isAsSet(writer, own));
  if (together.length > 0) {
    const adoption = await adoptionOf(writer, together);
    changes.push(
      ...(await writer.giveBack(together, (own) => describeBack(own) + (own === together[0] ? adoption : ''))),
    );
  }
  for (const held of writer.request.held) {
    const own = writer.ownHold(held);
    if (own) await giveBackField(writer, own, changes);
    else if (!changes.some(({ field }) => field === held.field)) await giveBackUnnoted(writer, held, changes);
  }
}

const isAsSet = ({ pod }: PodWriter, { field, set }: Held): boolean => readField(pod, parseField(field)) === set;

const describeBack = ({ field, set, before }: Held): string => describeChange(parseField(field), set, before);

/** What becomes of a pod that leaves quarantine, where that is not simply that its owner takes it back; never throws. */
async function adoptionOf(writer: PodWriter, own: readonly Note[]): Promise<string> {
  const { metadata } = writer.pod;
  const controller = isQuarantined(own, metadata.uid) && notedController(own);
  if (!controller) return '';
  const owner = `its owner ${controller.kind} ${controller.name}`;
  try {
    if (await readController(writer.cluster, metadata.namespace ?? '', controller)) return '';
    return `; ${owner} does not exist any more, so the pod stays without a controller: a person should delete it`;
  } catch (error) {
    return `; whether ${owner} still exists, and takes it back, could not be read: ${explain(error)}`;
  }
}

async function giveBackField(writer: PodWriter, own: Held, changes: Change[]): Promise<void> {
  const field = parseField(own.field);
  const found = readField(writer.pod, field);
  // Only a gate is still as it was set here; its note goes after it.
  if (found === own.set) changes.push(...(await writer.giveBack([own], describeBack)));
  if (changes.some((change) => change.field === own.field)) {
    await writer.release(own, '');
    return;
  }
  const state =
    found === own.before
      ? `is ${shown(found)} again already`
      : `stays ${shown(found)}, set by ${writerOf(writer.pod.metadata, field)?.manager ?? '(not recorded)'} meanwhile`;
  changes.push(await writer.release(own, `released the hold on the ${nameOf(field)}, which ${state}`));
}

/** The note is not there: the field says whether the cut was made, and its last writer whether that was Salvor. */
async function giveBackUnnoted(writer: PodWriter, held: Held, changes: Change[]): Promise<void> {
  const { pod } = writer;
  const field = parseField(held.field);
  if (readField(pod, field) !== held.set || writer.othersHold(held)) return;
  const last = writerOf(pod.metadata, field)?.manager;
  if (last !== writer.manager) throw unclear(writer, held, field, last);
  const what = `${describeBack(held)}, although its note ${noteState(pod)}`;
  changes.push(...(await writer.giveBackUnnoted(held, what)));
}

function unclear({ pod, request }: PodWriter, held: Held, field: Field, last = '(not recorded)'): FinalError {
  const how = `once it is clear that it should have traffic, set its ${nameOf(field)} back to ${shown(held.before)}`;
  return new FinalError(
    `did not give traffic back to ${request.instance.key}: its ${nameOf(field)} is ${shown(held.set)}, as the cut sets it, but the note of the cut (annotation ${HELD_ANNOTATION}) ${noteState(pod)}, and the field was last written by ${last}, not by Salvor; nothing was touched. A person must decide: ${how}`,
    { type: 'Contested' },
  );
}

function noteState(pod: Pod): string {
  if (holdsOn(pod.metadata) !== undefined)
    return 'is not there (who removes one is recorded only in the audit log of the API)';
  return `cannot be read, last written by ${noteWriterOf(pod.metadata)?.manager ?? '(not recorded)'}`;
}

/**
 * What an earlier attempt at this undo gave back without being able to report it: the field is as it was before, written
 * by Salvor, since this undo was first asked for. An older write is another remediation's.
 */
function givenBackBefore(writer: PodWriter, held: Held, since: number): Change[] {
  const field = parseField(held.field);
  const last = writerOf(writer.pod.metadata, field);
  if (readField(writer.pod, field) !== held.before || last?.manager !== writer.manager || !last.time) return [];
  // Times of writers are cut to the second.
  if (Date.parse(last.time) < Math.floor(since / 1000) * 1000) return [];
  return [writer.change(held.field, held.set, held.before, describeBack(held), { at: last.time })];
}
