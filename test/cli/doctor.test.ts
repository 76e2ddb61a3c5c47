import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FINDINGS, type Finding } from '../../model/doctor/findings.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { apply, FAULTS, healthy, objectsOf } from '../support/doctor.ts';
import { TestCluster } from '../support/kubernetes.ts';
import { type Ended, salvor as invoke } from './salvor.ts';

let sandbox: Sandbox<'kubernetes'>;
let cluster: TestCluster;
let folder: string;
/** One workload that heals itself, one that has a problem, one that could do with advice. */
const namespaces = { well: '', ill: '', advised: '' };

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users: [{ name: 'nobody' }] } });
  cluster = new TestCluster(sandbox.kubernetes);
  const faults: Record<keyof typeof namespaces, string | undefined> = {
    well: undefined,
    ill: 'budget-never-allows',
    advised: 'no-pre-stop',
  };
  for (const [name, fault] of Object.entries(faults)) {
    const namespace = await cluster.namespace(name);
    namespaces[name as keyof typeof namespaces] = namespace;
    const kit = healthy(namespace, 'web');
    if (fault) FAULTS[fault]?.(kit);
    await cluster.create(...objectsOf(kit));
  }
});
afterAll(async () => {
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-doctor-'));
});

const configure = (...clusters: { name: string; kubeconfig?: string }[]): void =>
  writeFileSync(join(folder, 'salvor.yaml'), JSON.stringify({ clusters }));
const admin = () => ({ name: 'prod', kubeconfig: sandbox.kubernetes.kubeconfig });
const nobody = (name = 'dark') => ({ name, kubeconfig: sandbox.kubernetes.users['nobody']?.kubeconfig });
const salvor = (args: string[], env: Record<string, string> = {}): Promise<Ended> => invoke(args, { cwd: folder, env });

interface Told {
  workloads: string[];
  findings: Finding[];
  unread: string[];
}
const told = ({ stdout }: Ended): Told => JSON.parse(stdout) as Told;

const web = (namespace: string, in_ = 'prod'): string => `k8s/${in_}/${namespace}/deployment.apps/web`;

