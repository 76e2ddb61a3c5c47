import type { QueryValues } from '../../model/promql.ts';
import type { Sample } from '../../model/scaling/controller.ts';
import type { ScaleOnBacklogOptions, SignalQuery } from '../../model/scaling/options.ts';
import type { Target } from '../../model/target.ts';
import { FinalError } from '../errors.ts';
import type { Signals, SignalWindow } from '../signals.ts';

/** What the signals were within a window. */
export interface Read {
  /** Oldest first. */
  samples: Sample[];
  /** What could not be had, for people: never taken for zero. */
  problems: string[];
}

type Field = keyof Omit<Sample, 'at' | 'ready'>;

/** One signal: what it is called, where it is read, and which figure of a sample it is. */
interface Wanted {
  name: string;
  query: SignalQuery;
  field: Field;
  /** Makes the figure of what was read. */
  scale: number;
}

/** Reads all signals at once. @throws FinalError where one can never be read, and `strict` */
export async function readSignals(
  signals: Signals,
  { options, target, strict }: { options: ScaleOnBacklogOptions; target: Target; strict: boolean },
  window: SignalWindow,
  signal?: AbortSignal,
): Promise<Read> {
  const values = valuesOf(target);
  const wanted = wantedOf(options);
  const answers = await Promise.all(
    wanted.map(async (one) => {
      try {
        return await signals.read(inAccount(one.query, target), values, window, signal);
      } catch (error) {
        if (signal?.aborted || (strict && error instanceof FinalError)) throw error;
        return { problem: error instanceof Error ? error.message : String(error) };
      }
    }),
  );
  const byTime = new Map<number, Sample>();
  const problems: string[] = [];
  for (const [i, { name, field, scale }] of wanted.entries()) {
    const answer = answers[i];
    if (answer?.samples === undefined) problems.push(`${name}: ${answer?.problem}`);
    for (const { at, value } of answer?.samples ?? []) {
      const slot = Math.round(at / window.step) * window.step;
      const sample = byTime.get(slot) ?? { at };
      byTime.set(slot, { ...sample, at: Math.max(sample.at, at), [field]: value * scale });
    }
  }
  return { samples: [...byTime.values()].sort((a, b) => a.at - b.at), problems };
}

/** A metric whose account nobody names is one of the target's own. */
function inAccount(query: SignalQuery, target: Target): SignalQuery {
  if (!('cloudwatch' in query) || target.type !== 'asg') return query;
  return { cloudwatch: { aws: target.aws, ...query.cloudwatch } };
}

/** What may stand in a query for a part of the target. */
function valuesOf(target: Target): QueryValues {
  if (target.type === 'asg') return { group: target.group };
  if (target.type !== 'k8s') return {};
  const { cluster, namespace, name } = target;
  return { cluster, namespace, name };
}

function wantedOf({ backlog, latency }: ScaleOnBacklogOptions): Wanted[] {
  return [
    ...(backlog ? [{ name: 'backlog', query: backlog.items, field: 'backlog' as const, scale: 1 }] : []),
    ...(backlog?.arrivals ? [arrivals(backlog.arrivals)] : []),
    ...(backlog?.served ? [{ name: 'served', query: backlog.served, field: 'servedTotal' as const, scale: 1 }] : []),
    ...(latency ? [{ name: 'latency', query: latency.seconds, field: 'latency' as const, scale: 1 }] : []),
  ];
}

/** A sum of CloudWatch is what came within one period, and no counter. */
function arrivals(query: SignalQuery): Wanted {
  if ('cloudwatch' in query && query.cloudwatch.statistic === 'Sum')
    return { name: 'arrivals', query, field: 'arrivalRate', scale: 1_000 / query.cloudwatch.period };
  return { name: 'arrivals', query, field: 'arrivalsTotal', scale: 1 };
}
