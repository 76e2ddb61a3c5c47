import type { Change } from '../../../model/change.ts';
import type { Owner, ReplaceRequest } from '../../../model/ports/instance.ts';
import { NODE_OPTIONS, type NodeOptions } from '../../../model/rule.ts';
import { FinalError } from '../../errors.ts';
import { LOST, type Pulse } from '../../instance.ts';
import { Sleeper } from '../../pulse.ts';
import type { Cluster } from '../cluster.ts';
import { ApiError, explain, isPassing } from '../errors.ts';
import { evict, type NotNow, pauseAfter } from '../eviction.ts';
import { absence, controllerOf, protectedBy } from '../health.ts';
import { type Node, PODS, type Pod, type Ref } from '../objects.ts';
import { keyOf } from '../owner.ts';
import { movedWith } from './moved.ts';
import {
  isGoing,
  lastOfItsKind,
  type Obstacle,
  obstacle,
  obstacleNow,
  podsOn,
  shortName,
  someOf,
  stays,
} from './pods.ts';

/** What an attempt tells the next one. */
export interface Memory {
  /** By UID: the pods whose eviction was asked for and not refused; `at`: ISO time of the answer, once there is one. */
  asked: Record<string, { key: string; at?: string; requestId?: string; lost?: true }>;
  /** Controllers of the pods, as they were before the first eviction of one of them. */
  moved: Owner[];
  /** Controllers of which nobody can tell whether they have their replicas again. */
  unknown: string[];
  /** UIDs of the controllers that were looked at. */
  known: string[];
  /** `spec.providerID` of the node as it was last seen. */
  providerID?: string;
  /** The termination of its machine may have been asked for. */
  terminating?: true;
  /** ISO time of the answer, or at which it was found to be done. */
  terminated?: { at: string; requestId?: string; lost?: true };
}

export const emptyMemory = (): Memory => ({ asked: {}, moved: [], unknown: [], known: [] });

interface Drained {
  result: 'empty' | 'gone' | 'blocked' | 'failed';
  why: string;
}

interface Given {
  cluster: Cluster;
  ref: Ref;
  request: ReplaceRequest;
  pulse: Pulse;
  memory: Memory;
  protectedLabels: readonly string[];
  /** Called with each look at the node, at least every few seconds. */
  meanwhile(node: Node): Promise<void>;
}

/** It will not be granted however often it is asked for; a person must mend it. */
const isFinal = (error: unknown): boolean =>
  error instanceof FinalError || (error instanceof ApiError && [400, 403, 422].includes(error.status));

/** Whoever uncordoned it wants pods on it; and what is evicted could come back to it, to be evicted again and again. */
const UNCORDONED =
  'it is not cordoned any more: somebody uncordoned it while it was drained, so no more of its pods go';

/** How often it looks what is on the node. */
const LOOK_MS = 1_000;

/**
 * Evicts all that can be evicted from a node, so many at once. A place is taken by a request under way, not by a pod that
 * waits for its budget or ends slowly: the pods of a node whose kubelet is dead end only with the node.
 *
 * Each eviction is said to the next attempt before it is asked for, and carries the version of the pod that was read: one
 * that is on its way already, or was made, is found out by the look, or refused by the API.
 */
export class Drain {
  readonly #given: Given;
  readonly #options: NodeOptions;
  readonly #sleeper = new Sleeper();
  /** By UID, as the last look found them: they can be evicted, and are not going yet. */
  #waiting = new Map<string, Pod>();
  /** Those that are on their way out. */
  #going: Pod[] = [];
  /** By UID: why it cannot be evicted, however long one waits. */
  readonly #stuck = new Map<string, { name: string; why: string }>();
  /** By UID: when to ask again (milliseconds since the epoch), and why not now. */
  readonly #later = new Map<string, { due: number; refusals: number; why: string }>();
  readonly #underWay = new Map<string, Promise<void>>();
  /** UIDs whose eviction was asked for without an answer, by this attempt or one before it. */
  readonly #unanswered: Set<string>;
  #failure: { error: unknown } | undefined;

  constructor(given: Given) {
    this.#given = given;
    this.#unanswered = new Set(Object.keys(given.memory.asked));
    this.#options = given.request.options?.node ?? NODE_OPTIONS;
  }

