import type { ObjectRef } from '../../../model/change.ts';
import { digest } from '../../../model/digest.ts';
import { formatDuration } from '../../../model/duration.ts';
import type { Plan, PlannedChange } from '../../../model/plan.ts';
import type { Assessment, AssessRequest, Owner } from '../../../model/ports/instance.ts';
import { type DrainInstanceOptions, NODE_OPTIONS } from '../../../model/rule.ts';
import type { Check } from '../../checks.ts';
import type { Machines } from '../../machines.ts';
import type { Cluster } from '../cluster.ts';
import { examine } from '../examine.ts';
import { CORDON, describeChange, fieldPath, heldByAnother, holdsOn, leftOut, writerOf } from '../fields.ts';
import { absence, exclusion, protectedBy } from '../health.ts';
import { NODES, type Node, type Pod, type Ref } from '../objects.ts';
import { keyOf } from '../owner.ts';
import { NODE } from './health.ts';
import { keptMachine } from './machine.ts';
import { isGoing, lastOfItsKind, obstacles, podsOn, stays } from './pods.ts';
import { isControlPlane, poolKey, poolSelector, serves } from './pool.ts';

export interface Means {
  protectedLabels: readonly string[];
  check: Check;
  machines?: Machines | undefined;
}

/**
 * A fresh look at a node, and where it is sick at its pods and its pool. What is held of it already is answered as for a
 * pod: on the first look it is `sick`, on a later one that finds it healthy `healthy`.
 */
export async function assess(
  cluster: Cluster,
  ref: Ref,
  request: AssessRequest,
  { protectedLabels, check, machines }: Means,
): Promise<Assessment> {
  const { target, uid, options, actor } = request;
  const node = await cluster.get<Node>(ref);
  const gone = absence(node, uid, 'node');
  if (!node || gone) return { verdict: 'gone', why: gone ?? '' };
  const out = protection(node, options, protectedLabels) ?? heldByAnother(node.metadata, actor.remediation);
  if (out) return { verdict: 'protected', why: out };

  const { healthy, why: seen } = await examine(cluster, node, options.health, check, NODE);
  const left = leftOut(node, actor.remediation);
  const why = left === undefined ? seen : `${seen}, ${left}`;
  const own = (holdsOn(node.metadata) ?? []).filter(({ remediation }) => remediation === actor.remediation);
  if (healthy && own.length === 0) return { verdict: 'healthy', why };
  if (healthy && uid !== undefined)
    return { verdict: 'healthy', why: `${why}; this remediation still keeps it cordoned` };

  const terminates = options.replace && (options.node ?? NODE_OPTIONS).terminate;
  const [pods, owner, lasting] = await Promise.all([
    options.replace ? podsOn(cluster, node.metadata.name) : [],
    readPool(cluster, node),
    // Said before the first pod is evicted, not after the last.
    terminates && own.length === 0 ? keptMachine(node, machines) : undefined,
  ]);
  const kept = lasting ?? (await keptBy(cluster, pods, options, protectedLabels));
  if (kept) return { verdict: 'protected', why: kept };
  const instance = { key: target, uid: node.metadata.uid };
  const traffic = own.length > 0 ? CORDONED : wayOf(node);
  return {
    verdict: 'sick',
    why: healthy ? `${why}, but this remediation still keeps it cordoned` : why,
    instance,
    traffic: { way: traffic.way, why: traffic.why },
    held: traffic.way === 'none' ? [] : [HELD],
    owner,
    plan: planOf(cluster.name, instance, { traffic, owner, options, pods }),
  };
}

/** Why the node is not a target; undefined where it may be one. */
function protection(
  { metadata }: Node,
  { node = NODE_OPTIONS }: DrainInstanceOptions,
  protectedLabels: readonly string[],
): string | undefined {
  const excluded = exclusion(metadata, undefined) ?? protectedBy(metadata, protectedLabels);
  if (excluded) return excluded;
  return isControlPlane(metadata) && !node.controlPlane
    ? 'it is a node of the control plane (node.controlPlane: true in the rule allows those)'
    : undefined;
}

/** What of its pods keeps it from being drained. */
async function keptBy(
  cluster: Cluster,
  pods: readonly Pod[],
  { node = NODE_OPTIONS }: DrainInstanceOptions,
  protectedLabels: readonly string[],
): Promise<string | undefined> {
  const moving = pods.filter((pod) => !stays(pod) && !isGoing(pod));
  for (const pod of moving) {
    const last = await lastOfItsKind(cluster, pod, protectedLabels);
    if (last) return last;
  }
  return obstacles(cluster, moving, node);
}

