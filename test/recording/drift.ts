import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig, KubernetesObjectApi } from '@kubernetes/client-node';
import type { WorkflowHandle } from '@temporalio/client';
import { DriftTest } from '../e2e/drift-support.ts';
import { SALVOR, Stack } from '../e2e/support.ts';
import { networkPolicy } from '../providers/kubernetes/manifests/support.ts';
import { DRIFT_RULES } from '../support/kubernetes.ts';
import { answered, end, type Group, namedAll, type Recording, STACKS } from './group.ts';

/** A stack for each scenario, and how long what differs is left alone in it. */
const MIN_AGE = { reverted: '0s', young: '3s', same: '0s', destructive: '0s', denied: '0s', empty: '0s' };
type Name = keyof typeof MIN_AGE;

const RULES = {
  drift: {
    match: ['alertname="Drift"'],
    runbook: 'revert-drift',
    target: 'stack/${labels.stack}',
    gates: { cooldown: '1s', retries: { max: 20, per: '1h' } },
    with: { prune: ['ConfigMap'] },
  },
};

const PORTS = [{ port: 80, protocol: 'TCP' }];
const OPENED = { spec: { ingress: [{ ports: [...PORTS, { port: 8080, protocol: 'TCP' }] }] } };
const configMap = (namespace: string, name: string) => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { app: 'web' } },
});

const stack = new Stack();
let folder: string;
let objects: KubernetesObjectApi;

async function start(): Promise<void> {
  folder = await mkdtemp(join(tmpdir(), STACKS));
  const stacks = Object.entries(MIN_AGE).map(([name, minAge]) => {
    return { name, manifests: { folder: join(folder, name), cluster: 'sandbox' }, minAge };
  });
  await stack.start(RULES, {}, { stacks });
  await stack.cluster.allow(SALVOR, DRIFT_RULES);
  const config = new KubeConfig();
  config.loadFromFile(stack.sandbox.kubernetes.kubeconfig);
  objects = KubernetesObjectApi.makeApiClient(config);
}

async function stop(): Promise<void> {
  await stack.stop();
  await rm(folder, { recursive: true, force: true });
}

const stackOf = (name: Name) => new DriftTest(stack, name, join(folder, name), () => objects);

/** A policy that is live as it is written. */
async function policyOf(name: Name) {
  const it = stackOf(name);
  const policy = networkPolicy(await stack.cluster.namespace('history'), PORTS);
  await it.write({ 'all.yaml': [policy] });
  await it.deploy(policy);
  return { it, policy };
}

/** An alert comes, and its remediation goes to its end. */
async function toItsEnd(it: DriftTest): Promise<WorkflowHandle> {
  const run = await it.begun();
  await end(run);
  return run;
}

/** Somebody opens a port by hand. */
async function opened(name: Name): Promise<WorkflowHandle> {
  const { it, policy } = await policyOf(name);
  await it.edit(policy, OPENED);
  return toItsEnd(it);
}

/** Something is live that has to be deleted: the remediation does not do that by itself, and asks. */
async function asking(name: Name) {
  const it = stackOf(name);
  const namespace = await stack.cluster.namespace('history');
  const [one, two] = [configMap(namespace, 'one'), configMap(namespace, 'two')];
  await it.write({ 'all.yaml': [one] });
  await it.deploy(one, two);
  const first = await toItsEnd(it);
  const { handle: proposal } = await it.proposed();
  return { it, first, proposal };
}

const REMEDIATIONS: Record<string, () => Promise<WorkflowHandle>> = {
  remediated: () => opened('reverted'),
  /** It waits until that is no longer young. */
  'remediated-when-old': () => opened('young'),
  'not-needed': async () => toItsEnd((await policyOf('same')).it),
  /** Its source is empty, and it is not taken for an order to delete all. */
  async 'refused-empty'() {
    const it = stackOf('empty');
    await it.write({});
    return toItsEnd(it);
  },
  async 'proposal-denied'() {
    const { proposal } = await asking('denied');
    await answered(proposal, 'deny');
    return proposal;
  },
};

/** The remediation that asks, its proposal, and the remediation that acts on what was approved. */
const approved: Recording = async () => {
  const { it, first, proposal } = await asking('destructive');
  await answered(proposal, 'approve');
  const acting = await it.runAfter(it.remediationId, (await first.describe()).runId);
  await end(acting);
  return {
    'revert-drift-refused-destructive': first,
    'revert-drift-proposal-approved': proposal,
    'revert-drift-remediated-as-approved': acting,
  };
};

export const driftGroup: Group = {
  start,
  stop,
  recordings: { ...namedAll('revert-drift', REMEDIATIONS), 'revert-drift-approved': approved },
};
