import type { Change, FieldValue, Held } from '../../model/change.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import { FinalError } from '../errors.ts';
import type { Attempt } from '../instance.ts';
import type { Cluster } from './cluster.ts';
import { describeChange, type Field, heldByAnother, nameOf, parseField, readField, shown, writerOf } from './fields.ts';
import { absence, isPresent } from './health.ts';
import type { Pod, Ref } from './objects.ts';
import { deciding, PodWriter, type Writing } from './pod-writer.ts';

/**
 * Takes the pod out of traffic. The note of what is held is written with the change, or before it, so that whoever finds
 * the pod altered also finds by whom and what was there before.
 *
 * The first try of the first attempt does not ask whether it still counts, for an alert waits for it: while the attempt
 * is alone nothing can have been undone before its read, and what is undone after it changes the version.
 *
 * @throws FinalError `Replaced` where it is another pod now or none, `Contested` where the field is no longer as diagnosed
 */
export async function cut(cluster: Cluster, ref: Ref, request: CutRequest, attempt: Attempt): Promise<Change[]> {
  if (request.held.length === 0) return [];
  return deciding(cluster, ref, async (pod, tries) => {
    const gone = absence(pod, request.instance.uid, ref.resource === 'nodes' ? 'node' : 'pod');
    if (!pod || gone)
      throw new FinalError(`did not cut traffic of ${request.instance.key}: ${gone}; nothing was touched`, {
        type: 'Replaced',
      });
    const mayWrite = async (): Promise<void> => {
      if (tries > 1 || Date.now() >= attempt.aloneUntil) await attempt.stillMine();
    };
    const writer = new PodWriter({ cluster, ref, request, mayWrite }, pod);
    const before = request.held.flatMap((held) => madeBefore(writer, held) ?? []);
    const open = request.held.filter(({ field }) => !before.some((change) => change.field === field));
    if (open.length === 0) return before;
    return [...before, ...(await writer.set(open, describeCut))];
  });
}

const describeCut = (held: Held): string => describeChange(parseField(held.field), held.before, held.set);

/** The change where an earlier attempt has made it. @throws FinalError `Contested` where it must not be made */
function madeBefore(writer: PodWriter, held: Held): Change | undefined {
  const { pod, request } = writer;
  const field = parseField(held.field);
  const found = readField(pod, field);
  const own = writer.ownHold(held);
  // A field and its note are one write; a gate's note comes first, so it alone does not say that the gate was set.
  if (own && (field.in !== 'conditions' || found === held.set))
    return writer.change(held.field, held.before, held.set, describeCut(held), {
      at: writerOf(pod.metadata, field)?.time,
    });
  if (own) return undefined;
  const other = heldByAnother(pod.metadata, request.actor.remediation);
  const reason = other ?? (found === held.before ? undefined : changedMeanwhile(pod, field, held.before, found));
  if (reason)
    throw new FinalError(`did not cut traffic of ${request.instance.key}: ${reason}; nothing was touched`, {
      type: 'Contested',
    });
  return undefined;
}

const changedMeanwhile = (pod: Pod, field: Field, before: FieldValue, found: FieldValue): string =>
  `the ${nameOf(field)} was ${shown(before)} when it was diagnosed and is ${shown(found)} now, set by ${managerOf(pod, field)}`;

const managerOf = (pod: Pod, field: Field): string => writerOf(pod.metadata, field)?.manager ?? '(not recorded)';

/** A held field that is not as it was set, or whose note is gone, on the pod as it was read. */
export interface Deviation {
  pod: Pod;
  /** The field manager that changed it; who removed a note is not recorded. */
  manager: string;
  /** Where it was Salvor itself that gave it back: another attempt, or an undo. That is never asserted again. */
  givenBack?: Change;
  /** Where it was set again. */
  asserted?: Change;
}

/**
 * Looks whether the held fields are as they were set. The first one that is not is set again, where `mayAssert` says so
 * and it was not Salvor itself that gave it back.
 *
 * @returns undefined where all stands as it was set, or the pod is gone
 */
export async function reassert(writing: Writing, mayAssert: boolean): Promise<Deviation | undefined> {
  const { cluster, ref, request } = writing;
  return deciding(cluster, ref, async (pod) => {
    if (!isPresent(pod, request.instance.uid)) return undefined;
    const writer = new PodWriter(writing, pod);
    for (const held of request.held) {
      const field = parseField(held.field);
      const found = readField(pod, field);
      if (found === held.set && writer.ownHold(held)) continue;
      const deviation = deviationOf(writer, held, field, found);
      if (deviation.givenBack || !mayAssert) return deviation;
      const what =
        found === held.set
          ? `noted again that Salvor holds the ${nameOf(field)}, for the note was gone`
          : `${describeChange(field, found, held.set)} again, for ${deviation.manager} had changed it`;
      const [asserted] = await writer.set([held], () => what);
      return { ...deviation, ...(asserted && { asserted }) };
    }
    return undefined;
  });
}

function deviationOf(writer: PodWriter, held: Held, field: Field, found: FieldValue): Deviation {
  const { pod } = writer;
  if (found === held.set) return { pod, manager: 'somebody (not recorded)' };
  const manager = managerOf(pod, field);
  // Who removed a field is not recorded. Salvor takes its note away with it; a person leaves that where it is.
  const own = field.in === 'spec' ? !writer.ownHold(held) : manager === writer.manager;
  if (!own || found !== held.before) return { pod, manager };
  const what = describeChange(field, held.set, held.before);
  const at = writerOf(pod.metadata, field)?.time;
  return { pod, manager, givenBack: writer.change(held.field, held.set, held.before, what, { at }) };
}
