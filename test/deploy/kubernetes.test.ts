import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Agent, request } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import { parseConfig } from '../../model/config.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { DRAIN_RULES, SCALE_RULES, TestCluster } from '../support/kubernetes.ts';
import { ROOT, readText } from './stack.ts';

const FOLDER = 'deploy/kubernetes';
const OVERLAYS = ['overlays/observe', 'overlays/act'];

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Record<string, string> };
  [key: string]: unknown;
}
interface Kustomization {
  namespace?: string;
  resources: string[];
  configMapGenerator?: { name: string; files: string[] }[];
}
interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}

const documents = (path: string): Manifest[] =>
  parseAllDocuments(readText(join(FOLDER, path)), { merge: true }).map((document) => document.toJS() as Manifest);

/** What `kubectl kustomize` makes of a folder, as far as these folders use it; the generated name keeps no digest. */
function build(folder: string): Manifest[] {
  const { resources, configMapGenerator = [] } = parse(
    readText(join(FOLDER, folder, 'kustomization.yaml')),
  ) as Kustomization;
  const generated = configMapGenerator.map(({ name, files }) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, namespace: 'salvor' },
    data: Object.fromEntries(files.map((file) => [file, readText(join(FOLDER, folder, file))])),
  }));
  const listed = resources.map((resource) => join(folder, resource));
  return [...listed.flatMap((path) => (path.endsWith('.yaml') ? documents(path) : build(path))), ...generated];
}

/** Each once: what one runbook reads, another may read too. */
const rights = (rules: Rule[]): string[] => {
  const all = rules.flatMap(({ apiGroups, resources, verbs }) =>
    apiGroups.flatMap((group) => resources.flatMap((name) => verbs.map((verb) => `${verb} ${name}.${group}`))),
  );
  return [...new Set(all)].sort();
};
const rolesOf = (manifests: Manifest[]) => manifests.filter(({ kind }) => kind === 'ClusterRole');
const rightsOf = (manifests: Manifest[]) => rights(rolesOf(manifests).flatMap(({ rules }) => rules as Rule[]));
const READS = ['get', 'list', 'watch'];

describe('the rights', () => {
  const [looks, acts] = OVERLAYS.map((folder) => rightsOf(build(folder)));

  it('to observe are to read', () => {
    expect(looks?.filter((right) => !READS.includes(right.split(' ')[0] ?? ''))).toEqual([]);
    expect(looks).toContain('get pods.');
  });

  it("to act are those with which the providers' tests run, one more kind of controller, and nothing else", () => {
    const controllers = { apiGroups: [''], resources: ['replicationcontrollers'], verbs: READS };
    expect(acts).toEqual(rights([...DRAIN_RULES, ...SCALE_RULES, controllers]));
    // What was kept in quarantine.
    expect(acts?.filter((right) => right.startsWith('delete') || right.includes('*'))).toEqual(['delete pods.']);
  });

  it('to act are the same from outside the cluster (rbac.yaml)', () => {
    expect(rightsOf(documents('rbac.yaml'))).toEqual(acts);
  });

  it.each([
    ...OVERLAYS.map((folder) => [folder, build(folder)] as const),
    ['rbac.yaml', documents('rbac.yaml')] as const,
  ])('%s binds every role that it has to the account of the worker', (_name, manifests) => {
    const account = { kind: 'ServiceAccount', name: 'salvor', namespace: 'salvor' };
    expect(manifests).toContainEqual(expect.objectContaining({ kind: 'ServiceAccount' }));
    for (const { metadata } of rolesOf(manifests)) {
      const binding = manifests.find(
        (one) => one.kind === 'ClusterRoleBinding' && (one['roleRef'] as { name: string }).name === metadata.name,
      );
      expect(binding?.['subjects'], metadata.name).toEqual([account]);
    }
  });
});

/** Kinds that live outside namespaces. */
const GLOBAL = ['Namespace', 'ClusterRole', 'ClusterRoleBinding'];

function pathOf({ apiVersion, kind, metadata: { name, namespace } }: Manifest): string {
  const plural = kind.toLowerCase().replace(/y$/, 'ie');
  const place = GLOBAL.includes(kind) ? '' : `/namespaces/${namespace}`;
  return `/${apiVersion.includes('/') ? 'apis' : 'api'}/${apiVersion}${place}/${plural}s/${name}`;
}

