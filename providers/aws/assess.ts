import { digest } from '../../model/digest.ts';
import { formatDuration } from '../../model/duration.ts';
import type { Plan, PlannedChange } from '../../model/plan.ts';
import type { Assessment, AssessRequest, Owner } from '../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import type { Account } from './account.ts';
import { type Group, groupRefusal, heldByAnother, type Instance, keyOf, ownDesired, servingWithout } from './group.ts';
import { DESIRED_CAPACITY, fieldsOf, type Note } from './notes.ts';
import { healthOf, type Scene, standingOf } from './scene.ts';

/**
 * A fresh look at an instance and its group. As of a pod: one that is healthy but still held by this very remediation is
 * `sick` on the first look (no `uid`), so that the wait gives it back, and `healthy` on a later one.
 */
export async function assess(scene: Scene, request: AssessRequest): Promise<Assessment> {
  const { options, actor, uid } = request;
  const group = await scene.account.group(scene.group);
  const standing = standingOf(group, scene.id, actor.remediation);
  if (standing.is === 'gone' || !group) return { verdict: 'gone', why: standing.is === 'gone' ? standing.why : '' };
  const { instance } = standing;
  const own = standing.is === 'held' || standing.is === 'replaced' ? standing.note : undefined;
  const refused =
    heldByAnother(group, instance.id, actor.remediation) ?? (await refusal(scene.account, group, instance));
  if (refused) return { verdict: 'protected', why: refused };
  if (instance.weighted)
    return {
      verdict: 'protected',
      why: `instances of its group ${group.name} have weights: by how much the desired capacity changes with one is not known`,
    };
  if (!own && instance.state !== 'InService')
    return {
      verdict: 'protected',
      why: `it is ${instance.state}, and Salvor did not put it there: only what is InService is taken out`,
    };

  const health =
    standing.is === 'replaced'
      ? { healthy: false, why: 'its replacement was asked for, so it does not come back' }
      : await healthOf(scene, instance, options);
  if (health.healthy && !own) return { verdict: 'healthy', why: health.why };
  const left = `${health.why}; this remediation still holds its LifecycleState`;
  if (health.healthy && uid !== undefined) return { verdict: 'healthy', why: left };

  const way = own ?? choose(group);
  if (way.way === 'standby-replaced' && !own && !options.replace)
    return {
      verdict: 'protected',
      why: `${atMinSize(group)}: taking it out means to replace it, which the rule does not allow (replace: false), and it could never come back`,
    };
  const held = fieldsOf(way);
  const ref = { key: request.target, uid: instance.id };
  const owner = ownerOf(scene, group, instance);
  return {
    verdict: 'sick',
    why: health.healthy ? left : health.why,
    instance: ref,
    traffic: { way: way.way, why: own ? 'this remediation has taken it out so already' : whyOf(group, way) },
    course: way.way === 'standby' ? { kind: 'hold' } : { kind: 'replacement', keepFor: 0, afterwards: 'delete' },
    held,
    owner,
    plan: planOf(ref, way, owner, options),
  };
}

/** Why the instance is not to be touched now; undefined where it may be. */
export async function refusal(account: Account, group: Group, instance: Instance): Promise<string | undefined> {
  const refused = groupRefusal(group);
  if (refused) return refused;
  if (instance.protectedFromScaleIn) return `it is protected from scale-in in its Auto Scaling group ${group.name}`;
  const refreshing = await account.refreshing(group.name);
  return refreshing && `an instance refresh of its Auto Scaling group ${group.name} runs (${refreshing})`;
}

type Way = Pick<Note, 'way' | 'before'>;

/** Above MinSize the group can do with one less for a while; at MinSize it needs another one at once. */
const choose = ({ desired, min }: Group): Way => ({
  way: desired > min ? 'standby' : 'standby-replaced',
  before: desired,
});

const atMinSize = ({ name, desired, min }: Group): string =>
  `its group ${name} is at its MinSize (desired ${desired}, MinSize ${min})`;

const whyOf = (group: Group, { way }: Way): string =>
  way === 'standby'
    ? `its group ${group.name} may have one less for a while (desired ${group.desired}, MinSize ${group.min})`
    : `${atMinSize(group)}, so a replacement is started at once, and this one does not come back`;

/** The sick one itself is not among `ready`, whatever its group says of it. */
function ownerOf({ account }: Scene, group: Group, { id }: Instance): Owner {
  const key = keyOf(account.name, group.name);
  return { key, uid: group.arn, desired: ownDesired(group), ready: servingWithout(group, id), workload: key };
}

/** As of a pod, the digest has nothing in it that changes by itself: the desired capacity does. */
function planOf(object: PlannedChange['object'], way: Way, owner: Owner, options: DrainInstanceOptions): Plan {
  const cut = fieldsOf(way).map(
    ({ field, before, set }): PlannedChange => ({
      ...{ object, field, before, after: set },
      what: `${field}: ${before} → ${set}`,
    }),
  );
  const lowered = way.way === 'standby' ? [way.before - 1] : [];
  const back = lowered.map(
    (less): PlannedChange => ({
      ...{ object, field: DESIRED_CAPACITY, before: less, after: way.before },
      what: `${DESIRED_CAPACITY}: ${less} → ${way.before}`,
    }),
  );
  const end = { what: 'terminate the instance', object, field: 'termination', before: null, after: null };
  const changes = options.replace ? [...cut, ...back, end] : cut;
  return {
    steps: way.way === 'standby' ? holdSteps(owner, options) : replaceSteps(owner, options),
    changes,
    digest: digest({
      target: object.key,
      uid: object.uid,
      way: way.way,
      fields: changes.map(({ field }) => field),
      options,
    }),
  };
}

function holdSteps(owner: Owner, { recoverWithin, stableFor, replace, verifyWithin }: DrainInstanceOptions): string[] {
  const d = formatDuration;
  const steps = [
    'take it out of service: standby, and the desired capacity of its group one less',
    `wait up to ${d(recoverWithin)} until it has been healthy for ${d(stableFor)}; then put it back in service, which adds the one back`,
  ];
  if (!replace) return [...steps, 'else put it back in service and escalate'];
  return [
    ...steps,
    'else set the desired capacity back, unless somebody has changed it meanwhile, and terminate the instance',
    `verify within ${d(verifyWithin)} that ${owner.key} has its desired capacity InService and Healthy`,
  ];
}

const replaceSteps = (owner: Owner, { verifyWithin }: DrainInstanceOptions): string[] => [
  'take it out of service: standby, with the desired capacity as it is, so that its group starts a replacement at once',
  `verify within ${formatDuration(verifyWithin)} that ${owner.key} has its desired capacity InService and Healthy`,
  'terminate the instance; it never comes back into service',
];
