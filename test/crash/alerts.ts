import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** A firing of one pod's alert. */
export interface Firing {
  namespace: string;
  pod: string;
  /** Name of the rule that it is for. */
  rule: string;
  /** ISO time. */
  startsAt: string;
}

export const ALERT = 'PodUnable';
/** Milliseconds after which a delivery that was not taken is made again. */
const AGAIN = 500;

export const fingerprintOf = ({ namespace, pod, rule }: Firing): string =>
  createHash('sha256').update(`${namespace}/${pod}/${rule}`).digest('hex').slice(0, 16);

/** Delivers a group of alerts as Alertmanager does: again and again, until it is answered 200. */
export async function deliver(webhook: string, firings: Firing[], status: 'firing' | 'resolved'): Promise<void> {
  const body = JSON.stringify(payload(firings, status));
  while (!(await post(webhook, body))) await sleep(AGAIN);
}

async function post(url: string, body: string): Promise<boolean> {
  const headers = { 'content-type': 'application/json' };
  try {
    const answer = await fetch(url, { method: 'POST', headers, body, signal: AbortSignal.timeout(10_000) });
    await answer.arrayBuffer();
    return answer.status === 200;
  } catch {
    // Killed before it answered, or not up yet: nobody was told that the alerts were taken.
    return false;
  }
}

function payload(firings: Firing[], status: 'firing' | 'resolved'): object {
  return {
    version: '4',
    groupKey: `{}:{alertname="${ALERT}"}`,
    truncatedAlerts: 0,
    status,
    receiver: 'salvor',
    groupLabels: { alertname: ALERT },
    commonLabels: { alertname: ALERT },
    commonAnnotations: {},
    externalURL: 'http://alertmanager.example:9093',
    alerts: firings.map((firing) => ({
      status,
      labels: { alertname: ALERT, namespace: firing.namespace, pod: firing.pod, rule: firing.rule },
      annotations: { summary: `Pod ${firing.namespace}/${firing.pod} is unable to work.` },
      startsAt: firing.startsAt,
      endsAt: status === 'resolved' ? new Date().toISOString() : '0001-01-01T00:00:00Z',
      generatorURL: '',
      fingerprint: fingerprintOf(firing),
    })),
  };
}
