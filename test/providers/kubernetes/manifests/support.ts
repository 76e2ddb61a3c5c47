import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { KubeConfig, type KubernetesObject, KubernetesObjectApi, PatchStrategy } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect } from 'vitest';
import { stringify } from 'yaml';
import type { Difference } from '../../../../model/drift/difference.ts';
import type { Stack } from '../../../../model/drift/options.ts';
import type { CompareRequest, RevertRequest } from '../../../../model/ports/desired-state.ts';
import type { DriftMeans } from '../../../../providers/desired-state.ts';
import { Cluster } from '../../../../providers/kubernetes/cluster.ts';
import { Kinds } from '../../../../providers/kubernetes/manifests/kinds.ts';
import { Kubernetes } from '../../../../providers/kubernetes/provider.ts';
import { stacksOf } from '../../../../providers/stacks-of.ts';
import { type Sandbox, startSandbox } from '../../../../sandbox/sandbox.ts';
import { DRIFT_RULES, TestCluster } from '../../../support/kubernetes.ts';
import { pulse } from '../../switch-support.ts';

type Plain = KubernetesObject & Record<string, unknown>;

export const actor = { runbook: 'revert-drift', remediation: 'remediation-1' };

/** What kubectl writes down of what it applies. */
const LAST = 'kubectl.kubernetes.io/last-applied-configuration';

export class ManifestsBench {
  sandbox!: Sandbox<'kubernetes'>;
  cluster!: TestCluster;
  kubernetes!: Kubernetes;
  objects!: KubernetesObjectApi;
  folder!: string;
  /** Writes what it is given as it is, where the client would leave out what it does not know. */
  #admin!: Cluster;
  readonly #user: string;
  readonly #allow: (cluster: TestCluster) => Promise<void>;

  /** @param user as whom Salvor works, with the rights that `allow` gives it */
  constructor(user = 'salvor', allow = (cluster: TestCluster) => cluster.allow(user, DRIFT_RULES)) {
    this.#user = user;
    this.#allow = allow;
  }

