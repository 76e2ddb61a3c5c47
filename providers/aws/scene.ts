import type { Change, FieldValue, ObjectRef } from '../../model/change.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import type { Check } from '../checks.ts';
import { FinalError } from '../errors.ts';
import { LOST } from '../instance.ts';
import type { Account, Answered } from './account.ts';
import { absence, type Group, type Instance, instanceIn, isOnStandby, isSetBack } from './group.ts';
import type { Note } from './notes.ts';

/** One instance, and what is needed to act on it. */
export interface Scene {
  account: Account;
  /** Name of its Auto Scaling group. */
  group: string;
  id: string;
  /** Absent where there is no Prometheus. */
  check: Check | undefined;
  /** Milliseconds between two looks of a wait, at least. */
  every: number;
}

/** What became of an instance that a remediation took out of service. */
export type Standing =
  | { is: 'gone'; why: string }
  /** Out, with the note, and it may come back. */
  | { is: 'held'; instance: Instance; note: Note }
  /** Out, with the note, but its replacement was asked for. */
  | { is: 'replaced'; instance: Instance; note: Note }
  /** Out, without a note of this remediation; `other` is whose it is. */
  | { is: 'unnoted'; instance: Instance; other: Note | undefined }
  /** Not out any more: this remediation asked for it, and could not take its note away. */
  | { is: 'returned'; instance: Instance; note: Note }
  /** Not out, although the note says so: it never was, or somebody else took it back. */
  | { is: 'taken'; instance: Instance; note: Note }
  /** Not out, without a note of this remediation. */
  | { is: 'free'; instance: Instance };

export function standingOf(group: Group | undefined, id: string, remediation: string): Standing {
  const gone = absence(group, id);
  const instance = instanceIn(group, id);
  if (gone !== undefined || !instance) return { is: 'gone', why: gone ?? '' };
  const note = group?.notes.get(id);
  const own = note?.remediation === remediation ? note : undefined;
  if (!isOnStandby(instance)) {
    if (!own) return { is: 'free', instance };
    return { is: own.stage === 'returning' ? 'returned' : 'taken', instance, note: own };
  }
  if (!own) return { is: 'unnoted', instance, other: note };
  const back = group !== undefined && isSetBack(group, own);
  return { is: own.way === 'standby' && !back ? 'held' : 'replaced', instance, note: own };
}

export interface Health {
  healthy: boolean;
  why: string;
}

/**
 * What the group and the checks of the rule say. AWS does not check an instance on standby: its HealthStatus stays as it was, so
 * one that was Unhealthy stays so.
 *
 * @throws UnavailableError where a check gets no answer: then nobody knows
 */
export async function healthOf(
  { check, group, id }: Scene,
  { healthy }: Instance,
  { health }: Pick<DrainInstanceOptions, 'health'>,
  signal?: AbortSignal,
): Promise<Health> {
  if (!healthy) return { healthy: false, why: `its group ${group} says that it is Unhealthy` };
  if (health?.http)
    throw new FinalError(
      `the rule has an HTTP check, which Salvor cannot make of the Auto Scaling instance ${id}: use a PromQL check`,
      { type: 'Invalid' },
    );
  const fine = `its group ${group} says that it is Healthy`;
  if (!health?.promql) return { healthy: true, why: fine };
  if (!check)
    throw new FinalError(`the rule has a PromQL check, but no Prometheus is configured: add prometheus.url`, {
      type: 'Invalid',
    });
  const result = await check({ promql: health.promql }, { values: { group, instance: id } }, signal);
  return { healthy: result.healthy, why: `${fine}; ${result.why}` };
}

/** A change that AWS has answered; without an answer it was lost with an earlier attempt. */
export function changeOf(
  { step, instance }: { step: string; instance: ObjectRef },
  { what, field, before, after }: { what: string; field: string; before: FieldValue; after: FieldValue },
  answered?: Answered,
): Change {
  return {
    ...{ step, object: instance, field, before, after },
    what: answered ? what : `${what}${LOST}`,
    at: answered?.at ?? new Date().toISOString(),
    ...(answered?.requestId !== undefined && { requestId: answered.requestId }),
  };
}

export const nameOf = ({ account, group, id }: Scene): string =>
  `${id} of the Auto Scaling group ${group} in ${account.name} (${account.region})`;
