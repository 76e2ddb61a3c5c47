import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { openAuditStore } from '../../audit/open.ts';
import { remediationId } from '../../model/names.ts';
import { DRIFT_RULES } from '../support/kubernetes.ts';
import { SALVOR, Salvor } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';

/** The whole way without an alert: schedule, tick, responder, remediation; and the gauges that tell of it. */
const salvor = new Salvor();
let namespace: string;

beforeAll(async () => {
  await salvor.startSandbox();
  await salvor.cluster.allow(SALVOR, DRIFT_RULES);
  namespace = await salvor.cluster.namespace('net');
  const folder = join(salvor.sandbox.folder, 'net');
  mkdirSync(folder);
  writeFileSync(join(folder, 'policy.yaml'), stringify(policy()));
  await salvor.cluster.create(policy());
  const rule = {
    runbook: 'revert-drift',
    target: 'stack/net',
    schedule: { every: '1s', jitter: '0s' },
    match: undefined,
    gates: { cooldown: '0s' },
  };
  const stacks = [{ name: 'net', manifests: { folder, cluster: salvor.cluster.name }, minAge: '0s' }];
  await salvor.start({ 'net-drift': rule }, { stacks });
});
afterAll(async () => {
  await salvor.stop();
  await salvor.stopSandbox();
});

const policy = () => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name: 'web', namespace, labels: { app: 'web' } },
  spec: {
    podSelector: { matchLabels: { app: 'web' } },
    policyTypes: ['Ingress'],
    ingress: [{ ports: [{ port: 80, protocol: 'TCP' }] }],
  },
});

const series = async (name: string): Promise<string[]> =>
  (await salvor.worker.metrics()).split('\n').filter((line) => line.startsWith(`${name}{stack="net"`));
const isOpen = async (port: number): Promise<boolean> =>
  JSON.stringify(await salvor.cluster.read(policy())).includes(`"port":${port}`);

it('what a person has opened is closed by the next time of the schedule, and nothing else is done', async () => {
  await eventually('it is compared, and the same', async () => {
    const [at] = await series('salvor_drift_last_check_timestamp_seconds');
    return at !== undefined;
  });
  expect(await series('salvor_drift_addresses')).toContain('salvor_drift_addresses{stack="net",class="reversible"} 0');
  expect(await series('salvor_drift_interval_seconds')).toEqual(['salvor_drift_interval_seconds{stack="net"} 1']);
  const before = await mutations();
  expect(before).toEqual([]);

  const ingress = [
    {
      ports: [
        { port: 80, protocol: 'TCP' },
        { port: 22, protocol: 'TCP' },
      ],
    },
  ];
  await salvor.cluster.patch(policy(), { spec: { ingress } }, 'kubectl-edit');
  await eventually('the port is closed', async () => !(await isOpen(22)));
  expect(await isOpen(80)).toBe(true);

  const store = await openAuditStore({ url: `file:${join(salvor.sandbox.folder, 'audit.db')}` });
  try {
    const [run] = await eventually('its end is on record', async () => {
      const runs = await store.list({ target: 'stack/net', outcome: 'remediated', limit: 10 });
      return runs.length > 0 && runs;
    });
    expect(run).toMatchObject({ rule: 'net-drift', by: 'schedule:net-drift' });
  } finally {
    await store.close();
  }
  expect((await mutations()).filter((one) => one !== 'patch networkpolicies 200')).toEqual([]);
  const latest = salvor.client.workflow.getHandle(remediationId('stack/net'));
  expect((await latest.describe()).memo).toMatchObject({ rule: 'net-drift' });
});

/** What Salvor has changed; trials not counted. */
async function mutations(): Promise<string[]> {
  const events = await salvor.sandbox.kubernetes.readAudit({ user: SALVOR, namespace });
  return events
    .filter(({ verb, requestURI }) => !['get', 'list', 'watch'].includes(verb) && !requestURI.includes('dryRun=All'))
    .map(({ verb, objectRef, responseStatus }) => `${verb} ${objectRef?.resource} ${responseStatus?.code}`);
}
