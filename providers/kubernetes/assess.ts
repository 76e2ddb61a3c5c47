import type { Held, ObjectRef } from '../../model/change.ts';
import { digest } from '../../model/digest.ts';
import { formatDuration } from '../../model/duration.ts';
import type { Plan, PlannedChange } from '../../model/plan.ts';
import type { Assessment, AssessRequest, Owner } from '../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import type { Check } from '../checks.ts';
import type { Cluster } from './cluster.ts';
import { examine } from './examine.ts';
import { describeChange, heldByAnother, holdsOn, leftOut, type Note, nameOf, parseField } from './fields.ts';
import { absence, controllerOf, healthOf, protection } from './health.ts';
import { type KubeObject, NAMESPACES, type Pod, type Ref, SERVICES, type Service } from './objects.ts';
import { keyOf, readWorkload } from './owner.ts';
import { notedController, staysInQuarantine } from './quarantine.ts';
import { DELETION, EVICTION } from './replace.ts';
import { chooseWay, servicesMatter, type Way } from './ways.ts';

/**
 * A fresh look at a pod and its namespace; two to three round trips where it is sick, one where it is not, and the checks
 * of the rule where the platform finds it healthy.
 *
 * A pod that is healthy but still held by this very remediation is answered by what the caller is about to do. On the
 * first look (no `uid`: an earlier attempt was cut off after its cut) it is `sick`, with the fields as they are held, so
 * that the steps of the runbook run: the cut finds itself made, and the wait gives the traffic back. On a later look
 * (`uid`) it is `healthy`, and `why` says that its traffic is still to be given back. A pod that this remediation keeps in
 * quarantine is `sick` on any look: its place is taken, and it does not come back by itself. Once somebody has taken it out
 * by hand it is a pod like any other.
 *
 * @param protectedLabels `key` or `key=value`; pods that carry one are never touched
 * @throws UnavailableError where a check of the rule cannot be asked
 */
export async function assess(
  cluster: Cluster,
  ref: Ref,
  request: AssessRequest,
  protectedLabels: readonly string[],
  check: Check,
): Promise<Assessment> {
  const { target, uid, options, actor } = request;
  const surrounding = cluster.get<KubeObject>({ ...NAMESPACES, name: ref.namespace });
  surrounding.catch(() => undefined); // awaited below, where the pod is there to be protected
  const pod = await cluster.get<Pod>(ref);
  const gone = absence(pod, uid);
  if (!pod || gone) return { verdict: 'gone', why: gone ?? '' };
  const own = (holdsOn(pod.metadata) ?? []).filter(({ remediation }) => remediation === actor.remediation);
  const quarantined = staysInQuarantine(pod, own);
  const left = leftOut(pod, actor.remediation);
  const and = (why: string) => (left === undefined ? why : `${why}, ${left}`);
  const namespace = await surrounding;
  const out =
    heldByAnother(pod.metadata, actor.remediation) ??
    protection(pod, namespace?.metadata, protectedLabels, quarantined);
  if (out) return { verdict: 'protected', why: and(out) };

  const { healthy, why } = quarantined ? healthOf(pod) : await examine(cluster, pod, options.health, check);
  if (healthy && own.length === 0) return { verdict: 'healthy', why: and(why) };
  const fields = own.map(({ field }) => nameOf(parseField(field))).join(', ');
  if (healthy && uid !== undefined && !quarantined)
    return { verdict: 'healthy', why: `${and(why)}; this remediation still holds its ${fields}` };

  const found = await wayFor(cluster, pod, own, options);
  if ('refusal' in found) return { verdict: 'protected', why: found.refusal };
  const { traffic, owner } = found;
  const instance = { key: target, uid: pod.metadata.uid };
  const held = quarantined ? 'keeps it in quarantine by' : 'still holds';
  return {
    verdict: 'sick',
    why: healthy || quarantined ? `${and(why)}, but this remediation ${held} its ${fields}` : and(why),
    instance,
    traffic: { way: traffic.way, why: traffic.why },
    ...courseOf(traffic, options),
    held: traffic.held,
    owner,
    plan: planOf(instance, traffic, owner, options),
  };
}

