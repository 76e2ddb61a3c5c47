import type { Confirm } from '../../model/breaker/options.ts';
import type { Finding } from '../../model/ports/switch.ts';
import type { Prometheus } from '../prometheus/client.ts';

type Read = { value: number; problem?: never } | { value?: never; problem: string };

/** By the numbers. What nobody can tell is unknown, and unknown never opens anything: a missing metric is not zero. */
export async function confirmBy(
  prometheus: Prometheus | undefined,
  options: Confirm,
  signal: AbortSignal,
): Promise<Finding> {
  const { minCalls } = options;
  const [calls, failed, slow] = await Promise.all([
    readNumber(prometheus, options.calls, signal),
    options.failed === undefined ? undefined : readNumber(prometheus, options.failed, signal),
    options.slow === undefined ? undefined : readNumber(prometheus, options.slow, signal),
  ]);
  if (calls.value === undefined) return { verdict: 'unknown', why: `calls: ${calls.problem}` };
  const facts: Record<string, number> = { calls: calls.value };
  if (failed?.value !== undefined) facts['failed'] = failed.value;
  if (slow?.value !== undefined) facts['slow'] = slow.value;
  // Nobody calls it: there is no share of nothing.
  if (calls.value < minCalls || calls.value === 0)
    return { verdict: 'unknown', why: `${round(calls.value)} calls, and less than ${minCalls} tell nothing`, facts };
  const parts = [
    { what: 'failed', read: failed, limit: options.failureRatio },
    { what: 'were slow', read: slow, limit: options.slowRatio },
  ].flatMap(({ what, read, limit }) => (read ? [judge(what, read, calls.value, limit)] : []));
  const over = parts.filter(({ verdict }) => verdict === 'failing');
  const silent = parts.filter(({ verdict }) => verdict === 'unknown');
  const telling = over.length > 0 ? over : silent.length > 0 ? silent : parts;
  return { verdict: telling[0]?.verdict ?? 'unknown', why: telling.map(({ why }) => why).join('; '), facts };
}

function judge(what: string, { value, problem }: Read, calls: number, limit: number): Pick<Finding, 'verdict' | 'why'> {
  if (value === undefined) return { verdict: 'unknown', why: `how many ${what}: ${problem}` };
  const ratio = value / calls;
  const why = `${percent(ratio)} of ${round(calls)} calls ${what}, and ${percent(limit)} is failing`;
  return { verdict: ratio >= limit ? 'failing' : 'healthy', why };
}

/** A number that may be one; never throws for what Prometheus does. @throws the signal's reason */
export async function readNumber(
  prometheus: Prometheus | undefined,
  query: string,
  signal: AbortSignal,
): Promise<Read> {
  if (!prometheus) return { problem: `no Prometheus is configured to ask for ${query}: expected prometheus.url` };
  try {
    const { value, problem } = await prometheus.number(query, signal);
    if (problem !== undefined) return { problem: `${query} ${problem}` };
    return value >= 0 && Number.isFinite(value) ? { value } : { problem: `${query} is ${value}, which counts nothing` };
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return { problem: error instanceof Error ? error.message : String(error) };
  }
}

const round = (value: number): string => String(Math.round(value * 100) / 100);
const percent = (ratio: number): string => `${round(ratio * 100)}%`;
