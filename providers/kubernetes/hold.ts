import type { Change } from '../../model/change.ts';
import { formatDuration } from '../../model/duration.ts';
import type { HoldRequest, HoldResult } from '../../model/ports/instance.ts';
import type { Check } from '../checks.ts';
import type { Pulse } from '../instance.ts';
import { beating, Sleeper } from '../pulse.ts';
import type { Cluster } from './cluster.ts';
import { examine, hasChecks, type Kind, POD } from './examine.ts';
import { holdsOn, parseField, readField } from './fields.ts';
import { absence, type Health, isPresent } from './health.ts';
import type { Pod, Ref } from './objects.ts';
import type { Writing } from './pod-writer.ts';
import { isQuarantined } from './quarantine.ts';
import { Recovery, type Returns } from './recovery.ts';
import { giveBack } from './restore.ts';
import { reassert } from './traffic.ts';
import type { Following, Watches } from './watch.ts';
import { isInTraffic, podsOf, slicesOf } from './watched.ts';

/** What an attempt tells the next one. */
interface Memory extends Returns {
  /** ISO time since which the EndpointSlices show the cut. */
  outSince?: string;
  /** Field managers that changed a held field. */
  contests: string[];
  /** What was asserted again. */
  changes: Change[];
}

/**
 * Waits until the pod has been healthy for `stableFor`, and gives its traffic back; or until the deadline, or it has
 * become sick again too often; or until it is gone. It decides on what the shared watch shows and the checks of the rule
 * answer, and confirms by a read what cannot be taken back. A pod in quarantine never comes back by itself.
 */
export async function hold(
  cluster: Cluster,
  watches: Watches,
  ref: Ref,
  request: HoldRequest,
  pulse: Pulse,
  check: Check,
): Promise<HoldResult> {
  const { uid } = request.instance;
  const namespace = ref.namespace ?? '';
  return holdFollowed({ cluster, ref, request, pulse, check, kind: POD }, async (wait) => {
    const pods = await watches.follow(podsOf(namespace), pulse.signal);
    try {
      const slices = await watches.follow(slicesOf(namespace), pulse.signal);
      try {
        const listen = (wake: () => void) => slices.listen(uid, wake);
        return await wait({ pods, isOut: () => !isInTraffic(slices, uid), listen });
      } finally {
        slices.release();
      }
    } finally {
      pods.release();
    }
  });
}

/** What a wait looks at: the pods (or nodes), and whether the one that is held is out of traffic. */
export interface Followed {
  pods: Following<Pod>;
  isOut(pod: Pod | undefined): boolean;
  /** Calls `wake` when that may have changed, beside with a change of the pod itself. */
  listen?(wake: () => void): () => void;
}

interface Asked {
  cluster: Cluster;
  ref: Ref;
  request: HoldRequest;
  pulse: Pulse;
  check: Check;
  kind: Kind;
}

/** @param follow gives the wait what it looks at, and releases that when the wait has ended */
export function holdFollowed(
  asked: Asked,
  follow: (wait: (followed: Followed) => Promise<HoldResult>) => Promise<HoldResult>,
): Promise<HoldResult> {
  const { pulse } = asked;
  const last = pulse.last as Partial<Memory> | undefined;
  const memory: Memory = { contests: [], changes: [], flaps: 0, wasHealthy: false, ...last };
  return beating(
    pulse,
    () => memory,
    () => follow((followed) => new Wait({ ...asked, ...followed, memory }).until(pulse.signal)),
  );
}

interface Given extends Asked, Followed {
  memory: Memory;
}

class Wait {
  readonly #given: Given;
  readonly #sleeper = new Sleeper();
  readonly #recovery: Recovery;
  /** Ends the questions of checks that are still open when the wait ends. */
  readonly #over = new AbortController();

