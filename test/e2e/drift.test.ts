import { expect, test } from 'vitest';
import { deployment, networkPolicy, service } from '../providers/kubernetes/manifests/support.ts';
import { eventually } from '../support/wait.ts';
import { useDrift } from './drift-support.ts';
import { PATIENCE } from './support.ts';

/** Manifests of Kubernetes: the whole way, by the built worker with the rights of its role, on the real API server. */

const NAMES = ['port', 'code', 'extra', 'unanswered', 'changed', 'killed', 'shared', 'owned', 'held', 'again'] as const;
const HELD = 'drift-held';
const drift = useDrift(NAMES, {
  stackOf: (name, folder) => ({ name, manifests: { folder, cluster: 'sandbox' }, minAge: '0s' }),
  rules: {
    other: {
      ...{ match: ['alertname="DriftOther"'], runbook: 'revert-drift', target: 'stack/shared' },
      gates: { cooldown: '1s' },
    },
  },
  dependencies: [
    {
      name: 'payments',
      switch: {
        kubernetes: {
          ...{ cluster: 'sandbox', apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy' },
          ...{ namespace: HELD, name: 'web', open: { spec: { ingress: [] } } },
        },
      },
      probe: { tcp: { host: '127.0.0.1', port: 1 } },
    },
  ],
});
const { stack } = drift;

const PORTS = [{ port: 80, protocol: 'TCP' }];
const OPENED = { spec: { ingress: [{ ports: [...PORTS, { port: 8080, protocol: 'TCP' }] }] } };
const configMap = (namespace: string, name: string) => ({
  ...{ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { mode: 'live', app: 'web' } },
});

test('a port that somebody opened by hand is closed within one check, and the record names who it was', async () => {
  const it = drift.test('port');
  const namespace = await stack.cluster.namespace('drift');
  const policy = networkPolicy(namespace, PORTS);
  await it.write({ 'all.yaml': [policy] });
  await it.deploy(policy);
  expect(await it.check()).toMatchObject({ outcome: 'not-needed', changes: [] });
  await it.edit(policy, OPENED);

  const ending = await it.check();
  expect(ending).toMatchObject({ outcome: 'remediated' });
  expect(ending.reason).toContain('changed by kubectl-edit at');
  expect(await it.live(policy)).toMatchObject({ spec: { ingress: [{ ports: PORTS }] } });
  expect(await it.changed(namespace)).toEqual(['patch networkpolicies/web']);
  expect(await it.standing()).toMatchObject({ verdict: 'same', counts: { reversible: 0 } });
  const { stdout } = await stack.salvor(['audit', 'list', '--target', it.target, '--json']);
  expect(stdout).toContain('kubectl-edit');
  expect((await stack.salvor(['audit', 'verify'])).status).toBe(0);
});

test('code that is not applied is not applied, nor is drift in the same object reverted', async () => {
  const it = drift.test('code');
  const namespace = await stack.cluster.namespace('drift');
  const [policy, web] = [networkPolicy(namespace, PORTS), service(namespace)];
  await it.write({ 'all.yaml': [policy, web] });
  await it.deploy(policy, web);
  const newer = networkPolicy(namespace, [...PORTS, { port: 443, protocol: 'TCP' }]);
  await it.write({ 'all.yaml': [newer, web] });
  const unapplied = await it.check();
  expect(unapplied).toMatchObject({ outcome: 'not-needed', changes: [] });
  expect(unapplied.reason).toContain('not applied');

  await it.edit(policy, OPENED);
  await it.edit(web, { metadata: { labels: { app: 'other' } } });
  expect(await it.check()).toMatchObject({ outcome: 'remediated' });
  expect(await it.changed(namespace), 'only the service, which has not changed in the source').toEqual([
    'patch services/web',
  ]);
  expect(await it.live(policy)).toMatchObject(OPENED);
  const { counts } = (await it.standing()) ?? {};
  expect(counts).toMatchObject({ reversible: 0, destructive: 0, mixed: 1 });
});

test('what has to be deleted waits for an approval, and is deleted with it', async () => {
  const it = drift.test('extra');
  const namespace = await stack.cluster.namespace('drift');
  const [one, two] = [configMap(namespace, 'one'), configMap(namespace, 'two')];
  await it.write({ 'all.yaml': [one] });
  await it.deploy(one, two);
  await it.edit(one, { data: { mode: 'test' } });
  const first = await it.check();
  expect(first, first.reason).toMatchObject({ outcome: 'remediated' });
  expect(await it.changed(namespace)).toEqual(['patch configmaps/one']);
  const before = await it.runIdOf(it.remediationId);
  const { runId, digest } = await it.proposed();
  expect(await it.approve(runId, digest)).toBe(0);
  const acting = await it.runAfter(it.remediationId, before);
  expect(await acting.result()).toMatchObject({ outcome: 'remediated' });
  expect(await it.isThere(two)).toBe(false);
  expect(await it.changed(namespace)).toEqual(['patch configmaps/one', 'delete configmaps/two']);
});

test('what has to be deleted stays where nobody approves it in time, and people are told', async () => {
  const it = drift.test('unanswered');
  const namespace = await stack.cluster.namespace('drift');
  const [one, two] = [configMap(namespace, 'one'), configMap(namespace, 'two')];
  await it.write({ 'all.yaml': [one] });
  await it.deploy(one, two);
  expect(await it.check('DriftQuick')).toMatchObject({ outcome: 'refused', changes: [] });
  const proposal = await it.runAfter(it.proposalId('quick'));
  expect(await proposal.result()).toMatchObject({
    outcome: 'refused',
    reason: expect.stringContaining('nobody decided'),
  });
  expect(await it.isThere(two)).toBe(true);
  expect(await it.changed(namespace)).toEqual([]);
  await eventually(
    'people are told',
    async () => (await stack.alerts({ alertname: 'SalvorEscalation', salvor_target: it.target })).length > 0,
    PATIENCE,
  );
});

test('a plan that changed since it was approved is not acted on, and is asked for anew', async () => {
  const it = drift.test('changed');
  const namespace = await stack.cluster.namespace('drift');
  const [one, two, three] = ['one', 'two', 'three'].map((name) => configMap(namespace, name));
  await it.write({ 'all.yaml': [one!] });
  await it.deploy(one!, two!);
  expect(await it.check()).toMatchObject({ outcome: 'refused', changes: [] });
  const { runId, digest } = await it.proposed();
  await it.deploy(three!);
  expect(await it.approve(runId, digest)).toBe(0);
  const next = await it.proposed('drift', runId);
  expect(next.digest).not.toBe(digest);
  expect(next.plan?.steps.join('\n')).toMatch(/configmap\/three/);
  expect(await it.changed(namespace)).toEqual([]);
  await next.handle.cancel();
  await expect(next.handle.result()).rejects.toThrow();
});

test('a worker that is killed while it reverts: another one finishes, and every object is as the source says', async () => {
  const it = drift.test('killed');
  const namespace = await stack.cluster.namespace('drift');
  const all = Array.from({ length: 40 }, (_, i) => configMap(namespace, `c${i}`));
  await it.write({ 'all.yaml': all });
  await it.deploy(...all);
  for (const one of all) await it.edit(one, { data: { mode: 'test' } });
  const handle = await it.begun();
  await eventually('it has begun to write', async () => (await it.changed(namespace)).length > 0, PATIENCE, 5);
  await stack.killWorker();
  await stack.startWorker();
  expect(await handle.result()).toMatchObject({ outcome: 'remediated' });
  for (const one of all) expect(await it.live(one)).toMatchObject({ data: { mode: 'live' } });
  const changed = await it.changed(namespace);
  expect(new Set(changed).size).toBe(40);
  expect(changed.length, 'nothing is written twice, but for what was under way').toBeLessThanOrEqual(42);
  await it.atRest();
});

test('two workers and two rules at one moment: one run reverts it, once', async () => {
  const it = drift.test('shared');
  const namespace = await stack.cluster.namespace('drift');
  const policy = networkPolicy(namespace, PORTS);
  await it.write({ 'all.yaml': [policy] });
  await it.deploy(policy);
  await it.edit(policy, OPENED);
  const { worker } = stack;
  await stack.startWorker();
  try {
    await Promise.all([it.alert(), it.alert('DriftOther'), it.alert()]);
    await eventually('it is closed', async () => (await it.changed(namespace)).length > 0, PATIENCE);
    await it.atRest();
    await it.atRest('other');
    expect(await it.changed(namespace)).toEqual(['patch networkpolicies/web']);
  } finally {
    await worker?.stop();
  }
});

test('replicas that an autoscaler sets are left alone; a label is put back, and a deleted Service is there again', async () => {
  const it = drift.test('owned');
  const namespace = await stack.cluster.namespace('drift');
  const [policy, web, app] = [networkPolicy(namespace, PORTS), service(namespace), deployment(namespace)];
  const hpa = {
    ...{ apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata: { name: 'web', namespace } },
    spec: {
      minReplicas: 2,
      maxReplicas: 9,
      scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
    },
  };
  await it.write({ 'all.yaml': [policy, web, app, hpa] });
  await it.deploy(policy, web, app, hpa);
  await it.edit(app, { spec: { replicas: 5 } }, 'kube-controller-manager');
  // Of what is gone nobody is the manager any more; of what is another value somebody is.
  await it.edit(policy, { metadata: { labels: { tier: null, app: 'other' } } }, 'kubectl-label');
  await stack.cluster.delete(web);
  const ending = await it.check();
  expect(ending).toMatchObject({ outcome: 'remediated' });
  expect(ending.reason).toContain('kubectl-label');
  expect(await it.live(app)).toMatchObject({ spec: { replicas: 5 } });
  expect(await it.live(policy)).toMatchObject({ metadata: { labels: { tier: 'front', app: 'web' } } });
  expect(await it.isThere(web)).toBe(true);
  const { stdout } = await stack.salvor(['audit', 'list', '--target', it.target, '--json']);
  expect(stdout).toContain('kubectl-label');
  expect((await it.changed(namespace)).filter((one) => one.includes('deployments'))).toEqual([]);
});

test('what another runbook holds survives the check: an open switch stays open', async () => {
  const it = drift.test('held');
  await stack.cluster.create({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: HELD } });
  const policy = networkPolicy(HELD, PORTS);
  await it.write({ 'all.yaml': [policy] });
  await it.deploy(policy);
  const opened = await stack.salvor([
    'run',
    'circuit-breaker',
    'dependency/payments',
    '--mode',
    'act',
    '--with',
    'trustAlert=true',
  ]);
  expect(opened.status, opened.stderr).toBe(0);
  await eventually(
    'the switch is open',
    async () => ((await it.live<{ spec: { ingress?: unknown[] } }>(policy)).spec.ingress ?? []).length === 0,
    PATIENCE,
  );
  await it.edit(policy, { metadata: { labels: { tier: 'back' } } });
  expect(await it.check()).toMatchObject({ outcome: 'remediated' });
  const now = await it.live<{ spec: { ingress?: unknown[] }; metadata: { labels: object } }>(policy);
  expect(now.spec.ingress ?? []).toEqual([]);
  expect(now.metadata.labels).toMatchObject({ tier: 'front' });
});

test('what somebody keeps changing is left to people after so many reverts', async () => {
  const it = drift.test('again');
  const namespace = await stack.cluster.namespace('drift');
  const policy = networkPolicy(namespace, PORTS);
  await it.write({ 'all.yaml': [policy] });
  await it.deploy(policy);
  for (let times = 0; times < 3; times += 1) {
    await it.edit(policy, OPENED);
    expect(await it.check('DriftOften')).toMatchObject({ outcome: 'remediated' });
  }
  await it.edit(policy, OPENED);
  const ending = await it.check('DriftOften');
  expect(ending).toMatchObject({ outcome: 'refused' });
  expect(ending.reason).toContain('somebody keeps changing it');
  expect(await it.changed(namespace)).toHaveLength(3);
  const told = await eventually(
    'people are told',
    async () => {
      const [alert] = await stack.alerts({ alertname: 'SalvorEscalation', salvor_target: it.target });
      return alert;
    },
    PATIENCE,
  );
  expect(told.annotations['summary']).toContain('kubectl-edit');
});
