import type { Held } from '../../../model/change.ts';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import type { HeldOn, Release } from '../../instance.ts';
import type { Cluster } from '../cluster.ts';
import { isStatus } from '../errors.ts';
import { noteWriterOf, shown } from '../fields.ts';
import { controllerOf } from '../health.ts';
import type { Ref } from '../objects.ts';
import { resourceOfKind } from '../owner.ts';
import { giveBack, isOurs } from './give-back.ts';
import { keyFor, refOf } from './kinds.ts';
import { notesOn } from './notes.ts';
import { AUTOSCALERS, goneFor, SCALED_OBJECTS, type Sized } from './objects.ts';
import { describeSize, SizeWriter } from './writer.ts';

/**
 * Gives a held size back by hand: as the remediation's own undo would.
 *
 * @param dryRun says what would be done, and touches nothing
 */
export async function releaseSize(cluster: Cluster, held: Held, dryRun: boolean): Promise<Release> {
  const { runbook, remediation, object, field } = held;
  const actor = { runbook, remediation };
  const ref = await refOf(cluster, object.key);
  const look = async (): Promise<Release> => {
    const found = await cluster.get<Sized>(ref);
    const gone = goneFor(found, object.uid);
    if (!found || gone !== undefined) return { result: 'gone', why: gone ?? '', changes: [] };
    return judge(new SizeWriter({ cluster, ref, step: 'release', actor, object, field }, found), held);
  };
  const judged = await look();
  // What is unclear is for a person; nothing that is not there needs a write.
  if (dryRun || judged.result === 'unclear' || judged.result === 'gone') return judged;
  // Of an earlier write by Salvor it is not told as if it were this one's.
  const since = Number.POSITIVE_INFINITY;
  const changes = await giveBack(cluster, { step: 'release', actor, held: [held] }, { since });
  const back = changes.find((change) => change.field === field);
  if (back) return { result: 'given-back', why: back.what, changes };
  const now = await look();
  if (now.result !== 'given-back') return { ...now, changes };
  return { result: 'unclear', why: 'it was set again while it was given back', changes };
}

/** What there is to give back, or why there is nothing. */
function judge(writer: SizeWriter, held: Held): Release {
  const { own, value } = writer;
  const { field, set } = held;
  const before = (own ?? held).before;
  const last = writer.writer?.manager ?? '(not recorded)';
  const is = (result: Release['result'], why: string): Release => ({ result, why, changes: [] });
  if (value === before) return is('as-before', `its ${field} is ${shown(value)} already`);
  if (isOurs(writer, held)) return is('given-back', describeSize(field, value, before));
  const other = writer.othersHold(value);
  if (other) return is('kept', `remediation ${other.remediation} holds its ${field} now`);
  if (value !== set)
    return is('kept', `its ${field} was changed to ${shown(value)} by ${last} meanwhile, and stays so`);
  return is(
    'unclear',
    `its ${field} is ${shown(value)}, but it carries no note of this remediation, and ${last} wrote it last: a person must decide`,
  );
}

/** A kind whose objects can carry a note of a size that is held. */
interface Listed {
  ref: Ref;
  kind: string;
}

const ALWAYS: readonly Listed[] = [
  { ref: { group: 'apps', version: 'v1', resource: 'deployments' }, kind: 'deployment' },
  { ref: { group: 'apps', version: 'v1', resource: 'statefulsets' }, kind: 'statefulset' },
  { ref: { group: 'apps', version: 'v1', resource: 'replicasets' }, kind: 'replicaset' },
  { ref: { group: '', version: 'v1', resource: 'replicationcontrollers' }, kind: 'replicationcontroller' },
  { ref: AUTOSCALERS, kind: 'horizontalpodautoscaler' },
];

/** What the workloads of a cluster, and what scales them, say is held on them. */
export async function findHeldSizes(cluster: Cluster): Promise<HeldOn[]> {
  const found = await Promise.all(
    [...ALWAYS, ...(await customKinds(cluster))].map((listed) => heldOf(cluster, listed)),
  );
  return found.flat();
}

async function heldOf(cluster: Cluster, { ref, kind }: Listed): Promise<HeldOn[]> {
  const { items } = await cluster.list<Sized>(ref).catch((error: unknown) => {
    // Who may not list them has set the size of none.
    if (isStatus(error, 403)) return { items: [] };
    throw error;
  });
  return items.flatMap(({ metadata }): HeldOn[] => {
    if (metadata.annotations?.[HELD_ANNOTATION] === undefined) return [];
    const { namespace = '', name, uid } = metadata;
    const object = { key: keyFor(cluster.name, { group: ref.group, kind, namespace, name }), uid };
    const notes = notesOn(metadata);
    if (!notes) {
      // A copy of its owner's, which tells it.
      if (controllerOf(metadata)) return [];
      const writer = noteWriterOf(metadata)?.manager ?? '(not recorded)';
      return [{ object, problem: `its annotation ${HELD_ANNOTATION}, last written by ${writer}, cannot be read` }];
    }
    return notes.length === 0 ? [] : [{ object, holds: notes.map((note) => ({ ...note, object })) }];
  });
}

interface Group {
  name: string;
  preferredVersion: { version: string };
}

interface Discovery {
  resources: { name: string; kind: string; namespaced: boolean }[];
}

/** Custom resources that can be scaled, and KEDA's ScaledObjects, as far as the cluster has them. */
async function customKinds(cluster: Cluster): Promise<Listed[]> {
  const groups = await cluster.read<{ groups: Group[] }>({ group: '', version: '', resource: '(discovery)' }, '/apis');
  // Those of Kubernetes itself have no dot, or are its own and have nothing that is scaled but what is listed always.
  const custom = (groups?.groups ?? []).filter(({ name }) => name.includes('.') && !name.endsWith('.k8s.io'));
  const found = await Promise.all(custom.map((group) => scaledOf(cluster, group)));
  const keda = await resourceOfKind(cluster, SCALED_OBJECTS.group, 'scaledobject');
  return [...found.flat(), ...(keda ? [{ ref: SCALED_OBJECTS, kind: 'scaledobject' }] : [])];
}

async function scaledOf(cluster: Cluster, { name: group, preferredVersion: { version } }: Group): Promise<Listed[]> {
  const ref: Ref = { group, version, resource: '(discovery)' };
  const { resources = [] } = (await cluster.read<Discovery>(ref, `/apis/${group}/${version}`)) ?? {};
  const scaled = new Set(resources.filter(({ name }) => name.endsWith('/scale')).map(({ name }) => name.split('/')[0]));
  return resources
    .filter(({ name }) => scaled.has(name))
    .map(({ name, kind }) => ({ ref: { group, version, resource: name }, kind: kind.toLowerCase() }));
}
