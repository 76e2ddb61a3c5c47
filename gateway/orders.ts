import type { Client } from '@temporalio/client';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { z } from 'zod';
import { VERDICT_ERRORS, type Verdict } from '../model/approval.ts';
import { BREAKER_ENDS, BREAKER_PENDING, BREAKER_REFUSED } from '../model/breaker/standing.ts';
import type { Config } from '../model/config.ts';
import { parseDuration } from '../model/duration.ts';
import { InputError } from '../model/input-error.ts';
import { INVALID_ORDER, prefixFault, standing, unknownPrefix } from '../model/pause.ts';
import { orderBreaker } from '../providers/temporal/breakers.ts';
import { pause, resume } from '../providers/temporal/control.ts';
import { readPauses } from '../providers/temporal/pauses.ts';
import { findProposal, ID_PREFIX, type Meant } from '../providers/temporal/runs.ts';
import { RefusedUpdateError, UnansweredError } from '../providers/temporal/updates.ts';
import { decide } from '../providers/temporal/verdict.ts';
import type { Authenticate } from './auth.ts';
import { addBreakers } from './breakers.ts';
import { failureOf } from './failure.ts';
import type { GatewayMetrics } from './metrics.ts';
import { Pace, type Person, recognizer } from './people.ts';
import { checkType, Rejection } from './reject.ts';

/** Bytes of a body: an order is a few lines. */
const LARGEST = 64 * 1024;
/** Milliseconds that Temporal has for each call that an order takes. */
const ANSWER_WITHIN = 15_000;
/** Seconds after which the sender may try again. */
const RETRY_AFTER = 5;

const prefix = z.string().superRefine((text, ctx) => {
  const fault = prefixFault(text);
  if (fault !== undefined) ctx.addIssue({ code: 'custom', message: fault });
});
const duration = z.string().transform((text, ctx): number => {
  try {
    return parseDuration(text);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    ctx.addIssue({ code: 'custom', message: error.message });
    return z.NEVER;
  }
});

const RESUME = z.strictObject({ prefix, reason: z.string().default('') });
const PAUSE = RESUME.extend({ for: duration.optional(), undo: z.boolean().default(false) });
const CLOSE = z.strictObject({ dependency: z.string().max(100), reason: z.string().max(1_000).default('') });
const OPEN = CLOSE.extend({ for: duration.optional() });
const VERDICT = z.strictObject({
  id: z.string().max(1_000),
  digest: z.string().min(1).max(200),
  comment: z.string().max(1_000).default(''),
});

export interface OrderParts {
  config: Config;
  client: Client;
  log: Logger;
  metrics: GatewayMetrics;
  /** The webhook's token. */
  webhook?: (() => string) | undefined;
  /** Whoever may deliver alerts may read too. */
  authenticate: Authenticate;
}

/** What people order (`/v1/…`), each with a token of their own. */
export function addOrders(app: FastifyInstance, parts: OrderParts): void {
  const { config, client, log, metrics, webhook, authenticate } = parts;
  const place = { client, taskQueue: config.temporal.taskQueue };
  const admit = doorman(config.gateway.people, webhook);
  const inTime = <T>(ask: () => Promise<T>): Promise<T> => client.withDeadline(Date.now() + ANSWER_WITHIN, ask);

  /** One order: its body is checked, then it is obeyed, and on the log. */
  const route = <B>(name: string, schema: z.ZodType<B>, obey: (body: B, person: Person) => Promise<object>): void => {
    app.route({
      method: 'POST',
      url: `/v1/${name}`,
      bodyLimit: LARGEST,
      onRequest: async (request, reply) => {
        admit(request, reply);
        checkType(request.headers['content-type'], request.headers['content-encoding']);
      },
      onResponse: async (_request, reply) => metrics.orders.inc({ order: name, code: reply.statusCode }),
      handler: async (request, reply) => {
        const person = admit.whoIs(request);
        const order = read(schema, request.body);
        try {
          const answer = await inTime(() => obey(order, person));
          log.info({ order: name, by: person.name, ...about(order) }, 'ordered by a person');
          return answer;
        } catch (error) {
          throw rejected(error, reply, log);
        }
      },
    });
  };

  route('pause', PAUSE, async ({ undo, ...order }, { name }) => {
    const made = await pause(place, { ...order, by: `person:${name}`, ...(undo && { undo }) });
    return { pause: made, ...noteOf(order.prefix, config) };
  });
  route('resume', RESUME, async (order, { name }) => ({
    ...(await resume(place, { ...order, by: `person:${name}` })),
    ...noteOf(order.prefix, config),
  }));
  for (const answer of ['approve', 'deny'] as const) {
    route(answer, VERDICT, async ({ id: meant, digest, comment }, { name, groups }) => {
      const run = runOf(await findProposal(client, meant), meant);
      const verdict: Verdict = { answer, by: `person:${name}`, groups, digest, comment };
      await decide(client, run, verdict);
      const { id, target, rule } = run;
      return { id, target, rule, answer, by: verdict.by, digest };
    });
  }
  for (const order of ['open', 'close'] as const) {
    route(`breakers/${order}`, order === 'open' ? OPEN : CLOSE, async (body, { name }) => {
      const { dependency, reason, for: ms } = body as z.output<typeof OPEN>;
      known(dependency, config);
      const until = ms === undefined ? {} : { until: new Date(Date.now() + ms).toISOString() };
      return await orderBreaker({ client, config }, dependency, { order, by: `person:${name}`, reason, ...until });
    });
  }
  const recognize = recognizer(config.gateway.people, webhook);
  addBreakers(app, {
    ...{ config, client, metrics },
    mayRead: (authorization) => authenticate(authorization) || recognize(authorization) !== undefined,
    rejected: (error, reply) => rejected(error, reply, log, 'nothing could be read'),
  });
  app.get('/v1/pauses', {
    onRequest: async (request, reply) => admit(request, reply),
    onResponse: async (_request, reply) => metrics.orders.inc({ order: 'pauses', code: reply.statusCode }),
    handler: async (_request, reply) => {
      try {
        return { pauses: standing(await inTime(() => readPauses(client)), Date.now()) };
      } catch (error) {
        throw rejected(error, reply, log);
      }
    },
  });
}