  constructor(given: Given) {
    this.#given = given;
    const { cluster, request, check, memory, kind } = given;
    const checks = request.options?.health;
    this.#recovery = new Recovery({
      kind,
      stableFor: request.stableFor,
      ask: hasChecks(checks) ? (pod) => check(checks, kind.subject(cluster, pod), this.#over.signal) : undefined,
      wake: this.#sleeper.wake,
      returns: memory,
    });
  }

  async until(signal: AbortSignal): Promise<HoldResult> {
    const { pods, listen, request, ref } = this.#given;
    const { wake } = this.#sleeper;
    const silences = [pods.listen(ref.name ?? '', wake), listen?.(wake)];
    try {
      for (;;) {
        const result = await this.#look();
        if (result) return result;
        // When something is due even if nothing happens.
        const next = Math.min(Date.parse(request.deadline), this.#recovery.next);
        await this.#sleeper.sleep(next - Date.now(), signal);
      }
    } finally {
      for (const silence of silences) silence?.();
      this.#over.abort();
    }
  }

  async #look(): Promise<HoldResult | undefined> {
    const { pods, isOut, ref, request, memory } = this.#given;
    const { uid } = request.instance;
    const pod = pods.get(ref.name ?? '');
    if (!isPresent(pod, uid)) {
      const gone = await this.#confirmGone();
      if (gone) return gone;
    }
    if (isOut(pod)) memory.outSince ??= new Date().toISOString();
    else memory.outSince = undefined;
    if (pod && !this.#stands(pod)) {
      const contested = await this.#assertAgain();
      if (contested) return contested;
    }
    const quarantined = isQuarantined(request.held, uid);
    if (!quarantined) this.#recovery.see(isPresent(pod, uid) ? pod : undefined);
    if (this.#recovery.isStable) return this.#giveBack();
    const { flaps } = request.options ?? {};
    if (flaps !== undefined && memory.flaps >= flaps)
      return this.#stillSick(
        ({ why }) => `it became sick again ${times(memory.flaps)} while it was held; now: ${why}`,
        { flapped: true },
      );
    if (Date.now() < Date.parse(request.deadline)) return undefined;
    if (quarantined) return this.#stillSick(() => 'it is in quarantine, and does not come back by itself');
    return this.#stillSick(({ healthy, why }) =>
      healthy ? `${why}, but not yet for ${formatDuration(request.stableFor)}` : `it did not recover in time: ${why}`,
    );
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
    const { cluster, request, memory, check, kind } = this.#given;
    const { healthy, why } = await examine(cluster, pod, request.options?.health, check, kind);
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
    const { cluster, ref, request, memory, kind } = this.#given;
    const why = absence(await cluster.get<Pod>(ref), request.instance.uid, kind.what);
    return why === undefined ? undefined : { verdict: 'gone', why, changes: memory.changes };
  }

  async #giveBack(): Promise<HoldResult | undefined> {
    const { request, memory, kind } = this.#given;
    const { uid } = request.instance;
    let gone: string | undefined;
    const changes = await giveBack(this.#writing(request.step), (pod) => {
      gone = absence(pod, uid, kind.what);
      return pod === undefined || gone !== undefined || this.#recovery.isStill(pod);
    });
    if (gone !== undefined) return { verdict: 'gone', why: gone, changes: memory.changes };
    if (!changes) {
      // The read knows better than the watch: it is sick, or was in between.
      this.#recovery.reset();
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

  /** @param why of what a fresh read shows */
  async #stillSick(why: (now: Health) => string, more: { flapped?: true } = {}): Promise<HoldResult> {
    const { cluster, ref, request, memory, kind } = this.#given;
    const pod = await cluster.get<Pod>(ref);
    const gone = absence(pod, request.instance.uid, kind.what);
    if (!pod || gone) return { verdict: 'gone', why: gone ?? '', changes: memory.changes };
    const { outSince, changes } = memory;
    return { verdict: 'sick', why: why(this.#recovery.describe(pod)), changes, ...(outSince && { outSince }), ...more };
  }
}

const times = (n: number): string => (n === 1 ? 'once' : `${n} times`);
