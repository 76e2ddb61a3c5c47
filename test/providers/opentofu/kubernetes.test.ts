import {
  AppsV1Api,
  CoreV1Api,
  KubeConfig,
  NetworkingV1Api,
  PatchStrategy,
  setHeaderOptions,
} from '@kubernetes/client-node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SENSITIVE } from '../../../model/drift/difference.ts';
import type { HeldOn } from '../../../providers/instance.ts';
import { requiredProviders } from '../../../sandbox/opentofu.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import {
  classesOf,
  differencesOf,
  makeWorld,
  openStage,
  policy,
  providerOf,
  revertible,
  type Stage,
} from './support.ts';

let stage: Stage;
let sandbox: Sandbox<'kubernetes'>;
let networking: NetworkingV1Api;
let core: CoreV1Api;
let apps: AppsV1Api;

beforeAll(async () => {
  stage = await openStage();
  sandbox = await startSandbox({ parts: ['kubernetes'] });
  const config = new KubeConfig();
  config.loadFromFile(sandbox.kubernetes.kubeconfig);
  networking = config.makeApiClient(NetworkingV1Api);
  core = config.makeApiClient(CoreV1Api);
  apps = config.makeApiClient(AppsV1Api);
}, 900_000);
afterAll(async () => {
  await sandbox?.stop();
  await stage?.[Symbol.asyncDispose]();
});

const provider = () => `${requiredProviders('kubectl')}
provider "kubectl" {
  config_path = "${sandbox.kubernetes.kubeconfig}"
}
`;

const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
const open = (name: string, ...ports: number[]) =>
  networking.patchNamespacedNetworkPolicy(
    {
      ...{ name, namespace: 'default' },
      body: { spec: { ingress: [{ ports: ports.map((port) => ({ port, protocol: 'TCP' })) }] } },
    },
    merge,
  );
const portsOf = async (name: string) => {
  const found = await networking.readNamespacedNetworkPolicy({ name, namespace: 'default' });
  return found.spec?.ingress?.[0]?.ports?.map(({ port }) => port);
};
const addressOf = (name: string) => `kubectl_manifest.${name}`;

test('a port opened by hand is closed, a policy deleted by hand is made again; nothing of their text is told', async () => {
  const world = await makeWorld(stage, () => provider() + policy('web') + policy('gone'));
  await world.applyAll();
  const drift = providerOf(world);
  expect(await drift.compare()).toMatchObject({ verdict: 'same' });
  await open('web', 8080, 22);
  await networking.deleteNamespacedNetworkPolicy({ name: 'gone', namespace: 'default' });

  const found = await drift.compare();
  expect(differencesOf(found)).toMatchObject([
    { address: addressOf('gone'), kind: 'NetworkPolicy', class: 'reversible', action: 'create' },
    { address: addressOf('web'), kind: 'NetworkPolicy', class: 'reversible', action: 'update' },
  ]);
  const [web] = differencesOf(found).slice(-1);
  expect(web?.fields.every(({ live, source }) => live === SENSITIVE && source === SENSITIVE)).toBe(true);
  const told = await drift.revert(revertible(found));
  expect(told).toMatchObject({ verdict: 'reverted' });
  expect(await portsOf('web')).toEqual([8080]);
  expect(await portsOf('gone')).toEqual([8080]);
  expect(await drift.compare()).toMatchObject({ verdict: 'same' });
  expect(JSON.stringify([found, told])).not.toContain('policyTypes');
});

test('another port opened between review and revert is another difference, though its text is secret', async () => {
  const world = await makeWorld(stage, () => provider() + policy('twice'));
  await world.applyAll();
  const drift = providerOf(world);
  await open('twice', 8080, 22);
  const reviewed = revertible(await drift.compare());
  await open('twice', 8080, 22, 23);
  expect(await drift.revert(reviewed)).toMatchObject({
    verdict: 'changed',
    why: expect.stringContaining('differs in another way'),
  });
  expect(await portsOf('twice')).toEqual([8080, 22, 23]);
});

