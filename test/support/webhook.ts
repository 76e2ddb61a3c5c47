import { randomUUID } from 'node:crypto';

/** One alert of a webhook, which has just begun to fire where the fields say nothing else. */
export const alertOf = (labels: Record<string, string>, fields: object = {}): object => ({
  ...{ status: 'firing', labels, annotations: {}, startsAt: new Date().toISOString() },
  ...{ endsAt: '0001-01-01T00:00:00Z', generatorURL: '' },
  ...{ fingerprint: randomUUID().replaceAll('-', '').slice(0, 16), ...fields },
});

/** What Alertmanager sends for a group of alerts: payload version 4. */
export const webhookOf = (alerts: readonly object[], status: 'firing' | 'resolved' = 'firing'): object => ({
  ...{ version: '4', groupKey: '{}', truncatedAlerts: 0, status, receiver: 'salvor' },
  ...{ groupLabels: {}, commonLabels: {}, commonAnnotations: {}, externalURL: '' },
  alerts,
});

export const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` });

/** Delivers a webhook to a gateway, as Alertmanager does. */
export async function deliver(
  gateway: string,
  body: string | object,
  headers: Record<string, string> = {},
): Promise<{ status: number; text: string }> {
  const response = await fetch(`${gateway}/webhook/alertmanager`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
  return { status: response.status, text: await response.text() };
}
