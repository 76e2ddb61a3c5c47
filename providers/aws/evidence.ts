import type { TargetEvidence, WorkloadEvidence } from '../../model/evidence.ts';
import { parseTarget } from '../../model/target.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import { type EvidenceProvider, type Looked, lookByPlace, together } from '../evidence.ts';
import { patiently } from '../patience.ts';
import { Recent } from '../recent.ts';
import type { Account } from './account.ts';
import {
  absence,
  exclusion,
  type Group,
  heldByAnother,
  isLeaving,
  isOnStandby,
  isServing,
  keyOf,
  sizeHeldByAnother,
} from './group.ts';

/** How old what many responders share may be. What is asked right before a mutation is never shared. */
const SHARED_MS = 1_000;

/**
 * The Auto Scaling groups of one account, and their instances. The population are those that are not leaving. The workload of an
 * instance is its group: its desired capacity, with what Salvor has taken away of it for a while; an instance that somebody else
 * has put on standby, or whose replacement was asked for, is no part of that. All groups that are asked for at once are read in
 * one request for 50.
 */
export class GroupEvidence implements EvidenceProvider {
  readonly #account: Account;
  readonly #groups = new Recent<Group | undefined>(SHARED_MS);

  constructor(account: Account) {
    this.#account = account;
  }

  async look(targets: readonly string[], suspects: readonly string[]): Promise<Looked> {
    const instances = lookByPlace(targets.filter(isInstance), suspects.filter(isInstance), groupNameOf, (...asked) =>
      this.#lookAt(...asked),
    );
    const groups = lookByPlace(targets.filter(isGroup), suspects.filter(isGroup), groupNameOf, (...asked) =>
      this.#lookAtGroup(...asked),
    );
    return together(await Promise.all([instances, groups]));
  }

  async workload(target: string, workload: string): Promise<WorkloadEvidence> {
    const group = await this.#account.group(groupNameOf(workload));
    if (!group)
      throw new FinalError(`the Auto Scaling group ${workload} of ${target} does not exist any more`, {
        type: 'Replaced',
      });
    return workloadOf(this.#account.name, group);
  }

  async excluded(target: string): Promise<string | undefined> {
    const group = await this.#account.group(groupNameOf(target));
    return group && exclusion(group);
  }

  async #lookAt(name: string, targets: readonly string[], suspects: ReadonlySet<string>): Promise<Looked> {
    const { group: here, instead } = await this.#read(name, targets);
    if (!here) return instead;
    const account = this.#account.name;
    const live = here.instances.filter((instance) => !isLeaving(instance));
    const unhealthy = live.filter((one) => !isServing(one) || suspects.has(keyOf(account, name, one.id))).length;
    return {
      targets: Object.fromEntries(targets.map((key) => [key, evidenceOf(account, here, key)])),
      workloads: { [keyOf(account, name)]: workloadOf(account, here) },
      population: { live: live.length, unhealthy },
    };
  }

  /**
   * A group that is itself the target: it has no budget of what may be unavailable, for scaling takes nothing away. It is unhealthy
   * where none of its instances serves: one that grows has some that do not yet.
   */
  async #lookAtGroup(name: string, targets: readonly string[], suspects: ReadonlySet<string>): Promise<Looked> {
    const { group, instead } = await this.#read(name, targets);
    if (!group) return instead;
    const excluded = exclusion(group);
    const held = sizeHeldByAnother(group, '');
    const evidence = { ...(excluded !== undefined && { excluded }), ...(held !== undefined && { held }) };
    const servesNothing = group.desired > 0 && !group.instances.some(isServing);
    const unhealthy = servesNothing || suspects.has(keyOf(this.#account.name, name)) ? 1 : 0;
    return {
      targets: Object.fromEntries(targets.map((key) => [key, evidence])),
      workloads: {},
      population: { live: 1, unhealthy },
    };
  }

  /** The group; or what there is to be told without it. */
  async #read(
    name: string,
    targets: readonly string[],
  ): Promise<{ group: Group; instead?: never } | { group?: never; instead: Looked }> {
    const told = (evidence: TargetEvidence) => Object.fromEntries(targets.map((key) => [key, evidence]));
    try {
      const group = await this.#groups.get(name, () => patiently(() => this.#account.group(name), isPassing));
      return group ? { group } : { instead: { targets: told({}), workloads: {}, population: NONE } };
    } catch (reason) {
      const error = reason instanceof Error ? reason.message : String(reason);
      return { instead: { targets: told({ error }), workloads: {}, error } };
    }
  }
}

const isGroup = (key: string): boolean => {
  const target = parseTarget(key);
  return target.type === 'asg' && target.instance === undefined;
};

const isInstance = (key: string): boolean => !isGroup(key);

const NONE = { live: 0, unhealthy: 0 };

const isPassing = (error: unknown): boolean => error instanceof UnavailableError;

function evidenceOf(account: string, group: Group, key: string): TargetEvidence {
  const target = parseTarget(key);
  const id = target.type === 'asg' ? target.instance : undefined;
  const excluded = exclusion(group);
  const held = id === undefined ? undefined : heldByAnother(group, id, '');
  const there = id !== undefined && absence(group, id) === undefined;
  return {
    ...(excluded !== undefined && { excluded }),
    ...(held !== undefined && { held }),
    ...(there && { workload: keyOf(account, group.name) }),
  };
}

function workloadOf(account: string, group: Group): WorkloadEvidence {
  const lent = (id: string): boolean => group.notes.get(id)?.way === 'standby';
  const counted = group.instances.filter((one) => !isLeaving(one) && (!isOnStandby(one) || lent(one.id)));
  const key = keyOf(account, group.name);
  const away = counted.filter(isOnStandby).length;
  // With weights the desired capacity is no number of instances, and which are missing cannot be told.
  const weighted = group.instances.some((one) => one.weighted);
  const desired = weighted ? counted.length : group.desired + away;
  const missing = Math.max(0, desired - counted.length);
  return {
    desired,
    unready: [
      ...counted.filter((one) => !isServing(one)).map(({ id }) => keyOf(account, group.name, id)),
      ...Array.from({ length: missing }, (_, i) => `${key}#missing-${i + 1}`),
    ],
  };
}

function groupNameOf(key: string): string {
  const target = parseTarget(key);
  if (target.type === 'asg') return target.group;
  throw new FinalError(`${key} is not an Auto Scaling group, nor an instance in one`, { type: 'UnknownTarget' });
}
