import type { Client } from '@temporalio/client';
import { Gauge, type Registry } from 'prom-client';
import type { Config } from '../model/config.ts';
import { DRIFT_CLASSES } from '../model/drift/difference.ts';
import type { DriftStanding } from '../model/drift/standing.ts';
import { atMostEvery } from '../model/schedule.ts';
import { Recent } from '../providers/recent.ts';
import { readDrift, type StackStanding } from '../providers/temporal/drift.ts';
import { FRESH, inTime } from './standing.ts';

/** How the stacks stood when they were last compared, as it was at most 15 s ago: all gauges of a scrape share a look. */
export function driftOf(client: Client, config: Pick<Config, 'stacks' | 'rules'>): () => Promise<StackStanding[]> {
  const recent = new Recent<StackStanding[]>(FRESH);
  return () => recent.get('all', () => inTime(client, () => readDrift(client, config)));
}

/** Seconds between two checks of a stack at most, as the rules have it; a stack that no schedule compares has none. */
export function intervalsOf({ stacks, rules }: Pick<Config, 'stacks' | 'rules'>): Record<string, number> {
  const found = stacks.flatMap(({ name }): [string, number][] => {
    const intervals = rules.flatMap(({ rule, schedule }) =>
      schedule && rule.runbook === 'revert-drift' && Object.hasOwn(rule.with.stacks, name)
        ? [atMostEvery(schedule)]
        : [],
    );
    return intervals.length > 0 ? [[name, Math.min(...intervals) / 1_000]] : [];
  });
  return Object.fromEntries(found);
}

/**
 * A stack that was never compared has no series, and while Temporal does not answer none has: no value is better than an old one.
 *
 * @param intervals as of {@link intervalsOf}
 */
export function driftGauges(
  registry: Registry,
  read: () => Promise<StackStanding[]>,
  intervals: Record<string, number>,
): void {
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    tell: (gauge: Gauge<L>, compared: Compared[]) => void,
  ): void => {
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      async collect() {
        const all: StackStanding[] = await read().catch(() => []);
        this.reset();
        tell(
          this,
          all.flatMap(({ stack, standing }) => (standing ? [{ stack, standing }] : [])),
        );
      },
    });
  };
  // Where nothing could be compared nobody knows what differs: not even that nothing does.
  const known = (all: Compared[]): Compared[] => all.filter(({ standing }) => standing.verdict !== 'refused');
  gauge(
    'salvor_drift_addresses',
    'Addresses of a stack that differed from their source when it was last compared, by class.',
    ['stack', 'class'],
    (one, all) => {
      for (const { stack, standing } of known(all))
        for (const name of DRIFT_CLASSES) one.set({ stack, class: name }, standing.counts[name]);
    },
  );
  gauge(
    'salvor_drift_oldest_seconds',
    'Age of the oldest drift of a stack; 0 where there is none.',
    ['stack'],
    (one, all) => {
      for (const { stack, standing } of known(all)) one.set({ stack }, ageOf(standing));
    },
  );
  gauge(
    'salvor_drift_refused',
    'Whether the stack must not be compared as it is, which a person has to mend.',
    ['stack'],
    (one, all) => {
      for (const { stack, standing } of all) one.set({ stack }, standing.verdict === 'refused' ? 1 : 0);
    },
  );
  gauge('salvor_drift_last_check_timestamp_seconds', 'When the stack was last compared.', ['stack'], (one, all) => {
    for (const { stack, standing } of all) one.set({ stack }, Date.parse(standing.at) / 1_000);
  });
  gauge(
    'salvor_drift_interval_seconds',
    'How often the schedules of its rules compare a stack, at the least.',
    ['stack'],
    (one) => {
      for (const [stack, seconds] of Object.entries(intervals)) one.set({ stack }, seconds);
    },
  );
}

type Compared = Required<StackStanding>;

const ageOf = ({ oldest }: DriftStanding): number =>
  oldest === undefined ? 0 : Math.max(0, Date.now() - Date.parse(oldest)) / 1_000;
