import type { Change } from '../../model/change.ts';
import { formatDuration } from '../../model/duration.ts';
import type { HoldRequest, HoldResult } from '../../model/ports/instance.ts';
import type { Pulse } from '../instance.ts';
import type { Cluster } from './cluster.ts';
import { holdsOn, parseField, readField } from './fields.ts';
import { absence, healthOf, isPresent, transitionsOf } from './health.ts';
import type { Pod, Ref } from './objects.ts';
import type { Writing } from './pod-writer.ts';
import { beating, Sleeper } from './pulse.ts';
import { giveBack } from './restore.ts';
import { reassert } from './traffic.ts';
import type { Following, Watches } from './watch.ts';
import { isInTraffic, podsOf, slicesOf } from './watched.ts';

/** What an attempt tells the next one. */
interface Memory {
  /** ISO time since which the EndpointSlices show the cut. */
  outSince?: string;
  /** Field managers that changed a held field. */
  contests: string[];
  /** What was asserted again. */
  changes: Change[];
}

/**
 * Waits until the pod has been healthy for `stableFor`, and gives its traffic back; or until the deadline; or until it is
 * gone. It decides on what the shared watch shows, and confirms by a read what cannot be taken back. How long the pod has
 * been healthy is counted from what this attempt has seen itself, and anew where a condition has changed unseen.
 */
export async function hold(
  cluster: Cluster,
  watches: Watches,
  ref: Ref,
  request: HoldRequest,
  pulse: Pulse,
): Promise<HoldResult> {
  const memory: Memory = { contests: [], changes: [], ...(pulse.last as Partial<Memory> | undefined) };
  return beating(
    pulse,
    () => memory,
    async () => {
      const namespace = ref.namespace ?? '';
      const pods = await watches.follow(podsOf(namespace), pulse.signal);
      try {
        const slices = await watches.follow(slicesOf(namespace), pulse.signal);
        try {
          return await new Wait({ cluster, ref, request, pods, slices, memory, pulse }).until(pulse.signal);
        } finally {
          slices.release();
        }
      } finally {
        pods.release();
      }
    },
  );
}

interface Given {
  cluster: Cluster;
  ref: Ref;
  request: HoldRequest;
  pods: Following<Pod>;
  slices: Following<ReadonlySet<string>>;
  memory: Memory;
  pulse: Pulse;
}

class Wait {
  readonly #given: Given;
  readonly #sleeper = new Sleeper();
  /** Milliseconds since the epoch, and the conditions that it has been healthy with; undefined while it is sick. */
  #healthy: { since: number; transitions: string } | undefined;

  constructor(given: Given) {
    this.#given = given;
  }

  async until(signal: AbortSignal): Promise<HoldResult> {
    const { pods, slices, request, ref } = this.#given;
    const { wake } = this.#sleeper;
    const silences = [pods.listen(ref.name ?? '', wake), slices.listen(request.instance.uid, wake)];
    try {
      for (;;) {
        const result = await this.#look();
        if (result) return result;
        await this.#sleeper.sleep(this.#next() - Date.now(), signal);
      }
    } finally {
      for (const silence of silences) silence();
    }
  }

  /** When something is due even if nothing happens. */
  #next(): number {
    const { deadline, stableFor } = this.#given.request;
    return Math.min(Date.parse(deadline), this.#healthy ? this.#healthy.since + stableFor : Number.POSITIVE_INFINITY);
  }

  async #look(): Promise<HoldResult | undefined> {
    const { pods, slices, ref, request, memory } = this.#given;
    const { uid } = request.instance;
    const pod = pods.get(ref.name ?? '');
    if (!isPresent(pod, uid)) {
      const gone = await this.#confirmGone();
      if (gone) return gone;
    }
    if (isInTraffic(slices, uid)) memory.outSince = undefined;
    else memory.outSince ??= new Date().toISOString();
    if (pod && !this.#stands(pod)) {
      const contested = await this.#assertAgain();
      if (contested) return contested;
    }
    this.#healthy = isPresent(pod, uid) ? this.#healthAfter(pod) : undefined;
    if (this.#isStable()) return this.#giveBack();
    if (Date.now() >= Date.parse(request.deadline)) return this.#atDeadline();
    return undefined;
  }

