import { setTimeout as delay } from 'node:timers/promises';
import type { Change, FieldValue, Held } from '../../model/change.ts';
import { fieldManager, HELD_ANNOTATION } from '../../model/names.ts';
import type { CutRequest } from '../../model/ports/instance.ts';
import { UnavailableError } from '../errors.ts';
import type { Answer, Cluster } from './cluster.ts';
import { ApiError } from './errors.ts';
import { annotationOf, type Field, HELD_FIELD, holdsOn, type Note, parseField, readField } from './fields.ts';
import { controllerOf } from './health.ts';
import type { KubeObject, Pod, Ref } from './objects.ts';
import { isQuarantine } from './quarantine.ts';

/** Tries on a pod that others write to at the same time, before the activity as a whole is tried again. */
const TRIES = 5;

/** On the pod only between the two writes of {@link PodWriter.overtake}. */
const OVERTAKEN_ANNOTATION = 'salvor.dev/overtaken';

/**
 * Reads the pod (or whatever it is) and decides; where somebody else wrote in between, reads and decides anew.
 *
 * @param decide is given the number of the try, from 1
 */
export async function deciding<T, O extends KubeObject = Pod>(
  cluster: Cluster,
  ref: Ref,
  decide: (object: O | undefined, tries: number) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const object = await cluster.get<O>(ref);
    try {
      return await decide(object, tries);
    } catch (error) {
      // 404: it went between the read and the write; the next read finds it gone.
      if (!(error instanceof ApiError) || (error.status !== 409 && error.status !== 404)) throw error;
      if (tries === TRIES) throw new UnavailableError(`${error.message}; ${TRIES} times in a row`, { cause: error });
    }
    await delay(10 * 2 ** tries * Math.random());
  }
}

type Annotations = Record<string, string | null>;

const hasAny = (fields: object): boolean => Object.keys(fields).length > 0;

/** Where to write, for whom, and what is asked before each write. */
export interface Writing {
  cluster: Cluster;
  ref: Ref;
  request: CutRequest;
  /** Throws where the write must not be made any more; see {@link import('../instance.ts').Attempt}. */
  mayWrite(): Promise<void>;
}

/** Writes to one pod, or node, as it was read: each write has its identity and its version as preconditions. */
export class PodWriter {
  pod: Pod;
  readonly request: CutRequest;
  readonly #writing: Writing;

  constructor(writing: Writing, pod: Pod) {
    this.#writing = writing;
    this.request = writing.request;
    this.pod = pod;
  }

  get cluster(): Cluster {
    return this.#writing.cluster;
  }

  /** The field manager of these writes. */
  get manager(): string {
    return fieldManager(this.request.actor.runbook);
  }

