import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { AUDIT_POLICY, type AuditEvent, type AuditFilter, readAudit } from './audit-log.ts';
import { findComponent } from './components.ts';
import { type Call, caller, kubeconfigOf } from './kube-client.ts';
import { asset } from './paths.ts';
import { freePort } from './ports.ts';
import { answers, type Component, startComponent, untilReady } from './processes.ts';
import type { OnProgress } from './progress.ts';

/** Annotation that makes a pod's containers, or a node, unready while it is "true" (build/kwok/stages.yaml). */
export const UNREADY_ANNOTATION = 'sandbox.salvor.dev/unready';

export interface KubernetesOptions {
  /** Existing folder for keys, data and logs. */
  folder: string;
  /** How many nodes, named node-0, node-1, …; default 2. */
  nodes?: number;
  /** Users beside `admin`, without rights but those that RBAC gives them. */
  users?: { name: string; groups?: string[] }[];
  onProgress?: OnProgress;
}

export interface KubernetesUser {
  token: string;
  /** File; its context is `sandbox`. */
  kubeconfig: string;
}

/** A control plane with pods that only pretend to run. */
export interface Kubernetes {
  /** https://127.0.0.1:PORT */
  readonly server: string;
  /** File of `admin` (group system:masters); its context is `sandbox`. */
  readonly kubeconfig: string;
  readonly caFile: string;
  /** `admin` and those of the options, by name. */
  readonly users: Readonly<Record<string, KubernetesUser>>;
  /** Names of the nodes; there is no scheduler, so a pod must name one in `spec.nodeName`. */
  readonly nodes: readonly string[];
  /** File with one audit event in JSON per line. */
  readonly auditLog: string;
  /** The mutating requests that were answered before this call, in the order of their ends. */
  readAudit(filter?: AuditFilter): Promise<AuditEvent[]>;
  stop(): Promise<void>;
}

/** The parts of the control plane are users of their own, so that the audit log tells them from people and Salvor. */
const CONTROLLER_MANAGER = 'system:kube-controller-manager';
const KWOK = 'system:kwok';
const MASTERS = 'system:masters';

type Start = (name: string, file: string, args: string[]) => Promise<Component>;

/**
 * Starts etcd, kube-apiserver, kube-controller-manager and kwok, and resolves when the nodes are Ready.
 * @throws MissingComponentError, ComponentStartError
 */
