import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { findComponent } from './components.ts';
import { freePort } from './ports.ts';
import { answers, startComponent, untilReady } from './processes.ts';
import type { OnProgress } from './progress.ts';
import { reload } from './prometheus.ts';

export interface AlertmanagerOptions {
  /** Existing folder for configuration, data and log. */
  folder: string;
  /** An alertmanager.yml, as an object or its text. Default: a receiver that drops everything. */
  config?: object | string;
  onProgress?: OnProgress;
}

export interface Alertmanager {
  readonly url: string;
  /** host:port, as Prometheus wants it. */
  readonly address: string;
  /** Resolves when the new configuration is in force. */
  reload(config: object | string): Promise<void>;
  stop(): Promise<void>;
}

export interface WebhookOptions {
  /** Of the gateway, e.g. http://127.0.0.1:9095/webhook/alertmanager */
  url: string;
  bearerToken?: string;
  /** Default: alertname and namespace. */
  groupBy?: string[];
  /** Default 100ms. */
  groupWait?: string;
  /** Default 1s. */
  groupInterval?: string;
  /** Default 1h. */
  repeatInterval?: string;
}

/** An alertmanager.yml that sends everything to one webhook, resolved alerts too. */
export function webhookConfig(options: WebhookOptions): object {
  const { url, bearerToken, groupBy = ['alertname', 'namespace'] } = options;
  const { groupWait = '100ms', groupInterval = '1s', repeatInterval = '1h' } = options;
  const authorization =
    bearerToken === undefined ? {} : { http_config: { authorization: { credentials: bearerToken } } };
  return {
    route: {
      receiver: 'salvor',
      group_by: groupBy,
      group_wait: groupWait,
      group_interval: groupInterval,
      repeat_interval: repeatInterval,
    },
    receivers: [{ name: 'salvor', webhook_configs: [{ url, send_resolved: true, ...authorization }] }],
  };
}

const NOWHERE = { route: { receiver: 'nowhere' }, receivers: [{ name: 'nowhere' }] };

/** @throws MissingComponentError, ComponentStartError */
export async function startAlertmanager(options: AlertmanagerOptions): Promise<Alertmanager> {
  const { folder, config = NOWHERE } = options;
  const executable = await findComponent('alertmanager', { onProgress: options.onProgress });
  const address = `127.0.0.1:${await freePort()}`;
  const url = `http://${address}`;
  const file = join(folder, 'alertmanager.yml');
  // The configuration may hold the gateway's token.
  const write = (content: object | string): Promise<void> =>
    writeFile(file, typeof content === 'string' ? content : stringify(content), { mode: 0o600 });

  await mkdir(folder, { recursive: true });
  await write(config);
  const component = await startComponent({
    name: 'alertmanager',
    file: executable,
    args: [
      `--config.file=${file}`,
      `--storage.path=${join(folder, 'data')}`,
      `--web.listen-address=${address}`,
      // One alone: no gossip with others, and no port for it.
      '--cluster.listen-address=',
      '--log.level=warn',
    ],
    cwd: folder,
    logFile: join(folder, 'alertmanager.log'),
  });
  await untilReady(component, answers(`${url}/-/ready`));
  return {
    url,
    address,
    reload: async (content) => {
      await write(content);
      await reload(url);
    },
    stop: async () => {
      await component.stop();
    },
  };
}
