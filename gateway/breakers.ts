import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '@temporalio/client';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Config } from '../model/config.ts';
import { parseDuration } from '../model/duration.ts';
import { breakersOf } from '../providers/temporal/all-breakers.ts';
import { readBreaker } from '../providers/temporal/breakers.ts';
import type { GatewayMetrics } from './metrics.ts';
import { Rejection } from './reject.ts';

/** Milliseconds for which an answer of Temporal is good for all who ask. */
const FRESH = 500;
/** Longest that a request waits for news. */
const LONGEST_WAIT = 60_000;
/** Requests that wait at once: each costs a connection, and nothing else. */
const MOST_WAITING = 1_000;
/** Milliseconds that Temporal has to answer. */
const ANSWER_WITHIN = 5_000;

export interface BreakerParts {
  config: Config;
  client: Client;
  metrics: GatewayMetrics;
  /** Whether whoever sends it may read. */
  mayRead: (authorization: string | undefined) => boolean;
  /** What is to be thrown for what Temporal answers, or does not. */
  rejected: (error: unknown, reply: FastifyReply) => unknown;
}

/** What programs follow: `GET /v1/breakers`, and `/v1/breakers/NAME`, each with an ETag and `?wait=30s`. */
export function addBreakers(app: FastifyInstance, { config, client, metrics, mayRead, rejected }: BreakerParts): void {
  const names = config.dependencies.map(({ name }) => name);
  const inTime = <T>(ask: () => Promise<T>): Promise<T> => client.withDeadline(Date.now() + ANSWER_WITHIN, ask);
  const look = shared((name) => inTime(() => readBreaker(client, name)));
  const readAll = breakersOf(client, config);
  const lookAtAll = shared(() => inTime(readAll));
  let waiting = 0;
  let closing = false;
  app.addHook('preClose', async () => {
    closing = true;
  });

  const admit = async ({ headers }: FastifyRequest, reply: FastifyReply): Promise<void> => {
    if (mayRead(headers.authorization)) return;
    reply.header('www-authenticate', 'Bearer');
    throw new Rejection('The credentials are missing or wrong.', { status: 401, reason: 'unauthenticated' });
  };

  async function answer<T>(request: FastifyRequest, reply: FastifyReply, read: () => Promise<T>): Promise<unknown> {
    const until = Date.now() + waitOf(request);
    const known = request.headers['if-none-match'];
    const patient = until > Date.now() && known !== undefined;
    if (patient && waiting >= MOST_WAITING) {
      reply.header('retry-after', 5);
      throw new Rejection('Too many wait for news already.', { status: 429, reason: 'too-many' });
    }
    if (patient) waiting += 1;
    try {
      for (;;) {
        const value = await read();
        const tag = tagOf(value);
        reply.header('etag', tag).header('cache-control', 'no-cache');
        if (!matches(known, tag)) return value;
        if (Date.now() >= until || closing || request.raw.destroyed) return await reply.code(304).send();
        await delay(Math.min(FRESH, until - Date.now()));
      }
    } catch (error) {
      throw rejected(error, reply);
    } finally {
      if (patient) waiting -= 1;
    }
  }

  const options = {
    onRequest: admit,
    onResponse: async (_request: FastifyRequest, reply: FastifyReply) =>
      metrics.orders.inc({ order: 'breakers', code: reply.statusCode }),
  };
  app.get('/v1/breakers', {
    ...options,
    handler: (request, reply) => answer(request, reply, async () => ({ breakers: await lookAtAll('all') })),
  });
  app.get<{ Params: { name: string } }>('/v1/breakers/:name', {
    ...options,
    handler: (request, reply) => {
      const { name } = request.params;
      if (names.includes(name)) return answer(request, reply, () => look(name));
      throw new Rejection(`There is no dependency "${name}" in the configuration.`, {
        status: 404,
        reason: 'no-breaker',
      });
    },
  });
}

/** Of all who ask for the same name the source is asked once: an answer is good for a moment, and one that is awaited is for all. */
export function shared<T>(read: (name: string) => Promise<T>, fresh = FRESH): (name: string) => Promise<T> {
  /** `until`: absent while it is awaited. */
  const known = new Map<string, { answer: Promise<T>; until?: number }>();
  return (name) => {
    const latest = known.get(name);
    if (latest && (latest.until === undefined || performance.now() < latest.until)) return latest.answer;
    const asked: { answer: Promise<T>; until?: number } = { answer: read(name) };
    known.set(name, asked);
    asked.answer.then(
      () => {
        asked.until = performance.now() + fresh;
      },
      // What failed is not remembered.
      () => known.delete(name),
    );
    return asked.answer;
  };
}

function waitOf(request: FastifyRequest): number {
  const { wait } = request.query as { wait?: unknown };
  if (wait === undefined) return 0;
  try {
    return Math.min(LONGEST_WAIT, parseDuration(String(wait)));
  } catch (error) {
    throw new Rejection('wait is no duration: write ?wait=30s.', { status: 422, reason: 'bad-order', cause: error });
  }
}

const tagOf = (value: unknown): string =>
  `"${createHash('sha256').update(JSON.stringify(value)).digest('base64url').slice(0, 22)}"`;

/** `If-None-Match`: a list of tags, weak or not, or `*`. */
const matches = (header: string | undefined, tag: string): boolean =>
  (header ?? '').split(',').some((one) => ['*', tag].includes(one.trim().replace(/^W\//, '')));
