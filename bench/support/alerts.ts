import { createHash } from 'node:crypto';
import { Agent, request } from 'undici';

/** The alert of one pod; `scope` is what its rule's budgets are shared by. */
export interface PodAlert {
  namespace: string;
  pod: string;
  scope: string;
}

/** Sends webhooks as Alertmanager does: payload version 4, connections kept open. */
export class Alertmanager {
  readonly #url: string;
  readonly #agent = new Agent({ connections: 256, keepAliveTimeout: 60_000 });
  readonly #startsAt = new Date().toISOString();

  constructor(url: string) {
    this.#url = url;
  }

  /** Answers the status; 0 where there was no answer. */
  async send(alerts: readonly PodAlert[]): Promise<number> {
    try {
      const { statusCode, body } = await request(this.#url, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(this.#payload(alerts)),
        dispatcher: this.#agent,
      });
      await body.dump();
      return statusCode;
    } catch {
      // Killed while it had the request: nobody was told that the alert was taken.
      return 0;
    }
  }

  async close(): Promise<void> {
    await this.#agent.destroy();
  }

  #payload(alerts: readonly PodAlert[]): object {
    return {
      version: '4',
      groupKey: '{}:{alertname="KubePodNotReady"}',
      truncatedAlerts: 0,
      status: 'firing',
      receiver: 'salvor',
      groupLabels: { alertname: 'KubePodNotReady' },
      commonLabels: { alertname: 'KubePodNotReady' },
      commonAnnotations: {},
      externalURL: 'http://alertmanager.example:9093',
      alerts: alerts.map((alert) => this.#alert(alert)),
    };
  }

  #alert({ namespace, pod, scope }: PodAlert): object {
    return {
      status: 'firing',
      labels: { alertname: 'KubePodNotReady', severity: 'warning', namespace, pod, scope, container: 'app' },
      annotations: { summary: `Pod ${namespace}/${pod} is not ready.`, runbook_url: 'https://example.org/runbook' },
      startsAt: this.#startsAt,
      endsAt: '0001-01-01T00:00:00Z',
      generatorURL: 'http://prometheus.example:9090/graph',
      fingerprint: createHash('sha256').update(`${namespace}/${pod}/${scope}`).digest('hex').slice(0, 16),
    };
  }
}
