import type { Held, ObjectRef } from '../../model/change.ts';
import { digest } from '../../model/digest.ts';
import { formatDuration } from '../../model/duration.ts';
import { TRAFFIC_LABEL } from '../../model/names.ts';
import type { Plan, PlannedChange } from '../../model/plan.ts';
import type { Assessment, AssessRequest, Owner } from '../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import type { Cluster } from './cluster.ts';
import { describeChange, heldByAnother, holdsOn, leftOut, nameOf, parseField } from './fields.ts';
import { absence, healthOf, protection } from './health.ts';
import { type KubeObject, NAMESPACES, type Pod, type Ref, SERVICES, type Service } from './objects.ts';
import { readWorkload } from './owner.ts';
import { chooseWay, type NoWay, type Way } from './ways.ts';

/**
 * A fresh look at a pod and its namespace; two to three round trips where it is sick, one where it is not.
 *
 * A pod that is healthy but still held by this very remediation is answered by what the caller is about to do. On the
 * first look (no `uid`: an earlier attempt was cut off after its cut) it is `sick`, with the fields as they are held, so
 * that the steps of the runbook run: the cut finds itself made, and the wait gives the traffic back. On a later look
 * (`uid`) it is `healthy`, and `why` says that its traffic is still to be given back.
 */
export async function assess(
  cluster: Cluster,
  ref: Ref,
  request: AssessRequest,
  protectedLabels: readonly string[],
): Promise<Assessment> {
  const { target, uid, options, actor } = request;
  const surrounding = cluster.get<KubeObject>({ ...NAMESPACES, name: ref.namespace });
  surrounding.catch(() => undefined); // awaited below, where the pod is there to be protected
  const pod = await cluster.get<Pod>(ref);
  const gone = absence(pod, uid);
  if (!pod || gone) return { verdict: 'gone', why: gone ?? '' };
  const namespace = await surrounding;
  const out = protection(pod, namespace?.metadata, protectedLabels) ?? heldByAnother(pod.metadata, actor.remediation);
  if (out) return { verdict: 'protected', why: out };

  const { healthy, why: seen } = healthOf(pod);
  const left = leftOut(pod, actor.remediation);
  const health = { healthy, why: left === undefined ? seen : `${seen}, ${left}` };
  const own = (holdsOn(pod.metadata) ?? []).filter(({ remediation }) => remediation === actor.remediation);
  if (health.healthy && own.length === 0) return { verdict: 'healthy', why: health.why };
  const fields = own.map(({ field }) => nameOf(parseField(field))).join(', ');
  if (health.healthy && uid !== undefined)
    return { verdict: 'healthy', why: `${health.why}; this remediation still holds its ${fields}` };

  // The Services matter only where there is a label that they could select on.
  const labelled = own.length === 0 && mayUseLabel(options) && pod.metadata.labels?.[TRAFFIC_LABEL] !== undefined;
  const [workload, services] = await Promise.all([
    readWorkload(cluster, pod),
    labelled ? cluster.list<Service>({ ...SERVICES, namespace: ref.namespace }) : { items: [] },
  ]);
  if (!workload) return { verdict: 'protected', why: 'its controller no longer exists: nothing would replace it' };
  const { selectsOn, owner } = workload;
  const traffic =
    own.length > 0 ? heldAlready(own) : chooseWay({ pod, selectsOn, services: services.items }, options.traffic);
  if (!traffic.way) return { verdict: 'protected', why: traffic.why };
  const instance = { key: target, uid: pod.metadata.uid };
  return {
    verdict: 'sick',
    why: health.healthy ? `${health.why}, but this remediation still holds its ${fields}` : health.why,
    instance,
    traffic: { way: traffic.way, why: traffic.why },
    held: traffic.held,
    owner,
    plan: planOf(instance, traffic, owner, options),
  };
}

const mayUseLabel = ({ traffic }: DrainInstanceOptions): boolean => traffic === 'auto' || traffic === 'label';

/** The way that an earlier attempt has taken; the pod as it is now no longer shows what it was chosen from. */
function heldAlready(own: Held[]): Way | NoWay {
  const [first] = own;
  const way = first && parseField(first.field).in === 'conditions' ? 'gate' : 'label';
  return {
    way,
    why: 'this remediation has cut it so already',
    held: own.map(({ field, before, set }) => ({ field, before, set })),
  };
}

/**
 * The digest is over what an approval is about: this very object, the fields that would be set and what is in them now, and
 * what the rule allows. Nothing that changes while nothing happens (times, counts of replicas, wording) is in it.
 */
function planOf(instance: ObjectRef, { held }: Way, owner: Owner, options: DrainInstanceOptions): Plan {
  const cuts = held.map(({ field, before, set }): PlannedChange => {
    const what = describeChange(parseField(field), before, set);
    return { what, object: instance, field, before, after: set };
  });
  const eviction = { what: 'evict the pod', object: instance, field: 'eviction', before: null, after: null };
  const changes = options.replace ? [...cuts, eviction] : cuts;
  return {
    steps: stepsOf(cuts, owner, options),
    changes,
    digest: digest({
      target: instance.key,
      uid: instance.uid,
      changes: changes.map(({ field, before, after }) => ({ field, before, after })),
      options,
    }),
  };
}

function stepsOf(cuts: PlannedChange[], owner: Owner, options: DrainInstanceOptions): string[] {
  const { recoverWithin, stableFor, replace, quietFor, evictWithin, verifyWithin } = options;
  const d = formatDuration;
  const steps = cuts.map(({ what }) => `cut its traffic: ${what}`);
  const back = cuts.length > 0 ? '; then give its traffic back' : '';
  const wait = `wait up to ${d(recoverWithin)} until it has been healthy for ${d(stableFor)}${back}`;
  if (!replace) return [...steps, wait, `else ${cuts.length > 0 ? 'give its traffic back and ' : ''}escalate`];
  return [
    ...steps,
    wait,
    `else, once it has been out of traffic for ${d(quietFor)}, evict it within its disruption budgets, for up to ${d(evictWithin)}`,
    `verify within ${d(verifyWithin)} that ${owner.key} has its ready replicas again`,
  ];
}
