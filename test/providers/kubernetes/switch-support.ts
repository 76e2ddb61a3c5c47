import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { KubeConfig, KubernetesObjectApi, PatchStrategy } from '@kubernetes/client-node';
import { afterAll, beforeAll } from 'vitest';
import { parse } from 'yaml';
import type { FlagSwitch, PatchSwitch } from '../../../model/breaker/options.ts';
import type { JsonObject } from '../../../model/breaker/patch.ts';
import { Kubernetes } from '../../../providers/kubernetes/provider.ts';
import type { Live } from '../../../providers/kubernetes/switch/notes.ts';
import { switchOf } from '../../../providers/switches-of.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import { TestCluster } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';
import { actor, attempt, dependency, heldOf, setRequest } from '../switch-support.ts';

/** What Salvor needs for these switches, and no more. */
const RULES = [
  { apiGroups: [''], resources: ['configmaps'], verbs: ['get', 'patch'] },
  { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
  { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs: ['get', 'patch'] },
  { apiGroups: ['gateway.networking.k8s.io'], resources: ['httproutes'], verbs: ['get', 'patch'] },
  { apiGroups: ['networking.istio.io'], resources: ['virtualservices', 'destinationrules'], verbs: ['get', 'patch'] },
  { apiGroups: ['example.com'], resources: ['pruneds'], verbs: ['get', 'patch'] },
  { apiGroups: ['cilium.io'], resources: ['ciliumnetworkpolicies'], verbs: ['get', 'patch'] },
];

/** A kind of which the API server knows no more than that it has a spec. */
function definition(group: string, version: string, kind: string, plural: string, spec: object = {}): JsonObject {
  const open = { type: 'object', x_kubernetes_preserve_unknown_fields: true };
  const schema = { openAPIV3Schema: { type: 'object', properties: { spec: { ...open, ...spec } } } };
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${plural}.${group}`,
      // Without it the API server takes no kind of its own groups.
      annotations: { 'api-approved.kubernetes.io': 'https://github.com/kubernetes-sigs/gateway-api' },
    },
    spec: {
      ...{ group, scope: 'Namespaced', names: { kind, plural, singular: kind.toLowerCase() } },
      versions: [{ name: version, served: true, storage: true, schema }],
    },
  } as unknown as JsonObject;
}

/** The defaults that the Gateway API itself has for what its example leaves out. */
const ROUTE_SPEC = {
  properties: {
    rules: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          backendRefs: {
            type: 'array',
            items: {
              type: 'object',
              properties: {
                name: { type: 'string' },
                port: { type: 'integer' },
                kind: { type: 'string', default: 'Service' },
                group: { type: 'string', default: '' },
                weight: { type: 'integer', default: 1, minimum: 0 },
              },
            },
          },
        },
      },
    },
  },
};

const DEFINITIONS = [
  definition('gateway.networking.k8s.io', 'v1', 'HTTPRoute', 'httproutes', ROUTE_SPEC),
  definition('networking.istio.io', 'v1', 'VirtualService', 'virtualservices'),
  definition('networking.istio.io', 'v1', 'DestinationRule', 'destinationrules'),
  // It knows no field, so it keeps none.
  definition('example.com', 'v1', 'Pruned', 'pruneds', { x_kubernetes_preserve_unknown_fields: undefined }),
  definition('cilium.io', 'v2', 'CiliumNetworkPolicy', 'ciliumnetworkpolicies'),
];

export class SwitchBench {
  sandbox!: Sandbox<'kubernetes'>;
  cluster!: TestCluster;
  kubernetes!: Kubernetes;
  #objects!: KubernetesObjectApi;

  async start(): Promise<void> {
    const users = [{ name: 'salvor' }, { name: 'looker' }];
    this.sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users } });
    const { kubernetes } = this.sandbox;
    this.cluster = new TestCluster(kubernetes);
    await this.cluster.allow('salvor', RULES);
    await this.cluster.allow(
      'looker',
      RULES.map((rule) => ({ ...rule, verbs: ['get'] })),
    );
    const config = new KubeConfig();
    config.loadFromFile(kubernetes.kubeconfig);
    this.#objects = KubernetesObjectApi.makeApiClient(config);
    for (const one of DEFINITIONS) await this.cluster.create(one as object);
    this.kubernetes = this.connect('salvor');
    for (const kind of ['HTTPRoute', 'VirtualService', 'DestinationRule', 'CiliumNetworkPolicy', 'Pruned'])
      await eventually(`${kind} is served`, () => this.#isServed(kind));
  }

  async #isServed(kind: string): Promise<boolean> {
    const { apiVersion } = DEFINITIONS.map((one) => {
      const { group, names, versions } = one['spec'] as {
        group: string;
        names: { kind: string };
        versions: { name: string }[];
      };
      return { kind: names.kind, apiVersion: `${group}/${versions[0]?.name}` };
    }).find((one) => one.kind === kind)!;
    await this.#objects.list(apiVersion, kind, 'default');
    return true;
  }

  connect(user: string): Kubernetes {
    return new Kubernetes({ name: 'prod', kubeconfig: this.sandbox.kubernetes.users[user]?.kubeconfig ?? '' });
  }

  async stop(): Promise<void> {
    await this.kubernetes?.close();
    await this.sandbox?.stop();
  }

  async get(object: JsonObject): Promise<Live> {
    return (await this.#objects.read(object as never)) as unknown as Live;
  }

  /** As a person does it, under another field manager than Salvor's. */
  async edit(object: JsonObject, patch: object, manager = 'kubectl-edit'): Promise<void> {
    const { apiVersion, kind, metadata } = object as unknown as Live;
    const { name, namespace } = metadata;
    const body = { apiVersion, kind, metadata: { name, namespace }, ...patch };
    if ('metadata' in patch) body.metadata = { name, namespace, ...(patch.metadata as object) };
    await this.#objects.patch(body as never, undefined, undefined, manager, undefined, PatchStrategy.MergePatch);
  }

  make(own: { kubernetes: PatchSwitch } | { flag: FlagSwitch }, kubernetes = this.kubernetes) {
    const it = dependency(own);
    return { it, own: switchOf(it, { clusters: new Map([['prod', kubernetes]]) }) };
  }

  /** Opened, as the workflow does it. */
  async opened(own: { kubernetes: PatchSwitch } | { flag: FlagSwitch }, who = actor()) {
    const made = this.make(own);
    const held = heldOf(await made.own.read(), who);
    const changes = await made.own.set(setRequest(made.it, 'open', held, who), attempt());
    return { ...made, held, changes };
  }

  /** What Salvor changed in a namespace, or tried to, trials not counted. */
  async mutations(namespace: string): Promise<string[]> {
    const events = await this.sandbox.kubernetes.readAudit({ user: 'salvor', namespace });
    return events
      .filter(({ requestURI }) => !requestURI.includes('dryRun=All'))
      .map(({ verb, responseStatus }) => `${verb} ${responseStatus?.code}`);
  }
}

export function useSwitchBench(): SwitchBench {
  const bench = new SwitchBench();
  beforeAll(() => bench.start(), 120_000);
  afterAll(() => bench.stop());
  return bench;
}

/** The switch of an example that Salvor comes with, in a namespace of the test. */
export async function exampleOf(name: string, namespace: string): Promise<PatchSwitch> {
  const file = join(import.meta.dirname, '../../../examples/breaker', `${name}.yaml`);
  const { dependencies } = parse(await readFile(file, 'utf8')) as {
    dependencies: { switch: { kubernetes: PatchSwitch } }[];
  };
  return { ...dependencies[0]!.switch.kubernetes, namespace };
}

/** What of an object is not the API server's own record. */
export function own(object: Live): JsonObject {
  const { managedFields: _, resourceVersion: __, generation: ___, ...metadata } = object.metadata;
  return { ...object, metadata: metadata as unknown as JsonObject };
}
