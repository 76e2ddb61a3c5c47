import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { KubeConfig, NetworkingV1Api, PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type OpenTofu, prepareOpenTofu, requiredProviders } from '../../sandbox/opentofu.ts';
import { run } from '../../sandbox/run.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';

let folder: string;
let tofu: OpenTofu;
let sandbox: Sandbox<'kubernetes'>;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-tofu-'));
  tofu = await prepareOpenTofu({ folder: join(folder, 'tofu') });
  sandbox = await startSandbox({ parts: ['kubernetes'] });
}, 900_000);
afterAll(async () => {
  await sandbox?.stop();
  await rm(folder, { recursive: true, force: true });
});

interface Changed {
  address: string;
  change: { actions: string[]; before: Record<string, unknown> | null; after: Record<string, unknown> | null };
}
interface Plan {
  resource_drift?: Changed[];
  resource_changes?: Changed[];
}

/** A stack of its own, initialised. */
async function stack(name: string, main: string) {
  const cwd = await mkdtemp(join(folder, `${name}-`));
  await writeFile(join(cwd, 'main.tf'), main);
  // Nobody is there: a registry that is asked all the same is an error at once.
  const env = { ...tofu.env, HTTPS_PROXY: 'http://127.0.0.1:9' };
  const command = (...args: string[]) => run(tofu.executable, args, { cwd, env });
  await command('init', '-no-color');
  return {
    cwd,
    apply: () => command('apply', '-auto-approve', '-no-color'),
    plan: async (): Promise<Plan> => {
      await command('plan', '-out=plan', '-no-color');
      return JSON.parse(await command('show', '-json', 'plan'));
    },
    command,
  };
}

/** Address, actions, and which attributes an update is of. */
function inShort({ address, change: { actions, before, after } }: Changed): string[] {
  const changed = Object.keys(before ?? {}).filter((key) => !isDeepStrictEqual(before?.[key], after?.[key]));
  return [address, ...actions, ...(before && after ? changed : [])];
}
const drifted = ({ resource_drift = [] }: Plan) => resource_drift.map(inShort);
/** What is to be done, without what is to be left. */
const actions = ({ resource_changes = [] }: Plan) =>
  resource_changes.map(inShort).filter(([, action]) => action !== 'no-op' && action !== 'read');
const nothing = (plan: Plan) => drifted(plan).length === 0 && actions(plan).length === 0;

test('tells its version, as it was released', async () => {
  expect(await run(tofu.executable, ['--version'], { env: tofu.env })).toMatch(/^OpenTofu v1\.10\.10$/m);
});

test('finds a file that somebody deleted, and makes it again', async () => {
  const { cwd, plan, apply } = await stack(
    'file',
    `${requiredProviders('local')}
resource "local_file" "motd" {
  filename = "\${path.module}/motd"
  content  = "welcome"
}
`,
  );
  await apply();
  expect(await plan()).toSatisfy(nothing);
  await rm(join(cwd, 'motd'));
  const found = await plan();
  expect(drifted(found)).toEqual([['local_file.motd', 'delete']]);
  expect(actions(found)).toEqual([['local_file.motd', 'create']]);
  await apply();
  expect(await readFile(join(cwd, 'motd'), 'utf8')).toBe('welcome');
});

const networkPolicy = (kubeconfig: string, port: number) => `${requiredProviders('kubectl')}
provider "kubectl" {
  config_path = "${kubeconfig}"
}
resource "kubectl_manifest" "web" {
  yaml_body = <<-YAML
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: { name: web, namespace: default }
    spec:
      podSelector: { matchLabels: { app: web } }
      policyTypes: [Ingress]
      ingress: [{ ports: [{ port: ${port}, protocol: TCP }] }]
  YAML
}
`;

test('finds a port that somebody opened in a NetworkPolicy, and closes it; a change of the code is no drift', async () => {
  const { kubeconfig } = sandbox.kubernetes;
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(NetworkingV1Api);
  const policy = { name: 'web', namespace: 'default' };
  const ports = async () => (await api.readNamespacedNetworkPolicy(policy)).spec?.ingress?.[0]?.ports ?? [];

  const { cwd, plan, apply, command } = await stack('policy', networkPolicy(kubeconfig, 8080));
  await apply();
  expect(await plan()).toSatisfy(nothing);

  const ingress = [{ ports: [8080, 22].map((port) => ({ port, protocol: 'TCP' })) }];
  const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  await api.patchNamespacedNetworkPolicy({ ...policy, body: { spec: { ingress } } }, merge);
  const found = await plan();
  expect(drifted(found)).toEqual([['kubectl_manifest.web', 'update', 'live_manifest_incluster']]);
  expect(actions(found)).toEqual([['kubectl_manifest.web', 'update', 'yaml_incluster']]);
  await command('apply', '-no-color', 'plan');
  expect(await ports()).toEqual([{ port: 8080, protocol: 'TCP' }]);
  expect(await plan()).toSatisfy(nothing);

  await writeFile(join(cwd, 'main.tf'), networkPolicy(kubeconfig, 9090));
  const unapplied = await plan();
  expect(drifted(unapplied)).toEqual([]);
  expect(actions(unapplied)).toMatchObject([['kubectl_manifest.web', 'update', 'yaml_body', 'yaml_body_parsed']]);
});
