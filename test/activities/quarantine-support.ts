import type { V1LabelSelector, V1Pod } from '@kubernetes/client-node';
import { beforeAll } from 'vitest';
import type { ReplaceRequest, VerifyRequest } from '../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import { deployment, nameOf, service, uidOf, type WorkloadOptions } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { actor, type Bench, inMs, OPTIONS, useBench } from './instance-support.ts';

export const ALLOWED: DrainInstanceOptions = { ...OPTIONS, quarantine: { keepFor: 60_000, afterwards: 'delete' } };

/** `metadata.labels[app]` */
export const labelField = (name: string): string => `metadata.labels[${name}]`;

/** A Service `name` that selects on these labels. */
export const selecting = (namespace: string, name: string, selector: Record<string, string>) => {
  const made = service(namespace, name);
  return { ...made, spec: { ...made.spec, selector } };
};

/** One of its own, `web`: that of a Deployment has a label of its own in its selector. */
export const replicaSet = (namespace: string, selector: V1LabelSelector, template: object): object => ({
  ...{ apiVersion: 'apps/v1', kind: 'ReplicaSet', metadata: { name: 'web', namespace } },
  spec: { replicas: 1, selector, template },
});

/** A bench whose user may also do what quarantine needs, and what its tests do and see. */
export function useQuarantine() {
  const bench = useBench();
  beforeAll(async () => {
    const controllers = { apiGroups: [''], resources: ['replicationcontrollers'], verbs: ['get', 'list', 'watch'] };
    await bench.cluster.allow('salvor', [{ apiGroups: [''], resources: ['pods'], verbs: ['delete'] }, controllers]);
  }, 60_000);
  const pods = new QuarantinePods(bench);
  return { bench, pods };
}

class QuarantinePods {
  readonly #bench: Bench;

  constructor(bench: Bench) {
    this.#bench = bench;
  }

  /** An unready one of a Deployment `web`, which the Services `web` (by app) and, with `tier`, `api` (by tier) select. */
  async sick({ tier = false, ...more }: Partial<WorkloadOptions> & { tier?: boolean } = {}) {
    const bench = this.#bench;
    const namespace = await bench.cluster.namespace();
    const labels = { ...(tier && { tier: 'front' }), ...more.labels };
    await bench.cluster.create(
      deployment({ namespace, name: 'web', ...more, labels }),
      service(namespace, 'web'),
      ...(tier ? [selecting(namespace, 'api', { tier: 'front' })] : []),
    );
    const [pod] = await bench.cluster.readyPods(namespace, 'web', more.replicas ?? 2);
    const name = nameOf(pod!);
    await bench.cluster.setUnready(namespace, name, true);
    const { found, request } = await bench.sick(namespace, name, actor(), ALLOWED);
    const { owner, instance } = found;
    const common = { actor: actor(), instance, owner, held: request.held, options: ALLOWED };
    const replace: ReplaceRequest = { ...common, step: 'replace', notBefore: inMs(0), deadline: inMs(60_000) };
    const verify: VerifyRequest = { ...common, deadline: inMs(60_000) };
    const restore = { ...request, step: 'restore' };
    return { namespace, name, uid: uidOf(pod!), found, request, replace, verify, restore };
  }

  /** One that is there. */
  async get(namespace: string, name: string): Promise<V1Pod> {
    const pod = await this.#bench.cluster.pod(namespace, name);
    if (!pod) throw new Error(`there is no pod ${name}`);
    return pod;
  }

  /** What a restore must bring back: all of the metadata that is not the server's own. */
  async state(namespace: string, name: string) {
    const { labels, annotations, ownerReferences } = (await this.get(namespace, name)).metadata ?? {};
    return { labels, annotations, ownerReferences };
  }

  async isOwned(namespace: string, name: string): Promise<boolean> {
    return ((await this.state(namespace, name)).ownerReferences ?? []).length > 0;
  }

  released(namespace: string, name: string): Promise<true> {
    return eventually('its owner lets go of it', async () => !(await this.isOwned(namespace, name)));
  }

  adopted(namespace: string, name: string): Promise<true> {
    return eventually('its owner has it again', () => this.isOwned(namespace, name));
  }

  /** All of a namespace, whatever their labels. */
  async all(namespace: string): Promise<V1Pod[]> {
    return (await this.#bench.cluster.core.listNamespacedPod({ namespace })).items;
  }
}
