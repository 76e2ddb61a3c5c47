import type {
  Autoscaler,
  Budget,
  Kind,
  Metadata,
  Pod,
  Service,
  Snapshot,
  Workload,
} from '../../model/doctor/objects.ts';
import type { CutOf } from '../../model/doctor/traffic.ts';
import { type Diagnosis, diagnose } from '../../model/doctor.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import type { Cluster } from './cluster.ts';
import { describeAsked, isStatus, rbacRule } from './errors.ts';
import { carriesProtected, PROTECTED_LABELS } from './health.ts';
import { NAMESPACES, PODS, type Ref, SERVICES } from './objects.ts';
import { chooseWay } from './ways.ts';

const apps = (resource: string): Ref => ({ group: 'apps', version: 'v1', resource });
const BUDGETS: Ref = { group: 'policy', version: 'v1', resource: 'poddisruptionbudgets' };
const AUTOSCALERS: Ref = { group: 'autoscaling', version: 'v2', resource: 'horizontalpodautoscalers' };
const WORKLOADS: Record<Kind, Ref> = {
  Deployment: apps('deployments'),
  StatefulSet: apps('statefulsets'),
  DaemonSet: apps('daemonsets'),
};

export interface Examination extends Diagnosis {
  /** What could not be read, and why, with what would allow it; nothing is concluded from it. */
  unread: string[];
  /** False where no workloads could be read at all. */
  answered: boolean;
}

/**
 * Reads a cluster and says what keeps its workloads from healing themselves. It only lists, and changes nothing.
 *
 * @param namespaces none: all but those that begin with `kube-`
 * @returns also where some of it, or all, could not be read
 * @throws FinalError `UnknownTarget` where its kubeconfig cannot be used
 */
export async function examine(cluster: Cluster, namespaces: readonly string[]): Promise<Examination> {
  const reader = new Reader(cluster, namespaces);
  const [deployments, statefulSets, daemonSets, pods, services, budgets, autoscalers, spaces] = await Promise.all([
    reader.workloads('Deployment'),
    reader.workloads('StatefulSet'),
    reader.workloads('DaemonSet'),
    reader.list<Pod>(PODS),
    reader.list<Service>(SERVICES),
    reader.list<Budget>(BUDGETS),
    reader.list<Autoscaler>(AUTOSCALERS),
    reader.namespaces(),
  ]);
  const snapshot: Snapshot = {
    cluster: cluster.name,
    workloads: [...(deployments ?? []), ...(statefulSets ?? []), ...(daemonSets ?? [])],
    pods,
    services,
    budgets,
    autoscalers,
    namespaces: spaces,
  };
  const answered = [deployments, statefulSets, daemonSets, pods].some((list) => list !== undefined);
  return { ...diagnose(snapshot, cutOf), unread: reader.unread(answered), answered };
}

/** The ways that a rule takes unless it says otherwise; none is missed of what is never a target. */
export const cutOf: CutOf = ({ metadata, spec, status }, selector, services) => {
  const pod = {
    metadata: { ...NOBODY, name: metadata.name, labels: metadata.labels },
    spec: { readinessGates: spec.readinessGates },
    status,
  };
  const label = carriesProtected(pod.metadata, PROTECTED_LABELS);
  if (label) return { way: 'untouched', why: `its pods carry the protected label ${label}` };
  const others = services.map((service) => ({
    metadata: { ...NOBODY, name: service.metadata.name },
    spec: { selector: service.spec?.selector ?? {} },
  }));
  return chooseWay({ pod, selector, services: others }, { traffic: 'auto' });
};

/** A way does not depend on who it is: the pod is one that its workload would make. */
const NOBODY = { uid: '', resourceVersion: '' };

/** Lists of all that is to be looked at; what fails is kept as words, and the rest goes on. */
class Reader {
  readonly #refused: string[] = [];
  readonly #unanswered: string[] = [];
  readonly #cluster: Cluster;
  readonly #namespaces: readonly string[];

  constructor(cluster: Cluster, namespaces: readonly string[]) {
    this.#cluster = cluster;
    this.#namespaces = namespaces;
  }

  /** A list has items without their kind. */
  async workloads(kind: Kind): Promise<Workload[] | undefined> {
    const items = await this.list<Omit<Workload, 'kind'>>(WORKLOADS[kind]);
    return items?.map((item) => ({ ...item, kind }));
  }

  /** @returns undefined where it could not be read whole: a part of it would look like the absence of the rest */
  async list<T extends { metadata: Metadata }>(ref: Ref): Promise<T[] | undefined> {
    const asked = this.#namespaces.length > 0 ? this.#namespaces : [undefined];
    const lists = await Promise.all(asked.map((namespace) => this.#list<T>({ ...ref, namespace })));
    const items = lists.flatMap((list) => list ?? []);
    return lists.includes(undefined) ? undefined : items.filter(({ metadata }) => this.#isMeant(metadata.namespace));
  }

  /** Those that were named are asked for one by one: a role in a namespace gives the right to read that namespace. */
  async namespaces(): Promise<{ metadata: Metadata }[] | undefined> {
    if (this.#namespaces.length === 0) return this.#list(NAMESPACES);
    const found = await Promise.all(
      this.#namespaces.map((name) =>
        this.#attempt(async () => {
          const namespace = await this.#cluster.get({ ...NAMESPACES, name });
          if (!namespace) this.#refused.push(`there is no namespace ${name} in cluster ${this.#cluster.name}`);
          return namespace ? [namespace] : [];
        }),
      ),
    );
    return found.flatMap((one) => one ?? []);
  }

  /** Of a server that does not answer at all, once is enough. */
  unread(answered: boolean): string[] {
    return [...this.#refused, ...(answered ? this.#unanswered : this.#unanswered.slice(0, 1))];
  }

  #list<T>(ref: Ref): Promise<T[] | undefined> {
    return this.#attempt(async () => (await this.#cluster.list(ref)).items as T[]);
  }

  async #attempt<T>(read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      // Its kubeconfig is wrong: that is for whoever called.
      if (error instanceof FinalError) throw error;
      if (error instanceof UnavailableError) this.#unanswered.push(error.message);
      else this.#refused.push(explain(error));
      return undefined;
    }
  }

  #isMeant(namespace = ''): boolean {
    return this.#namespaces.length > 0 || !namespace.startsWith('kube-');
  }
}

function explain(error: unknown): string {
  if (isStatus(error, 403))
    return `cannot ${describeAsked(error.asked)}: that needs the right { ${rbacRule(error.asked)} }`;
  return error instanceof Error ? error.message : String(error);
}
