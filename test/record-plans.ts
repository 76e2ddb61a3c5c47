import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig, NetworkingV1Api, PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { prepareOpenTofu, requiredProviders } from '../sandbox/opentofu.ts';
import { run } from '../sandbox/run.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { policy } from './providers/opentofu/support.ts';

/**
 * Records what test/model/drift/classify-plan.test.ts reads: plans of real OpenTofu, with a provider of files and one of a real
 * Kubernetes API, into test/model/drift/fixtures. Run by hand when another version of OpenTofu or of a provider is taken:
 * `node test/record-plans.ts`.
 */
const INTO = join(import.meta.dirname, 'model/drift/fixtures');
const root = await mkdtemp(join(tmpdir(), 'salvor-plans-'));
const tofu = await prepareOpenTofu({ folder: join(root, 'tofu') });
const sandbox = await startSandbox({ parts: ['kubernetes'] });
const { kubeconfig } = sandbox.kubernetes;

interface Stage {
  files: string;
  write(source: string): Promise<void>;
  apply(): Promise<void>;
  /** Plans, and keeps the JSON of it under this name, without what is of this machine or this minute. */
  record(name: string, ...args: string[]): Promise<void>;
}

async function stage(name: string, source: (files: string) => string): Promise<Stage> {
  const [cwd, files] = [join(root, name), join(root, `${name}-files`)];
  await mkdir(cwd);
  await mkdir(files);
  const command = (...args: string[]) => run(tofu.executable, args, { cwd, env: { ...tofu.env } });
  const write = (text: string) => writeFile(join(cwd, 'main.tf'), text);
  const apply = async () => {
    await command('apply', '-auto-approve', '-no-color');
  };
  await write(source(files));
  await command('init', '-no-color');
  await apply();
  return {
    ...{ files, write, apply },
    record: async (into, ...args) => {
      await command('plan', '-no-color', '-out=plan', ...args);
      const text = (await command('show', '-json', 'plan'))
        .replaceAll(root, '/srv')
        .replaceAll(kubeconfig, '/srv/config');
      const { timestamp: _, ...plan } = JSON.parse(text) as Record<string, unknown>;
      await writeFile(join(INTO, `${into}.json`), `${JSON.stringify(plan, null, 1)}\n`);
    },
  };
}

const file = (name: string, files: string, content = 'a', more = '') => `
resource "local_file" "${name}" {
  filename = "${files}/${name}"
  content  = "${content}"
  ${more}
}
`;

async function recordFiles(): Promise<void> {
  const local = requiredProviders('local');
  const source = (files: string, { plain = 'a', mixed = 'a', base = 'a', secret = 'hunter2-hunter2' } = {}) =>
    local +
    file('plain', files, plain) +
    file('mixed', files, mixed) +
    file('base', files, base) +
    file('above', files, 'a', 'depends_on = [local_file.base]') +
    file('alone', files) +
    `
variable "secret" {
  type      = string
  sensitive = true
  default   = "${secret}"
}
resource "local_file" "secret" {
  filename          = "${files}/secret"
  sensitive_content = var.secret
}
resource "local_file" "each" {
  for_each = toset(["a.b[0]", "c"])
  filename = "${files}/each-\${each.key}"
  content  = each.key
}
resource "terraform_data" "follows" { input = local_file.alone.id }
resource "terraform_data" "replaced" { triggers_replace = [local_file.alone.id] }
output "id" { value = local_file.alone.id }
`;
  const { files, write, record } = await stage('files', source);
  await record('files-clean');
  await write(`${source(files)}output "more" { value = "new" }\n`);
  await record('files-output-only');
  await write(source(files));
  for (const name of ['mixed', 'above', 'alone', 'secret', 'each-a.b[0]']) await rm(join(files, name));
  await record('files-deleted');
  await write(source(files, { plain: 'b', mixed: 'b', base: 'b', secret: 'hunter3-hunter3' }) + file('new', files));
  await record('files-deleted-and-source');
  await record('files-targeted', '-target=local_file.above');
  await write(source(files).replace(file('plain', files), '').replace(file('mixed', files), ''));
  await record('files-removed-from-source');
  await write(source(files).replaceAll('local_file" "plain"', 'local_file" "moved"') + MOVED);
  await record('files-moved');
}

const MOVED = 'moved {\n  from = local_file.plain\n  to   = local_file.moved\n}\n';

async function recordPolicies(): Promise<void> {
  const config = new KubeConfig();
  config.loadFromFile(kubeconfig);
  const api = config.makeApiClient(NetworkingV1Api);
  const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  const open = (name: string) =>
    api.patchNamespacedNetworkPolicy(
      { name, namespace: 'default', body: { spec: { ingress: [{ ports: [{ port: 22, protocol: 'TCP' }] }] } } },
      merge,
    );
  const head = `${requiredProviders('kubectl')}\nprovider "kubectl" {\n  config_path = "${kubeconfig}"\n}\n`;
  const source = (code = 8080) =>
    head + policy('drifted') + policy('code', { port: code }) + policy('both', { port: code });
  const { write, apply, record } = await stage('policies', () => source());
  await record('policies-clean');
  await open('drifted');
  await open('both');
  await record('policies-drifted');
  await write(source(9090));
  await record('policies-drifted-and-source');
  await write(source());
  await apply();
  await open('drifted');
  // Whoever refreshes accepts what there is.
  await run(tofu.executable, ['apply', '-refresh-only', '-auto-approve', '-no-color'], {
    ...{ cwd: join(root, 'policies'), env: { ...tofu.env } },
  });
  await record('policies-computed-only');
}

try {
  await rm(INTO, { recursive: true, force: true });
  await mkdir(INTO, { recursive: true });
  await recordFiles();
  await recordPolicies();
} finally {
  await sandbox.stop();
  await rm(root, { recursive: true, force: true });
}
