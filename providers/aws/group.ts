import type { AutoScalingGroup } from '@aws-sdk/client-auto-scaling';
import { formatTarget } from '../../model/target.ts';
import { type Note, notesIn, type SizeNote, sizeNoteIn } from './notes.ts';

/** An Auto Scaling group, as far as Salvor must know it. */
export interface Group {
  name: string;
  arn: string;
  desired: number;
  min: number;
  max: number;
  instances: Instance[];
  /** Tags by key. */
  tags: ReadonlyMap<string, string>;
  /** Processes that somebody has suspended: `Launch`, `Terminate`, … */
  suspended: ReadonlySet<string>;
  /** What Salvor holds of its instances, by instance id. */
  notes: ReadonlyMap<string, Note>;
  /** What Salvor holds of its size. */
  size: SizeNote | undefined;
  /** What its desired capacity counts, where that is not instances: `vcpu`, `memory-mib`. */
  unit: string | undefined;
}

export interface Instance {
  id: string;
  /** LifecycleState: `InService`, `Standby`, `Terminating:Wait`, … */
  state: string;
  /** Its HealthStatus, as the health checks of its group found it. */
  healthy: boolean;
  protectedFromScaleIn: boolean;
  /** It counts for more or less than one of the desired capacity. */
  weighted: boolean;
}

/** A group whose tag has this key is left alone. */
export const SKIP_TAG = 'salvor.dev/skip';

export function groupOf(group: AutoScalingGroup): Group {
  const tags = new Map((group.Tags ?? []).map(({ Key = '', Value = '' }) => [Key, Value]));
  return {
    name: group.AutoScalingGroupName ?? '',
    arn: group.AutoScalingGroupARN ?? '',
    desired: group.DesiredCapacity ?? 0,
    min: group.MinSize ?? 0,
    max: group.MaxSize ?? 0,
    instances: (group.Instances ?? []).map((one) => ({
      id: one.InstanceId ?? '',
      state: one.LifecycleState ?? '',
      healthy: one.HealthStatus?.toLowerCase() === 'healthy',
      protectedFromScaleIn: one.ProtectedFromScaleIn ?? false,
      weighted: Number(one.WeightedCapacity ?? 1) !== 1,
    })),
    tags,
    suspended: new Set((group.SuspendedProcesses ?? []).map(({ ProcessName = '' }) => ProcessName)),
    notes: notesIn(tags),
    size: sizeNoteIn(tags),
    unit: group.DesiredCapacityType === 'units' ? undefined : group.DesiredCapacityType,
  };
}

export const instanceIn = (group: Group | undefined, id: string): Instance | undefined =>
  group?.instances.find((instance) => instance.id === id);

export const isLeaving = ({ state }: Pick<Instance, 'state'>): boolean =>
  state.startsWith('Terminat') || state.startsWith('Detach');

/** Out of service by EnterStandby, or about to be: no part of the desired capacity. */
export const isOnStandby = ({ state }: Pick<Instance, 'state'>): boolean =>
  state === 'Standby' || state === 'EnteringStandby';

export const isServing = ({ state, healthy }: Instance): boolean => state === 'InService' && healthy;

/** Why the instance is no longer there to be healed; undefined while it is. */
export function absence(group: Group | undefined, id: string): string | undefined {
  if (!group) return 'its Auto Scaling group does not exist any more';
  const instance = instanceIn(group, id);
  if (!instance) return `it is no instance of the Auto Scaling group ${group.name} (any more)`;
  return isLeaving(instance) ? `it is ${instance.state}: it leaves its group` : undefined;
}

/** Of the desired capacity, what Salvor has taken away for as long as instances are on standby. */
export function onLoan(group: Group): number {
  const lent = lentBy(group);
  return lent.length - setBack(group, lent);
}

const lentBy = ({ instances, notes }: Group): Note[] =>
  instances.flatMap((instance) => {
    const note = isOnStandby(instance) ? notes.get(instance.id) : undefined;
    return note?.way === 'standby' ? [note] : [];
  });

/** Of those, the ones that were given back already, though their notes do not say so yet: their workers may have been killed. */
function setBack({ desired }: Group, lent: readonly Note[]): number {
  const raising = lent.filter(({ stage }) => stage === 'raising');
  if (raising.length === 0) return 0;
  const over = desired + lent.length - Math.max(...raising.map(({ own }) => own));
  return Math.min(raising.length, Math.max(0, over));
}

/** Whether what the note took from the desired capacity was given back already, though it does not say so yet. */
export const isSetBack = (group: Group, note: Note): boolean =>
  note.way === 'standby' && note.stage === 'raising' && group.desired + lentBy(group).length === note.own + 1;

/**
 * The desired capacity as it would be if Salvor held nothing. Salvor's own EnterStandby and ExitStandby do not change it: where
 * it is another number than before, somebody else has changed the desired capacity.
 */
export const ownDesired = (group: Group): number => group.desired + onLoan(group);

/** How many are InService and Healthy, without this one. */
export const servingWithout = (group: Group, id: string): number =>
  group.instances.filter((one) => one.id !== id && isServing(one)).length;

/** Why nothing is to be changed in this group, as long as it is so; undefined where it may. */
export function groupRefusal(group: Group): string | undefined {
  if (group.tags.has(SKIP_TAG)) return exclusion(group);
  const suspended = ['Launch', 'Terminate'].find((process) => group.suspended.has(process));
  if (suspended)
    return `the process ${suspended} of its Auto Scaling group ${group.name} is suspended: it could not be replaced. Resume it, or do without Salvor here`;
  return undefined;
}

export const exclusion = (group: Group): string | undefined =>
  group.tags.has(SKIP_TAG) ? `its Auto Scaling group ${group.name} carries the tag ${SKIP_TAG}` : undefined;

/** Who else holds the instance, for a message; undefined where nobody does now. */
export function heldByAnother(group: Group, id: string, remediation: string): string | undefined {
  const note = group.notes.get(id);
  if (!note || note.remediation === remediation || Date.parse(note.until) <= Date.now()) return undefined;
  return `LifecycleState is held by remediation ${note.remediation} (${note.runbook}) until ${note.until}`;
}

/** What a remediation has noted of the size that it holds. */
export const ownNote = ({ size }: Group, { remediation }: { remediation: string }): SizeNote | undefined =>
  size?.remediation === remediation ? size : undefined;

/** Who else holds the size of the group, for a message; undefined where nobody does now. */
export function sizeHeldByAnother({ size }: Group, remediation: string): string | undefined {
  if (!size || size.remediation === remediation || Date.parse(size.until) <= Date.now()) return undefined;
  return `DesiredCapacity is held by remediation ${size.remediation} (${size.runbook}) until ${size.until}`;
}

/** Key of a group, or of an instance in it. */
export const keyOf = (aws: string, group: string, instance?: string): string =>
  formatTarget({ type: 'asg', aws, group, ...(instance !== undefined && { instance }) });
