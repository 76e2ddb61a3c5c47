import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadAllYaml, type V1Deployment } from '@kubernetes/client-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { FINDINGS, type Finding } from '../../../model/doctor/findings.ts';
import { Cluster } from '../../../providers/kubernetes/cluster.ts';
import { examine } from '../../../providers/kubernetes/doctor.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import { apply, FAULTS, healthy, objectsOf } from '../../support/doctor.ts';
import { nameOf, TestCluster } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';

/** A real API server, read with the rights of deploy/kubernetes/doctor-rbac.yaml and no others. */
let sandbox: Sandbox<'kubernetes'>;
let cluster: TestCluster;
const open: Cluster[] = [];

const ROLE = loadAllYaml(
  readFileSync(join(import.meta.dirname, '../../../deploy/kubernetes/doctor-rbac.yaml'), 'utf8'),
) as { kind: string; metadata: { name: string }; rules: { resources: string[] }[] }[];
const [role] = ROLE;
const USERS = ['reader', 'narrow', 'half', 'nobody'];

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users: USERS.map((name) => ({ name })) } });
  cluster = new TestCluster(sandbox.kubernetes);
  await cluster.create(...(ROLE as object[]), bind('ClusterRoleBinding', 'reader'));
  await cluster.allow(
    'half',
    role?.rules.filter(({ resources }) => !resources.includes('poddisruptionbudgets')),
  );
  await eventually('the rights are in force', async () => {
    const seen = [await look('reader'), await look('half')];
    return seen.every(({ unread }, i) => unread.length === i);
  });
}, 240_000);
afterAll(async () => {
  await Promise.all(open.map((one) => one.close()));
  await sandbox?.stop();
});

const bind = (kind: 'ClusterRoleBinding' | 'RoleBinding', user: string, namespace?: string) => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind,
  metadata: { name: `doctor-${user}`, ...(namespace && { namespace }) },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: role?.metadata.name },
  subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: user }],
});

async function look(user: string, ...namespaces: string[]) {
  const { kubeconfig = '' } = sandbox.kubernetes.users[user] ?? {};
  const connection = new Cluster({ name: 'sandbox', kubeconfig });
  open.push(connection);
  return examine(connection, namespaces);
}

/** The sandbox has no scheduler: the test is it. */
async function schedule(namespace: string, app: string, nodes: string[]): Promise<void> {
  const pods = await eventually(`pods of ${app}`, async () => {
    const found = await cluster.pods(namespace, app);
    return found.length === nodes.length && found;
  });
  for (const [i, pod] of pods.entries()) {
    const body = { metadata: { name: nameOf(pod) }, target: { apiVersion: 'v1', kind: 'Node', name: nodes[i] ?? '' } };
    await cluster.core.createNamespacedPodBinding({ namespace, name: nameOf(pod), body });
  }
  await eventually(`the pods of ${app} run`, async () => {
    const found = await cluster.pods(namespace, app);
    return found.every(({ status }) => status?.conditions?.some(({ type }) => type === 'ContainersReady'));
  });
}

const keyOf = (namespace: string, name: string): string =>
  `k8s/sandbox/${namespace}/${name === 'bare-pod' ? 'pod' : 'deployment.apps'}/${name}`;

const idsBy = (findings: Finding[]): Record<string, string[]> =>
  Object.fromEntries(
    [...Map.groupBy(findings, ({ workload }) => workload)].map(([key, found]) => [key, found.map(({ id }) => id)]),
  );

describe('a namespace with one workload for each fault, and a healthy one', () => {
  let namespace = '';
  let findings: Finding[] = [];
  beforeAll(async () => {
    namespace = await cluster.namespace('doctor');
    for (const name of [...Object.keys(FAULTS), 'healthy']) {
      const kit = healthy(namespace, name);
      FAULTS[name]?.(kit);
      await cluster.create(...objectsOf(kit));
    }
    await schedule(namespace, 'all-on-one-node', ['node-0', 'node-0']);
    await schedule(namespace, 'gate-nobody-sets', ['node-0', 'node-1']);
    await schedule(namespace, 'healthy', ['node-0', 'node-1']);
    const seen = await look('reader', namespace);
    expect(seen.unread).toEqual([]);
    expect(seen.workloads).toContain(keyOf(namespace, 'healthy'));
    findings = seen.findings;
  });

  it('each has the finding that it was made for, and no other', () => {
    const expected = Object.fromEntries(Object.keys(FAULTS).map((id) => [keyOf(namespace, id), [id]]));
    expect(idsBy(findings)).toEqual(expected);
    expect(Object.keys(FAULTS)).toEqual(Object.keys(FINDINGS));
  });

  // A selector cannot be changed by a patch: below.
  it.each(Object.keys(FAULTS).filter((id) => id !== 'traffic-label-in-selector'))(
    'what is suggested mends %s, and breaks nothing',
    async (id) => {
      const { mend = '' } = findings.find((one) => one.id === id) ?? {};
      await apply(sandbox.kubernetes.kubeconfig, mend);
      const left = await eventually(`${id} is mended`, async () => {
        const now = await look('reader', namespace);
        return now.findings.every((one) => one.id !== id) && now;
      });
      expect(left.workloads).toContain(`k8s/sandbox/${namespace}/deployment.apps/${id}`);
      expect(idsBy(left.findings)).toEqual(
        Object.fromEntries(Object.entries(idsBy(left.findings)).map(([key, [first]]) => [key, [first]])),
      );
      expect(left.findings.filter(({ workload }) => workload.endsWith(`/${id}`))).toEqual([]);
    },
  );

  it('the selector that is suggested mends traffic-label-in-selector, once the object is made anew around its pods', async () => {
    const name = 'traffic-label-in-selector';
    const { mend = '' } = findings.find(({ id }) => id === name) ?? {};
    const before = (await cluster.pods(namespace, name)).map(nameOf);
    const old = await cluster.apps.readNamespacedDeployment({ namespace, name });
    await cluster.apps.deleteNamespacedDeployment({ namespace, name, propagationPolicy: 'Orphan' });
    await eventually('it is gone', async () => {
      const { items } = await cluster.apps.listNamespacedDeployment({ namespace });
      return items.every((one) => nameOf(one) !== name);
    });
    const { spec } = parse(mend) as V1Deployment;
    const { template, replicas } = old.spec ?? {};
    await cluster.create({
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace },
      spec: { replicas, template, selector: spec?.selector },
    } as V1Deployment);
    const left = await look('reader', namespace);
    expect(left.findings.filter(({ workload }) => workload.endsWith(`/${name}`))).toEqual([]);
    expect((await cluster.pods(namespace, name)).map(nameOf)).toEqual(expect.arrayContaining(before));
  });
});

