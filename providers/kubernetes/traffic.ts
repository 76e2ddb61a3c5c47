import { setTimeout as delay } from 'node:timers/promises';
import type { Change, FieldValue, Held } from '../../model/change.ts';
import { fieldManager, HELD_ANNOTATION } from '../../model/names.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import type { Answer, Cluster } from './cluster.ts';
import { ApiError } from './errors.ts';
import {
  annotationOf,
  type Field,
  HELD_FIELD,
  heldByAnother,
  holdsOn,
  nameOf,
  parseField,
  readField,
  writerOf,
} from './fields.ts';
import { absence, isPresent } from './health.ts';
import type { Pod, Ref } from './objects.ts';

/** Tries on a pod that others write to at the same time, before the activity as a whole is tried again. */
const TRIES = 5;

/**
 * Takes the pod out of traffic. The note of what is held is written with the change, or before it, so that whoever finds
 * the pod altered also finds by whom and what was there before.
 *
 * @throws FinalError `Replaced` where it is another pod now or none, `Contested` where the field is no longer as diagnosed
 */
export async function cut(cluster: Cluster, ref: Ref, request: CutRequest): Promise<Change[]> {
  if (request.held.length === 0) return [];
  return deciding(cluster, ref, async (pod) => {
    const gone = absence(pod, request.instance.uid);
    if (!pod || gone)
      throw new FinalError(`did not cut traffic of ${request.instance.key}: ${gone}; nothing was touched`, {
        type: 'Replaced',
      });
    const writer = new PodWriter(cluster, ref, request, pod);
    const changes: Change[] = [];
    for (const held of request.held) changes.push(await cutField(writer, held));
    return changes;
  });
}

async function cutField(writer: PodWriter, held: Held): Promise<Change> {
  const { pod, request } = writer;
  const field = parseField(held.field);
  const found = readField(pod, field);
  const own = writer.ownHold(held);
  // Label and note are one write; a gate's note comes first, so it alone does not say that the gate was set.
  if (own && (field.in === 'labels' || found === held.set)) {
    return writer.change(held.field, held.before, held.set, describe(field, held.before, held.set), {
      at: writerOf(pod.metadata, field)?.time,
    });
  }
  if (!own) {
    const other = heldByAnother(pod.metadata, request.actor.remediation);
    const reason = other ?? (found === held.before ? undefined : changedMeanwhile(pod, field, held.before, found));
    if (reason)
      throw new FinalError(`did not cut traffic of ${request.instance.key}: ${reason}; nothing was touched`, {
        type: 'Contested',
      });
  }
  return writer.set(held, field, describe(field, held.before, held.set));
}

const describe = (field: Field, from: FieldValue, to: FieldValue) => `${nameOf(field)}: ${shown(from)} → ${shown(to)}`;

const shown = (value: FieldValue): string => (value === null ? '(none)' : String(value));

const changedMeanwhile = (pod: Pod, field: Field, before: FieldValue, found: FieldValue): string =>
  `the ${nameOf(field)} was ${shown(before)} when it was diagnosed and is ${shown(found)} now, set by ${managerOf(pod, field)}`;

const managerOf = (pod: Pod, field: Field): string => writerOf(pod.metadata, field)?.manager ?? '(not recorded)';

/** A held field that is not as it was set. */
export interface Deviation {
  /** The field manager that changed it. */
  manager: string;
  /** Where it was Salvor itself that gave it back: an attempt that could not report it any more. */
  givenBack?: Change;
}

/**
 * Looks whether the held fields are as they were set. The first one that is not is set again, where `mayAssert` says so.
 *
 * @returns undefined where all stands as it was set, or the pod is gone
 */
export async function reassert(
  cluster: Cluster,
  ref: Ref,
  request: CutRequest,
  mayAssert: (deviation: Deviation, pod: Pod) => boolean,
): Promise<{ deviation: Deviation; change?: Change } | undefined> {
  return deciding(cluster, ref, async (pod) => {
    if (!isPresent(pod, request.instance.uid)) return undefined;
    const writer = new PodWriter(cluster, ref, request, pod);
    for (const held of request.held) {
      const field = parseField(held.field);
      const found = readField(pod, field);
      if (found === held.set && writer.ownHold(held)) continue;
      const deviation = deviationOf(writer, held, field, found);
      if (!mayAssert(deviation, pod)) return { deviation };
      const what = `${describe(field, found, held.set)} again, for ${deviation.manager} had changed it`;
      return { deviation, change: await writer.set(held, field, what) };
    }
    return undefined;
  });
}

function deviationOf(writer: PodWriter, held: Held, field: Field, found: FieldValue): Deviation {
  const manager = managerOf(writer.pod, field);
  if (manager !== fieldManager(writer.request.actor.runbook) || found !== held.before) return { manager };
  const at = writerOf(writer.pod.metadata, field)?.time;
  const what = describe(field, held.set, held.before);
  return { manager, givenBack: writer.change(held.field, held.set, held.before, what, { at }) };
}

/**
 * Gives the traffic back exactly as it was, and takes the note away. What somebody else has changed meanwhile stays as
 * it is. Where the pod is gone there is nothing to do.
 *
 * @param may asked on the fresh read; where it says no, nothing is touched and the answer is undefined
 */
export async function restore(
  cluster: Cluster,
  ref: Ref,
  request: CutRequest,
  may: (pod: Pod | undefined) => boolean = () => true,
): Promise<Change[] | undefined> {
  // Kept over the tries: a gate is given back in two writes, and the second may have to be tried again.
  const changes: Change[] = [];
  return deciding(cluster, ref, async (pod) => {
    // Not asked again once something was given back: that changes what the pod looks like.
    if (changes.length === 0 && !may(pod)) return undefined;
    if (!isPresent(pod, request.instance.uid)) return changes;
    const writer = new PodWriter(cluster, ref, request, pod);
    for (const held of request.held) {
      const own = writer.ownHold(held);
      if (own) await restoreField(writer, own, changes);
    }
    return changes;
  });
}