describe('the objects', () => {
  let sandbox: Sandbox<'kubernetes'>;
  let dispatcher: Agent;
  beforeAll(async () => {
    sandbox = await startSandbox({ parts: ['kubernetes'] });
    dispatcher = new Agent({ connect: { ca: readFileSync(sandbox.kubernetes.caFile) } });
    // A dry run makes nothing, and what is in a namespace needs it.
    await new TestCluster(sandbox.kubernetes).core.createNamespace({ body: { metadata: { name: 'salvor' } } });
  });
  afterAll(async () => {
    await dispatcher?.close();
    await sandbox?.stop();
  });

  /** As `kubectl apply --server-side --dry-run=server --validate=strict`: an unknown field is an error. */
  async function dryRun(manifest: Manifest): Promise<{ status: number; body: Record<string, unknown> }> {
    const { server, users } = sandbox.kubernetes;
    const { statusCode: status, body } = await request(`${server}${pathOf(manifest)}`, {
      method: 'PATCH',
      query: { dryRun: 'All', fieldManager: 'test', fieldValidation: 'Strict' },
      headers: { authorization: `Bearer ${users['admin']?.token}`, 'content-type': 'application/apply-patch+yaml' },
      body: JSON.stringify(manifest),
      dispatcher,
    });
    return { status, body: (await body.json()) as Record<string, unknown> };
  }

  it.each(OVERLAYS)('of %s are accepted by the API server, each field', async (folder) => {
    const manifests = build(folder);
    expect(manifests.length).toBeGreaterThan(8);
    for (const manifest of manifests) {
      const { status, body } = await dryRun(manifest);
      expect([200, 201], JSON.stringify(body)).toContain(status);
    }
    expect(
      await sandbox.kubernetes.readAudit({ namespace: 'salvor', resource: 'deployments', verb: 'create' }),
    ).toEqual([]);
  });

  it('a misspelt field is noticed', async () => {
    const [deployment] = build('base').filter(({ kind }) => kind === 'Deployment');
    const wrong = structuredClone(deployment!) as Manifest & { spec: { template: { spec: Record<string, unknown> } } };
    wrong.spec.template.spec['terminationGracePeriodsSeconds'] = 40;
    const { status, body } = await dryRun(wrong);
    expect(status).not.toBe(201);
    expect(body['message']).toContain('terminationGracePeriodsSeconds');
  });
});

interface Container {
  image: string;
  args: string[];
  ports: { name: string; containerPort: number }[];
  startupProbe: Probe;
  livenessProbe: Probe;
  readinessProbe: Probe;
  securityContext: object;
  volumeMounts: { name: string; mountPath: string; readOnly?: boolean }[];
}
interface Probe {
  httpGet: { path: string; port: string };
  timeoutSeconds?: number;
}
interface PodSpec {
  terminationGracePeriodSeconds: number;
  automountServiceAccountToken?: boolean;
  serviceAccountName?: string;
  securityContext: object;
  affinity: { podAntiAffinity: object };
  containers: Container[];
  volumes: { name: string; secret?: { secretName: string; items: { path: string }[] }; configMap?: { name: string } }[];
}

const base = build('base');
const of = (kind: string, name: string): Manifest => {
  const found = base.find((one) => one.kind === kind && one.metadata.name === name);
  if (found === undefined) throw new Error(`deploy/kubernetes/base has no ${kind} ${name}`);
  return found;
};

