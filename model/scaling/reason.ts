import { formatDuration } from '../duration.ts';
import type { Limits } from './behavior.ts';
import type { Decision, Hold, Observation, Sample } from './types.ts';

/** Numbers as people read them: whole, or with two digits where they are small. */
const figure = (n: number): string => n.toLocaleString('en-US', { maximumFractionDigits: n < 10 ? 2 : 0 });
const time = (ms: number): string => formatDuration(Math.max(0, Math.round(ms / 1000)) * 1000);

/** Why nothing is decided without data. */
export function missingReason(
  last: Sample | undefined,
  { at, desired: current }: Observation,
  desired: number,
): string {
  const what = last ? `nothing new has been measured for ${time(at - last.at)}` : 'nothing has been measured yet';
  const then = desired === current ? `stays at ${replicas(current)}` : `is set to ${replicas(desired)}, its limit`;
  return `${what}: the target ${then}, for missing data is not zero`;
}

const replicas = (n: number): string => `${n} ${n === 1 ? 'replica' : 'replicas'}`;

const NAMES = { backlog: 'the backlog', rate: 'the rate', ahead: 'the forecast rate', latency: 'the latency' };

const HOLDS: Record<Hold, string> = {
  'missing-data': 'nothing new was measured',
  'partial-data': 'what is missing might ask for more',
  order: 'what was ordered for the backlog has yet to do its work',
  tolerance: 'so small a change is within the tolerance',
  stabilization: 'the stabilization window has not passed',
  policy: 'a policy of the rule allows no more at once',
};

/** One sentence: what was seen, what it asks for, and what is done. */
export function explain(
  decision: Omit<Decision, 'reason'>,
  missing: readonly string[],
  { desired: current }: Observation,
  limits: Limits,
): string {
  const { desired, hold, by } = decision;
  const done =
    desired === current
      ? `it stays at ${replicas(current)}`
      : `it goes ${desired > current ? 'up' : 'down'} from ${current} to ${replicas(desired)}`;
  const why = hold && !(hold === 'partial-data') ? ` (${HOLDS[hold]})` : '';
  const limit = by === 'limits' && desired === limits.max ? `, the most that is allowed` : '';
  const unknown = missing.length > 0 ? `; ${missing.join(' and ')} is not known, so it does not go down` : '';
  return `${seen(decision)}: ${done}${limit}${why}${unknown}`;
}

function seen({ at, forecast, evidence, by }: Omit<Decision, 'reason'>): string {
  const { backlog, arrivals, arrivalsAhead, ratePerReplica, rateBasis, asked, latency } = evidence;
  const parts: string[] = [];
  if (backlog !== undefined) {
    const soon = forecast && (backlog > 0 || forecast.backlog > 0);
    const then = soon ? ` (${figure(forecast.backlog)} in ${time(forecast.at - at)} without a new order)` : '';
    parts.push(`${figure(backlog)} items wait${then}`);
  }
  if (arrivals !== undefined) {
    const rising =
      arrivalsAhead !== undefined && arrivalsAhead > arrivals * 1.01 ? `, soon ${figure(arrivalsAhead)}` : '';
    parts.push(`${figure(arrivals)} come in a second${rising}`);
  }
  if (ratePerReplica !== undefined && (backlog !== undefined || arrivals !== undefined))
    parts.push(`a replica serves ${figure(ratePerReplica)}${rateBasis === 'bound' ? ' or more' : ''}`);
  if (latency !== undefined && (by === 'latency' || parts.length === 0))
    parts.push(`the latency is ${figure(latency)}`);
  const most = Object.entries(asked).sort(([, a], [, b]) => b - a)[0];
  if (most && most[1] > 0) parts.push(`${NAMES[most[0] as keyof typeof asked]} asks for ${most[1]}`);
  return parts.join(', ') || 'nothing is known that asks for a number';
}