interface Doorman {
  /** @throws Rejection for whoever is not known, or in too much of a hurry */
  (request: FastifyRequest, reply: FastifyReply): void;
  /** Of a request that was let in. */
  whoIs(request: FastifyRequest): Person;
}

function doorman(people: Config['gateway']['people'], webhook: (() => string) | undefined): Doorman {
  const recognize = recognizer(people, webhook);
  const pace = new Pace();
  const inside = new WeakMap<FastifyRequest, Person>();
  const admit = (request: FastifyRequest, reply: FastifyReply): void => {
    if (people.length === 0) {
      throw new Rejection(
        'Nobody may give orders here: the configuration names no people. Add gateway.people with a name and a tokenHash for each.',
        { status: 403, reason: 'no-people' },
      );
    }
    const person = recognize(request.headers.authorization);
    if (person === undefined) {
      reply.header('www-authenticate', 'Bearer');
      throw new Rejection('The token is missing or unknown.', { status: 401, reason: 'unknown-person' });
    }
    const wait = pace.tooFast(person.name, Date.now());
    if (wait > 0) {
      reply.header('retry-after', wait);
      throw new Rejection('Too many orders within a minute.', { status: 429, reason: 'too-many' });
    }
    inside.set(request, person);
  };
  const whoIs = (request: FastifyRequest): Person => {
    const person = inside.get(request);
    if (person === undefined) throw new Error('a request that was not let in has reached its handler');
    return person;
  };
  return Object.assign(admit, { whoIs });
}

/** @throws Rejection 422 with everything that is wrong */
function read<B>(schema: z.ZodType<B>, body: unknown): B {
  const parsed = schema.safeParse(body);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) =>
    path.length > 0 ? `${path.join('.')}: ${message}` : message,
  );
  throw new Rejection(`The order is wrong, and nothing was done. ${faults.join('; ')}`, {
    status: 422,
    reason: 'bad-order',
  });
}

function runOf(found: Meant, meant: string) {
  if ('run' in found) return found.run;
  if ('several' in found) {
    const which = found.several.map(({ id, target }) => `${id} (${target})`).join(', ');
    throw new Rejection(`"${meant}" means more than one run: ${which}. Give more of the ID.`, {
      status: 409,
      reason: 'ambiguous',
    });
  }
  if (found.none !== 'malformed') throw new Rejection(`There is no run "${meant}".`, { status: 404, reason: 'no-run' });
  throw new Rejection(
    `"${meant}" names no run: give a target key, or at least ${ID_PREFIX} characters of a run's ID.`,
    {
      status: 422,
      reason: 'bad-order',
    },
  );
}

function known(dependency: string, { dependencies }: Config): void {
  if (dependencies.some(({ name }) => name === dependency)) return;
  throw new Rejection(`There is no dependency "${dependency}" in the configuration.`, {
    status: 404,
    reason: 'no-breaker',
  });
}

/** HTTP statuses of what a workflow refuses, by the type that it gives. */
const REFUSALS: Record<string, number> = {
  [INVALID_ORDER]: 422,
  [BREAKER_REFUSED]: 409,
  [BREAKER_ENDS]: 409,
  // Taken: a proxy would say so of what it waits for too.
  [BREAKER_PENDING]: 504,
  [VERDICT_ERRORS.nothingWaits]: 409,
  [VERDICT_ERRORS.stale]: 409,
  [VERDICT_ERRORS.notAllowed]: 403,
};

/**
 * What went wrong, for the one who ordered; what is a bug stays as it is.
 *
 * @param so what came of it where Temporal cannot be reached
 */
function rejected(error: unknown, reply: FastifyReply, log: Logger, so = 'the order was not taken'): unknown {
  if (error instanceof Rejection) return error;
  if (error instanceof RefusedUpdateError) {
    const status = REFUSALS[error.type];
    return status === undefined
      ? error
      : new Rejection(sentence(error.message), { status, reason: 'refused', cause: error });
  }
  const failure = failureOf(error);
  const silent = error instanceof UnansweredError;
  if (!silent && failure.status === 'UNKNOWN') return error;
  reply.header('retry-after', RETRY_AFTER);
  log.error({ temporal: failure }, so);
  const message = silent
    ? 'No worker of Salvor answers: the order was not taken, or not yet. Without a worker nothing is changed either. Look whether one runs, and try again.'
    : `Temporal cannot be reached: ${so}. Try again.`;
  return new Rejection(message, { status: 503, reason: 'unavailable', cause: error });
}

/** But for what begins with a name, such as `person:ada`. */
const sentence = (text: string): string =>
  `${/^\S*:/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1)}.`;

function noteOf(prefix: string, { clusters, rules }: Config): { note?: string } {
  const known = { clusters: clusters.map(({ name }) => name), rules: rules.map(({ rule }) => rule.name) };
  const note = unknownPrefix(prefix, known);
  return note === undefined ? {} : { note };
}

/** What an order is about, for the log. */
function about(order: unknown): object {
  const { prefix, id, digest, dependency } = order as Record<
    'prefix' | 'id' | 'digest' | 'dependency',
    string | undefined
  >;
  return {
    ...(prefix !== undefined && { prefix }),
    ...(dependency !== undefined && { dependency }),
    ...(id !== undefined && { id, digest }),
  };
}