describe.each(['gateway', 'worker'])('the deployment of the %s', (process) => {
  const name = `salvor-${process}`;
  const spec = of('Deployment', name)['spec'] as {
    replicas: number;
    template: { metadata: { labels: Record<string, string> }; spec: PodSpec };
  };
  const pod = spec.template.spec;
  const [container] = pod.containers;

  it('has two pods, apart from one another, of which one stays through every disruption', () => {
    expect(spec.replicas).toBe(2);
    expect(JSON.stringify(pod.affinity.podAntiAffinity)).toContain('kubernetes.io/hostname');
    const labels = { 'app.kubernetes.io/name': name };
    expect(of('PodDisruptionBudget', name)['spec']).toEqual({ minAvailable: 1, selector: { matchLabels: labels } });
    expect(of('NetworkPolicy', name)['spec']).toMatchObject({ podSelector: { matchLabels: labels } });
    expect(spec.template.metadata.labels).toMatchObject({ ...labels, 'app.kubernetes.io/part-of': 'salvor' });
  });

  it('runs this version, without privileges, on a root that it cannot write to', () => {
    const { version } = JSON.parse(readText('package.json')) as { version: string };
    expect(container?.image).toBe(`salvor:${version}`);
    expect(pod.securityContext).toMatchObject({
      runAsNonRoot: true,
      runAsUser: 1000,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(container?.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
    const mayUseApi = pod.automountServiceAccountToken !== false;
    expect(mayUseApi).toBe(process === 'worker');
    expect(pod.serviceAccountName).toBe(mayUseApi ? 'salvor' : undefined);
  });

  it('has longer to end than it takes', () => {
    const takes = process === 'worker' ? forcedAfter() : 15;
    expect(pod.terminationGracePeriodSeconds).toBeGreaterThan(takes);
  });

  it('is asked where it listens, and given the time that an answer takes', () => {
    const { config } = configuration();
    const listen = process === 'worker' ? config.worker.listen : config.gateway.listen;
    expect(listen).toEqual({ host: '0.0.0.0', port: container?.ports[0]?.containerPort });
    const port = container?.ports[0]?.name;
    const { startupProbe, livenessProbe, readinessProbe } = container!;
    expect(startupProbe.httpGet).toEqual({ path: '/healthz', port });
    expect(livenessProbe.httpGet).toEqual({ path: '/healthz', port });
    expect(readinessProbe).toMatchObject({ httpGet: { path: '/readyz', port } });
    expect(readinessProbe.timeoutSeconds).toBeGreaterThan(2);
    const ports = (of('Service', name)['spec'] as { ports: object[] }).ports;
    expect(ports).toEqual([{ name: port, port: listen?.port, targetPort: port }]);
  });

  it('has the files that its configuration names', () => {
    expect(container?.args).toEqual([process, '--config', '/etc/salvor/salvor.yaml']);
    expect(pod.volumes.find(({ name }) => name === 'config')?.configMap).toEqual({ name: 'salvor' });
    const { config } = configuration();
    const file = process === 'worker' ? config.audit?.passwordFile : config.gateway.bearerTokenFile;
    const mount = container?.volumeMounts.find(({ name }) => name === 'secrets')?.mountPath;
    const items = pod.volumes.find(({ name }) => name === 'secrets')?.secret?.items;
    expect(items?.map(({ path }) => `${mount}/${path}`)).toEqual([file]);
    for (const one of container?.volumeMounts ?? []) expect(one.readOnly ?? one.name === 'tmp').toBe(true);
  });
});

function configuration() {
  const parsed = parseConfig(readText(join(FOLDER, 'base/salvor.yaml')), join(ROOT, FOLDER, 'base/salvor.yaml'));
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
  return parsed;
}

/** Seconds after which a worker ends at the latest, as its source says. */
function forcedAfter(): number {
  const [, seconds] = /const FORCE = '(\d+) seconds'/.exec(readFileSync(join(ROOT, 'workers/worker.ts'), 'utf8')) ?? [];
  return Number(seconds);
}

describe('the configuration in the cluster', () => {
  it('acts on nothing before a person says so, and keeps the audit where all workers reach it', () => {
    const { config } = configuration();
    expect(config.rules.map(({ rule }) => rule.mode)).toEqual(['observe']);
    expect(config.audit?.url).toMatch(/^postgres:/);
  });

  it('reaches what the network policy lets it reach', () => {
    const { config } = configuration();
    const { egress } = of('NetworkPolicy', 'salvor-worker')['spec'] as { egress: { ports: { port: number }[] }[] };
    const ports = egress.flatMap((one) => one.ports.map(({ port }) => port));
    expect(ports).toContain(Number(config.temporal.address.split(':')[1]));
    expect(ports).toContain(Number(new URL(config.audit?.url ?? '').port));
    for (const url of config.alertmanager?.urls ?? []) expect(ports).toContain(Number(new URL(url).port));
    expect(config.alertmanager?.urls).toHaveLength(1);
  });
});
