import { setTimeout as delay } from 'node:timers/promises';
import type { Change, FieldValue, Held } from '../../model/change.ts';
import { fieldManager, HELD_ANNOTATION } from '../../model/names.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import { UnavailableError } from '../errors.ts';
import type { Answer, Cluster } from './cluster.ts';
import { ApiError } from './errors.ts';
import { annotationOf, type Field, HELD_FIELD, holdsOn, readField } from './fields.ts';
import type { Pod, Ref } from './objects.ts';

/** Tries on a pod that others write to at the same time, before the activity as a whole is tried again. */
const TRIES = 5;

/** On the pod only between the two writes of {@link PodWriter.overtake}. */
const OVERTAKEN_ANNOTATION = 'salvor.dev/overtaken';

/**
 * Reads the pod and decides; where somebody else wrote in between, reads and decides anew.
 *
 * @param decide is given the number of the try, from 1
 */
export async function deciding<T>(
  cluster: Cluster,
  ref: Ref,
  decide: (pod: Pod | undefined, tries: number) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const pod = await cluster.get<Pod>(ref);
    try {
      return await decide(pod, tries);
    } catch (error) {
      // 404: the pod went between the read and the write; the next read finds it gone.
      if (!(error instanceof ApiError) || (error.status !== 409 && error.status !== 404)) throw error;
      if (tries === TRIES) throw new UnavailableError(`${error.message}; ${TRIES} times in a row`, { cause: error });
    }
    await delay(10 * 2 ** tries * Math.random());
  }
}

/** Where to write, for whom, and what is asked before each write. */
export interface Writing {
  cluster: Cluster;
  ref: Ref;
  request: CutRequest;
  /** Throws where the write must not be made any more; see {@link import('../instance.ts').Attempt}. */
  mayWrite(): Promise<void>;
}

/** Writes to one pod as it was read: each write has its identity and its version as preconditions. */
export class PodWriter {
  pod: Pod;
  readonly request: CutRequest;
  readonly #writing: Writing;

  constructor(writing: Writing, pod: Pod) {
    this.#writing = writing;
    this.request = writing.request;
    this.pod = pod;
  }

  /** The field manager of these writes. */
  get manager(): string {
    return fieldManager(this.request.actor.runbook);
  }

  /** The note that this remediation left on the pod for a field. */
  ownHold({ field }: Held): Held | undefined {
    return holdsOn(this.pod.metadata)?.find((one) => this.#isOwn(one) && one.field === field);
  }

  /** The note that another remediation left for this field and this value: then the change is its, not ours. */
  othersHold({ field, set }: Held): Held | undefined {
    return holdsOn(this.pod.metadata)?.find((one) => !this.#isOwn(one) && one.field === field && one.set === set);
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

  /** A label and its note in one write. A gate alone: its note, which says that it may be held, goes after it. */
  async giveBack(own: Held, field: Field, what: string): Promise<Change> {
    const annotations = { [HELD_ANNOTATION]: annotationOf(this.#otherHolds(own)) };
    const answer =
      field.in === 'labels'
        ? await this.#patch({ annotations, labels: { [field.name]: own.before } })
        : await this.#patchCondition(field, own.before);
    return this.change(own.field, own.set, own.before, what, answer);
  }

  /** The field alone, where its note is not there; what else the annotation says stays as it is. */
  async giveBackUnnoted(held: Held, field: Field, what: string): Promise<Change> {
    const answer =
      field.in === 'labels'
        ? await this.#patch({ labels: { [field.name]: held.before } })
        : await this.#patchCondition(field, held.before);
    return this.change(held.field, held.set, held.before, what, answer);
  }

  async release(own: Held, what: string): Promise<Change> {
    const before = this.pod.metadata.annotations?.[HELD_ANNOTATION] ?? null;
    const after = annotationOf(this.#otherHolds(own));
    const answer = await this.#patch({ annotations: { [HELD_ANNOTATION]: after } });
    return this.change(HELD_FIELD, before, after, what, answer);
  }

  /**
   * Changes the pod's version and nothing else, so that a write which was sent before and has not arrived yet is refused
   * when it does. The API has no such write: one that changes nothing leaves the version as it is. So an annotation is
   * written and removed again; where only the first was made, the next try finds it and makes the second.
   */
  async overtake(): Promise<void> {
    const { remediation } = this.request.actor;
    if (this.pod.metadata.annotations?.[OVERTAKEN_ANNOTATION] === undefined)
      await this.#patch({ annotations: { [OVERTAKEN_ANNOTATION]: remediation } });
    await this.#patch({ annotations: { [OVERTAKEN_ANNOTATION]: null } });
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
    return this.#send(this.#writing.ref, 'merge', { metadata });
  }

  /** Reason and message of the condition are left as they are: they are not Salvor's, and are not given back. */
  async #patchCondition(field: Field, value: FieldValue): Promise<Answer<Pod>> {
    const condition = { type: field.name, status: String(value), lastTransitionTime: new Date().toISOString() };
    const ref = { ...this.#writing.ref, subresource: 'status' };
    return this.#send(ref, 'strategic', { status: { conditions: [condition] } });
  }

  async #send(ref: Ref, type: 'merge' | 'strategic', body: { metadata?: object; status?: object }) {
    await this.#writing.mayWrite();
    const { uid, resourceVersion } = this.pod.metadata;
    const metadata = { ...body.metadata, uid, resourceVersion };
    const answer = await this.#writing.cluster.patch<Pod>(ref, type, this.manager, { ...body, metadata });
    this.pod = answer.body;
    return answer;
  }
}