  /** Requests that are sent are awaited in any case, for their answers count: they are in the memory then. */
  async untilEmpty(): Promise<Drained> {
    try {
      for (;;) {
        const end = await this.#look();
        if (end) return end;
        const next = Date.now() + LOOK_MS;
        while (Date.now() < next) {
          if (this.#failure) throw this.#failure.error;
          this.#dispatch();
          await this.#sleeper.sleep(this.#nextDue(next) - Date.now(), this.#given.pulse.signal);
        }
      }
    } finally {
      await Promise.all(this.#underWay.values());
    }
  }

  /** Of what this attempt and those before it did. */
  changes(): Change[] {
    const { memory, request } = this.#given;
    return Object.entries(memory.asked).flatMap(([uid, { key, at, requestId, lost }]) => {
      if (at === undefined) return [];
      const what = `evicted the pod${lost ? LOST : ''}`;
      const object = { key, uid };
      return {
        ...{ step: request.step, what, object, field: 'eviction', before: null, after: null, at },
        ...(requestId !== undefined && { requestId }),
      };
    });
  }

  async #look(): Promise<Drained | undefined> {
    const { cluster, ref, request, pulse, memory } = this.#given;
    const node = await cluster.get<Node>(ref, pulse.signal);
    const gone = absence(node, request.instance.uid, 'node');
    if (!node || gone) return { result: 'gone', why: gone ?? '' };
    await this.#given.meanwhile(node);
    const stop = memory.terminating ? undefined : this.#stopped(node);
    if (stop) return { result: 'failed', why: stop };
    const pods = (await podsOn(cluster, node.metadata.name, pulse.signal)).filter((pod) => !stays(pod));
    this.#findAnswers(pods.filter((pod) => !isGoing(pod)));
    // One whose eviction was granted while this was read is going too, though it was not yet when it was read.
    const mayGo = (pod: Pod) => isGoing(pod) || memory.asked[pod.metadata.uid]?.at !== undefined;
    this.#going = pods.filter(mayGo);
    const waiting = pods.filter((pod) => !mayGo(pod));
    await this.#rememberOwners(waiting);
    this.#waiting = new Map(waiting.map((pod) => [pod.metadata.uid, pod]));
    this.#sortOut();
    return this.#end();
  }

  /** Why no more of its pods go, by what a person has done to the node meanwhile. */
  #stopped({ metadata, spec }: Node): string | undefined {
    if (spec?.unschedulable !== true) return UNCORDONED;
    const guarded = protectedBy(metadata, this.#given.protectedLabels);
    return guarded && `${guarded} by now, so no more of its pods go`;
  }

  /** What was asked for without an answer, and is gone or going: it was Salvor. What is still there is asked for anew. */
  #findAnswers(there: readonly Pod[]): void {
    const uids = new Set(there.map(({ metadata }) => metadata.uid));
    for (const [uid, one] of Object.entries(this.#given.memory.asked))
      if (one.at === undefined && !uids.has(uid) && !this.#underWay.has(uid))
        Object.assign(one, { at: new Date().toISOString(), lost: true });
  }

  async #rememberOwners(pods: readonly Pod[]): Promise<void> {
    const { memory, cluster } = this.#given;
    const uidOf = (pod: Pod) => controllerOf(pod.metadata)?.uid ?? '';
    const fresh = pods.filter((pod) => !memory.known.includes(uidOf(pod)));
    if (fresh.length === 0) return;
    const { owners, unknown } = await movedWith(cluster, fresh);
    memory.moved.push(...owners);
    memory.unknown.push(...unknown);
    memory.known.push(...new Set(fresh.map(uidOf)));
  }

  #sortOut(): void {
    for (const uid of this.#stuck.keys()) if (!this.#waiting.has(uid)) this.#stuck.delete(uid);
    for (const pod of this.#waiting.values()) {
      const found = obstacle(pod, this.#options);
      if (found) this.#sticks(pod, found);
    }
  }

  #sticks(pod: Pod, { what, remedy }: Obstacle): void {
    this.#stuck.set(pod.metadata.uid, { name: shortName(pod), why: `${what} (${remedy})` });
  }

  #end(): Drained | undefined {
    const { request } = this.#given;
    if (this.#underWay.size > 0) return undefined;
    const left = [...this.#waiting].filter(([uid]) => !this.#stuck.has(uid)).map(([uid, pod]) => ({ uid, pod }));
    if (left.length === 0 && this.#stuck.size > 0) return { result: 'failed', why: this.#describeStuck() };
    const mustGo = this.#options.terminate ? this.#going : [];
    if (left.length === 0 && mustGo.length === 0)
      return { result: 'empty', why: 'all of its pods that can be evicted were' };
    if (Date.now() < Date.parse(request.deadline)) return undefined;
    const reasons = Map.groupBy(left, ({ uid }) => this.#later.get(uid)?.why ?? 'there was no time left to ask');
    const parts = [...reasons].map(([why, those]) => `${someOf(those.map(({ pod }) => shortName(pod)))}: ${why}`);
    if (mustGo.length > 0) parts.push(`${someOf(mustGo.map(shortName))}: evicted, but not gone yet`);
    if (this.#stuck.size > 0) parts.push(this.#describeStuck());
    return { result: 'blocked', why: `not empty before ${request.deadline}. ${parts.join('; ')}` };
  }

  #describeStuck(): string {
    const reasons = Map.groupBy(this.#stuck.values(), ({ why }) => why);
    return [...reasons]
      .map(([why, those]) => `${someOf(those.map(({ name }) => name))} cannot be evicted: ${why}`)
      .join('; ');
  }

  /** Begins what is due, as far as there are places. */
  #dispatch(): void {
    const now = Date.now();
    if (now >= Date.parse(this.#given.request.deadline)) return;
    for (const [uid, pod] of this.#waiting) {
      if (this.#underWay.size >= this.#options.parallel) return;
      if (this.#stuck.has(uid) || this.#underWay.has(uid) || (this.#later.get(uid)?.due ?? 0) > now) continue;
      const work = this.#evict(pod)
        .catch((error: unknown) => {
          this.#failure ??= { error };
        })
        .finally(() => {
          this.#underWay.delete(uid);
          this.#sleeper.wake();
        });
      this.#underWay.set(uid, work);
    }
  }

  /** When there is something to begin, where there is a place for it; else the end of a running request wakes it. */
  #nextDue(otherwise: number): number {
    const isOver = Date.now() >= Date.parse(this.#given.request.deadline);
    if (isOver || this.#underWay.size >= this.#options.parallel) return otherwise;
    const idle = [...this.#waiting.keys()].filter((uid) => !this.#stuck.has(uid) && !this.#underWay.has(uid));
    return Math.min(otherwise, ...idle.map((uid) => this.#later.get(uid)?.due ?? otherwise));
  }

  async #evict({ metadata }: Pod): Promise<void> {
    const { cluster, memory, pulse, protectedLabels } = this.#given;
    const { namespace = '', name, uid } = metadata;
    const ref: Ref = { ...PODS, namespace, name };
    // The server asks the budgets first, and says nothing of the identity while they forbid the eviction.
    const pod = await cluster.get<Pod>(ref, pulse.signal);
    if (!pod || absence(pod, uid) !== undefined) {
      this.#waiting.delete(uid);
      return;
    }
    // A drain may take long, and a person may set it in the midst.
    const found = await obstacleNow(cluster, pod, this.#options);
    if (found) return this.#sticks(pod, found);
    const last = await lastOfItsKind(cluster, pod, protectedLabels);
    if (last) return this.#notNow(uid, { why: last, status: 429 });
    const key = keyOf(cluster.name, namespace, { apiVersion: 'v1', kind: 'Pod', name, uid });
    memory.asked[uid] ??= { key };
    pulse.beat(memory);
    await pulse.stillMine();
    await this.#ask(pod, ref, key);
  }

  async #ask(pod: Pod, ref: Ref, key: string): Promise<void> {
    const { cluster, memory, pulse } = this.#given;
    const { uid } = pod.metadata;
    try {
      const answer = await evict(cluster, pod, ref, key);
      if ('status' in answer) {
        // Gone, or changed: that may be the work of a request of which no answer came. The next look tells.
        if (answer.status === 429 || !this.#unanswered.has(uid)) delete memory.asked[uid];
        this.#notNow(uid, answer);
        return;
      }
      const at = new Date().toISOString();
      memory.asked[uid] = { key, at, ...(answer.auditId !== undefined && { requestId: answer.auditId }) };
      this.#waiting.delete(uid);
      pulse.beat(memory);
    } catch (error) {
      if (isFinal(error)) {
        delete memory.asked[uid];
        this.#stuck.set(uid, { name: shortName(pod), why: explain(error) });
        return;
      }
      if (!isPassing(error)) throw error;
      // It may have been granted all the same.
      this.#unanswered.add(uid);
      this.#notNow(uid, { why: explain(error), status: 429 });
    }
  }

  #notNow(uid: string, answer: NotNow): void {
    const refusals = (this.#later.get(uid)?.refusals ?? 0) + (answer.status === 429 ? 1 : 0);
    this.#later.set(uid, { due: Date.now() + pauseAfter(answer, refusals), refusals, why: answer.why });
  }
}
