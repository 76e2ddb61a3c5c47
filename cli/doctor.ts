import type { Command } from 'commander';
import type { Finding } from '../model/doctor/findings.ts';
import { nearest } from '../model/nearest.ts';
import type { ClusterConfig } from '../providers/kubernetes/cluster.ts';
import type { Examination } from '../providers/kubernetes/doctor.ts';
import { action, type Context } from './command.ts';
import { note, print, printJson } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

interface Options {
  namespace?: string[];
}

export function doctor(program: Command): void {
  program
    .command('doctor')
    .description(
      'what keeps workloads from healing themselves, and the YAML that would mend it; reads, and changes nothing',
    )
    .argument('[cluster]', 'a cluster of salvor.yaml (default: all of them); without any a context of the kubeconfig')
    .option('-n, --namespace <name...>', 'only these (default: all but kube-*)')
    .action(action(run));
}

async function run(context: Context, named: string | undefined, { namespace = [] }: Options): Promise<ExitStatus> {
  const [{ loadConfig }, { describe }] = await Promise.all([import('./configuration.ts'), import('./doctor-text.ts')]);
  const { config } = await loadConfig(context);
  const clusters = await chosen(config.clusters, named);
  const seen = await Promise.all(clusters.map((cluster) => look(cluster, namespace)));
  const workloads = seen.flatMap((one) => one.workloads);
  const findings = seen.flatMap((one) => one.findings);
  const unread = seen.flatMap((one) => one.unread);
  if (!seen.some(({ answered }) => answered)) {
    throw new CliError(`nothing could be read:\n${unread.map((one) => `  ${one}`).join('\n')}`, {
      status: EXIT.unknown,
      advice:
        'All rights that it needs are in deploy/kubernetes/doctor-rbac.yaml. With rights in some namespaces only, name them: --namespace NAME.',
    });
  }
  if (context.json) printJson({ workloads, findings, unread });
  else {
    print(...describe({ workloads, findings }));
    note(...unread.map((one) => `not looked at: ${one}`));
  }
  return statusOf(findings, unread);
}

async function look(config: ClusterConfig, namespaces: string[]): Promise<Examination> {
  const [{ Cluster }, { examine }, { FinalError }] = await Promise.all([
    import('../providers/kubernetes/cluster.ts'),
    import('../providers/kubernetes/doctor.ts'),
    import('../providers/errors.ts'),
  ]);
  const cluster = new Cluster(config);
  try {
    return await examine(cluster, namespaces);
  } catch (error) {
    if (error instanceof FinalError) throw new CliError(error.message, { status: EXIT.usage, cause: error });
    throw error;
  } finally {
    await cluster.close();
  }
}

/** What is not known is no all-clear: without a problem, 0 is said only of what was looked at whole. */
function statusOf(findings: Finding[], unread: string[]): ExitStatus {
  if (findings.some(({ severity }) => severity === 'problem')) return EXIT.failed;
  return unread.length > 0 ? EXIT.unknown : EXIT.done;
}

async function chosen(configured: readonly ClusterConfig[], named: string | undefined): Promise<ClusterConfig[]> {
  if (configured.length === 0) return [named === undefined ? await current() : { name: named, context: named }];
  if (named === undefined) return [...configured];
  const found = configured.find(({ name }) => name === named);
  if (found) return [found];
  const names = configured.map(({ name }) => name);
  const meant = nearest(named, names);
  throw new CliError(`the configuration has no cluster ${named}`, {
    status: EXIT.usage,
    advice: meant ? `Did you mean ${meant}?` : `It has ${names.join(', ')}.`,
  });
}

/** As the provider does without a context: in a cluster that one, else the current context. */
async function current(): Promise<ClusterConfig> {
  if (process.env['KUBERNETES_SERVICE_HOST']) return { name: 'in-cluster' };
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    config.loadFromDefault();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new CliError(`the kubeconfig cannot be read: ${why}`, { status: EXIT.usage, cause: error });
  }
  const context = config.getCurrentContext();
  // Where there is no kubeconfig the client makes up one of this name.
  if (context && context !== 'loaded-context') return { name: context, context };
  throw new CliError('neither salvor.yaml nor a kubeconfig names a cluster', {
    status: EXIT.usage,
    advice: 'Name a context of the kubeconfig: salvor doctor CONTEXT; or $KUBECONFIG; or clusters in salvor.yaml.',
  });
}
