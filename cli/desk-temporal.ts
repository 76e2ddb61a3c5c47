import type { Client } from '@temporalio/client';
import { VERDICT_ERRORS } from '../model/approval.ts';
import { BREAKER_ENDS, BREAKER_PENDING, BREAKER_REFUSED } from '../model/breaker/standing.ts';
import type { Config } from '../model/config.ts';
import { parseDuration } from '../model/duration.ts';
import { InputError } from '../model/input-error.ts';
import { unknownPrefix } from '../model/pause.ts';
import { orderBreaker } from '../providers/temporal/breakers.ts';
import { pause, resume } from '../providers/temporal/control.ts';
import { RefusedUpdateError, UnansweredError } from '../providers/temporal/updates.ts';
import { decide } from '../providers/temporal/verdict.ts';
import type { Desk } from './desk.ts';
import { findProposed } from './runs.ts';
import { CliError, EXIT } from './status.ts';

/** @param by whoever orders, for the record */
export function temporalDesk({ client, config, by }: { client: Client; config: Config; by: string }): Desk {
  const place = { client, taskQueue: config.temporal.taskQueue };
  const known = { clusters: config.clusters.map(({ name }) => name), rules: config.rules.map(({ rule }) => rule.name) };
  const noteOf = (prefix: string): { note?: string } => {
    const unknown = unknownPrefix(prefix, known);
    return unknown === undefined ? {} : { note: unknown };
  };
  return {
    async pause({ prefix, reason, undo, for: duration }) {
      const ms = duration === undefined ? {} : { for: read(duration) };
      const made = await pause(place, { prefix, by, reason, ...ms, ...(undo && { undo }) }).catch(explained);
      return { pause: made, ...noteOf(prefix) };
    },
    async resume(order) {
      return { ...(await resume(place, { ...order, by }).catch(explained)), ...noteOf(order.prefix) };
    },
    async breaker(what, { dependency, reason, for: duration }) {
      if (!config.dependencies.some(({ name }) => name === dependency))
        throw new CliError(`there is no dependency ${dependency} in the configuration`, { status: EXIT.failed });
      const until = duration === undefined ? {} : { until: new Date(Date.now() + read(duration)).toISOString() };
      return await orderBreaker({ client, config }, dependency, { order: what, by, reason, ...until }).catch(explained);
    },
    async decide(answer, { id: meant, digest, comment }) {
      const run = await findProposed(client, meant);
      await decide(client, run, { answer, by, groups: [], digest, comment }).catch(explained);
      const { id, target, rule } = run;
      return { id, target, rule, answer, by, digest };
    },
  };
}

function read(duration: string): number {
  try {
    return parseDuration(duration);
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    throw new CliError(error.message, { status: EXIT.usage, advice: 'Nothing was done.', cause: error });
  }
}

const VERDICT_TYPES: ReadonlySet<string> = new Set([...Object.values(VERDICT_ERRORS), BREAKER_REFUSED, BREAKER_ENDS]);

function explained(error: unknown): never {
  if (error instanceof UnansweredError) {
    throw new CliError('no worker answers: the order was not taken, or not yet', {
      status: EXIT.unknown,
      advice: 'Without a worker nothing is changed either. Start one (`salvor worker`, `salvor up`), and try again.',
      cause: error,
    });
  }
  if (!(error instanceof RefusedUpdateError)) throw error;
  if (error.type === BREAKER_PENDING) throw new CliError(error.message, { status: EXIT.failed, cause: error });
  const status = VERDICT_TYPES.has(error.type) ? EXIT.refused : EXIT.usage;
  throw new CliError(error.message, { status, cause: error });
}
