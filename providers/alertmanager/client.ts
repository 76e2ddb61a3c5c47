import { type Dispatcher, request } from 'undici';
import { z } from 'zod';
import { UnavailableError } from '../errors.ts';

/** An alert as it is posted to `POST /api/v2/alerts`; times are ISO. */
export interface PostedAlert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  startsAt: string;
  /** In the past: it is resolved. */
  endsAt: string;
  generatorURL?: string;
}

/** A matcher of a silence: the label has exactly this value; a missing label is an empty one. */
export interface SilenceMatcher {
  name: string;
  value: string;
  isRegex: false;
  isEqual: true;
}

/** A silence to be made (without `id`), or changed. */
export interface SilenceOrder {
  id?: string;
  matchers: SilenceMatcher[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
}

export type Silence = z.output<typeof silenceSchema>;

const silenceSchema = z.object({
  id: z.string(),
  status: z.object({ state: z.enum(['active', 'pending', 'expired']) }),
  matchers: z.array(
    z.object({ name: z.string(), value: z.string(), isRegex: z.boolean(), isEqual: z.boolean().default(true) }),
  ),
  startsAt: z.string(),
  endsAt: z.string(),
  updatedAt: z.string(),
  createdBy: z.string(),
  comment: z.string(),
});

/** Alerts that are not resolved, whether active, silenced or inhibited. */
const alertsSchema = z.array(z.object({ labels: z.record(z.string(), z.string()), startsAt: z.string() }));
export type GotAlert = z.output<typeof alertsSchema>[number];

/** It answered, and refused. */
export class AlertmanagerError extends Error {
  override readonly name = 'AlertmanagerError';
  readonly status: number;

  constructor(message: string, status: number) {
    super(message);
    this.status = status;
  }
}

/** Short: the others of the pair wait for nobody, and each call is tried again by who made it. */
const REQUEST_MS = 5_000;

/**
 * One Alertmanager, by its API v2 (0.25 and later). Every method throws {@link UnavailableError} where it does not answer,
 * {@link AlertmanagerError} where it refuses.
 */
export class Alertmanager {
  /** As configured: a path prefix (`--web.route-prefix`) is part of it. */
  readonly url: string;

  constructor(url: string) {
    this.url = url.replace(/\/+$/, '');
  }

  /** Alerts that it refuses do not keep it from taking the others of the call. */
  async post(alerts: readonly PostedAlert[], signal?: AbortSignal): Promise<void> {
    if (alerts.length === 0) return;
    await this.#call('POST', '/alerts', `post ${alerts.length} alerts`, { body: alerts, signal });
  }