  /** The note that this remediation left on the pod for a field. */
  ownHold({ field }: Pick<Held, 'field'>): Note | undefined {
    return holdsOn(this.pod.metadata)?.find((one) => this.#isOwn(one) && one.field === field);
  }

  /** The note that another remediation left for this field and this value: then the change is its, not ours. */
  othersHold({ field, set }: Held): Held | undefined {
    return holdsOn(this.pod.metadata)?.find((one) => !this.#isOwn(one) && one.field === field && one.set === set);
  }

  /**
   * All of them in one write, with their notes. But for gates, which are of the pod's status: their note, which says that
   * they may be held, comes before.
   */
  async set(holds: readonly Held[], what: (held: Held) => string): Promise<Change[]> {
    const before = new Map(holds.map(({ field }) => [field, readField(this.pod, parseField(field))]));
    const notes = holds.map((held) => this.ownHold(held) ?? this.#noteOf(held));
    const annotations = { [HELD_ANNOTATION]: annotationOf([...this.#otherHolds(holds), ...notes]) };
    return this.#write(
      holds.map((held) => ({ held, to: held.set })),
      holds.every((held) => this.ownHold(held)) ? undefined : annotations,
      (held, answer) => this.change(held.field, before.get(held.field) ?? null, held.set, what(held), answer),
    );
  }

  /** All of them and their notes in one write. Gates alone: their note, which says that they may be held, goes after it. */
  async giveBack(own: readonly Held[], what: (held: Held) => string): Promise<Change[]> {
    const noted = own.filter(({ field }) => parseField(field).in !== 'conditions');
    const annotations = noted.length > 0 && { [HELD_ANNOTATION]: annotationOf(this.#otherHolds(noted)) };
    return this.#giveBack(own, annotations || undefined, what);
  }

  /** The field alone, where its note is not there; what else the annotation says stays as it is. */
  async giveBackUnnoted(held: Held, what: string): Promise<Change[]> {
    return this.#giveBack([held], undefined, () => what);
  }

  #giveBack(holds: readonly Held[], annotations: Annotations | undefined, what: (held: Held) => string) {
    return this.#write(
      holds.map((held) => ({ held, to: held.before })),
      annotations,
      (held, answer) => this.change(held.field, held.set, held.before, what(held), answer),
    );
  }

  async release(own: Held, what: string): Promise<Change> {
    const before = this.pod.metadata.annotations?.[HELD_ANNOTATION] ?? null;
    const after = annotationOf(this.#otherHolds([own]));
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

  /** With whom the pod belongs, where this takes it away from there: afterwards it no longer says so itself. */
  #noteOf(held: Held): Note {
    const controller = isQuarantine(held, this.pod.metadata.uid) && controllerOf(this.pod.metadata);
    return controller ? { ...held, controller } : held;
  }

  /** The holds to keep when those of these fields go. */
  #otherHolds(these: readonly Held[]): Note[] {
    const fields = new Set(these.map(({ field }) => field));
    return (holdsOn(this.pod.metadata) ?? []).filter((one) => !this.#isOwn(one) || !fields.has(one.field));
  }

  async #patch(metadata: Record<string, unknown>): Promise<Answer<Pod>> {
    return this.#send(this.#writing.ref, 'merge', { metadata });
  }

  /** Labels, what is in the specification, and the note in one write; then each gate in one of its own. */
  async #write(
    wanted: readonly { held: Held; to: FieldValue }[],
    annotations: Annotations | undefined,
    change: (held: Held, answer: Answer<Pod>) => Change,
  ): Promise<Change[]> {
    const fields = wanted.map((one) => ({ ...one, field: parseField(one.held.field) }));
    const valuesIn = (place: Field['in']) =>
      Object.fromEntries(fields.filter(({ field }) => field.in === place).map(({ field, to }) => [field.name, to]));
    const [labels, spec] = [valuesIn('labels'), valuesIn('spec')];
    const gates = fields.filter(({ field }) => field.in === 'conditions');
    const changes: Change[] = [];
    if (annotations || gates.length < fields.length) {
      const metadata = { ...(annotations && { annotations }), ...(hasAny(labels) && { labels }) };
      const answer = await this.#send(this.#writing.ref, 'merge', { metadata, ...(hasAny(spec) && { spec }) });
      changes.push(...fields.filter((one) => !gates.includes(one)).map(({ held }) => change(held, answer)));
    }
    for (const { held, field, to } of gates) changes.push(change(held, await this.#patchCondition(field, to)));
    return changes;
  }

  /** Reason and message of the condition are left as they are: they are not Salvor's, and are not given back. */
  async #patchCondition(field: Field, value: FieldValue): Promise<Answer<Pod>> {
    const condition = { type: field.name, status: String(value), lastTransitionTime: new Date().toISOString() };
    const ref = { ...this.#writing.ref, subresource: 'status' };
    return this.#send(ref, 'strategic', { status: { conditions: [condition] } });
  }

  async #send(ref: Ref, type: 'merge' | 'strategic', body: { metadata?: object; spec?: object; status?: object }) {
    await this.#writing.mayWrite();
    const { uid, resourceVersion } = this.pod.metadata;
    const metadata = { ...body.metadata, uid, resourceVersion };
    const answer = await this.#writing.cluster.patch<Pod>(ref, type, this.manager, { ...body, metadata });
    this.pod = answer.body;
    return answer;
  }
}