  async start(): Promise<void> {
    this.folder = await mkdtemp(join(tmpdir(), 'salvor-manifests-'));
    this.sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users: [{ name: this.#user }] } });
    const { kubernetes } = this.sandbox;
    this.cluster = new TestCluster(kubernetes);
    await this.#allow(this.cluster);
    const config = new KubeConfig();
    config.loadFromFile(kubernetes.kubeconfig);
    this.objects = KubernetesObjectApi.makeApiClient(config);
    this.#admin = new Cluster({ name: 'prod', kubeconfig: kubernetes.kubeconfig });
    this.kubernetes = new Kubernetes({ name: 'prod', kubeconfig: kubernetes.users[this.#user]?.kubeconfig ?? '' });
  }

  async stop(): Promise<void> {
    await this.#admin?.close();
    await this.kubernetes?.close();
    await this.sandbox?.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** A stack whose source is these files: texts, or objects. */
  async stack(files: Record<string, string | object[]>, change: Partial<Stack> = {}): Promise<StackUnderTest> {
    const folder = await mkdtemp(join(this.folder, 'stack-'));
    const stack: Stack = {
      ...{ name: 'shop', ignore: [], minAge: 0, holdWhile: [], lockWithin: 0, ...change },
      manifests: { folder, cluster: 'prod', kustomize: false, ...change.manifests },
    };
    const it = new StackUnderTest(this, stack, folder);
    await it.write(files);
    return it;
  }

  /** As `kubectl apply` does it: with its record of what it applied, under its name. */
  async deploy(...objects: object[]): Promise<void> {
    for (const object of objects as Plain[]) {
      const annotations = { ...object.metadata?.annotations, [LAST]: `${JSON.stringify(object)}\n` };
      const body = { ...object, metadata: { ...object.metadata, annotations } };
      const there = await this.live(object).catch(() => undefined);
      const by = 'kubectl-client-side-apply';
      const { ref, namespaced } = (await new Kinds(this.#admin).of(object as never))!;
      const { name, namespace } = object.metadata!;
      const place = { ...ref, ...(namespaced && { namespace }) };
      if (there) await this.#admin.patch({ ...place, name }, 'merge', by, body);
      else await this.#admin.create(place, body, undefined, by);
    }
  }

  /** As a deployer that applies on the server, such as Flux. */
  async applyOnServer(manager: string, ...objects: object[]): Promise<void> {
    for (const object of objects as Plain[])
      await this.objects.patch(object, undefined, undefined, manager, true, PatchStrategy.ServerSideApply);
  }

  /** As a person does it. */
  async edit(object: object, body: object, manager = 'kubectl-edit'): Promise<void> {
    await this.cluster.patch(object as Plain, body, manager);
  }

  async live<T = Plain>(object: object): Promise<T> {
    return (await this.cluster.read(object as Plain)) as T;
  }

  /** What Salvor has changed, or tried to, with the status that it was answered; trials not counted. */
  async mutations(namespace?: string): Promise<string[]> {
    const events = await this.#asked(namespace);
    return events
      .filter(({ requestURI }) => !requestURI.includes('dryRun=All'))
      .map(({ verb, objectRef, responseStatus }) => `${verb} ${objectRef?.resource} ${responseStatus?.code}`);
  }

  /** How many trials it made. */
  async trials(namespace: string): Promise<number> {
    return (await this.#asked(namespace)).filter(({ requestURI }) => requestURI.includes('dryRun=All')).length;
  }

  #asked(namespace?: string) {
    return this.sandbox.kubernetes.readAudit({ user: this.#user, ...(namespace && { namespace }) });
  }
}

/** A stack of a test, as the workflow uses it. */
export class StackUnderTest {
  readonly stack: Stack;
  readonly folder: string;
  readonly #bench: ManifestsBench;

  constructor(bench: ManifestsBench, stack: Stack, folder: string) {
    this.#bench = bench;
    this.stack = stack;
    this.folder = folder;
  }

  async write(files: Record<string, string | object[]>): Promise<void> {
    for (const [name, content] of Object.entries(files)) {
      const file = join(this.folder, name);
      await mkdir(dirname(file), { recursive: true });
      const text =
        typeof content === 'string' ? content : content.map((one) => stringify(one, { version: '1.1' })).join('---\n');
      await writeFile(file, text);
    }
  }

  get provider() {
    return stacksOf({ clusters: new Map([['prod', this.#bench.kubernetes]]), accounts: new Map() }).of(this.stack);
  }

  compare(change: Partial<CompareRequest> = {}) {
    return this.provider.compare({ stack: this.stack, actor, prune: [], create: [], ...change }, means());
  }

  /** What differs; the source must be one that can be compared. */
  async differences(prune: string[] = [], create: string[] = []): Promise<Difference[]> {
    const found = await this.compare({ prune, create });
    if (found.verdict === 'refused') throw new Error(`refused: ${found.why}`);
    expect(found.verdict).toBe(found.differences.length > 0 ? 'differs' : 'same');
    return found.differences;
  }

  revert(reviewed: Difference[], change: Partial<RevertRequest> = {}, drift: DriftMeans = means()) {
    return this.provider.revert(
      { stack: this.stack, actor, prune: [], create: [], step: 'revert', reviewed, ...change },
      drift,
    );
  }
}

export const means = (change: Partial<DriftMeans> = {}): DriftMeans & { pulse: ReturnType<typeof pulse> } => ({
  pulse: pulse(),
  isRepeat: false,
  held: async () => [],
  ...(change as object),
});

export function useManifestsBench(bench = new ManifestsBench()): ManifestsBench {
  beforeAll(() => bench.start(), 120_000);
  afterAll(() => bench.stop());
  return bench;
}

/** `shop`'s objects, in a namespace. */
export const networkPolicy = (namespace: string, ports: object[] = [{ port: 80 }]) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'web', namespace, labels: { app: 'web', tier: 'front' } },
  spec: { podSelector: { matchLabels: { app: 'web' } }, policyTypes: ['Ingress'], ingress: [{ ports }] },
});

export const service = (namespace: string) => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace, labels: { app: 'web' } },
  spec: { selector: { app: 'web' }, ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
});

export const deployment = (namespace: string, change: object = {}) => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'web', namespace },
  spec: {
    replicas: 2,
    selector: { matchLabels: { app: 'web' } },
    template: {
      metadata: { labels: { app: 'web' } },
      spec: {
        containers: [
          {
            name: 'app',
            image: 'app:1',
            env: [{ name: 'MODE', value: 'live' }],
            resources: { requests: { cpu: '0.1', memory: '1024Mi' }, limits: { cpu: '1000m' } },
            ports: [{ containerPort: 8080 }],
          },
        ],
      },
    },
    ...change,
  },
});
