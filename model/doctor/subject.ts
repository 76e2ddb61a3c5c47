import type { LabelSelector } from '../selectors.ts';
import { formatTarget } from '../target.ts';
import { manifest } from './findings.ts';
import {
  type Autoscaler,
  type Budget,
  type Container,
  type Labels,
  labelsOf,
  type Pod,
  type PodSpec,
  type Service,
  type Snapshot,
  selects,
  serviceSelects,
  type Workload,
} from './objects.ts';

/** One workload and what is around it in its namespace; undefined is what could not be read. */
export interface Subject {
  workload: Workload;
  /** Target key. */
  key: string;
  namespace: string;
  /** Of its pods. */
  labels: Labels;
  spec: PodSpec;
  /** Its pods, by its selector. */
  pods?: Pod[];
  /** Services that select its pods. */
  services?: Service[];
  /** All of the namespace. */
  allServices?: Service[];
  /** Budgets that select its pods. */
  budgets?: Budget[];
  /** Null where there is none. */
  autoscaler?: Autoscaler | null;
  /** All workloads of the namespace, this one too. */
  neighbours: Workload[];
}

/** The workloads of a snapshot that have pods to be healed: what is scaled to zero has none. */
export function subjectsOf(snapshot: Snapshot): Subject[] {
  const within = byNamespace(snapshot);
  return snapshot.workloads
    .filter(({ spec }) => spec.replicas !== 0)
    .map((workload) => subjectOf(snapshot.cluster, workload, within(workload.metadata.namespace ?? '')));
}

interface Within extends Pick<Snapshot, 'workloads' | 'services' | 'budgets' | 'autoscalers'> {
  /** Those that a selector selects. */
  podsOf?: (selector: LabelSelector) => Pod[];
}

/** Looked up by namespace: every workload against every pod of a large cluster would take minutes. */
function byNamespace(snapshot: Snapshot): (namespace: string) => Within {
  const group = <T extends { metadata: { namespace?: string } }>(objects: T[] | undefined) =>
    objects && Map.groupBy(objects, ({ metadata }) => metadata.namespace ?? '');
  const workloads = group(snapshot.workloads);
  const pods = group(snapshot.pods);
  const podsOf = new Map([...(pods ?? [])].map(([namespace, all]) => [namespace, selection(all)]));
  const services = group(snapshot.services);
  const budgets = group(snapshot.budgets);
  const autoscalers = group(snapshot.autoscalers);
  return (namespace) => ({
    workloads: workloads?.get(namespace) ?? [],
    ...(pods && { podsOf: podsOf.get(namespace) ?? (() => []) }),
    ...(services && { services: services.get(namespace) ?? [] }),
    ...(budgets && { budgets: budgets.get(namespace) ?? [] }),
    ...(autoscalers && { autoscalers: autoscalers.get(namespace) ?? [] }),
  });
}

/** By one label of the selector first, which leaves few to be looked at. */
function selection(pods: Pod[]): (selector: LabelSelector) => Pod[] {
  const byLabel = new Map<string, Pod[]>();
  for (const pod of pods) {
    for (const [key, value] of Object.entries(pod.metadata.labels ?? {})) {
      const same = byLabel.get(`${key}=${value}`);
      if (same) same.push(pod);
      else byLabel.set(`${key}=${value}`, [pod]);
    }
  }
  return (selector) => {
    const candidates = Object.entries(selector.matchLabels ?? {}).map(
      ([key, value]) => byLabel.get(`${key}=${value}`) ?? [],
    );
    const [fewest = pods] = candidates.sort((a, b) => a.length - b.length);
    return fewest.filter(({ metadata }) => selects(selector, metadata.labels ?? {}));
  };
}

function subjectOf(cluster: string, workload: Workload, within: Within): Subject {
  const { kind, metadata, spec } = workload;
  const namespace = metadata.namespace ?? '';
  const labels = labelsOf(spec.template);
  const { podsOf, services, budgets, autoscalers } = within;
  const scales = ({ spec: { scaleTargetRef } }: Autoscaler): boolean =>
    scaleTargetRef.kind === kind && scaleTargetRef.name === metadata.name;
  return {
    workload,
    key: formatTarget({
      type: 'k8s',
      cluster,
      namespace,
      kind: kind.toLowerCase(),
      group: 'apps',
      name: metadata.name,
    }),
    namespace,
    labels,
    spec: spec.template.spec,
    pods: podsOf?.(spec.selector),
    services: services?.filter((service) => serviceSelects(service, labels)),
    allServices: services,
    budgets: budgets?.filter((budget) => selects(budget.spec?.selector, labels)),
    autoscaler: autoscalers && (autoscalers.find(scales) ?? null),
    neighbours: within.workloads,
  };
}

export const isServed = ({ services }: Subject): boolean => (services ?? []).length > 0;

/** The containers to which the Services send: by their ports, where these are written down. */
export function serving({ services = [], spec: { containers } }: Subject): Container[] {
  const targets = services.flatMap(({ spec }) => (spec?.ports ?? []).map(({ port, targetPort }) => targetPort ?? port));
  const targeted = containers.filter(({ ports = [] }) =>
    ports.some(({ name, containerPort }) => targets.some((target) => target === name || target === containerPort)),
  );
  return targeted.length > 0 ? targeted : listening(containers);
}

/** The containers that do the work: those that listen; where none says so, the first one. */
export function listening(containers: Container[]): Container[] {
  const found = containers.filter(({ ports = [] }) => ports.length > 0);
  return found.length > 0 ? found : containers.slice(0, 1);
}

/** "the Service a", "the Services a and b", and the verb that goes with it. */
export const theServices = (services: Service[], verb: { one: string; more: string }): string =>
  services.length === 1
    ? `the Service ${namesOf(services)} ${verb.one}`
    : `the Services ${namesOf(services)} ${verb.more}`;

/** Pods of a DaemonSet are part of their node: Salvor and a drain leave them, and nobody scales or budgets them. */
export const isOfNodes = ({ workload }: Subject): boolean => workload.kind === 'DaemonSet';

/** The replicas that it is meant to have now. */
export const replicasOf = ({ spec }: Workload): number => spec.replicas ?? 1;

/** Names with "and": "a", "a and b", "a, b and c". */
export const listed = (names: readonly string[]): string =>
  names.length < 2 ? (names[0] ?? '') : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;

export const namesOf = (objects: readonly { metadata: { name: string } }[]): string =>
  listed(objects.map(({ metadata }) => metadata.name));

/** A patch of the workload itself. */
export const patch = ({ workload: { kind, metadata }, namespace }: Subject, spec: object): object =>
  manifest('apps/v1', kind, metadata.name, namespace, { spec });

/** A patch of the pods that it makes. */
export const patchPods = (subject: Subject, spec: object): object => patch(subject, { template: { spec } });

/** A patch of one of their containers. */
export const patchContainer = (subject: Subject, { name }: Container, rest: object): object =>
  patchPods(subject, { containers: [{ name, ...rest }] });
