import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Client, type Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import { proposalId } from '../../model/names.ts';
import { freePort } from '../../sandbox/ports.ts';
import { type Postgres, startPostgres } from '../../sandbox/postgres.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from '../support/connection.ts';
import { TestCluster } from '../support/kubernetes.ts';
import { manifests, SALVOR } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';
import { alertOf, bearer, deliver, webhookOf } from '../support/webhook.ts';
import { mounts, ROOT, readStack, readText, service } from './stack.ts';

/**
 * Gateway and workers of docker-compose.yml, without a container engine: the same command lines, environment and files,
 * with the container's paths under a folder and its addresses on free ports of this machine.
 */
const stack = readStack();
const root = mkdtempSync(join(tmpdir(), 'salvor-compose-'));
const inside = (text: string): string => text.replaceAll(/(?<![\w:/])\/(?:etc|run)\//g, (path) => `${root}${path}`);
const TOKEN = '5ec2e7';
/** What takes seconds on an idle machine may take much longer on a busy one. */
const PATIENCE = 90_000;

let sandbox: Sandbox<'temporal' | 'kubernetes' | 'prometheus' | 'alertmanager'>;
let connection: Connection;
let postgres: Postgres;
let database: string;
/** Where the gateway and each worker listen. */
let address: string;
let monitors: string[];
const started: ChildProcess[] = [];

beforeAll(async () => {
  [postgres, sandbox] = await Promise.all([
    startPostgres(),
    startSandbox({
      parts: ['temporal', 'kubernetes', 'prometheus', 'alertmanager'],
      kubernetes: { users: [{ name: SALVOR }] },
      // Their own files of the stack; what they cannot reach here they do not need to start.
      prometheus: { rules: readText('deploy/prometheus/salvor.yml') },
      alertmanager: { config: inside(readText('examples/compose/alertmanager.yml')) },
    }),
  ]);
  database = await postgres.createDatabase('salvor');
  connection = await connectTo(sandbox.temporal.address);
  address = `127.0.0.1:${await freePort()}`;
  monitors = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`];
  mkdirSync(join(root, 'run/secrets'), { recursive: true });
  writeFileSync(join(root, 'run/secrets/webhook_token'), TOKEN);
  writeFileSync(join(root, 'run/secrets/audit_password'), postgres.password);
  await new TestCluster(sandbox.kubernetes).create(...manifests('rbac.yaml'));
  copyFileSync(sandbox.kubernetes.users[SALVOR]?.kubeconfig ?? '', join(root, 'run/secrets/kubeconfig'));
  for (const { source, target } of mounts(service(stack, 'gateway'))) {
    const written = inside(readText(source))
      .replace('temporal:7233', sandbox.temporal.address)
      .replace('0.0.0.0:9095', address)
      .replace('alertmanager:9093', sandbox.alertmanager.address)
      .replace('postgresql:5432', new URL(database).host);
    mkdirSync(dirname(join(root, target)), { recursive: true });
    writeFileSync(join(root, target), written);
  }
});

afterAll(async () => {
  await Promise.all(started.map(end));
  await connection?.close();
  await Promise.all([sandbox?.stop(), postgres?.stop()]);
  rmSync(root, { recursive: true, force: true });
});

/** As the image starts it (ENTRYPOINT without the init): Node, the command of the service, and its environment alone. */
function start(name: string, args = service(stack, name).command ?? []): ChildProcess & { log: () => string } {
  const { environment = {} } = service(stack, name);
  const child = spawn(process.execPath, [join(ROOT, 'bin/salvor.mjs'), ...args.map(inside)], {
    cwd: root,
    env: { PATH: dirname(process.execPath), ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  started.push(child);
  let log = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    log += text;
  });
  return Object.assign(child, { log: () => log });
}

/** One of the replicas. They are containers of one address each; here each has a file with its own. */
function startWorker(monitor: string): ReturnType<typeof start> {
  const file = inside('/etc/salvor/salvor.yaml');
  const own = file.replace('.yaml', `-${monitors.indexOf(monitor)}.yaml`);
  writeFileSync(own, readFileSync(file, 'utf8').replace('0.0.0.0:9096', monitor));
  return start(
    'worker',
    service(stack, 'worker').command?.map((arg) => inside(arg).replace(file, own)),
  );
}

/** @returns the exit status after SIGTERM */
async function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
  return child.exitCode;
}

/** The health check of the service, on the port that it has here. */
async function isHealthy(name: string, at = address): Promise<boolean> {
  const [, , ...args] = service(stack, name).healthcheck?.test ?? [];
  const check = spawn(
    process.execPath,
    args.map((arg) => arg.replace(/127\.0\.0\.1:909[56]/, at)),
    { stdio: 'ignore' },
  );
  const [status] = (await once(check, 'exit')) as [number | null];
  return status === 0;
}

function alert(token: string): Promise<{ status: number; text: string }> {
  const alert = alertOf({ alertname: 'PodRunningNotReady', namespace: 'shop', pod: 'web-0' });
  return deliver(`http://${address}`, webhookOf([alert]), bearer(token));
}

describe('the processes of docker-compose.yml', () => {
  it('start as they stand there, become healthy, take an alert, work on it and end when they are asked to', async () => {
    const gateway = start('gateway');
    await eventually('the gateway is healthy', () => isHealthy('gateway'), PATIENCE);
    expect(service(stack, 'worker').deploy?.replicas).toBe(monitors.length);
    const workers = monitors.map(startWorker);
    const client = new Client({ connection });
    await eventually(
      'both workers poll',
      async () => {
        expect(
          workers.map(({ exitCode }) => exitCode),
          workers.map(({ log }) => log()).join(),
        ).toEqual([null, null]);
        const { pollers } = await client.workflowService.describeTaskQueue({
          namespace: 'default',
          taskQueue: { name: 'salvor' },
          taskQueueType: 1,
        });
        return new Set(pollers?.map(({ identity }) => identity)).size === workers.length;
      },
      PATIENCE,
    );
    for (const monitor of monitors)
      await eventually(`${monitor} is healthy`, () => isHealthy('worker', monitor), PATIENCE);

    expect((await alert('wrong')).status).toBe(401);
    const answer = await alert(TOKEN);
    expect(answer.status, answer.text).toBe(200);
    const run = client.workflow.getHandle(proposalId('pod-unready', 'k8s/prod/shop/pod/web-0'));
    const ending: unknown = await eventually('the alert was worked on', async () => run.result(), PATIENCE);
    expect(ending).toMatchObject({ outcome: 'not-needed', changes: [] });
    const store = await openAuditStore({ url: database, password: postgres.password, mustExist: true });
    const streams = await store.streams({ rule: 'pod-unready' });
    await store.close();
    expect(streams, 'on record in the database').toMatchObject([{ outcome: 'not-needed', by: 'alertmanager' }]);

    expect(await Promise.all([gateway, ...workers].map(end))).toEqual([0, 0, 0]);
  });

  it('a gateway without Temporal lives, and says by its health check that it is not ready', async () => {
    const gateway = start('gateway');
    await eventually('the gateway is healthy', () => isHealthy('gateway'), PATIENCE);
    await sandbox.temporal.kill();
    await eventually('the health check fails', async () => !(await isHealthy('gateway')), PATIENCE);
    expect(gateway.exitCode).toBeNull();
    expect((await alert(TOKEN)).status).toBe(503);
    await sandbox.temporal.start();
    await eventually('the gateway is healthy again', () => isHealthy('gateway'), PATIENCE);
    expect(await end(gateway)).toBe(0);
  });
});

describe('`salvor worker` with the audit in a file, or nowhere,', () => {
  const temporal = () => `temporal: { address: ${sandbox.temporal.address} }\n`;
  it.each([
    ['file', "audit: { url: 'file:./audit.db' }\n", /audit\.url in .* is a file of this machine/],
    ['none', '', /has no audit\.url, so the audit would be a file of this machine/],
  ])('is refused unless it is the only one (%s)', async (name, section, why) => {
    const file = join(root, `audit-${name}.yaml`);
    writeFileSync(file, temporal() + section);
    const refused = start('worker', ['worker', '--config', file]);
    const [status] = (await once(refused, 'close')) as [number];
    expect(status).toBe(2);
    expect(refused.log()).toMatch(why);
    expect(refused.log()).toContain('Nothing was started.');
    expect(refused.log()).toContain('--single');
  });

  it('starts where it is the only one', async () => {
    const file = join(root, 'audit-single.yaml');
    writeFileSync(file, `${temporal()}audit: { url: 'file:./single.db' }\n`);
    const single = start('worker', ['worker', '--single', '--config', file]);
    await eventually('it is ready', () => single.log().includes('worker is ready'), PATIENCE);
    expect(await end(single)).toBe(0);
  });
});

describe('the monitoring of docker-compose.yml', () => {
  it('Alertmanager takes its configuration', async () => {
    const answer = await fetch(`${sandbox.alertmanager.url}/api/v2/status`);
    const { config } = (await answer.json()) as { config: { original: string } };
    // Alertmanager masks the address of a webhook.
    expect(config.original).toMatch(/name: salvor\n\s+webhook_configs:/);
    expect(config.original).toContain(`credentials_file: ${root}/run/secrets/webhook_token`);
  });

  it('Alertmanager takes what Salvor itself has to say to a person only, and all else to Salvor and a person', async () => {
    const url = `${sandbox.alertmanager.url}/api/v2/alerts`;
    const alerts = [
      { alertname: 'SalvorEscalation', alert: 'PodRunningNotReady', salvor_id: 'x', namespace: 'shop' },
      { alertname: 'PodRunningNotReady', namespace: 'shop' },
    ];
    const posted = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(alerts.map((labels) => ({ labels }))),
    });
    expect(posted.status, await posted.text()).toBe(200);
    const receivers = await eventually('both are known', async () => {
      const known = (await (await fetch(url)).json()) as {
        labels: { alertname: string };
        receivers: { name: string }[];
      }[];
      const found = alerts.map(({ alertname }) => known.find(({ labels }) => labels.alertname === alertname));
      return (
        found.every((one) => one !== undefined) && found.map((one) => one.receivers.map(({ name }) => name).sort())
      );
    });
    expect(receivers).toEqual([['person'], ['person', 'salvor']]);
  });

  it('Prometheus takes the rules', async () => {
    for (const file of ['deploy/prometheus/salvor.yml', 'examples/compose/rules/kubernetes.yml']) {
      await sandbox.prometheus.reload({ rules: readText(file) });
      const answer = await fetch(`${sandbox.prometheus.url}/api/v1/rules`);
      const { data } = (await answer.json()) as { data: { groups: { name: string; rules: { health: string }[] }[] } };
      expect(data.groups.map(({ name }) => name)).toEqual([basename(file, '.yml')]);
    }
  });
});