async function restoreField(writer: PodWriter, own: Held, changes: Change[]): Promise<void> {
  const field = parseField(own.field);
  const found = readField(writer.pod, field);
  const what = describe(field, own.set, own.before);
  if (found === own.set && field.in === 'labels') {
    changes.push(await writer.giveBackLabel(own, field, what));
    return;
  }
  if (found === own.set) changes.push(await writer.giveBackGate(own, field, what));
  if (changes.some((change) => change.field === own.field)) {
    await writer.release(own, '');
    return;
  }
  const state =
    found === own.before
      ? `is ${shown(found)} again already`
      : `stays ${shown(found)}, set by ${managerOf(writer.pod, field)} meanwhile`;
  changes.push(await writer.release(own, `released the hold on the ${nameOf(field)}, which ${state}`));
}

/** Reads the pod and decides; where somebody else wrote in between, reads and decides anew. */
async function deciding<T>(cluster: Cluster, ref: Ref, decide: (pod: Pod | undefined) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    const pod = await cluster.get<Pod>(ref);
    try {
      return await decide(pod);
    } catch (error) {
      // 404: the pod went between the read and the write; the next read finds it gone.
      if (!(error instanceof ApiError) || (error.status !== 409 && error.status !== 404)) throw error;
      if (tries === TRIES) throw new UnavailableError(`${error.message}; ${TRIES} times in a row`, { cause: error });
    }
    await delay(10 * 2 ** tries * Math.random());
  }
}

/** Writes to one pod as it was read: each write has its identity and its version as preconditions. */
class PodWriter {
  pod: Pod;
  readonly request: CutRequest;
  readonly #cluster: Cluster;
  readonly #ref: Ref;

  constructor(cluster: Cluster, ref: Ref, request: CutRequest, pod: Pod) {
    this.#cluster = cluster;
    this.#ref = ref;
    this.request = request;
    this.pod = pod;
  }

  /** The note that this remediation left on the pod for a field. */
  ownHold({ field }: Held): Held | undefined {
    return holdsOn(this.pod.metadata)?.find((one) => this.#isOwn(one) && one.field === field);
  }

  async set(held: Held, field: Field, what: string): Promise<Change> {
    const before = readField(this.pod, field);
    const note = this.ownHold(held) ?? held;
    const annotations = { [HELD_ANNOTATION]: annotationOf([...this.#otherHolds(held), note]) };
    if (field.in === 'labels') {
      const answer = await this.#patch({ annotations, labels: { [field.name]: held.set } });
      return this.change(held.field, before, held.set, what, answer);
    }
    if (!this.ownHold(held)) await this.#patch({ annotations });
    return this.change(held.field, before, held.set, what, await this.#patchCondition(field, held.set));
  }

  /** One write, with the note. */
  async giveBackLabel(own: Held, field: Field, what: string): Promise<Change> {
    const annotations = { [HELD_ANNOTATION]: annotationOf(this.#otherHolds(own)) };
    const answer = await this.#patch({ annotations, labels: { [field.name]: own.before } });
    return this.change(own.field, own.set, own.before, what, answer);
  }

  /** The note goes after it, by {@link release}: until then it says that the gate may still be held. */
  async giveBackGate(own: Held, field: Field, what: string): Promise<Change> {
    return this.change(own.field, own.set, own.before, what, await this.#patchCondition(field, own.before));
  }

  async release(own: Held, what: string): Promise<Change> {
    const before = this.pod.metadata.annotations?.[HELD_ANNOTATION] ?? null;
    const after = annotationOf(this.#otherHolds(own));
    const answer = await this.#patch({ annotations: { [HELD_ANNOTATION]: after } });
    return this.change(HELD_FIELD, before, after, what, answer);
  }

  change(
    field: string,
    before: FieldValue,
    after: FieldValue,
    what: string,
    answer: { at?: string; auditId?: string },
  ): Change {
    const { step, instance } = this.request;
    const at = new Date(answer.at ?? Date.now()).toISOString();
    const requestId = answer.auditId;
    return { step, what, object: instance, field, before, after, at, ...(requestId && { requestId }) };
  }

  #isOwn(held: Held): boolean {
    return held.remediation === this.request.actor.remediation;
  }

  /** The holds to keep when that of `held.field` goes. */
  #otherHolds(held: Held): Held[] {
    return (holdsOn(this.pod.metadata) ?? []).filter((one) => !this.#isOwn(one) || one.field !== held.field);
  }

  async #patch(metadata: Record<string, unknown>): Promise<Answer<Pod>> {
    return this.#send(this.#ref, 'merge', { metadata });
  }

  /** Reason and message of the condition are left as they are: they are not Salvor's, and are not given back. */
  async #patchCondition(field: Field, value: FieldValue): Promise<Answer<Pod>> {
    const condition = { type: field.name, status: String(value), lastTransitionTime: new Date().toISOString() };
    return this.#send({ ...this.#ref, subresource: 'status' }, 'strategic', { status: { conditions: [condition] } });
  }

  async #send(ref: Ref, type: 'merge' | 'strategic', body: { metadata?: object; status?: object }) {
    const { uid, resourceVersion } = this.pod.metadata;
    const manager = fieldManager(this.request.actor.runbook);
    const metadata = { ...body.metadata, uid, resourceVersion };
    const answer = await this.#cluster.patch<Pod>(ref, type, manager, { ...body, metadata });
    this.pod = answer.body;
    return answer;
  }
}