test('a change of the source is no drift, also where the object was changed by hand too', async () => {
  const world = await makeWorld(stage, () => provider() + policy('code') + policy('both'));
  await world.applyAll();
  await world.write(provider() + policy('code', { port: 9090 }) + policy('both', { port: 9090 }));
  await open('both', 8080, 22);
  const drift = providerOf(world);
  const found = await drift.compare();
  expect(classesOf(found)).toEqual({ [addressOf('code')]: 'unapplied', [addressOf('both')]: 'mixed' });
  const forced = differencesOf(found).map((one) => ({ ...one, class: 'reversible' as const }));
  expect(await drift.revert(forced)).toMatchObject({ verdict: 'changed', changes: [] });
  expect(await portsOf('code')).toEqual([8080]);
  expect(await portsOf('both')).toEqual([8080, 22]);
});

test('what would be replaced is destructive, and reverted only as that', async () => {
  const again = 'lifecycle { replace_triggered_by = [kubectl_manifest.first] }';
  const world = await makeWorld(stage, () => provider() + policy('first') + policy('anew', { more: again }));
  await world.applyAll();
  const { metadata } = await networking.readNamespacedNetworkPolicy({ name: 'anew', namespace: 'default' });
  const drift = providerOf(world);
  await open('first', 22);
  await open('anew', 22);
  const found = await drift.compare();
  expect(differencesOf(found)).toMatchObject([
    { address: addressOf('anew'), class: 'destructive', action: 'replace' },
    { address: addressOf('first'), class: 'reversible', action: 'update' },
  ]);
  const asReversible = revertible(found).map((one) => ({ ...one, class: 'reversible' as const }));
  expect(await drift.revert(asReversible)).toMatchObject({ verdict: 'changed' });
  // Alone it would be reverted together with what it depends on.
  expect(await drift.revert(revertible(found).slice(0, 1))).toMatchObject({ verdict: 'changed', changes: [] });
  expect(await portsOf('anew')).toEqual([22]);
  expect(await drift.revert(revertible(found))).toMatchObject({ verdict: 'reverted' });
  const after = await networking.readNamespacedNetworkPolicy({ name: 'anew', namespace: 'default' });
  expect(await portsOf('anew')).toEqual([8080]);
  expect(after.metadata?.uid).not.toBe(metadata?.uid);
});

test('a Deployment that was scaled is not scaled back where its source has a size, for an autoscaler may have done it', async () => {
  const deployment = (name: string, spec: string) => `
resource "kubectl_manifest" "${name}" {
  wait_for_rollout = false
  yaml_body = <<-YAML
    apiVersion: apps/v1
    kind: Deployment
    metadata: { name: ${name}, namespace: default }
    spec:
      ${spec}
      selector: { matchLabels: { app: ${name} } }
      template:
        metadata: { labels: { app: ${name} } }
        spec: { containers: [{ name: web, image: 'web:1' }] }
  YAML
}
`;
  const world = await makeWorld(
    stage,
    () => provider() + deployment('sized', 'replicas: 2') + deployment('free', 'paused: false'),
  );
  await world.applyAll();
  for (const name of ['sized', 'free'])
    await apps.patchNamespacedDeploymentScale({ name, namespace: 'default', body: { spec: { replicas: 6 } } }, merge);
  const drift = providerOf(world);
  const found = await drift.compare();
  expect(differencesOf(found)).toMatchObject([
    { address: addressOf('sized'), class: 'mixed', why: expect.stringContaining('it may be its size') },
  ]);
  await apps.patchNamespacedDeployment({ name: 'free', namespace: 'default', body: { spec: { paused: true } } }, merge);
  const other = await drift.compare();
  expect(classesOf(other)).toEqual({ [addressOf('free')]: 'reversible', [addressOf('sized')]: 'mixed' });
  expect(await drift.revert(revertible(other))).toMatchObject({ verdict: 'reverted' });
  const after = await apps.listNamespacedDeployment({ namespace: 'default' });
  expect(after.items.map(({ spec }) => spec?.replicas)).toEqual([6, 6]);
});

