import type { Outcome } from '../model/outcome.ts';
import type { ResolvedRule } from '../model/rule.ts';
import type { Arrival } from './arrivals.ts';
import type { Episode, RecordedRequest } from './record.ts';
import type { Matched } from './routes.ts';

/** How a remediation goes in the simulation. */
export interface Run {
  /** Milliseconds. */
  duration: number;
  outcome: Outcome | 'terminated';
  /** It never ran, or not to an end that is on record: nobody has seen how it would go. */
  assumed: boolean;
}

/** What is on record of how remediations went. */
export class Evidence {
  /** Durations of the remediations that acted, ascending, by rule, and by rule and outcome. */
  readonly #durations = new Map<string, number[]>();

  constructor(requests: readonly RecordedRequest[]) {
    for (const { rule, episode } of requests) {
      if (!episode?.ended || !acted(episode)) continue;
      const duration = durationOf(episode);
      for (const key of [rule, `${rule} ${episode.ended.outcome}`]) {
        const known = this.#durations.get(key);
        if (known) known.push(duration);
        else this.#durations.set(key, [duration]);
      }
    }
    for (const durations of this.#durations.values()) durations.sort((a, b) => a - b);
  }

  /** How the remediation that a rule starts for an alert went; else how it is assumed to go. */
  of({ requests }: Arrival, { rule, request: { target } }: Matched): Run {
    const ran = requests
      .filter((request) => request.target === target)
      .sort((a, b) => Number(b.rule === rule.name) - Number(a.rule === rule.name))
      .map(({ episode }) => episode)
      .find((episode) => episode?.ended && tells(episode));
    if (ran?.ended) return { duration: durationOf(ran), outcome: ran.ended.outcome, assumed: false };
    const duration = this.#median(`${rule.name} remediated`) ?? this.#median(rule.name) ?? assumedDuration(rule);
    return { duration, outcome: 'remediated', assumed: true };
  }

  /** How a proposal that waits for a person went. */
  proposal({ requests }: Arrival, { rule, request: { target } }: Matched): Pick<Run, 'duration' | 'outcome'> {
    const episode = requests.find((request) => request.target === target && request.rule === rule.name)?.episode;
    if (!episode?.ended || episode.rule.mode !== 'propose') return { duration: 0, outcome: 'observed' };
    const { outcome } = episode.ended;
    // Its responder would find out, which is of no interest here.
    return { duration: durationOf(episode), outcome: outcome === 'terminated' ? 'cancelled' : outcome };
  }

  #median(key: string): number | undefined {
    const durations = this.#durations.get(key) ?? [];
    return durations[Math.floor((durations.length - 1) / 2)];
  }
}

/** Where the rule has never acted: the time that it gives an instance to heal by itself, or a backlog to be worked off. */
function assumedDuration(rule: ResolvedRule): number {
  switch (rule.runbook) {
    case 'drain-instance':
      return rule.with.recoverWithin;
    case 'circuit-breaker': {
      const open = Object.values(rule.with.dependencies).map(({ openFor }) => openFor);
      return open.length > 0 ? Math.min(...open) : 0;
    }
    case 'scale-on-backlog':
      return rule.with.startUp + (rule.with.backlog?.drainWithin ?? 0) + rule.with.goodFor;
    case 'revert-drift':
      return Math.max(0, ...Object.values(rule.with.stacks).map(({ minAge }) => minAge));
  }
}

/** A proposal that would have acted says nothing of how long that would have taken, and what would have come of it. */
const tells = (episode: Episode): boolean =>
  acted(episode) || episode.ended?.outcome === 'not-needed' || episode.ended?.outcome === 'refused';

const acted = ({ rule, approved }: Episode): boolean => rule.mode === 'act' || (rule.mode === 'propose' && approved);

const durationOf = ({ begunAt, ended }: Episode): number => Math.max(0, (ended?.at ?? begunAt) - begunAt);