/** How its traffic is cut, or was already, and what replaces it. */
async function wayFor(
  cluster: Cluster,
  pod: Pod,
  own: Note[],
  options: DrainInstanceOptions,
): Promise<{ traffic: Way; owner: Owner } | { refusal: string }> {
  const namespace = pod.metadata.namespace ?? '';
  const matter = own.length === 0 && servicesMatter(pod, options);
  const noted = notedController(own);
  const reference = controllerOf(pod.metadata) ?? noted;
  const [workload, services] = await Promise.all([
    reference && readWorkload(cluster, namespace, reference),
    matter ? cluster.list<Service>({ ...SERVICES, namespace }) : { items: [] },
  ]);
  if (own.length > 0 && noted && !workload) {
    // It stays a sick pod to be dealt with, although nothing wants its place any more.
    const key = keyOf(cluster.name, namespace, noted);
    return { traffic: heldAlready(pod, own), owner: { key, uid: noted.uid, desired: 0, ready: 0, workload: key } };
  }
  if (!workload) return { refusal: 'its controller no longer exists: nothing would replace it' };
  const { selector, owner } = workload;
  if (own.length > 0) return { traffic: heldAlready(pod, own), owner };
  const traffic = chooseWay({ pod, selector, services: services.items }, options);
  return traffic.way ? { traffic, owner } : { refusal: traffic.why };
}

/** The way that an earlier attempt has taken; the pod as it is now no longer shows what it was chosen from. */
function heldAlready(pod: Pod, own: Held[]): Way {
  const [first] = own;
  const byGate = first && parseField(first.field).in === 'conditions';
  return {
    way: staysInQuarantine(pod, own) ? 'quarantine' : byGate ? 'gate' : 'label',
    why: 'this remediation has cut it so already',
    held: own.map(({ field, before, set }) => ({ field, before, set })),
  };
}

/** Nothing, which means `hold`, for all ways but quarantine. */
const courseOf = ({ way }: Way, { quarantine }: DrainInstanceOptions) =>
  way === 'quarantine' && quarantine && { course: { kind: 'replacement' as const, ...quarantine } };

/**
 * The digest is over what an approval is about: this very object, the fields that would be set and what is in them now, and
 * what the rule allows. Nothing that changes while nothing happens (times, counts of replicas, wording) is in it.
 */
function planOf(instance: ObjectRef, traffic: Way, owner: Owner, options: DrainInstanceOptions): Plan {
  const cuts = traffic.held.map(({ field, before, set }): PlannedChange => {
    const what = describeChange(parseField(field), before, set);
    return { what, object: instance, field, before, after: set };
  });
  const { quarantine } = options;
  const kept = traffic.way === 'quarantine' && quarantine;
  const removal = kept
    ? kept.afterwards === 'delete' && { what: 'delete the pod', field: DELETION }
    : options.replace && { what: 'evict the pod', field: EVICTION };
  const changes = removal ? [...cuts, { ...removal, object: instance, before: null, after: null }] : cuts;
  return {
    steps: kept ? quarantineSteps(cuts, owner, { ...options, ...kept }) : stepsOf(cuts, owner, options),
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

function quarantineSteps(
  cuts: PlannedChange[],
  owner: Owner,
  { verifyWithin, keepFor, afterwards }: { verifyWithin: number; keepFor: number; afterwards: 'delete' | 'give-back' },
): string[] {
  const d = formatDuration;
  const then = afterwards === 'delete' ? 'delete it, with its own grace period' : 'give its labels back';
  return [
    ...cuts.map(({ what }) => `put it in quarantine: ${what}`),
    `verify within ${d(verifyWithin)} that ${owner.key} has its ready replicas again without it, else give its labels back and escalate`,
    `keep it for ${d(keepFor)}, then ${then}`,
  ];
}
