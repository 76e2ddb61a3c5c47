import { setTimeout as delay } from 'node:timers/promises';
import { difference, type JsonObject } from '../../../model/breaker/patch.ts';
import type { Actor } from '../../../model/ports/instance.ts';
import { FinalError, UnavailableError } from '../../errors.ts';
import type { Answer, Cluster } from '../cluster.ts';
import { ApiError, isStatus } from '../errors.ts';
import type { Ref } from '../objects.ts';
import { resourceOf } from '../owner.ts';
import type { Form } from './form.ts';
import { type Live, MANAGER } from './notes.ts';

/** Tries on an object that others write to at the same time, before the whole is tried again. */
const TRIES = 5;

/** On the object only between the two writes of {@link ObjectWriter.overtake}. */
const OVERTAKEN = ['metadata', 'annotations', 'salvor.dev/overtaken'] as const;

/** The object of a switch: read as it is, written with its identity and the version that was read as preconditions. */
export class ObjectWriter {
  readonly #cluster: Cluster;
  readonly #form: Form;
  #ref: Promise<Ref> | undefined;

  constructor(cluster: Cluster, form: Form) {
    this.#cluster = cluster;
    this.#form = form;
  }

  get cluster(): string {
    return this.#cluster.name;
  }

  /** @throws FinalError `UnknownTarget` where the cluster has no such kind */
  async read(): Promise<Live | undefined> {
    return this.#cluster.get<Live>(await this.#resource());
  }

  /**
   * Reads and decides; where somebody else wrote in between, reads and decides anew.
   *
   * @param decide is given the number of the try, from 1
   */
  async deciding<T>(decide: (live: Live | undefined, tries: number) => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries++) {
      const live = await this.read();
      try {
        return await decide(live, tries);
      } catch (error) {
        if (!(await this.#isOvertaken(error, live))) throw error;
        const { message } = error as Error;
        if (tries === TRIES) throw new UnavailableError(`${message}; ${TRIES} times in a row`, { cause: error });
      }
      await delay(10 * 2 ** tries * Math.random());
    }
  }

  async write(live: Live, wanted: JsonObject): Promise<Answer<Live>> {
    return this.#patch(live, wanted, false);
  }

  /**
   * What the API would make of it, with its defaults and all that changes what is written.
   *
   * @returns undefined where that may not be asked
   */
  async tried(live: Live, wanted: JsonObject): Promise<Live | undefined> {
    try {
      return (await this.#patch(live, wanted, true)).body;
    } catch (error) {
      if (isStatus(error, 403)) return undefined;
      throw error;
    }
  }

  /**
   * Changes the object's version and nothing else, so that a write which was sent before and has not arrived yet is refused
   * when it does. The API has no such write: one that changes nothing leaves the version as it is.
   */
  async overtake(live: Live, { remediation }: Pick<Actor, 'remediation'>): Promise<void> {
    const ref = await this.#resource();
    const mark = (value: string | null) => {
      const [metadata, annotations, name] = OVERTAKEN;
      return { [metadata]: { uid: live.metadata.uid, [annotations]: { [name]: value } } };
    };
    try {
      await this.#cluster.patch(ref, 'merge', MANAGER, mark(remediation));
      await this.#cluster.patch(ref, 'merge', MANAGER, mark(null));
    } catch (error) {
      // Rights that do not allow this write refuse the other one as well; and what is gone cannot be written to.
      if (!isStatus(error, 403) && !isStatus(error, 404)) throw error;
    }
  }

  async #patch(live: Live, wanted: JsonObject, dryRun: boolean): Promise<Answer<Live>> {
    const { uid, resourceVersion } = live.metadata;
    const operations = [
      { op: 'replace', path: '/metadata/uid', value: uid },
      { op: 'replace', path: '/metadata/resourceVersion', value: resourceVersion },
      ...difference(live, wanted),
    ];
    try {
      return await this.#cluster.patch<Live>(await this.#resource(), 'operations', MANAGER, operations, dryRun);
    } catch (error) {
      if (!(error instanceof ApiError) || (error.status !== 422 && error.status !== 400)) throw error;
      if (await this.#isOvertaken(error, live)) throw error;
      throw new FinalError(`${this.#form.title} in cluster ${this.cluster} does not take it: ${error.message}`, {
        type: 'Invalid',
        cause: error,
      });
    }
  }

  /** An operation on what somebody else has removed meanwhile is answered 422, before the version is looked at. */
  async #isOvertaken(error: unknown, live: Live | undefined): Promise<boolean> {
    if (isStatus(error, 409) || isStatus(error, 404)) return true;
    if (!isStatus(error, 422)) return false;
    return (await this.read())?.metadata.resourceVersion !== live?.metadata.resourceVersion;
  }

  async #resource(): Promise<Ref> {
    this.#ref ??= this.#discover().catch((error: unknown) => {
      this.#ref = undefined;
      throw error;
    });
    return this.#ref;
  }

  async #discover(): Promise<Ref> {
    const { apiVersion, kind, namespace, name } = this.#form;
    const ref = apiVersion === 'v1' && kind === 'ConfigMap' ? CONFIG_MAPS : await resourceOf(this.#cluster, this.#form);
    if (ref) return { ...ref, namespace, name };
    throw new FinalError(`cluster ${this.cluster} has no kind ${kind} of ${apiVersion}, which the switch names`, {
      type: 'UnknownTarget',
    });
  }
}

const CONFIG_MAPS: Ref = { group: '', version: 'v1', resource: 'configmaps' };
