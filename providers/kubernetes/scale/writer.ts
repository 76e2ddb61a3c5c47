import type { Change, FieldValue, Held, ObjectRef } from '../../../model/change.ts';
import { fieldManager, HELD_ANNOTATION } from '../../../model/names.ts';
import type { Actor } from '../../../model/ports/instance.ts';
import type { Cluster } from '../cluster.ts';
import { annotationOf, HELD_FIELD, holdsOn, type Note, shown } from '../fields.ts';
import type { Ref } from '../objects.ts';
import { notesOn } from './notes.ts';
import { patchAt, readSize, type Sized, sizeField, sizeWriterOf } from './objects.ts';

/** On the object only between the two writes of {@link SizeWriter.overtake}. */
const OVERTAKEN_LABEL = 'salvor.dev/overtaken';

/** What is written: the field by which a size is set, and by whom. */
export interface Sizing {
  cluster: Cluster;
  ref: Ref;
  step: string;
  actor: Actor;
  object: ObjectRef;
  field: string;
}

/** "spec.replicas: 2 → 5" */
export const describeSize = (field: string, from: FieldValue, to: FieldValue): string =>
  `${field}: ${shown(from)} → ${shown(to)}`;

/**
 * Writes to one object as it was read: each write has its identity and its version as preconditions. A size and the note that
 * it is held are one write, so it goes to the object and not to its scale subresource.
 */
export class SizeWriter {
  readonly object: Sized;
  readonly #sizing: Sizing;

  constructor(sizing: Sizing, object: Sized) {
    this.#sizing = { ...sizing, field: sizeField(sizing.field) };
    this.object = object;
  }

  /** The field manager of these writes. */
  get manager(): string {
    return fieldManager(this.#sizing.actor.runbook);
  }

  get value(): number | null {
    return readSize(this.object, this.#sizing.field);
  }

  /** Who wrote the field last; undefined where the API does not say: of an absent field it never does. */
  get writer() {
    return sizeWriterOf(this.object.metadata, this.#sizing.field);
  }

  /** The note that this remediation left. */
  get own(): Note | undefined {
    return notesOn(this.object.metadata)?.find((note) => this.#isOwn(note));
  }

  /** The note of another remediation that holds the field at this value: then the change is its, not ours. */
  othersHold(set: FieldValue): Note | undefined {
    const notes = notesOn(this.object.metadata) ?? [];
    return notes.find((note) => !this.#isOwn(note) && note.field === this.#sizing.field && note.set === set);
  }

  /** The size and the note that it is held. */
  async set(to: number, held: readonly Held[], what: string): Promise<Change> {
    const before = this.value;
    const notes = [...this.#others(), ...held.filter(({ field }) => field === this.#sizing.field)];
    const answer = await this.#send(annotationOf(notes), patchAt(this.#sizing.field, to));
    return this.change(this.#sizing.field, before, to, what, answer);
  }

  /** The size as it was, without its note. */
  async giveBack(to: number | null, what: string): Promise<Change> {
    const before = this.value;
    const noted = this.own ? annotationOf(this.#others()) : undefined;
    const answer = await this.#send(noted, patchAt(this.#sizing.field, to));
    return this.change(this.#sizing.field, before, to, what, answer);
  }

  /** The note alone. */
  async release(what: string): Promise<Change> {
    const before = this.object.metadata.annotations?.[HELD_ANNOTATION] ?? null;
    const after = annotationOf(this.#others());
    return this.change(HELD_FIELD, before, after, what, await this.#send(after));
  }

  /**
   * Changes the object's version and nothing else, so that a write which was sent before and has not arrived yet is refused
   * when it does. By a label, for annotations are copied to what belongs to the object, and stay there.
   */
  async overtake(): Promise<void> {
    const { metadata } = this.object;
    const labels = { [OVERTAKEN_LABEL]: 'true' };
    let version = metadata.resourceVersion;
    if (metadata.labels?.[OVERTAKEN_LABEL] === undefined) version = await this.#label(labels, version);
    await this.#label({ [OVERTAKEN_LABEL]: null }, version);
  }

  change(
    field: string,
    before: FieldValue,
    after: FieldValue,
    what: string,
    answer: { at?: string | undefined; auditId?: string | undefined },
  ): Change {
    const { step, object } = this.#sizing;
    const at = new Date(answer.at ?? Date.now()).toISOString();
    return { step, what, object, field, before, after, at, ...(answer.auditId && { requestId: answer.auditId }) };
  }

  #isOwn(note: Note): boolean {
    return note.remediation === this.#sizing.actor.remediation && note.field === this.#sizing.field;
  }

  /** The notes to keep when ours goes; copies of other objects' are not among those of this one, but stay as they are. */
  #others(): Note[] {
    return (holdsOn(this.object.metadata) ?? []).filter((note) => !this.#isOwn(note));
  }

  /** @param annotation undefined: as it is; null: removed */
  #send(annotation: string | null | undefined, body: object = {}) {
    const { cluster, ref, object } = this.#sizing;
    const annotations = annotation === undefined ? {} : { annotations: { [HELD_ANNOTATION]: annotation } };
    const metadata = { ...annotations, uid: object.uid, resourceVersion: this.object.metadata.resourceVersion };
    return cluster.patch<Sized>(ref, 'merge', this.manager, { ...body, metadata });
  }

  async #label(labels: Record<string, string | null>, resourceVersion: string): Promise<string> {
    const { cluster, ref, object } = this.#sizing;
    const metadata = { labels, uid: object.uid, resourceVersion };
    const { body } = await cluster.patch<Sized>(ref, 'merge', this.manager, { metadata });
    return body.metadata.resourceVersion;
  }
}
