import {
  KubeConfig,
  type KubernetesObject,
  KubernetesObjectApi,
  PatchStrategy,
  type V1Container,
  type V1Deployment,
  type V1Pod,
  type V1PodDisruptionBudget,
  type V1PodSpec,
  type V1Service,
  type V2HorizontalPodAutoscaler,
} from '@kubernetes/client-node';
import { parseAllDocuments } from 'yaml';
import { TRAFFIC_LABEL } from '../../model/names.ts';

/** A Deployment that can heal itself, and what is around it. `spec` (of its pods) and `container` may be made worse. */
export interface Kit {
  deployment: V1Deployment & { spec: { template: { metadata: { labels: Record<string, string> } } } };
  pods: V1PodSpec;
  container: V1Container;
  service: V1Service & { spec: { selector: Record<string, string> } };
  budget: V1PodDisruptionBudget & { spec: object };
  more: KubernetesObject[];
}

export function healthy(namespace: string, name: string): Kit {
  const labels = { app: name, [TRAFFIC_LABEL]: 'on' };
  const container: V1Container = {
    name: 'app',
    image: 'app:1',
    ports: [{ name: 'http', containerPort: 8080 }],
    readinessProbe: { httpGet: { path: '/ready', port: 'http' }, periodSeconds: 5 },
    livenessProbe: { httpGet: { path: '/alive', port: 'http' }, failureThreshold: 30 },
    lifecycle: { preStop: { sleep: { seconds: 10 } } },
    resources: { requests: { cpu: '100m' } },
  };
  const pods: V1PodSpec = { containers: [container] };
  return {
    container,
    pods,
    deployment: {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: name } },
        template: { metadata: { labels: { ...labels } }, spec: pods },
      },
    },
    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace },
      spec: { selector: { ...labels }, ports: [{ port: 80, targetPort: 'http' }] },
    },
    budget: {
      apiVersion: 'policy/v1',
      kind: 'PodDisruptionBudget',
      metadata: { name, namespace },
      spec: {
        maxUnavailable: 1,
        unhealthyPodEvictionPolicy: 'AlwaysAllow',
        selector: { matchLabels: { app: name } },
      },
    },
    more: [],
  };
}

export const objectsOf = ({ deployment, service, budget, more }: Kit): KubernetesObject[] => [
  service,
  budget,
  deployment,
  ...more,
];

export const autoscaler = (kit: Kit, metrics: object[]): V2HorizontalPodAutoscaler => ({
  apiVersion: 'autoscaling/v2',
  kind: 'HorizontalPodAutoscaler',
  metadata: kit.deployment.metadata,
  spec: {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: kit.deployment.metadata?.name ?? '' },
    minReplicas: 2,
    maxReplicas: 4,
    metrics: metrics as NonNullable<V2HorizontalPodAutoscaler['spec']>['metrics'],
  },
});

export const CPU = {
  type: 'Resource',
  resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
};
export const QUEUE = {
  type: 'External',
  external: { metric: { name: 'queue' }, target: { type: 'AverageValue', averageValue: '5' } },
};

/** What is wrong with one workload each, by the finding that it must lead to and the only one. */
export const FAULTS: Record<string, (kit: Kit) => void> = {
  'no-readiness-probe': ({ container }) => {
    delete container.readinessProbe;
  },
  'no-liveness-probe': ({ container }) => {
    delete container.livenessProbe;
  },
  'same-probes': ({ container }) => {
    container.livenessProbe = { httpGet: { path: '/ready', port: 8080 } };
  },
  'no-traffic-cut': ({ deployment, service }) => {
    delete deployment.spec.template.metadata.labels[TRAFFIC_LABEL];
    delete service.spec.selector[TRAFFIC_LABEL];
  },
  'traffic-label-in-selector': ({ deployment }) => {
    deployment.spec.selector = { matchLabels: deployment.spec.template.metadata.labels };
  },
  'traffic-label-missing': ({ deployment }) => {
    delete deployment.spec.template.metadata.labels[TRAFFIC_LABEL];
  },
  'gate-nobody-sets': ({ pods }) => {
    pods.readinessGates = [{ conditionType: 'example.com/warm' }];
  },
  'service-sends-to-unready': ({ service }) => {
    Object.assign(service.spec, { publishNotReadyAddresses: true });
  },
  'no-disruption-budget': ({ budget }) => {
    budget.spec = { maxUnavailable: 1, selector: { matchLabels: { app: 'another' } } };
  },
  'several-disruption-budgets': ({ budget, more }) => {
    const name = `${budget.metadata?.name}-too`;
    more.push({ ...budget, metadata: { ...budget.metadata, name } });
  },
  'budget-never-allows': ({ budget }) => {
    const { maxUnavailable: _, ...rest } = budget.spec as { maxUnavailable?: number };
    budget.spec = { ...rest, minAvailable: 2 };
  },
  'sick-pods-not-evictable': ({ budget }) => {
    Object.assign(budget.spec, { unhealthyPodEvictionPolicy: 'IfHealthyBudget' });
  },
  'one-replica': ({ deployment }) => {
    Object.assign(deployment.spec, { replicas: 1 });
  },
  'hpa-resource-only': (kit) => {
    kit.more.push(autoscaler(kit, [CPU]));
  },
  'hpa-without-requests': (kit) => {
    delete kit.container.resources;
    kit.more.push(autoscaler(kit, [CPU, QUEUE]));
  },
  'no-pre-stop': ({ container }) => {
    delete container.lifecycle;
  },
  'grace-too-short': ({ pods }) => {
    pods.terminationGracePeriodSeconds = 10;
  },
  'local-data': ({ pods }) => {
    pods.volumes = [{ name: 'work', emptyDir: { sizeLimit: '2Gi' } }];
  },
  'bare-pod': (kit) => {
    const { metadata, spec } = kit.deployment;
    const pod: V1Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, labels: spec.template.metadata.labels },
      spec: kit.pods,
    };
    Object.assign(kit.deployment, pod);
  },
  'all-on-one-node': () => undefined, // by where its pods are put
  'pinned-to-node': ({ pods }) => {
    pods.nodeSelector = { 'kubernetes.io/hostname': 'node-0' };
  },
  excluded: ({ deployment }) => {
    Object.assign(deployment.spec.template.metadata, { annotations: { 'salvor.dev/skip': 'true' } });
  },
};

/** Does what a finding suggests, as kubectl would (which reads YAML 1.1): patches what exists, creates what does not, deletes what is to go. */
export async function apply(kubeconfig: string, mend: string): Promise<void> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const objects = KubernetesObjectApi.makeApiClient(config);
  for (const document of parseAllDocuments(mend, { version: '1.1' })) {
    const object = document.toJS() as KubernetesObject & { metadata: { name: string; namespace?: string } };
    if ('$patch' in object) await objects.delete({ ...object, $patch: undefined } as KubernetesObject);
    else if (await exists(objects, object))
      await objects.patch(object, undefined, undefined, 'kubectl-patch', undefined, PatchStrategy.StrategicMergePatch);
    else await objects.create(object);
  }
}

async function exists(
  objects: KubernetesObjectApi,
  object: KubernetesObject & { metadata: { name: string; namespace?: string } },
): Promise<boolean> {
  try {
    await objects.read(object);
    return true;
  } catch (error) {
    if ((error as { code?: number }).code === 404) return false;
    throw error;
  }
}
