import type { Held } from '../../model/change.ts';
import { fieldManager, HELD_ANNOTATION } from '../../model/names.ts';
import { formatTarget } from '../../model/target.ts';
import { FinalError } from '../errors.ts';
import type { HeldOn, Release } from '../instance.ts';
import type { Cluster } from './cluster.ts';
import { describeChange, holdsOn, nameOf, noteWriterOf, parseField, readField, shown, writerOf } from './fields.ts';
import { absence } from './health.ts';
import { type Instance, type Metadata, PODS, type Pod, type Ref } from './objects.ts';
import { restore } from './restore.ts';

/**
 * Gives one held field back by hand: as the remediation's own undo would, and as the same field manager, so that a wait
 * which comes back later sees that Salvor itself gave it back, and does not take it again.
 *
 * @param dryRun says what would be done, and touches nothing
 */
export async function release(cluster: Cluster, ref: Ref, held: Held, dryRun: boolean): Promise<Release> {
  const { runbook, remediation, object: instance } = held;
  if (dryRun) return judge(await cluster.get<Pod>(ref), held);
  try {
    // Of an earlier write by Salvor it is not told as if it were this one's: what was given back before is found as it is.
    const since = Number.POSITIVE_INFINITY;
    const request = { step: 'release', actor: { runbook, remediation }, instance, held: [held] };
    const changes = await restore(cluster, ref, request, { since });
    const back = changes.find(({ field }) => field === held.field);
    if (back) return { result: 'given-back', why: back.what, changes };
    const now = judge(await cluster.get<Pod>(ref), held);
    if (now.result !== 'given-back') return { ...now, changes };
    return { result: 'unclear', why: 'it was set again while it was given back', changes };
  } catch (error) {
    if (error instanceof FinalError && error.type === 'Contested')
      return { result: 'unclear', why: error.message, changes: [] };
    throw error;
  }
}

/** What there is to give back, or why there is nothing. */
function judge(pod: Pod | undefined, held: Held): Release {
  const gone = absence(pod, held.object.uid);
  if (!pod || gone !== undefined) return { result: 'gone', why: gone ?? '', changes: [] };
  const field = parseField(held.field);
  const found = readField(pod, field);
  const holds = (holdsOn(pod.metadata) ?? []).filter((one) => one.field === held.field);
  const before = holds.find(({ remediation }) => remediation === held.remediation)?.before;
  const last = writerOf(pod.metadata, field)?.manager ?? '(not recorded)';
  const is = (result: Release['result'], why: string): Release => ({ result, why, changes: [] });

  if (found === (before ?? held.before)) return is('as-before', `its ${nameOf(field)} is ${shown(found)} already`);
  if (found !== held.set)
    return is('kept', `its ${nameOf(field)} was changed to ${shown(found)} by ${last} meanwhile, and stays so`);
  if (before !== undefined) return is('given-back', describeChange(field, found, before));
  const other = holds.find(({ set }) => set === held.set);
  if (other) return is('kept', `remediation ${other.remediation} holds its ${nameOf(field)} now`);
  if (last === fieldManager(held.runbook)) return is('given-back', describeChange(field, found, held.before));
  return is(
    'unclear',
    `its ${nameOf(field)} is ${shown(found)}, but it carries no note of this remediation, and ${last} wrote it last: a person must decide`,
  );
}

/** What the pods of a cluster, or its nodes, say is held on them. */
export async function findHeld(cluster: Cluster, of: Ref = PODS): Promise<HeldOn[]> {
  const { items } = await cluster.list<Instance>(of);
  return items
    .filter(({ metadata }) => metadata.annotations?.[HELD_ANNOTATION] !== undefined)
    .map(({ metadata }) => {
      const object = { key: keyOf(cluster.name, metadata), uid: metadata.uid };
      const holds = holdsOn(metadata)?.map((held) => ({ ...held, object }));
      if (holds) return { object, holds };
      const writer = noteWriterOf(metadata)?.manager ?? '(not recorded)';
      return { object, problem: `its annotation ${HELD_ANNOTATION}, last written by ${writer}, cannot be read` };
    });
}

const keyOf = (cluster: string, { namespace, name }: Metadata): string =>
  formatTarget(
    namespace === undefined ? { type: 'node', cluster, name } : { type: 'k8s', cluster, namespace, kind: 'pod', name },
  );