  #healthAfter(pod: Pod): { since: number; transitions: string } | undefined {
    if (!healthOf(pod).healthy) return undefined;
    const transitions = transitionsOf(pod);
    return this.#healthy?.transitions === transitions ? this.#healthy : { since: Date.now(), transitions };
  }

  #isStable(): boolean {
    return this.#healthy !== undefined && Date.now() - this.#healthy.since >= this.#given.request.stableFor;
  }

  /** Whether what is held is as it was set, as far as the watch knows: it may not yet have seen Salvor's own write. */
  #stands(pod: Pod): boolean {
    const { request } = this.#given;
    const own = holdsOn(pod.metadata)?.filter(({ remediation }) => remediation === request.actor.remediation) ?? [];
    return request.held.every(
      (held) => readField(pod, parseField(held.field)) === held.set && own.some(({ field }) => field === held.field),
    );
  }

  async #assertAgain(): Promise<HoldResult | undefined> {
    const { request, memory } = this.#given;
    const found = await reassert(this.#writing('hold'), memory.contests.length === 0);
    if (!found) return undefined;
    if (found.givenBack) return this.#wasGivenBack(found.pod, found.givenBack);
    const { manager, asserted } = found;
    memory.contests.push(manager);
    if (asserted) {
      memory.changes.push(asserted);
      return undefined;
    }
    const fields = request.held.map(({ field }) => field).join(', ');
    const why = `${manager} changed ${fields}, twice by now, while Salvor held it; Salvor no longer asserts it`;
    return { verdict: 'contested', why, changes: memory.changes, manager };
  }

  /**
   * By an attempt that found it recovered but could not report it, or by the undo of a remediation that has ended without
   * this attempt's knowing. It is not taken back either way: where it is sick again the workflow leaves it alone, if there is one
   * any more.
   */
  async #wasGivenBack(pod: Pod, givenBack: Change): Promise<HoldResult> {
    const { request, memory } = this.#given;
    const { healthy, why } = healthOf(pod);
    const rest = (await giveBack(this.#writing(request.step))) ?? [];
    const changes = [...memory.changes, { ...givenBack, step: request.step }, ...rest];
    if (healthy) return { verdict: 'recovered', why: 'found healthy by an attempt that could not report it', changes };
    return {
      verdict: 'given-back',
      why: `Salvor itself gave its traffic back at ${givenBack.at}; since then: ${why}`,
      changes,
    };
  }

  async #confirmGone(): Promise<HoldResult | undefined> {
    const { cluster, ref, request, memory } = this.#given;
    const why = absence(await cluster.get<Pod>(ref), request.instance.uid);
    return why === undefined ? undefined : { verdict: 'gone', why, changes: memory.changes };
  }

  async #giveBack(): Promise<HoldResult | undefined> {
    const { request, memory } = this.#given;
    const { uid } = request.instance;
    const before = this.#healthy;
    let gone: string | undefined;
    const changes = await giveBack(this.#writing(request.step), (pod) => {
      gone = absence(pod, uid);
      return pod === undefined || gone !== undefined || this.#healthAfter(pod) === before;
    });
    if (gone !== undefined) return { verdict: 'gone', why: gone, changes: memory.changes };
    if (!changes) {
      // The read knows better than the watch: it is sick, or was in between.
      this.#healthy = undefined;
      return undefined;
    }
    const why = `healthy for ${formatDuration(request.stableFor)} without a break`;
    return { verdict: 'recovered', why, changes: [...memory.changes, ...changes] };
  }

  /** Each write is asked for anew: this wait may have been replaced, or its remediation have ended, without its knowing. */
  #writing(step: string): Writing {
    const { cluster, ref, request, pulse } = this.#given;
    return { cluster, ref, request: { ...request, step }, mayWrite: () => pulse.stillMine() };
  }

  async #atDeadline(): Promise<HoldResult> {
    const { cluster, ref, request, memory } = this.#given;
    const pod = await cluster.get<Pod>(ref);
    const gone = absence(pod, request.instance.uid);
    if (!pod || gone) return { verdict: 'gone', why: gone ?? '', changes: memory.changes };
    const { healthy, why } = healthOf(pod);
    const { outSince, changes } = memory;
    return {
      verdict: 'sick',
      why: healthy
        ? `${why}, but not yet for ${formatDuration(request.stableFor)}`
        : `it did not recover in time: ${why}`,
      changes,
      ...(outSince && { outSince }),
    };
  }
}