test('what another remediation holds is left as it is, and is drift again when it is given back', async () => {
  const world = await makeWorld(stage, () => provider() + policy('breaker'));
  await world.applyAll();
  await open('breaker', 9999);
  const object = { key: 'k8s/prod/default/networkpolicy.networking.k8s.io/breaker', uid: 'u' };
  const hold = { object, field: 'spec', before: null, set: 'x', remediation: 'f00dfeed-1', runbook: 'circuit-breaker' };
  const held: HeldOn[] = [{ object, holds: [{ ...hold, until: '2030-01-01T00:00:00Z' }] }];
  const drift = providerOf(world);
  const found = await drift.compare({ held });
  expect(differencesOf(found)).toMatchObject([
    { class: 'held', why: expect.stringContaining('held by circuit-breaker f00dfeed') },
  ]);
  const free = await drift.compare();
  expect(differencesOf(free)).toMatchObject([{ class: 'reversible' }]);
  expect(await drift.revert(revertible(free), { held })).toMatchObject({ verdict: 'changed' });
  expect(await portsOf('breaker')).toEqual([9999]);
  const unreadable: HeldOn[] = [{ object, problem: 'its note is no JSON' }];
  expect(classesOf(await drift.compare({ held: unreadable }))).toEqual({ [addressOf('breaker')]: 'held' });
});

test('a secret is in nothing that is told', async () => {
  const secret = 'correct-horse-battery';
  const config = (value: string) => `${provider()}
variable "token" {
  type      = string
  sensitive = true
  default   = "${value}"
}
resource "kubectl_manifest" "secret" {
  yaml_body = yamlencode({
    apiVersion = "v1", kind = "ConfigMap", metadata = { name = "token", namespace = "default" }, data = { token = var.token }
  })
}
`;
  const world = await makeWorld(stage, () => config(secret));
  await world.applyAll();
  await core.patchNamespacedConfigMap(
    { name: 'token', namespace: 'default', body: { data: { token: 'tampered-with-it' } } },
    merge,
  );
  const drift = providerOf(world);
  const found = await drift.compare();
  expect(differencesOf(found)).toMatchObject([{ kind: 'ConfigMap', class: 'reversible' }]);
  const told = await drift.revert(revertible(found));
  expect(told).toMatchObject({ verdict: 'reverted' });
  const { data } = await core.readNamespacedConfigMap({ name: 'token', namespace: 'default' });
  expect(data).toEqual({ token: secret });
  await world.write(config('another-secret-here'));
  const unapplied = await drift.compare();
  expect(JSON.stringify([found, told, unapplied])).not.toMatch(/correct-horse|tampered|another-secret/);
});

test('a part that cannot be done is told as such, and the rest is done', async () => {
  const config = `${provider()}${policy('fine')}
resource "kubectl_manifest" "stuck" {
  yaml_body = <<-YAML
    apiVersion: v1
    kind: ConfigMap
    metadata: { name: stuck, namespace: default }
    data: { mode: safe }
  YAML
}
`;
  const world = await makeWorld(stage, () => config);
  await world.applyAll();
  const drift = providerOf(world);
  await open('fine', 22);
  // From now on the API refuses to change it back.
  const body = { data: { mode: 'wild' }, immutable: true };
  await core.patchNamespacedConfigMap({ name: 'stuck', namespace: 'default', body }, merge);
  const found = await drift.compare();
  const told = await drift.revert(revertible(found));
  expect(told).toMatchObject({ verdict: 'failed', why: expect.stringMatching(/kubectl_manifest\.stuck.*immutable/) });
  expect(told.changes.map(({ object }) => object.uid)).toEqual([addressOf('fine')]);
  expect(await portsOf('fine')).toEqual([8080]);
});
