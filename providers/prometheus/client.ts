import { request } from 'undici';
import { z } from 'zod';
import { FinalError, UnavailableError } from '../errors.ts';

/** What a query gives: its one number, or why it gives none, for people (`gives no series, expected 1`). */
export type Answer = { value: number; problem?: never } | { value?: never; problem: string };

/** Milliseconds since the epoch, and between two points. */
export interface Range {
  from: number;
  to: number;
  step: number;
}

/**
 * What a query gave over a range, oldest first, every value finite, at least one; or why there is none to go by, for people. What
 * is not a finite number at some time is a gap.
 */
export type RangeAnswer =
  | { samples: { at: number; value: number }[]; problem?: never }
  | { samples?: never; problem: string };

/** Below the ten seconds that a look at live state may take. */
const REQUEST_MS = 5_000;
/** Characters; one series has a few hundred. */
const LARGEST_ANSWER = 4 * 1024 * 1024;

const series = z.object({
  metric: z.record(z.string(), z.string()).prefault({}),
  value: z.tuple([z.number(), z.string()]).optional(),
  values: z.array(z.tuple([z.number(), z.string()])).optional(),
});
const answerSchema = z.object({
  data: z.object({ resultType: z.string(), result: z.array(z.unknown()) }),
  warnings: z.array(z.string()).nullish(),
  /** VictoriaMetrics: a part of its storage did not answer. */
  isPartial: z.boolean().optional(),
});
const refusalSchema = z.object({ errorType: z.string().optional(), error: z.string() });

interface Answered {
  /** `vector`, `matrix`, … */
  type: string;
  result: unknown[];
  /** Why it may be wrong, or only a part. */
  doubts?: string;
}

/** One Prometheus, or what speaks its HTTP API. */
export class Prometheus {
  /** As configured: a path prefix is part of it. */
  readonly url: string;

  constructor(url: string) {
    this.url = url.replace(/\/+$/, '');
  }

  /**
   * The one number that a query gives now.
   *
   * @throws UnavailableError where nobody can tell: it does not answer, not in time, or only in part;
   * FinalError `Invalid` for a query that it cannot answer and an address where there is no Prometheus, `Forbidden`
   */
  async number(query: string, signal?: AbortSignal): Promise<Answer> {
    const answered = await this.#ask('query', { query }, signal);
    if ('problem' in answered) return answered;
    // What may be only a part, or is doubted by Prometheus itself, is no ground to act on.
    if (answered.doubts !== undefined) throw new UnavailableError(`${asked(query)}: ${answered.doubts}`);
    return oneNumber(answered.type, answered.result);
  }

  /**
   * What a query gave from `from` on, every `step`, the last at `to`.
   *
   * @throws as {@link Prometheus.number} does; an answer that may be only a part is a problem
   */
  async range(query: string, { from, to, step }: Range, signal?: AbortSignal): Promise<RangeAnswer> {
    // Its points are counted from `start`: so that there is one at `to`, which is the one that matters most.
    const start = to - Math.max(0, Math.floor((to - from) / step)) * step;
    const seconds = { start: `${start / 1000}`, end: `${to / 1000}`, step: `${step / 1000}` };
    const answered = await this.#ask('query_range', { query, ...seconds }, signal);
    if ('problem' in answered) return answered;
    if (answered.doubts !== undefined) return { problem: `gives nothing to go by: ${answered.doubts}` };
    return oneSeries(answered.result);
  }