  /** The alerts with exactly these labels and no others; of what it has, resolved ones are not told. */
  async alerts(labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<GotAlert[]> {
    const path = `/alerts?${filters(labels)}`;
    const found = alertsSchema.parse(await this.#call('GET', path, 'read alerts', { signal }));
    return found.filter((alert) => sameLabels(alert.labels, labels));
  }

  /** All alerts of that name; of what it has, resolved ones are not told. */
  async alertsNamed(alertname: string, signal?: AbortSignal): Promise<GotAlert[]> {
    const path = `/alerts?${filters({ alertname })}`;
    const found = alertsSchema.parse(await this.#call('GET', path, 'read alerts', { signal }));
    return found.filter(({ labels }) => labels['alertname'] === alertname);
  }

  /** All that fire with at least these labels, also silenced ones; of what it has, resolved ones are not told. */
  async firing(labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<GotAlert[]> {
    return alertsSchema.parse(await this.#call('GET', `/alerts?${filters(labels)}`, 'read alerts', { signal }));
  }

  /** Undefined where it knows none of this ID. */
  async silence(id: string, signal?: AbortSignal): Promise<Silence | undefined> {
    try {
      return silenceSchema.parse(await this.#call('GET', `/silence/${id}`, `read silence ${id}`, { signal }));
    } catch (error) {
      if (error instanceof AlertmanagerError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Those with matchers for (nearly) all of these labels; the expired ones too, which it keeps for days. */
  async silences(labels: Readonly<Record<string, string>>, signal?: AbortSignal): Promise<Silence[]> {
    return z
      .array(silenceSchema)
      .parse(await this.#call('GET', `/silences?${filters(labels)}`, 'read silences', { signal }));
  }

  /**
   * Makes a silence, or changes the end of the one with the order's ID: in place, where it has not ended and nothing else
   * is changed.
   *
   * @returns its ID
   */
  async setSilence(order: SilenceOrder, signal?: AbortSignal): Promise<string> {
    const what = order.id === undefined ? 'make a silence' : `extend silence ${order.id}`;
    const answer = await this.#call('POST', '/silences', what, { body: order, signal });
    return z.object({ silenceID: z.string() }).parse(answer).silenceID;
  }

  /** Ends it. Nothing to do where it is not there, or has ended. */
  async expire(id: string, signal?: AbortSignal): Promise<void> {
    try {
      await this.#call('DELETE', `/silence/${id}`, `end silence ${id}`, { signal });
    } catch (error) {
      if (!(error instanceof AlertmanagerError)) throw error;
      // That it has ended is answered with 500, like much else.
      const now = await this.silence(id, signal);
      if (now !== undefined && now.status.state !== 'expired') throw error;
    }
  }

  async #call(
    method: Dispatcher.HttpMethod,
    path: string,
    what: string,
    { body, signal }: { body?: unknown; signal?: AbortSignal | undefined },
  ): Promise<unknown> {
    const timeout = AbortSignal.timeout(REQUEST_MS);
    let status: number;
    let text: string;
    try {
      const response = await request(`${this.url}/api/v2${path}`, {
        method,
        headers: { 'user-agent': 'salvor', ...(body !== undefined && { 'content-type': 'application/json' }) },
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      });
      status = response.statusCode;
      text = await response.body.text();
    } catch (error) {
      // The caller's own wish to stop is thrown on as it is.
      if (signal?.aborted) throw signal.reason;
      throw new UnavailableError(`cannot ${what}: no answer from Alertmanager ${this.url}: ${codeOf(error)}`, {
        cause: error,
      });
    }
    const answered = jsonOf(text);
    if (status < 300) return answered;
    const why = typeof answered === 'string' ? answered : text;
    const message = `cannot ${what}: Alertmanager ${this.url} answered ${status}: ${why.slice(0, 500).trim()}`;
    throw new AlertmanagerError(message, status);
  }
}

/** With a filter for each label whose name every version can parse; what the others would add, the caller compares. */
function filters(labels: Readonly<Record<string, string>>): URLSearchParams {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(labels)) {
    if (PLAIN_NAME.test(name) && value.length <= LONGEST_FILTER)
      parameters.append('filter', `${name}=${quoted(value)}`);
  }
  return parameters;
}

export const PLAIN_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
/** Characters; longer ones would make an address that a proxy may refuse. */
const LONGEST_FILTER = 200;

/** As both parsers of matchers read it, that of before 0.27 and the one since. */
const quoted = (value: string): string =>
  `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

export function sameLabels(one: Readonly<Record<string, string>>, other: Readonly<Record<string, string>>): boolean {
  // A label that is empty is one that is missing.
  const there = (labels: Readonly<Record<string, string>>) =>
    Object.entries(labels).filter(([, value]) => value !== '');
  const mine = there(one);
  return (
    mine.length === there(other).length &&
    mine.every(([name, value]) => Object.hasOwn(other, name) && other[name] === value)
  );
}

/** Its errors are JSON strings; a proxy's are anything. */
function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function codeOf(error: unknown): string {
  const { code, name, message } = error as NodeJS.ErrnoException;
  if (name === 'TimeoutError') return `nothing within ${REQUEST_MS / 1000} s`;
  return code ?? message;
}