export async function startKubernetes(options: KubernetesOptions): Promise<Kubernetes> {
  const { folder, onProgress } = options;
  const [etcd, apiServer, controllerManager, kwok] = await Promise.all(
    (['etcd', 'kube-apiserver', 'kube-controller-manager', 'kwok'] as const).map((name) =>
      findComponent(name, { onProgress }),
    ),
  );
  const running: Component[] = [];
  const start: Start = async (name, file, args) => {
    const component = await startComponent({ name, file, args, cwd: folder, logFile: join(folder, `${name}.log`) });
    running.push(component);
    return component;
  };
  // In reverse: nothing loses its server before it ends. etcd has nothing to save, its folder goes too.
  const stop = async (): Promise<void> => {
    for (const component of running.splice(0).reverse()) await component.stop(5_000);
  };
  try {
    const etcdUrl = await startEtcd(start, etcd ?? '', folder);
    const plane = await startApiServer(start, apiServer ?? '', folder, etcdUrl, options.users ?? []);
    const nodes = Array.from({ length: options.nodes ?? 2 }, (_, index) => `node-${index}`);
    await Promise.all([
      startControllerManager(start, controllerManager ?? '', folder, plane),
      startKwok(start, kwok ?? '', plane, nodes),
    ]);
    return { ...plane.cluster, nodes, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startEtcd(start: Start, file: string, folder: string): Promise<string> {
  const url = `http://127.0.0.1:${await freePort()}`;
  const peer = `http://127.0.0.1:${await freePort()}`;
  const etcd = await start('etcd', file, [
    `--data-dir=${join(folder, 'etcd')}`,
    `--listen-client-urls=${url}`,
    `--advertise-client-urls=${url}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=default=${peer}`,
    // The data die with the sandbox: nothing has to survive a power cut.
    '--unsafe-no-fsync',
    '--log-level=warn',
  ]);
  await untilReady(etcd, answers(`${url}/health`));
  return url;
}

interface Plane {
  cluster: Omit<Kubernetes, 'nodes' | 'stop'>;
  keyFile: string;
  /** Kubeconfigs of the control plane's own users, by name. */
  kubeconfigs: Record<string, string>;
  /** As admin. */
  call: Call;
}

async function startApiServer(
  start: Start,
  file: string,
  folder: string,
  etcdUrl: string,
  extraUsers: { name: string; groups?: string[] }[],
): Promise<Plane> {
  const port = await freePort();
  const server = `https://127.0.0.1:${port}`;
  const accounts = [
    { name: 'admin', groups: [MASTERS] },
    { name: CONTROLLER_MANAGER, groups: [MASTERS] },
    { name: KWOK, groups: [MASTERS] },
    ...extraUsers,
  ].map((user) => ({ groups: [], ...user, token: randomBytes(16).toString('hex') }));
  const files = await writeFiles(folder, accounts);
  const component = await start('kube-apiserver', file, apiServerArguments(files, etcdUrl, port));

  const call = caller(server, accounts[0]?.token ?? '', () => readFile(files.ca));
  await untilReady(component, async () => (await call('GET', '/readyz')) === 'ok');

  // The server made its certificate when it started; it vouches for itself.
  const ca = await readFile(files.ca, 'base64');
  const all: Record<string, KubernetesUser> = {};
  for (const { name, token } of accounts) {
    const kubeconfig = join(folder, `kubeconfig-${encodeURIComponent(name)}.yaml`);
    await writeFile(kubeconfig, stringify(kubeconfigOf(server, ca, name, token)), SECRET);
    all[name] = { token, kubeconfig };
  }
  const { [CONTROLLER_MANAGER]: manager, [KWOK]: kwok, ...users } = all;
  return {
    call,
    keyFile: files.key,
    kubeconfigs: { [CONTROLLER_MANAGER]: manager?.kubeconfig ?? '', [KWOK]: kwok?.kubeconfig ?? '' },
    cluster: {
      server,
      caFile: files.ca,
      users,
      auditLog: files.audit,
      kubeconfig: users.admin?.kubeconfig ?? '',
      readAudit: (filter = {}) =>
        readAudit(files.audit, filter, async (path, body, headers) => {
          await call('POST', path, body, headers);
        }),
    },
  };
}

const SECRET = { mode: 0o600 };

interface Account {
  name: string;
  groups: string[];
  token: string;
}

/** Writes what the API server reads, and says where it will write. */
async function writeFiles(folder: string, accounts: Account[]) {
  const files = {
    key: join(folder, 'service-accounts.key'),
    publicKey: join(folder, 'service-accounts.pub'),
    tokens: join(folder, 'tokens.csv'),
    auditPolicy: join(folder, 'audit-policy.yaml'),
    audit: join(folder, 'audit.log'),
    certificates: join(folder, 'pki'),
    ca: join(folder, 'pki', 'apiserver.crt'),
  };
  const keys = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const tokens = accounts.map(({ token, name, groups }) => `${token},"${name}","${name}","${groups.join(',')}"\n`);
  await Promise.all([
    writeFile(files.key, keys.privateKey, SECRET),
    writeFile(files.publicKey, keys.publicKey),
    writeFile(files.tokens, tokens.join(''), SECRET),
    writeFile(files.auditPolicy, AUDIT_POLICY),
  ]);
  return files;
}

function apiServerArguments(files: Awaited<ReturnType<typeof writeFiles>>, etcdUrl: string, port: number): string[] {
  return [
    `--etcd-servers=${etcdUrl}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    // Endpoints may not hold a loopback address, so the service `kubernetes` stays without any.
    '--endpoint-reconciler-type=none',
    `--secure-port=${port}`,
    `--cert-dir=${files.certificates}`,
    '--authorization-mode=RBAC',
    `--token-auth-file=${files.tokens}`,
    '--service-account-issuer=https://sandbox.salvor.dev',
    `--service-account-key-file=${files.publicKey}`,
    `--service-account-signing-key-file=${files.key}`,
    // A pod can be created in a namespace the moment it exists, not only when its account does.
    '--disable-admission-plugins=ServiceAccount',
    '--service-cluster-ip-range=10.96.0.0/16',
    `--audit-policy-file=${files.auditPolicy}`,
    `--audit-log-path=${files.audit}`,
    // Written before the request is let go, to one file that is never rotated.
    '--audit-log-mode=blocking',
    '--audit-log-maxsize=4096',
    '--profiling=false',
    '--v=1',
  ];
}

async function startControllerManager(start: Start, file: string, folder: string, plane: Plane): Promise<void> {
  const manager = await start('kube-controller-manager', file, [
    `--kubeconfig=${plane.kubeconfigs[CONTROLLER_MANAGER]}`,
    '--secure-port=0',
    '--leader-elect=false',
    `--service-account-private-key-file=${plane.keyFile}`,
    `--root-ca-file=${plane.cluster.caFile}`,
    `--cert-dir=${join(folder, 'pki')}`,
    // The usual 20 calls a second are made for large clusters; here they would be what the tests wait for.
    '--kube-api-qps=500',
    '--kube-api-burst=1000',
    // Two busy cores must not look like a lost node, whose pods would be marked unready.
    '--node-monitor-grace-period=10m',
    '--v=1',
  ]);
  // It listens on no port; its sign of life is that it gives each namespace its service account.
  await untilReady(manager, async () => {
    await plane.call('GET', '/api/v1/namespaces/default/serviceaccounts/default');
    return true;
  });
}

async function startKwok(start: Start, file: string, plane: Plane, nodes: string[]): Promise<void> {
  const kwok = await start('kwok', file, [
    `--kubeconfig=${plane.kubeconfigs[KWOK]}`,
    `--config=${asset('build', 'kwok', 'stages.yaml')}`,
    '--manage-all-nodes=true',
    // Of the range for documentation: no machine has it.
    '--node-ip=192.0.2.1',
    '--node-lease-duration-seconds=120',
  ]);
  for (const name of nodes) {
    const metadata = { name, labels: { 'kubernetes.io/hostname': name } };
    await plane.call('POST', '/api/v1/nodes', { apiVersion: 'v1', kind: 'Node', metadata });
  }
  await untilReady(kwok, async () => {
    const list = (await plane.call('GET', '/api/v1/nodes')) as { items: NodeStatus[] };
    return list.items.every(({ status }) =>
      status.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True'),
    );
  });
}

interface NodeStatus {
  status: { conditions?: { type: string; status: string }[] };
}