  async #ask(
    what: 'query' | 'query_range',
    parameters: Record<string, string> & { query: string },
    signal: AbortSignal | undefined,
  ): Promise<Answered | { problem: string }> {
    const { query } = parameters;
    const asking = new URLSearchParams({ ...parameters, timeout: `${REQUEST_MS}ms` });
    const text = await this.#get(`/api/v1/${what}?${asking}`, query, signal);
    if (text === undefined) return { problem: `gives more than ${LARGEST_ANSWER / 1024 ** 2} MiB, expected 1 series` };
    const answered = answerSchema.safeParse(jsonOf(text)).data;
    if (!answered) throw this.#noPrometheus(query, 'answered something else than its API does');
    const warnings = [...(answered.warnings ?? []), ...(answered.isPartial ? ['the answer is partial'] : [])];
    const { resultType: type, result } = answered.data;
    if (warnings.length === 0) return { type, result };
    return { type, result, doubts: `Prometheus ${this.url} answered with warnings: ${cut(warnings.join('; '))}` };
  }

  /** The body of a good answer; undefined where it is too large to be one. */
  async #get(path: string, query: string, signal: AbortSignal | undefined): Promise<string | undefined> {
    // A little more, so that Prometheus can say itself that it took too long.
    const timeout = AbortSignal.timeout(REQUEST_MS + 500);
    let status: number;
    let text = '';
    try {
      const response = await request(`${this.url}${path}`, {
        headers: { 'user-agent': 'salvor', accept: 'application/json' },
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      status = response.statusCode;
      response.body.setEncoding('utf8');
      for await (const chunk of response.body) {
        text += chunk;
        // Leaving the loop ends the connection.
        if (text.length > LARGEST_ANSWER) return undefined;
      }
    } catch (error) {
      // The caller's own wish to stop is thrown on as it is.
      if (signal?.aborted) throw signal.reason;
      throw new UnavailableError(`${asked(query)}: no answer from Prometheus ${this.url}: ${codeOf(error)}`, {
        cause: error,
      });
    }
    if (status === 200) return text;
    throw this.#refused(query, status, text);
  }

  #refused(query: string, status: number, text: string): Error {
    const refusal = refusalSchema.safeParse(jsonOf(text)).data;
    const why = refusal?.error ?? text;
    const message = `${asked(query)}: Prometheus ${this.url} answered ${status}: ${cut(why) || 'nothing more'}`;
    if (status === 401 || status === 403) return new FinalError(message, { type: 'Forbidden' });
    // 499: canceled, when it is stopped. 422 is all that went wrong while it evaluated the query, running out of time included.
    const late = refusal?.errorType === 'timeout' || refusal?.errorType === 'canceled' || TOOK_TOO_LONG.test(why);
    if (status >= 500 || status === 429 || status === 499 || status === 408 || (status === 422 && late))
      return new UnavailableError(message);
    if (refusal && (status === 400 || status === 422)) return new FinalError(message, { type: 'Invalid' });
    return this.#noPrometheus(query, `answered ${status}`);
  }

  #noPrometheus(query: string, did: string): FinalError {
    return new FinalError(
      `${asked(query)}: ${this.url} ${did}, as no Prometheus does: expected its address in prometheus.url, with its path prefix`,
      { type: 'Invalid' },
    );
  }
}

/** In the words of Prometheus, Thanos and VictoriaMetrics; narrow, for the names of a bad query are in its message too. */
const TOOK_TOO_LONG = /\btimed out\b|\btimeout exceeded\b|\bdeadline exceeded\b|\bcontext canceled\b/i;

function oneNumber(type: string, result: unknown[]): Answer {
  if (type !== 'vector')
    return { problem: `gives ${KINDS[type] ?? type}, expected 1 series, which says whether there is any` };
  const problem = notOne(result);
  if (problem !== undefined) return { problem };
  const text = series.safeParse(result[0]).data?.value?.[1];
  if (text === undefined) return { problem: 'gives a histogram, expected a number' };
  const value = numberOf(text);
  return Number.isNaN(value) ? { problem: 'gives NaN, expected a number' } : { value };
}

function oneSeries(result: unknown[]): RangeAnswer {
  const problem = notOne(result);
  if (problem !== undefined) return { problem };
  const values = series.safeParse(result[0]).data?.values;
  if (!values?.length) return { problem: 'gives a histogram, expected a number' };
  const samples = values.flatMap(([at, text]) => {
    const value = numberOf(text);
    return Number.isFinite(value) ? [{ at: Math.round(at * 1000), value }] : [];
  });
  const last = values.at(-1)?.[1];
  return samples.length > 0 ? { samples } : { problem: `gives ${last} and no number in all of that time` };
}

function notOne(result: unknown[]): string | undefined {
  if (result.length === 1) return undefined;
  if (result.length === 0) return 'gives no series, expected 1';
  const seen = result.slice(0, 3).map(labelsOf).join(', ');
  return `gives ${result.length} series, expected 1: ${cut(seen)}${result.length > 3 ? ', …' : ''}`;
}

const KINDS: Record<string, string> = { scalar: 'a scalar', string: 'a string', matrix: 'a range of values' };

/** As Go writes numbers. */
const numberOf = (text: string): number =>
  text === '+Inf' ? Number.POSITIVE_INFINITY : text === '-Inf' ? Number.NEGATIVE_INFINITY : Number(text);

function labelsOf(one: unknown): string {
  const { __name__: name = '', ...labels } = series.safeParse(one).data?.metric ?? {};
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return `${name}{${pairs.join(', ')}}`;
}

const asked = (query: string): string => `cannot ask for ${cut(query)}`;

/** For messages, which become a part of histories. */
const cut = (text: string): string => {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > 500 ? `${line.slice(0, 499).toWellFormed()}…` : line;
};

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a proxy's page, or another server's; the caller says what is expected
  }
}

function codeOf(error: unknown): string {
  const { code, name, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError') return `nothing within ${REQUEST_MS / 1000} s`;
  return code ?? message;
}
