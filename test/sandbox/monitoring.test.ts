import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { webhookConfig } from '../../sandbox/alertmanager.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';

let sandbox: Sandbox<'prometheus' | 'alertmanager'>;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['prometheus', 'alertmanager'] });
});
afterAll(() => sandbox?.stop());

/** A server of the test on loopback; answers host:port. */
async function serve(answer: (request: IncomingMessage) => Promise<string>): Promise<string> {
  const server = createServer((request, response) => {
    answer(request).then(
      (body) => response.end(body),
      (error) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

interface Webhook {
  status: string;
  alerts: { status: string; labels: Record<string, string> }[];
}

test('a metric crosses its rule and the webhook hears of it with its token, and of its end', async () => {
  let depth = 9;
  const exporter = await serve(async () => `queue_depth{queue="orders"} ${depth}\n`);
  const heard: { authorization: string | undefined; body: Webhook }[] = [];
  const gateway = await serve(async (request) => {
    heard.push({ authorization: request.headers.authorization, body: (await json(request)) as Webhook });
    return '';
  });
  await sandbox.alertmanager.reload(webhookConfig({ url: `http://${gateway}/hook`, bearerToken: 'of-the-test' }));
  await sandbox.prometheus.reload({
    scrape: [{ job: 'exporter', targets: [exporter] }],
    rules: [{ name: 'queues', rules: [{ alert: 'QueueDeep', expr: 'queue_depth > 5', labels: { severity: 'page' } }] }],
  });

  const firing = await eventually('firing', () => heard.find(({ body }) => body.status === 'firing'));
  expect(firing.authorization).toBe('Bearer of-the-test');
  expect(firing.body.alerts).toMatchObject([
    { status: 'firing', labels: { alertname: 'QueueDeep', queue: 'orders', job: 'exporter', severity: 'page' } },
  ]);
  depth = 0;
  await eventually('resolved', () => heard.find(({ body }) => body.status === 'resolved'));
});

test('a configuration that is refused says why', async () => {
  await expect(sandbox.prometheus.reload({ rules: 'groups: [{ name: x, rules: [{ alert: A, expr: "((" }] }]' }))
    .rejects //
    .toThrow(/refused its new configuration/);
  await expect(sandbox.alertmanager.reload({ route: { receiver: 'nobody' }, receivers: [] })).rejects.toThrow(
    /refused its new configuration.*nobody/,
  );
});