describe('salvor doctor', () => {
  it('finds nothing: 0', async () => {
    configure(admin());
    const text = await salvor(['doctor', '--namespace', namespaces.well]);
    expect(text).toEqual({ status: 0, stdout: 'nothing found: 1 workload looked at\n', stderr: '' });
    const json = await salvor(['doctor', '--json', '--namespace', namespaces.well]);
    expect(json.status).toBe(0);
    expect(told(json)).toEqual({ workloads: [web(namespaces.well)], findings: [], unread: [] });
  });

  it('finds a problem: 1, with why and what would mend it', async () => {
    configure(admin());
    const json = await salvor(['doctor', 'prod', '--json', '--namespace', namespaces.ill]);
    expect(json.status).toBe(1);
    const [finding, ...others] = told(json).findings;
    expect(others).toEqual([]);
    expect(finding).toEqual({
      id: 'budget-never-allows',
      severity: 'problem',
      workload: web(namespaces.ill),
      seen: 'the PodDisruptionBudget web has minAvailable 2, of 2 replicas',
      why: FINDINGS['budget-never-allows'],
      mend: expect.stringContaining('maxUnavailable: 1'),
    });

    const text = await salvor(['doctor', 'prod', '--namespace', namespaces.ill]);
    expect(text).toMatchObject({ status: 1, stderr: '' });
    const lines = text.stdout.split('\n');
    expect(lines[0]).toBe(web(namespaces.ill));
    expect(lines[1]).toBe(`  problem  budget-never-allows  ${finding?.seen}`);
    expect(lines[2]?.trim()).toBe(finding?.why);
    const indented = (finding?.mend ?? '').trimEnd().replaceAll(/^/gm, ' '.repeat(11));
    expect(text.stdout).toContain(indented);
    expect(text.stdout).toMatch(/^WORKLOAD +PROBLEMS +ADVICE +FINDINGS$/m);
    expect(text.stdout).toContain('1 problem and 0 pieces of advice, in 1 of 1 workload looked at');
  });

  it('has advice only: 0', async () => {
    configure(admin());
    const text = await salvor(['doctor', '--namespace', namespaces.advised, namespaces.well]);
    expect(text).toMatchObject({ status: 0, stderr: '' });
    expect(text.stdout).toContain('0 problems and 1 piece of advice, in 1 of 2 workloads looked at');
    expect(text.stdout).toMatch(/^ {2}advice {3}no-pre-stop {2}container app has traffic and no preStop hook$/m);
  });

  it('prints no colours but on a terminal, or where they are asked for', async () => {
    configure(admin());
    const args = ['doctor', '--namespace', namespaces.ill];
    const colour = '\u001b[';
    expect((await salvor(args)).stdout).not.toContain(colour);
    const coloured = await salvor(args, { FORCE_COLOR: '1' });
    expect(coloured.stdout).toContain(`${colour}31mproblem`);
    expect((await salvor([...args, '--no-color'])).stdout).not.toContain(colour);
  });

  it('looks at every cluster of the configuration, and at one where it is named', async () => {
    configure(admin(), { ...admin(), name: 'staging' });
    const { ill } = namespaces;
    const both = told(await salvor(['doctor', '--json', '-n', ill]));
    expect(both.workloads).toEqual([web(ill), web(ill, 'staging')]);
    const one = told(await salvor(['doctor', 'staging', '--json', '-n', ill]));
    expect(one.workloads).toEqual([web(ill, 'staging')]);
    const none = await salvor(['doctor', 'stagin', '--json', '-n', ill]);
    expect(none.status).toBe(2);
    expect(JSON.parse(none.stdout)).toMatchObject({
      error: { message: 'the configuration has no cluster stagin', advice: 'Did you mean staging?' },
    });
  });

  it('without a configuration looks at the current context, or the one that is named', async () => {
    const env = { KUBECONFIG: sandbox.kubernetes.kubeconfig };
    const { ill } = namespaces;
    expect(told(await salvor(['doctor', '--json', '-n', ill], env)).workloads).toEqual([web(ill, 'sandbox')]);
    expect(told(await salvor(['doctor', 'sandbox', '--json', '-n', ill], env)).workloads).toEqual([
      web(ill, 'sandbox'),
    ]);
    const other = await salvor(['doctor', 'other', '-n', ill], env);
    expect(other.status).toBe(2);
    expect(other.stderr).toContain('the kubeconfig has no context "other"; it has sandbox');
  });

  it('says so where nothing names a cluster: 2', async () => {
    const { status, stderr } = await salvor(['doctor'], { KUBECONFIG: join(folder, 'none'), HOME: folder });
    expect(status).toBe(2);
    expect(stderr).toContain('kubeconfig');
  });

  it('does not pass off what it may not read as healthy: 4, and says which right is missing', async () => {
    configure(nobody());
    const alone = await salvor(['doctor']);
    expect(alone).toMatchObject({ status: 4, stdout: '' });
    expect(alone.stderr).toContain('resources: ["deployments"], verbs: ["list"]');
    expect(alone.stderr).toContain('deploy/kubernetes/doctor-rbac.yaml');
    expect(alone.stderr).toContain('--namespace NAME');

    configure(nobody(), admin());
    const beside = await salvor(['doctor', '--json', '-n', namespaces.well]);
    expect(beside.status).toBe(4);
    expect(told(beside)).toMatchObject({ workloads: [web(namespaces.well)], findings: [] });
    expect(told(beside).unread.join()).toContain('in cluster dark: that needs the right');
    const ill = await salvor(['doctor', '-n', namespaces.ill]);
    expect(ill.status, 'a problem is one, whatever else is not known').toBe(1);
    expect(ill.stderr).toMatch(/^not looked at: cannot list deployments .* in cluster dark/m);
  });

  it('says so once where the API server does not answer: 4', async () => {
    const kubeconfig = join(folder, 'kubeconfig');
    const context = { cluster: 'c', user: 'u' };
    const config = {
      clusters: [{ name: 'c', cluster: { server: 'https://127.0.0.1:9' } }],
      users: [{ name: 'u', user: {} }],
      contexts: [{ name: 'c', context }],
      'current-context': 'c',
    };
    writeFileSync(kubeconfig, JSON.stringify({ apiVersion: 'v1', kind: 'Config', ...config }));
    configure({ name: 'gone', kubeconfig });
    const { status, stderr, stdout } = await salvor(['doctor']);
    expect({ status, stdout }).toEqual({ status: 4, stdout: '' });
    expect(stderr.match(/no answer from https:\/\/127\.0\.0\.1:9: ECONNREFUSED/g)).toHaveLength(1);
  });

  it('finds nothing more once its suggestion was applied', async () => {
    configure(admin());
    const namespace = await cluster.namespace('mended');
    const kit = healthy(namespace, 'web');
    FAULTS['same-probes']?.(kit);
    await cluster.create(...objectsOf(kit));
    const before = await salvor(['doctor', '--json', '-n', namespace]);
    expect(before.status).toBe(1);
    for (const { mend } of told(before).findings) await apply(sandbox.kubernetes.kubeconfig, mend);
    expect((await salvor(['doctor', '-n', namespace])).status).toBe(0);
  });
});
