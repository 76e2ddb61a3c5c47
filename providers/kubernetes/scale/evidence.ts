import type { TargetEvidence, WorkloadEvidence } from '../../../model/evidence.ts';
import { type ObjectTarget, parseTarget } from '../../../model/target.ts';
import { FinalError } from '../../errors.ts';
import { type EvidenceProvider, type Looked, lookByPlace } from '../../evidence.ts';
import { patiently } from '../../patience.ts';
import { Recent } from '../../recent.ts';
import type { Cluster } from '../cluster.ts';
import { explain, isPassing } from '../errors.ts';
import { heldByAnother } from '../fields.ts';
import { exclusion } from '../health.ts';
import { type Controller, type KubeObject, type Metadata, NAMESPACES, type Ref } from '../objects.ts';
import { keyOf, replicasOf, resourceOfKind } from '../owner.ts';

/** How old what many responders share may be. What is asked right before a mutation is never shared. */
const SHARED_MS = 1_000;

/**
 * Workloads of one cluster that are scaled. The population of a namespace are those of the target's kind; unhealthy is what is
 * suspected, and what serves nothing though it should. Some replicas that are not ready are none of that: autoscalers that grow
 * several workloads at once, or rollouts of several, would look like a storm, when capacity is needed most. They have no budget
 * of what may be unavailable: scaling takes nothing away.
 */
export class ScaleEvidence implements EvidenceProvider {
  readonly #cluster: Cluster;
  readonly #workloads = new Recent<Map<string, Controller>>(SHARED_MS);
  readonly #namespaces = new Recent<Metadata | undefined>(SHARED_MS);

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  look(targets: readonly string[], suspects: readonly string[]): Promise<Looked> {
    return lookByPlace(targets, suspects, placeOf, (...asked) => this.#lookAt(...asked));
  }

  async workload(target: string, workload: string): Promise<WorkloadEvidence> {
    const found = await this.#read(objectOf(target));
    if (!found) throw new FinalError(`the workload ${target} does not exist any more`, { type: 'Replaced' });
    return evidenceOf(workload, found);
  }

  async excluded(target: string): Promise<string | undefined> {
    const at = objectOf(target);
    const [found, surrounding] = await Promise.all([
      this.#read(at),
      this.#cluster.get<KubeObject>({ ...NAMESPACES, name: at.namespace }),
    ]);
    return exclusion(found?.metadata, surrounding?.metadata);
  }

  async #lookAt(place: string, targets: readonly string[], suspects: ReadonlySet<string>): Promise<Looked> {
    const [namespace = '', kind = ''] = place.split('/');
    const [workloads, surrounding] = await Promise.allSettled([
      this.#workloadsOf(namespace, kind),
      this.#namespace(namespace),
    ]);
    const failed = [workloads, surrounding].find((one) => one.status === 'rejected');
    const error = failed && explain(failed.reason);
    const found = workloads.status === 'fulfilled' ? workloads.value : new Map<string, Controller>();
    const around = surrounding.status === 'fulfilled' ? surrounding.value : undefined;
    const evidence = targets.map((key): [string, TargetEvidence] => {
      const metadata = found.get(key)?.metadata;
      const held = metadata && heldByAnother(metadata, '');
      return [
        key,
        { excluded: exclusion(metadata, around), ...(held !== undefined && { held }), ...(error && { error }) },
      ];
    });
    const unhealthy = [...found].filter(([key, one]) => suspects.has(key) || (saysReady(kind) && servesNothing(one)));
    return {
      targets: Object.fromEntries(evidence),
      workloads: {},
      ...(error ? { error } : { population: { live: found.size, unhealthy: unhealthy.length } }),
    };
  }

  async #read({ namespace, name, kind, group = '' }: ObjectTarget): Promise<Controller | undefined> {
    return this.#cluster.get<Controller>({ ...(await this.#resource(kind, group)), namespace, name });
  }

  async #resource(kind: string, group: string): Promise<Ref> {
    const resource = await resourceOfKind(this.#cluster, group, kind);
    if (resource) return resource;
    const named = group === '' ? kind : `${kind}.${group}`;
    throw new FinalError(`the cluster ${this.#cluster.name} has no resource for ${named}`, { type: 'UnknownTarget' });
  }

  /** All of a kind in a namespace, by key. */
  #workloadsOf(namespace: string, kindAndGroup: string): Promise<Map<string, Controller>> {
    return this.#workloads.get(`${namespace}/${kindAndGroup}`, async () => {
      const [kind = '', ...groups] = kindAndGroup.split('.');
      const group = groups.join('.');
      const resource = await this.#resource(kind, group);
      const { items } = await patiently(() => this.#cluster.list<Controller>({ ...resource, namespace }), isPassing);
      const apiVersion = group === '' ? 'v1' : `${group}/v1`;
      const keyed = items.map((one): [string, Controller] => {
        const { name, uid } = one.metadata;
        return [keyOf(this.#cluster.name, namespace, { apiVersion, kind, name, uid }), one];
      });
      return new Map(keyed);
    });
  }

  #namespace(namespace: string): Promise<Metadata | undefined> {
    return this.#namespaces.get(namespace, async () => {
      const ref = { ...NAMESPACES, name: namespace };
      return (await patiently(() => this.#cluster.get<KubeObject>(ref), isPassing))?.metadata;
    });
  }
}

/** Custom resources may not say how many are ready. */
const saysReady = (kindAndGroup: string): boolean => {
  const [, ...group] = kindAndGroup.split('.');
  return group.length === 0 || group.join('.') === 'apps';
};

function servesNothing(controller: Controller): boolean {
  const { desired, ready } = replicasOf(controller);
  return desired > 0 && ready === 0;
}

/** What it should have, and has not ready. */
function evidenceOf(workload: string, controller: Controller): WorkloadEvidence {
  const { desired, ready } = replicasOf(controller);
  const missing = Math.max(0, desired - ready);
  return { desired, unready: Array.from({ length: missing }, (_, i) => `${workload}#missing-${i + 1}`) };
}

function objectOf(key: string): ObjectTarget {
  const target = parseTarget(key);
  if (target.type === 'k8s') return target;
  throw new FinalError(`${key} is not a workload`, { type: 'UnknownTarget' });
}

/** `<namespace>/<kind>[.<group>]` */
function placeOf(key: string): string {
  const { namespace, kind, group } = objectOf(key);
  return `${namespace}/${group === undefined ? kind : `${kind}.${group}`}`;
}
