import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AppsV1Api,
  CoreV1Api,
  KubeConfig,
  PatchStrategy,
  RbacAuthorizationV1Api,
  setHeaderOptions,
} from '@kubernetes/client-node';
import { parseAllDocuments } from 'yaml';
import { TRAFFIC_LABEL } from '../../model/names.ts';
import { type Kubernetes, UNREADY_ANNOTATION } from '../../sandbox/kubernetes.ts';
import { until } from './product.ts';

const RBAC = join(import.meta.dirname, '..', '..', 'deploy', 'kubernetes', 'rbac.yaml');
const CREATE_WITHIN = 300_000;

export interface Workload {
  namespace: string;
  /** Names of its pods. */
  pods: string[];
  /** Deletes it, and waits until its pods are gone. */
  remove(): Promise<void>;
}

/** The cluster's own people: they give Salvor its rights and run workloads, which pretend to be unready or ready. */
export class Pods {
  readonly #core: CoreV1Api;
  readonly #apps: AppsV1Api;
  readonly #rbac: RbacAuthorizationV1Api;
  #count = 0;

  constructor({ kubeconfig }: Kubernetes) {
    const config = new KubeConfig();
    config.loadFromFile(kubeconfig);
    this.#core = config.makeApiClient(CoreV1Api);
    this.#apps = config.makeApiClient(AppsV1Api);
    this.#rbac = config.makeApiClient(RbacAuthorizationV1Api);
  }

  /** Gives the user `salvor` the rights that deploy/kubernetes/rbac.yaml gives to Salvor, and no more. */
  async allowSalvor(): Promise<void> {
    const documents = parseAllDocuments(await readFile(RBAC, 'utf8')).map((one) => one.toJS() as { kind: string });
    const role = documents.find(({ kind }) => kind === 'ClusterRole');
    const name = 'salvor-drain-instance';
    const apiGroup = 'rbac.authorization.k8s.io';
    await this.#rbac.createClusterRole({ body: role as never });
    await this.#rbac.createClusterRoleBinding({
      body: {
        metadata: { name },
        roleRef: { apiGroup, kind: 'ClusterRole', name },
        subjects: [{ apiGroup, kind: 'User', name: 'salvor' }],
      },
    });
  }

  /** A Deployment with a Service that selects on the traffic label, in a namespace of its own. */
  async run(replicas: number, { unready }: { unready: boolean }): Promise<Workload> {
    this.#count += 1;
    const namespace = `bench-${this.#count}`;
    const labels = { app: 'web', [TRAFFIC_LABEL]: 'on' };
    await this.#core.createNamespace({ body: { metadata: { name: namespace } } });
    await this.#core.createNamespacedService({
      namespace,
      body: { metadata: { name: 'web' }, spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] } },
    });
    await this.#apps.createNamespacedDeployment({
      namespace,
      body: {
        metadata: { name: 'web' },
        spec: {
          replicas,
          selector: { matchLabels: { app: 'web' } },
          template: {
            metadata: { labels, annotations: unready ? { [UNREADY_ANNOTATION]: 'true' } : {} },
            spec: { nodeName: 'node-0', containers: [{ name: 'app', image: 'app:1' }] },
          },
        },
      },
    });
    const pods = await until(
      `${replicas} pods`,
      async () => {
        const names = await this.#names(namespace, unready);
        return names.length === replicas && names;
      },
      CREATE_WITHIN,
      500,
    );
    return { namespace, pods, remove: () => this.#remove(namespace) };
  }

  /** The pods whose kubelet has told how they are. */
  async #names(namespace: string, unready: boolean): Promise<string[]> {
    const { items } = await this.#core.listNamespacedPod({ namespace });
    const told = items.filter(({ status }) =>
      status?.conditions?.some(({ type, status }) => type === 'Ready' && status === (unready ? 'False' : 'True')),
    );
    return told.map(({ metadata }) => metadata?.name ?? '').sort();
  }

  /** Makes one pod unready or ready again, as if its containers had told the kubelet. */
  async setUnready(namespace: string, name: string, unready: boolean): Promise<void> {
    await this.#core.patchNamespacedPod(
      { namespace, name, body: { metadata: { annotations: { [UNREADY_ANNOTATION]: unready ? 'true' : null } } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
  }

  async #remove(namespace: string): Promise<void> {
    await this.#apps.deleteNamespacedDeployment({ namespace, name: 'web', propagationPolicy: 'Background' });
    await until(
      `no pods in ${namespace}`,
      async () => (await this.#core.listNamespacedPod({ namespace, limit: 1 })).items.length === 0,
      CREATE_WITHIN,
      500,
    );
  }
}
