import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import {
  AppsV1Api,
  CoreV1Api,
  DiscoveryV1Api,
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  PatchStrategy,
  setHeaderOptions,
  type V1Deployment,
  type V1Pod,
  type V1PodDisruptionBudget,
  type V1Service,
  type V1StatefulSet,
} from '@kubernetes/client-node';
import { Agent, request } from 'undici';
import type { Held } from '../../model/change.ts';
import { HELD_ANNOTATION, IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../model/names.ts';
import { formatTarget } from '../../model/target.ts';
import { type Kubernetes, UNREADY_ANNOTATION } from '../../sandbox/kubernetes.ts';
import { eventually } from './wait.ts';

/** How a test's workload is made; `name` is also its label `app`, on which everything selects. */
export interface WorkloadOptions {
  namespace: string;
  name: string;
  replicas?: number;
  /** The pods carry the traffic label "on". */
  trafficLabel?: boolean;
  /** Readiness gates that the pods declare. */
  gates?: string[];
  /** More labels of the pods. */
  labels?: Record<string, string>;
  /** Pods go through a terminating state, for they wait for this finalizer. */
  finalizer?: string;
}

function template({ name, trafficLabel, gates, labels, finalizer }: WorkloadOptions) {
  return {
    metadata: {
      labels: { app: name, ...(trafficLabel && { [TRAFFIC_LABEL]: 'on' }), ...labels },
      ...(finalizer && { finalizers: [finalizer] }),
    },
    spec: {
      // The sandbox has no scheduler.
      nodeName: 'node-0',
      containers: [{ name: 'app', image: 'app:1' }],
      ...(gates && { readinessGates: gates.map((conditionType) => ({ conditionType })) }),
    },
  };
}

export const deployment = (options: WorkloadOptions): V1Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: options.name, namespace: options.namespace },
  spec: {
    replicas: options.replicas ?? 2,
    selector: { matchLabels: { app: options.name } },
    template: template(options),
  },
});

export const statefulSet = (options: WorkloadOptions): V1StatefulSet => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: options.name, namespace: options.namespace },
  spec: {
    replicas: options.replicas ?? 2,
    serviceName: options.name,
    podManagementPolicy: 'Parallel',
    selector: { matchLabels: { app: options.name } },
    template: template(options),
  },
});

/** A Service over the pods of `app`; with `trafficLabel` only over those that are let in. */
export const service = (namespace: string, app: string, trafficLabel = false, name = app): V1Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace },
  spec: { selector: { app, ...(trafficLabel && { [TRAFFIC_LABEL]: 'on' }) }, ports: [{ port: 80, targetPort: 8080 }] },
});

export const budget = (
  namespace: string,
  app: string,
  minAvailable: number | string,
  name = app,
): V1PodDisruptionBudget => ({
  apiVersion: 'policy/v1',
  kind: 'PodDisruptionBudget',
  metadata: { name, namespace },
  spec: { minAvailable, selector: { matchLabels: { app } } },
});

const isTrue = (pod: V1Pod, type: string) =>
  pod.status?.conditions?.find((condition) => condition.type === type)?.status === 'True';

export const isReady = (pod: V1Pod): boolean => isTrue(pod, 'Ready');

