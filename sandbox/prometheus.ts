import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { findComponent } from './components.ts';
import { freePort } from './ports.ts';
import { answers, startComponent, untilReady } from './processes.ts';
import type { OnProgress } from './progress.ts';

/** A group of a rule file, as Prometheus names its fields. */
export interface RuleGroup {
  name: string;
  interval?: string;
  rules: {
    alert?: string;
    record?: string;
    expr: string;
    for?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
  }[];
}

export interface PrometheusOptions {
  /** Existing folder for configuration, data and log. */
  folder: string;
  /** Targets are host:port; path defaults to /metrics. */
  scrape?: { job: string; targets: string[]; path?: string }[];
  /** Groups, or the YAML text of a rule file. */
  rules?: RuleGroup[] | string;
  /** host:port */
  alertmanagers?: string[];
  /** Of scrapes and evaluations; default 500ms. */
  interval?: string;
  onProgress?: OnProgress;
}

export interface Prometheus {
  readonly url: string;
  /** Replaces what is given, keeps the rest, and resolves when the new configuration is in force. */
  reload(change: Pick<PrometheusOptions, 'scrape' | 'rules' | 'alertmanagers'>): Promise<void>;
  stop(): Promise<void>;
}

/** @throws MissingComponentError, ComponentStartError */
export async function startPrometheus(options: PrometheusOptions): Promise<Prometheus> {
  const { folder } = options;
  const executable = await findComponent('prometheus', { onProgress: options.onProgress });
  const address = `127.0.0.1:${await freePort()}`;
  const url = `http://${address}`;
  const configuration = join(folder, 'prometheus.yml');
  let current = options;

  const write = async (): Promise<void> => {
    const { rules = [] } = current;
    await writeFile(join(folder, 'rules.yml'), typeof rules === 'string' ? rules : stringify({ groups: rules }));
    await writeFile(configuration, stringify(configurationOf(current)));
  };
  await mkdir(folder, { recursive: true });
  await write();
  const component = await startComponent({
    name: 'prometheus',
    file: executable,
    args: [
      `--config.file=${configuration}`,
      `--storage.tsdb.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      '--web.enable-lifecycle',
      // An Alertmanager that was down hears of a firing alert again soon.
      '--rules.alert.resend-delay=5s',
      '--log.level=warn',
    ],
    cwd: folder,
    logFile: join(folder, 'prometheus.log'),
  });
  await untilReady(component, answers(`${url}/-/ready`));
  return {
    url,
    reload: async (change) => {
      current = { ...current, ...change };
      await write();
      await reload(url);
    },
    stop: async () => {
      await component.stop();
    },
  };
}

function configurationOf({ scrape = [], alertmanagers = [], interval = '500ms' }: PrometheusOptions): object {
  return {
    global: { scrape_interval: interval, scrape_timeout: interval, evaluation_interval: interval },
    rule_files: ['rules.yml'],
    alerting: { alertmanagers: [{ static_configs: [{ targets: alertmanagers }] }] },
    scrape_configs: scrape.map(({ job, targets, path = '/metrics' }) => ({
      job_name: job,
      metrics_path: path,
      static_configs: [{ targets }],
    })),
  };
}

/**
 * Asks Prometheus or Alertmanager to read its configuration again.
 * @throws Error with its answer, where it refuses it; the old configuration is then still in force
 */
export async function reload(url: string): Promise<void> {
  const response = await fetch(`${url}/-/reload`, { method: 'POST', signal: AbortSignal.timeout(10_000) });
  const answer = await response.text();
  if (!response.ok) throw new Error(`${url} refused its new configuration (${response.status}): ${answer.trim()}`);
}
