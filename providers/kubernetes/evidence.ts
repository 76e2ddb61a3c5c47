import type { TargetEvidence, WorkloadEvidence } from '../../model/evidence.ts';
import { HELD_ANNOTATION } from '../../model/names.ts';
import { parseTarget } from '../../model/target.ts';
import { FinalError } from '../errors.ts';
import { type EvidenceProvider, type Looked, lookByPlace } from '../evidence.ts';
import { patiently } from '../patience.ts';
import { Recent } from '../recent.ts';
import type { Cluster } from './cluster.ts';
import { explain, isPassing } from './errors.ts';
import { heldByAnother, holdsOn } from './fields.ts';
import { absence, apartness, controllerOf, exclusion, healthOf, isTrue } from './health.ts';
import {
  type Controller,
  type KubeObject,
  type Metadata,
  NAMESPACES,
  type OwnerReference,
  PODS,
  type Pod,
} from './objects.ts';
import { above, isReplicaSet, keyOf, readController, replicasOf, resourceOfKind, selectorText } from './owner.ts';
import { staysInQuarantine } from './quarantine.ts';

/** How old what many responders share may be. What is asked right before a mutation is never shared. */
const SHARED_MS = 1_000;
/** Which Deployment a ReplicaSet belongs to does not change while it lives, but for adoption by hand. */
const OWNERS_MS = 60_000;
/** A pod that should have been gone for so long is stuck, most likely with its node. */
const STUCK_MS = 60_000;
/** Far more than any workload has; it keeps a mistyped `replicas` from filling the memory. */
const MOST_UNREADY = 10_000;

/** What is kept of a pod: a namespace may hold thousands. */
interface Seen {
  key: string;
  /** Counts in the population. */
  live: boolean;
  healthy: boolean;
  /** Counts for its workload: it has not ended, and is not on its way out. */
  present: boolean;
  /** It takes traffic: it is Ready, and Salvor keeps nothing on it. */
  serves: boolean;
  controller: OwnerReference | undefined;
  excluded: string | undefined;
  held: string | undefined;
}

/** A controller, and those of the pods that count for it. */
interface Workload {
  reference: OwnerReference;
  pods: Seen[];
}

/**
 * The pods of one cluster. The population of a namespace are its pods that have not ended and are not of Jobs, DaemonSets
 * or static, nor kept in quarantine, for another has taken their place. One that is being deleted is no part of it, for
 * scaling down is no storm, unless it is stuck. One that is still starting is not Ready, and counts so, however young.
 *
 * A workload's unready are its pods that do not serve, and, as `<workload key>#missing-<n>`, those that it should have and
 * has not.
 */
