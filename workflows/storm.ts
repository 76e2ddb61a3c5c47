import type { Evidence } from '../model/evidence.ts';
import { plain } from '../model/markdown.ts';
import type { ResponderState, Storm } from '../model/responder.ts';
import type { ResolvedRule } from '../model/rule.ts';

/** Between two looks whether it is over (milliseconds): a quarter of `settleFor`, within these bounds. */
const SOONEST = 5_000;
const LATEST = 120_000;
/** Targets that are looked at for it: the count is that of their kind in their places, so one of each is enough. */
const MOST_TARGETS = 20;

/** Whether so much of the scope is unhealthy that no single target is the cause. All times in milliseconds since the epoch. */
export class StormWatch {
  readonly #state: ResponderState;

  constructor(state: ResponderState) {
    this.#state = state;
  }

  /** When it is looked at next; infinity where there is none. */
  get due(): number {
    return this.#state.storm?.lookAt ?? Number.POSITIVE_INFINITY;
  }

  /** @param suspects of the scope */
  targets(suspects: readonly string[]): string[] {
    return oneOfEach([...suspects, ...(this.#state.storm?.targets ?? [])]);
  }

  /** Takes in what was counted. @returns whether a storm begins or ends with it */
  weigh(
    { population, error }: Evidence,
    { storm: gate }: ResolvedRule['gates'],
    { now, suspects }: { now: number; suspects: readonly string[] },
  ): 'begins' | 'ends' | undefined {
    const { storm } = this.#state;
    // What could not be counted says neither that it is one nor that it is over.
    const counted = population ?? (error === undefined && storm ? { live: 0, unhealthy: 0 } : undefined);
    const isCalm = counted && counted.unhealthy <= limitOf(gate.above, counted.live);
    if (!storm) {
      if (!counted || isCalm === undefined) return undefined;
      if (isCalm || this.#isAccepted(counted.unhealthy)) {
        if (isCalm) this.#state.resumed = undefined;
        return undefined;
      }
      this.#state.storm = {
        since: new Date(now).toISOString(),
        ...counted,
        why: `${counted.unhealthy} of ${counted.live} ${kindOf(suspects)} in the scope are unhealthy, above ${gate.above}%, which is ${limitOf(gate.above, counted.live)}`,
        targets: oneOfEach(suspects),
        lookAt: now + interval(gate.settleFor),
      };
      return 'begins';
    }
    if (counted) Object.assign(storm, counted);
    storm.calmSince = isCalm ? (storm.calmSince ?? now) : undefined;
    if (storm.calmSince !== undefined && now >= storm.calmSince + gate.settleFor) {
      this.#state.storm = undefined;
      return 'ends';
    }
    const settled = (storm.calmSince ?? Number.POSITIVE_INFINITY) + gate.settleFor;
    storm.lookAt = Math.min(now + interval(gate.settleFor), Math.max(now + 1, settled));
    return undefined;
  }

  /** A person ends it, and takes it upon himself that as much is unhealthy as is counted next. */
  resume(): Storm | undefined {
    const { storm } = this.#state;
    this.#state.storm = undefined;
    if (storm) this.#state.resumed = {};
    return storm;
  }

  #isAccepted(unhealthy: number): boolean {
    const { resumed } = this.#state;
    if (!resumed) return false;
    resumed.upTo ??= unhealthy;
    return unhealthy <= resumed.upTo;
  }
}

/** For Temporal's UI, in Markdown. */
export const stormDetails = ({ storm, proposed = {} }: ResponderState): string =>
  [
    ...(storm ? [`**Storm** since ${storm.since.slice(11, 19)}: ${plain(storm.why)}. Everything is held.`, ''] : []),
    ...(Object.keys(proposed).length > 0
      ? [`proposals that wait for a person: ${Object.keys(proposed).length}`, '']
      : []),
  ]
    .map((line) => `${line}\n`)
    .join('');

/** So many may be unhealthy. At 100% all of them may. */
const limitOf = (above: number, live: number): number =>
  above >= 100 ? Number.POSITIVE_INFINITY : Math.max(1, Math.floor((above * live) / 100));

const interval = (settleFor: number): number => Math.min(LATEST, Math.max(SOONEST, settleFor / 4));

const placeOf = (target: string): string => target.slice(0, target.lastIndexOf('/'));

const oneOfEach = (targets: readonly string[]): string[] =>
  [...new Map(targets.map((target) => [placeOf(target), target])).values()].slice(0, MOST_TARGETS);

/** `k8s/prod/shop/pod/web-0`: pods. */
function kindOf([target = '']: readonly string[]): string {
  if (target.startsWith('asg/')) return 'instances';
  const kind = target.startsWith('k8s/') ? target.split('/').at(-2)?.split('.')[0] : undefined;
  return kind ? `${kind}s` : 'objects';
}