const HELD = { field: fieldPath(CORDON), before: null, set: true } as const;

type Way = { way: 'cordon' | 'none'; why: string };
const CORDONED: Way = { way: 'cordon', why: 'this remediation has cordoned it already' };

/** A cordon that Salvor did not set is not Salvor's to take away. */
function wayOf(node: Node): Way {
  if (node.spec?.unschedulable !== true)
    return { way: 'cordon', why: 'no new pod is scheduled on it; those that are on it go on' };
  const by = writerOf(node.metadata, CORDON)?.manager ?? '(not recorded)';
  return { way: 'none', why: `it is cordoned already, by ${by}, and stays so` };
}

/** The pool of the node: the others that serve, and the node itself as one that does not. */
async function readPool(cluster: Cluster, { metadata }: Node): Promise<Owner> {
  const key = poolKey(cluster.name, metadata);
  const { items } = await cluster.list<Node>(NODES, undefined, poolSelector(metadata));
  const pool = items.filter((one) => poolKey(cluster.name, one.metadata) === key);
  const ready = pool.filter((one) => one.metadata.uid !== metadata.uid && serves(one)).length;
  return { key, uid: key, desired: pool.length, ready, workload: key };
}

interface Planned {
  traffic: Way;
  owner: Owner;
  options: DrainInstanceOptions;
  pods: readonly Pod[];
}

/**
 * The digest is over what an approval is about: this very node, whether it would be cordoned, and what the rule allows. Which
 * pods run on it changes while nothing happens, so they are told and are not in it.
 */
function planOf(cluster: string, instance: ObjectRef, planned: Planned): Plan {
  const { traffic, options, pods } = planned;
  const node = options.node ?? NODE_OPTIONS;
  const cuts: PlannedChange[] =
    traffic.way === 'none'
      ? []
      : [
          {
            what: `cordon the node: ${describeChange(CORDON, null, true)}`,
            object: instance,
            field: HELD.field,
            before: HELD.before,
            after: HELD.set,
          },
        ];
  const evictions = options.replace ? pods.filter((pod) => !stays(pod) && !isGoing(pod)) : [];
  const replacing = evictions.map(({ metadata }): PlannedChange => {
    const reference = { apiVersion: 'v1', kind: 'Pod', name: metadata.name, uid: metadata.uid };
    const object = { key: keyOf(cluster, metadata.namespace ?? '', reference), uid: metadata.uid };
    return { what: 'evict the pod', object, field: 'eviction', before: null, after: null };
  });
  const termination: PlannedChange[] =
    options.replace && node.terminate
      ? [{ what: 'terminate its machine', object: instance, field: 'termination', before: null, after: null }]
      : [];
  return {
    steps: stepsOf(planned, evictions.length),
    changes: [...cuts, ...replacing, ...termination],
    digest: digest({
      target: instance.key,
      uid: instance.uid,
      changes: cuts.map(({ field, before, after }) => ({ field, before, after })),
      options,
    }),
  };
}

function stepsOf({ traffic, owner, options }: Planned, evictions: number): string[] {
  const { recoverWithin, stableFor, replace, quietFor, evictWithin, verifyWithin, node = NODE_OPTIONS } = options;
  const d = formatDuration;
  const cordons = traffic.way === 'cordon';
  const steps = cordons ? [`cordon it: ${describeChange(CORDON, null, true)}`] : [];
  const back = cordons ? '; then uncordon it' : '';
  steps.push(`wait up to ${d(recoverWithin)} until it has been healthy for ${d(stableFor)}${back}`);
  if (!replace) return [...steps, `else ${cordons ? 'uncordon it and ' : ''}escalate`];
  steps.push(
    `else, once it has been cordoned for ${d(quietFor)}, evict its pods within their disruption budgets, at most ${node.parallel} at once, for up to ${d(evictWithin)} (${evictions} now; those of DaemonSets and static ones stay)`,
  );
  if (node.terminate)
    steps.push(
      'when it is empty, terminate its machine through its Auto Scaling group',
      `verify within ${d(verifyWithin)} that what ran on it has its ready replicas again, and that ${owner.key} has as many nodes Ready as before`,
    );
  else
    steps.push(
      `verify within ${d(verifyWithin)} that what ran on it has its ready replicas again`,
      `${cordons ? 'keep it cordoned' : 'wait'} for up to ${d(node.keepFor)}; when it recovers${cordons ? ', uncordon it' : ' it is done'}, else escalate`,
    );
  return steps;
}