export class PodEvidence implements EvidenceProvider {
  readonly #cluster: Cluster;
  readonly #pods = new Recent<Map<string, Seen>>(SHARED_MS);
  readonly #namespaces = new Recent<Metadata | undefined>(SHARED_MS);
  readonly #controllers = new Recent<Controller | undefined>(SHARED_MS);
  /** By UID of a ReplicaSet. */
  readonly #owners = new Recent<OwnerReference>(OWNERS_MS);

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  look(targets: readonly string[], suspects: readonly string[]): Promise<Looked> {
    return lookByPlace(targets, suspects, namespaceOf, (...asked) => this.#lookAt(...asked));
  }

  async workload(target: string, workload: string): Promise<WorkloadEvidence> {
    const { namespace } = podOf(target);
    const at = parseTarget(workload);
    const resource = at.type === 'k8s' && (await resourceOfKind(this.#cluster, at.group ?? '', at.kind));
    if (!resource)
      throw new FinalError(`the cluster ${this.#cluster.name} has no resource for the workload ${workload}`, {
        type: 'UnknownTarget',
      });
    const controller = await this.#cluster.get<Controller>({ ...resource, namespace, name: at.name });
    if (!controller)
      throw new FinalError(`the workload ${workload} of ${target} does not exist any more`, { type: 'Replaced' });
    const { items } = await this.#cluster.list<Pod>({ ...PODS, namespace }, undefined, selectorText(controller));
    const seen = items.map((pod) => this.#see(namespace, pod));
    const own = (await this.#workloads(namespace, seen)).get(workload)?.pods ?? [];
    return evidenceOf(workload, controller, own);
  }

  async excluded(target: string): Promise<string | undefined> {
    const { namespace, name } = podOf(target);
    const [pod, surrounding] = await Promise.all([
      this.#cluster.get<Pod>({ ...PODS, namespace, name }),
      this.#cluster.get<KubeObject>({ ...NAMESPACES, name: namespace }),
    ]);
    return exclusion(pod?.metadata, surrounding?.metadata);
  }

  async #lookAt(namespace: string, targets: readonly string[], suspects: ReadonlySet<string>): Promise<Looked> {
    const [pods, surrounding] = await Promise.allSettled([
      this.#podsOf(namespace),
      targets.length > 0 ? this.#namespace(namespace) : undefined,
    ]);
    const around = surrounding.status === 'fulfilled' ? exclusion(undefined, surrounding.value) : undefined;
    if (pods.status === 'rejected') {
      const error = explain(pods.reason);
      const unread = targets.map((key) => [key, { excluded: around, error }]);
      return { targets: Object.fromEntries(unread), workloads: {}, error };
    }
    const workloads = await this.#workloadsOf(
      namespace,
      targets.flatMap((key) => pods.value.get(key) ?? []),
      pods.value,
    );
    const evidence = targets.map((key): [string, TargetEvidence] => {
      const pod = pods.value.get(key);
      const own = workloads.byPod.get(key);
      const error = surrounding.status === 'rejected' ? explain(surrounding.reason) : own?.error;
      return [key, { excluded: pod?.excluded ?? around, held: pod?.held, workload: own?.workload, error }];
    });
    const live = [...pods.value.values()].filter((pod) => pod.live);
    const unhealthy = live.filter(({ key, healthy }) => !healthy || suspects.has(key)).length;
    return {
      targets: Object.fromEntries(evidence),
      workloads: workloads.evidence,
      population: { live: live.length, unhealthy },
    };
  }

  /** The workloads of these pods, which may have none, or one that cannot be read. */
  async #workloadsOf(namespace: string, targets: Seen[], pods: ReadonlyMap<string, Seen>) {
    const byPod = new Map<string, { workload?: string; error?: string }>();
    const evidence: Record<string, WorkloadEvidence> = {};
    const concerned = targets.filter(({ present, controller }) => present && controller !== undefined);
    if (concerned.length === 0) return { byPod, evidence };
    // Only what a ReplicaSet belongs to must be asked for; who is not concerned by any is spared that.
    const rollouts = concerned.some(({ controller }) => controller && isReplicaSet(controller));
    const candidates = [...pods.values()].filter((pod) => rollouts || !pod.controller || !isReplicaSet(pod.controller));
    try {
      const workloads = await this.#workloads(namespace, candidates);
      const wanted = new Set(concerned.map(({ key }) => key));
      await Promise.all(
        [...workloads].map(async ([workload, { reference, pods: own }]) => {
          const mine = own.filter(({ key }) => wanted.has(key));
          if (mine.length === 0) return;
          try {
            const controller = await this.#controller(namespace, reference);
            // It was deleted: diagnosis says so of each of its pods.
            if (!controller) return;
            evidence[workload] = evidenceOf(workload, controller, own);
            for (const { key } of mine) byPod.set(key, { workload });
          } catch (error) {
            for (const { key } of mine) byPod.set(key, { error: explain(error) });
          }
        }),
      );
    } catch (error) {
      for (const { key } of concerned) byPod.set(key, { error: explain(error) });
    }
    return { byPod, evidence };
  }

  /** By key: the workloads to which these pods belong, each with those of its pods that count. */
  async #workloads(namespace: string, pods: readonly Seen[]): Promise<Map<string, Workload>> {
    const workloads = new Map<string, Workload>();
    const known = pods.filter(({ present, controller }) => present && controller !== undefined);
    const references = await Promise.all(known.map(({ controller }) => this.#top(namespace, controller)));
    for (const [i, pod] of known.entries()) {
      const reference = references[i];
      if (!reference) continue;
      const key = keyOf(this.#cluster.name, namespace, reference);
      const workload = workloads.get(key) ?? { reference, pods: [] };
      workload.pods.push(pod);
      workloads.set(key, workload);
    }
    return workloads;
  }

  async #top(namespace: string, controller: OwnerReference | undefined): Promise<OwnerReference | undefined> {
    if (!controller || !isReplicaSet(controller)) return controller;
    return this.#owners.get(controller.uid, async () => {
      const set = await this.#controller(namespace, controller);
      return set ? above(controller, set) : controller;
    });
  }

  #controller(namespace: string, reference: OwnerReference): Promise<Controller | undefined> {
    return this.#controllers.get(reference.uid, () =>
      patiently(() => readController(this.#cluster, namespace, reference), isPassing),
    );
  }

  #namespace(namespace: string): Promise<Metadata | undefined> {
    return this.#namespaces.get(namespace, async () => {
      const ref = { ...NAMESPACES, name: namespace };
      const found = await patiently(() => this.#cluster.get<KubeObject>(ref), isPassing);
      return found?.metadata;
    });
  }

  /**
   * By key. A consistent list: `resourceVersion=0` would spare a server older than 1.31 some work, but nothing bounds how
   * old its answer is.
   */
  #podsOf(namespace: string): Promise<Map<string, Seen>> {
    return this.#pods.get(namespace, async () => {
      const { items } = await patiently(() => this.#cluster.list<Pod>({ ...PODS, namespace }), isPassing);
      return new Map(items.map((pod) => this.#see(namespace, pod)).map((seen) => [seen.key, seen]));
    });
  }

  #see(namespace: string, pod: Pod): Seen {
    const { metadata, status } = pod;
    const reference: OwnerReference = { apiVersion: 'v1', kind: 'Pod', name: metadata.name, uid: metadata.uid };
    const ended = status?.phase === 'Succeeded' || status?.phase === 'Failed';
    const due = metadata.deletionTimestamp === undefined ? Infinity : Date.parse(metadata.deletionTimestamp);
    const apart = apartness(pod) !== undefined;
    const quarantined = staysInQuarantine(pod, holdsOn(metadata) ?? []);
    return {
      key: keyOf(this.#cluster.name, namespace, reference),
      live: !apart && !quarantined && !ended && (due === Infinity || due + STUCK_MS < Date.now()),
      healthy: healthOf(pod).healthy,
      present: absence(pod, undefined) === undefined,
      serves: isTrue(pod, 'Ready') && metadata.annotations?.[HELD_ANNOTATION] === undefined,
      controller: apart ? undefined : controllerOf(metadata),
      excluded: exclusion(metadata, undefined),
      held: heldByAnother(metadata, ''),
    };
  }
}

/** `desired` is what it should have now, also in a rollout, whose further pods are only there for the time of it. */
function evidenceOf(workload: string, controller: Controller, pods: readonly Seen[]): WorkloadEvidence {
  const { desired } = replicasOf(controller);
  const unready = pods.filter(({ serves }) => !serves).map(({ key }) => key);
  const missing = Math.min(MOST_UNREADY, Math.max(0, desired - pods.length));
  return {
    desired,
    unready: [...unready, ...Array.from({ length: missing }, (_, i) => `${workload}#missing-${i + 1}`)],
  };
}

function podOf(key: string): { namespace: string; name: string } {
  const target = parseTarget(key);
  if (target.type === 'k8s') return target;
  throw new FinalError(`${key} is not a pod`, { type: 'UnknownTarget' });
}

const namespaceOf = (key: string): string => podOf(key).namespace;
