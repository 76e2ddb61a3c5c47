import { isIPv6 } from 'node:net';
import { Client } from 'undici';
import { InputError } from '../model/input-error.ts';
import { renderQuery } from '../model/promql.ts';
import type { HealthChecks } from '../model/rule.ts';
import { notItsOwn } from './address.ts';
import type { Check, CheckResult, Subject } from './checks.ts';
import { FinalError } from './errors.ts';
import { Prometheus } from './prometheus/client.ts';

type PromqlCheck = NonNullable<HealthChecks['promql']>;
type HttpCheck = NonNullable<HealthChecks['http']>;

/** The checks of rules, with the Prometheus that is configured. */
export function checksOf(world: { prometheus?: { url: string } | undefined }): Check {
  const prometheus = world.prometheus && new Prometheus(world.prometheus.url);
  return async ({ promql, http }, subject, signal) => {
    const results = await Promise.all([
      ...(promql ? [askPrometheus(prometheus, promql, subject, signal)] : []),
      ...(http ? [askItself(http, subject, signal)] : []),
    ]);
    const sick = results.filter(({ healthy }) => !healthy);
    const telling = sick.length > 0 ? sick : results;
    return { healthy: sick.length === 0, why: telling.map(({ why }) => why).join('; ') };
  };
}

async function askPrometheus(
  prometheus: Prometheus | undefined,
  check: PromqlCheck,
  subject: Subject,
  signal: AbortSignal | undefined,
): Promise<CheckResult> {
  if (!prometheus)
    throw new FinalError(`no Prometheus is configured to ask for ${check.query}: expected prometheus.url`, {
      type: 'Invalid',
    });
  const query = queryFor(check.query, subject);
  const { value, problem } = await prometheus.number(query, signal);
  if (problem !== undefined) return { healthy: false, why: `${query} ${problem}` };
  const { atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = check;
  const healthy = value <= atMost && value >= atLeast;
  return { healthy, why: `${query} is ${value}, and healthy is ${bounds(check)}` };
}

const bounds = ({ atMost, atLeast }: PromqlCheck): string =>
  [
    ...(atLeast === undefined ? [] : [`at least ${atLeast}`]),
    ...(atMost === undefined ? [] : [`at most ${atMost}`]),
  ].join(' and ');

function queryFor(query: string, { values }: Subject): string {
  try {
    return renderQuery(query, values);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new FinalError(error.message, { type: 'Invalid', cause: error });
  }
}

/** Bytes of a body that are waited for: an answer that stalls in the midst of a small page is none. */
const READ_AT_MOST = 64 * 1024;

/**
 * GET on the instance's own address, on a connection of its own: a kept one could be to a process that is gone, or hide
 * that no new one can be made.
 */
async function askItself(
  check: HttpCheck,
  { address, local = false }: Subject,
  signal: AbortSignal | undefined,
): Promise<CheckResult> {
  const { scheme, port, path, status, within } = check;
  if (address === undefined) return { healthy: false, why: `it has no address yet on which to ask for ${path}` };
  const wrong = notItsOwn(address, local);
  // That is no sickness of which healing would cure it: a person must see who wrote that.
  if (wrong)
    throw new FinalError(
      `the HTTP check of the rule was not made, for the status of the instance names an address that is not its own: ${wrong}. See who wrote that status`,
      { type: 'Invalid' },
    );
  const origin = `${scheme}://${isIPv6(address) ? `[${address}]` : address}:${port}`;
  const asked = `GET ${origin}${path}`;
  const timeout = AbortSignal.timeout(within);
  const client = new Client(origin, { connect: { rejectUnauthorized: false, timeout: within } });
  try {
    const response = await client.request({
      method: 'GET',
      path,
      headers: { 'user-agent': 'salvor' },
      reset: true,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
    });
    let read = 0;
    for await (const chunk of response.body) {
      read += (chunk as Buffer).length;
      if (read > READ_AT_MOST) break;
    }
    const healthy = response.statusCode === status;
    return { healthy, why: `${asked} answered ${response.statusCode}${healthy ? '' : `, expected ${status}`}` };
  } catch (error) {
    // The caller's own wish to stop is thrown on as it is.
    if (signal?.aborted) throw signal.reason;
    return { healthy: false, why: `${asked} got no answer: ${silence(error, within)}` };
  } finally {
    await client.destroy();
  }
}

function silence(error: unknown, within: number): string {
  const { code, name, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError' || code === 'UND_ERR_CONNECT_TIMEOUT') return `nothing within ${within} ms`;
  return code ?? message;
}