/** What Salvor needs to be allowed to do with pods and nodes: the rules of its ClusterRoles. */
export const DRAIN_RULES = [
  { apiGroups: [''], resources: ['pods'], verbs: ['get', 'list', 'watch', 'patch'] },
  // Only what was in quarantine.
  { apiGroups: [''], resources: ['pods'], verbs: ['delete'] },
  { apiGroups: [''], resources: ['pods/status'], verbs: ['patch'] },
  { apiGroups: [''], resources: ['pods/eviction'], verbs: ['create'] },
  { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch', 'patch'] },
  { apiGroups: [''], resources: ['services'], verbs: ['list'] },
  { apiGroups: [''], resources: ['namespaces'], verbs: ['get'] },
  { apiGroups: ['discovery.k8s.io'], resources: ['endpointslices'], verbs: ['list', 'watch'] },
  {
    apiGroups: ['apps'],
    resources: ['deployments', 'replicasets', 'statefulsets'],
    verbs: ['get', 'list', 'watch'],
  },
];

/** What Salvor needs to be allowed to do with what it scales. */
export const SCALE_RULES = [
  { apiGroups: [''], resources: ['namespaces'], verbs: ['get'] },
  { apiGroups: ['apps'], resources: ['deployments', 'statefulsets'], verbs: ['get', 'list', 'patch'] },
  { apiGroups: ['apps'], resources: ['replicasets'], verbs: ['get', 'list'] },
  { apiGroups: [''], resources: ['replicationcontrollers'], verbs: ['get', 'list'] },
  { apiGroups: ['autoscaling'], resources: ['horizontalpodautoscalers'], verbs: ['get', 'list', 'patch'] },
  { apiGroups: ['keda.sh'], resources: ['scaledobjects'], verbs: ['get', 'list', 'patch'] },
  { apiGroups: ['apiextensions.k8s.io'], resources: ['customresourcedefinitions'], verbs: ['get'] },
];

/** What Salvor needs to be allowed to do with what is in manifests. */
export const DRIFT_RULES = [
  {
    apiGroups: ['', 'apps', 'batch', 'networking.k8s.io', 'rbac.authorization.k8s.io', 'autoscaling', 'policy'],
    resources: ['*'],
    verbs: ['get', 'list', 'create', 'patch', 'delete'],
  },
  // Nobody gives a right that he has not.
  { apiGroups: ['rbac.authorization.k8s.io'], resources: ['roles', 'clusterroles'], verbs: ['escalate', 'bind'] },
  { apiGroups: ['example.com', 'apiextensions.k8s.io'], resources: ['*'], verbs: ['get', 'list', 'create', 'patch'] },
];

/** A person (or a controller) at the sandbox's cluster: what a test does to it and sees of it, not through Salvor. */
export class TestCluster {
  /** The name by which targets call it. */
  readonly name: string;
  readonly core: CoreV1Api;
  readonly apps: AppsV1Api;
  readonly #discovery: DiscoveryV1Api;
  readonly #metrics: () => Promise<string>;
  readonly #objects: KubernetesObjectApi;

  constructor({ kubeconfig, server, caFile, users }: Kubernetes, name = 'sandbox') {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    this.name = name;
    this.core = config.makeApiClient(CoreV1Api);
    this.apps = config.makeApiClient(AppsV1Api);
    this.#discovery = config.makeApiClient(DiscoveryV1Api);
    this.#objects = KubernetesObjectApi.makeApiClient(config);
    this.#metrics = async () => {
      const dispatcher = new Agent({ connect: { ca: await readFile(caFile) } });
      const headers = { authorization: `Bearer ${users.admin?.token}` };
      const { body } = await request(`${server}/metrics`, { dispatcher, headers });
      const text = await body.text();
      await dispatcher.close();
      return text;
    };
  }

  /** Gives a user these rights in the whole cluster. */
  async allow(user: string, rules: object[] = DRAIN_RULES): Promise<void> {
    const rbac = 'rbac.authorization.k8s.io';
    const metadata = { name: `${user}-${randomUUID().slice(0, 8)}` };
    const role = { apiVersion: `${rbac}/v1`, kind: 'ClusterRole', metadata, rules };
    const subjects = [{ apiGroup: rbac, kind: 'User', name: user }];
    const roleRef = { apiGroup: rbac, kind: 'ClusterRole', name: metadata.name };
    const binding = { apiVersion: `${rbac}/v1`, kind: 'ClusterRoleBinding', metadata, subjects, roleRef };
    await this.create(role, binding);
  }

  /** A namespace of its own for each test. */
  async namespace(prefix = 'test'): Promise<string> {
    const name = `${prefix}-${randomUUID().slice(0, 8)}`;
    await this.core.createNamespace({ body: { metadata: { name } } });
    return name;
  }

  async create(...objects: KubernetesObject[]): Promise<void> {
    for (const object of objects) await this.#objects.create(object);
  }

  async delete(...objects: KubernetesObject[]): Promise<void> {
    for (const object of objects) await this.#objects.delete(object);
  }

  /** Any object as it is now. */
  read(object: KubernetesObject): Promise<KubernetesObject> {
    const { name = '', namespace } = object.metadata ?? {};
    return this.#objects.read({ ...object, metadata: { name, ...(namespace && { namespace }) } });
  }

  /** A merge patch of any object, as a person would make it with kubectl. */
  async patch(object: KubernetesObject, body: object, fieldManager = 'kubectl-edit'): Promise<void> {
    const { apiVersion, kind, metadata: { name, namespace } = {} } = object;
    const { metadata, ...rest } = body as KubernetesObject;
    const patch = { apiVersion, kind, ...rest, metadata: { ...metadata, name, ...(namespace && { namespace }) } };
    await this.#objects.patch(patch, undefined, undefined, fieldManager, undefined, PatchStrategy.MergePatch);
  }

  /** The target key of a pod. */
  target = (namespace: string, name: string): string =>
    formatTarget({ type: 'k8s', cluster: this.name, namespace, kind: 'pod', name });

  async pods(namespace: string, app: string): Promise<V1Pod[]> {
    const { items } = await this.core.listNamespacedPod({ namespace, labelSelector: `app=${app}` });
    return items.sort((a, b) => nameOf(a).localeCompare(nameOf(b)));
  }

  async pod(namespace: string, name: string): Promise<V1Pod | undefined> {
    const { items } = await this.core.listNamespacedPod({ namespace, fieldSelector: `metadata.name=${name}` });
    return items[0];
  }

  /** Waits until so many pods of the app are Ready (and Salvor's gate, where they declare it, is set to True). */
  async readyPods(namespace: string, app: string, count: number): Promise<V1Pod[]> {
    return eventually(`${count} ready pods of ${app}`, async () => {
      const pods = await this.pods(namespace, app);
      for (const pod of pods) {
        const gated = pod.spec?.readinessGates?.some(({ conditionType }) => conditionType === IN_SERVICE_GATE);
        const held = pod.metadata?.annotations?.[HELD_ANNOTATION];
        if (gated && !held && !isTrue(pod, IN_SERVICE_GATE))
          await this.setCondition(namespace, nameOf(pod), IN_SERVICE_GATE, 'True');
      }
      const ready = pods.filter(isReady);
      return ready.length === count && ready;
    });
  }

  /** Makes the containers of a pod unready, or ready again, and waits until the pod says so. */
  async setUnready(namespace: string, name: string, unready: boolean): Promise<void> {
    await this.patchPod(namespace, name, {
      metadata: { annotations: { [UNREADY_ANNOTATION]: unready ? 'true' : null } },
    });
    await eventually(`${name} ${unready ? 'unready' : 'ready'}`, async () => {
      const pod = await this.pod(namespace, name);
      return pod !== undefined && isTrue(pod, 'ContainersReady') === !unready;
    });
  }

  /** A merge patch, as a person would make it with kubectl: under another field manager than Salvor's. */
  async patchPod(namespace: string, name: string, body: object, fieldManager = 'kubectl-edit'): Promise<void> {
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await this.core.patchNamespacedPod({ namespace, name, body, fieldManager }, merge);
  }

  async patchStatefulSet(namespace: string, name: string, body: object): Promise<void> {
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await this.apps.patchNamespacedStatefulSet({ namespace, name, body }, merge);
  }

  async patchDeployment(namespace: string, name: string, body: object): Promise<void> {
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await this.apps.patchNamespacedDeployment({ namespace, name, body }, merge);
  }

  async setCondition(namespace: string, name: string, type: string, status: string): Promise<void> {
    const condition = { type, status, lastTransitionTime: new Date().toISOString() };
    const strategic = setHeaderOptions('Content-Type', PatchStrategy.StrategicMergePatch);
    await this.core.patchNamespacedPodStatus(
      { namespace, name, body: { status: { conditions: [condition] } }, fieldManager: 'kubectl-edit' },
      strategic,
    );
  }

  /** Whether an EndpointSlice sends traffic to the pod of this UID. */
  async isInTraffic(namespace: string, uid: string): Promise<boolean> {
    const { items } = await this.#discovery.listNamespacedEndpointSlice({ namespace });
    const endpoints = items.flatMap((slice) => slice.endpoints ?? []);
    return endpoints.some(({ targetRef, conditions }) => targetRef?.uid === uid && conditions?.ready !== false);
  }

  /** Watches of a resource, each of one namespace, that the API server serves now: Salvor's, for nobody else has any. */
  async openWatches(resource: string): Promise<number> {
    const line = new RegExp(
      `^apiserver_longrunning_requests\\{.*resource="${resource}".*scope="namespace".*\\} (\\d+)$`,
      'gm',
    );
    const text = await this.#metrics();
    return [...text.matchAll(line)]
      .filter(([all]) => all.includes('verb="WATCH"'))
      .reduce((sum, m) => sum + Number(m[1]), 0);
  }

  /** What is held on a pod, as its annotation says. */
  async held(namespace: string, name: string): Promise<Held[]> {
    const pod = await this.pod(namespace, name);
    return JSON.parse(pod?.metadata?.annotations?.[HELD_ANNOTATION] ?? '[]');
  }

  async trafficLabel(namespace: string, name: string): Promise<string | undefined> {
    return (await this.pod(namespace, name))?.metadata?.labels?.[TRAFFIC_LABEL];
  }
}

export const nameOf = (object: KubernetesObject): string => object.metadata?.name ?? '';
export const uidOf = (object: KubernetesObject): string => object.metadata?.uid ?? '';
