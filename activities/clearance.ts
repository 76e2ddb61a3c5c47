import { Context } from '@temporalio/activity';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import {
  type ClearanceActivities,
  type ClearanceRequest,
  type Objection,
  RULE_STOPS,
  STORM_MEMO,
  type StormMemo,
} from '../model/clearance.ts';
import { isRunRule, limitsId } from '../model/names.ts';
import { describePause, pauseOf } from '../model/pause.ts';
import type { Mode } from '../model/rule.ts';
import type { EvidenceProvider } from '../providers/evidence.ts';
import type { Budgets } from './leases.ts';
import type { Pauses } from './pauses.ts';

export interface ClearanceOptions {
  pauses: Pauses;
  budgets: Pick<Budgets, 'reserve'>;
  client: Client;
  /** Of a target's cluster or account. @throws where there is none */
  evidence: (target: string) => EvidenceProvider;
  /** Of a rule as this worker's configuration has it now; undefined where it has none of that name. */
  ruleMode: (rule: string) => Mode | undefined;
}

export interface Clearance {
  /** Why not now; nothing where it may act. Never throws: what could not be read objects where `failClosed`. */
  clear(request: ClearanceRequest): Promise<Objection | undefined>;
  /** Of `clear`, whether it is paused: as it was a second ago at most, read once for all who ask. */
  paused(request: ClearanceRequest): Promise<Objection | undefined>;
}

/** Milliseconds in which all of it must be answered: the activity that asks has 20 s, and is to act in them. */
const ANSWER_WITHIN = 10_000;
/** Milliseconds in which a look at the pauses is as good as one right before the mutation. */
const RECENT = 100;

export function clearanceOf({ pauses, budgets, client, evidence, ruleMode }: ClearanceOptions): Clearance {
  /** A remediation keeps the rule that it began with, but for this. */
  function stopped({ rule }: ClearanceRequest): Objection | undefined {
    if (isRunRule(rule)) return undefined;
    const mode = ruleMode(rule);
    if (mode === undefined)
      return { gate: 'unknown-rule', reason: `the configuration of the worker has no rule ${rule} (any more)` };
    return mode === 'observe' ? { gate: 'observing', reason: `the rule ${rule} only observes by now` } : undefined;
  }

  async function paused({ target, rule }: ClearanceRequest, maxAge?: number): Promise<Objection | undefined> {
    const pause = pauseOf(await pauses(maxAge), { target, rule, now: Date.now() });
    return pause && { gate: 'paused', reason: describePause(pause) };
  }

  async function excluded({ target }: ClearanceRequest): Promise<Objection | undefined> {
    const reason = await evidence(target).excluded(target);
    return reason === undefined ? undefined : { gate: 'excluded', reason };
  }

  async function storm(gate: 'storm' | 'limits', workflowId: string | undefined): Promise<Objection | undefined> {
    if (workflowId === undefined) return undefined;
    try {
      const { status, memo } = await client.workflow.getHandle(workflowId).describe();
      const held = memo?.[STORM_MEMO] as StormMemo | null | undefined;
      return status.name === 'RUNNING' && held
        ? { gate, reason: `storm since ${held.since}: ${held.reason}` }
        : undefined;
    } catch (error) {
      // It ends when there is nothing left to remember, a storm least of all.
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  }

  async function unavailable(request: ClearanceRequest, { desired, unready }: Numbers): Promise<Objection | undefined> {
    const { holder, target, bound } = request;
    const answer = await budgets.reserve(request.workload, { holder, target, bound, desired, unready });
    return answer.granted ? undefined : { gate: 'unavailable', reason: answer.reason };
  }

  return {
    async clear(request) {
      const stop = stopped(request);
      if (stop) return stop;
      const { target, workload, responder, limits, unbudgeted } = request;
      const until = Date.now() + ANSWER_WITHIN;
      const nothing: Part<Numbers> = {};
      const part = <T>(what: string, read: () => Promise<T>): Promise<Part<T>> =>
        answered(request, what, read, until - Date.now());
      const [numbers, ...parts] = await Promise.all([
        unbudgeted
          ? nothing
          : part(`how much of ${workload} is unavailable`, () => evidence(target).workload(target, workload)),
        part(`whether ${target} is paused`, () => paused(request)),
        part(`whether ${target} is excluded`, () => excluded(request)),
        part(`whether its scope is in a storm (${responder})`, () => storm('storm', responder)),
        part(`whether its limits are in a storm (${limits})`, () => storm('limits', limits && limitsId(limits))),
      ]);
      const objection = parts.map(objectionOf).find((one) => one !== undefined) ?? numbers.unread;
      if (objection || !numbers.read) return objection;
      // Last, for whoever may not act must hold no place.
      const { read } = numbers;
      const looked = Date.now();
      const full = objectionOf(
        await part(`for a place in the budget of ${workload}`, () => unavailable(request, read)),
      );
      if (full || Date.now() - looked < RECENT) return full;
      // It waited for its turn there, and somebody may have paused it meanwhile. The place is given back by its end.
      return objectionOf(await part(`whether ${target} is still not paused`, () => paused(request)));
    },
    paused: async (request) =>
      objectionOf(await answered(request, `whether ${request.target} is paused`, () => paused(request, LOOK_EVERY))),
  };
}

type Numbers = { desired: number; unready: string[] };

/** What was read, or why that it was not counts as no. */
interface Part<T> {
  read?: T;
  unread?: Objection;
}

const objectionOf = ({ read, unread }: Part<Objection | undefined>): Objection | undefined => read ?? unread;

async function answered<T>(
  { failClosed }: ClearanceRequest,
  what: string,
  read: () => Promise<T>,
  within = ANSWER_WITHIN,
): Promise<Part<T>> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`no answer within ${ANSWER_WITHIN / 1_000} s`)), within);
  try {
    return { read: await Promise.race([read(), late.promise]) };
  } catch (error) {
    if (!failClosed) return {};
    const why = error instanceof Error ? error.message : String(error);
    return { unread: { gate: 'evidence', reason: `nothing was changed, for Salvor could not ask ${what}: ${why}` } };
  } finally {
    clearTimeout(timer);
  }
}

/** Milliseconds between two looks: at the pauses, which all waits share; and at everything, which each reads for itself. */
const LOOK_EVERY = 1_000;
const CLEAR_EVERY = 5_000;
/** Milliseconds between two heartbeats, with whose answers a cancel comes. */
const BEAT = 1_000;

/** On the queue of the waits. */
export function clearanceActivities({ clear, paused }: Clearance): ClearanceActivities {
  return {
    async untilCleared({ deadline, ...request }) {
      const context = Context.current();
      const left = (): number =>
        deadline === undefined ? Number.POSITIVE_INFINITY : Date.parse(deadline) - Date.now();
      const wait: ClearanceActivities['untilCleared'] = async () => {
        for (;;) {
          const pause = await paused(request);
          const objection = pause ?? (await clear(request));
          if (!objection) return { cleared: true };
          if (left() <= 0 || RULE_STOPS.has(objection.gate)) return { cleared: false, ...objection };
          await context.sleep(Math.min(pause ? LOOK_EVERY : CLEAR_EVERY, left()));
        }
      };
      context.heartbeat();
      const beats = setInterval(() => context.heartbeat(), BEAT);
      try {
        return await Promise.race([wait(request), context.cancelled]);
      } finally {
        clearInterval(beats);
      }
    },
  };
}