it('what is suggested mends a StatefulSet and a DaemonSet as well', async () => {
  const namespace = await cluster.namespace('doctor');
  for (const kind of ['StatefulSet', 'DaemonSet']) {
    const name = kind.toLowerCase();
    const { deployment, pods, service, budget } = healthy(namespace, name);
    pods.terminationGracePeriodSeconds = 10;
    const { replicas, ...spec } = deployment.spec;
    const object = { ...deployment, kind, spec: { ...spec, ...(kind === 'StatefulSet' && { replicas }) } };
    await cluster.create(service, budget, object);
  }
  const { findings } = await look('reader', namespace);
  expect(idsBy(findings)).toEqual({
    [`k8s/sandbox/${namespace}/daemonset.apps/daemonset`]: ['grace-too-short'],
    [`k8s/sandbox/${namespace}/statefulset.apps/statefulset`]: ['grace-too-short'],
  });
  for (const { mend } of findings) await apply(sandbox.kubernetes.kubeconfig, mend);
  expect((await look('reader', namespace)).findings).toEqual([]);
});

describe('what is looked at', () => {
  it('is all but kube-*, unless it is named', async () => {
    await cluster.create(healthy('kube-public', 'tool').deployment);
    const everywhere = await look('reader');
    expect(everywhere.workloads.filter((key) => key.startsWith('k8s/sandbox/kube-'))).toEqual([]);
    expect((await look('reader', 'kube-public')).workloads).toEqual(['k8s/sandbox/kube-public/deployment.apps/tool']);
  });

  it('says so where a whole namespace is excluded', async () => {
    const namespace = await cluster.namespace('doctor');
    const metadata = { name: namespace, annotations: { 'salvor.dev/skip': 'true' } };
    await apply(sandbox.kubernetes.kubeconfig, JSON.stringify({ apiVersion: 'v1', kind: 'Namespace', metadata }));
    await cluster.create(...objectsOf(healthy(namespace, 'web')));
    const [finding, ...others] = (await look('reader', namespace)).findings;
    expect(finding).toMatchObject({ id: 'excluded', severity: 'advice' });
    expect(others).toEqual([]);
    await apply(sandbox.kubernetes.kubeconfig, finding?.mend ?? '');
    expect((await look('reader', namespace)).findings).toEqual([]);
  });

  it('is not changed: nothing but reads is asked for', async () => {
    const events = await sandbox.kubernetes.readAudit();
    expect(events.filter(({ user }) => USERS.includes(user?.username ?? ''))).toEqual([]);
  });
});

describe('what may not be read', () => {
  it('is said with the right that is missing, nothing is concluded from it, and the rest goes on', async () => {
    const namespace = await cluster.namespace('doctor');
    const { deployment, service } = healthy(namespace, 'web');
    await cluster.create(deployment, service);
    expect((await look('reader', namespace)).findings.map(({ id }) => id)).toEqual(['no-disruption-budget']);
    const seen = await look('half', namespace);
    expect(seen).toMatchObject({ findings: [], answered: true });
    expect(seen.workloads).toEqual([`k8s/sandbox/${namespace}/deployment.apps/web`]);
    expect(seen.unread).toEqual([
      expect.stringContaining('apiGroups: ["policy"], resources: ["poddisruptionbudgets"], verbs: ["list"]'),
    ]);
  });

  it('may be readable in a namespace', async () => {
    const namespace = await cluster.namespace('doctor');
    await cluster.create(bind('RoleBinding', 'narrow', namespace), ...objectsOf(healthy(namespace, 'web')));
    const everywhere = await look('narrow');
    expect(everywhere.answered).toBe(false);
    expect(everywhere.unread).toHaveLength(8);
    const seen = await eventually('the binding is in force', async () => {
      const one = await look('narrow', namespace);
      return one.unread.length === 0 && one;
    });
    expect(seen).toMatchObject({ workloads: [`k8s/sandbox/${namespace}/deployment.apps/web`], findings: [] });
  });

  it('may be everything', async () => {
    expect(await look('nobody')).toMatchObject({ answered: false, workloads: [], findings: [] });
  });

  it('is told from what is not there', async () => {
    const seen = await look('reader', 'no-such-namespace');
    expect(seen.unread).toEqual(['there is no namespace no-such-namespace in cluster sandbox']);
  });
});
