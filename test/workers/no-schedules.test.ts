import { join } from 'node:path';
import { Client, type Connection } from '@temporalio/client';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { parseConfig } from '../../model/config.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { startWorker } from '../../workers/worker.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';

/** A server on which schedules are turned off. */
let sandbox: Sandbox<'temporal'>;
let connection: Connection;
beforeAll(async () => {
  const dynamicConfig = { 'frontend.enableSchedules': false };
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true, dynamicConfig } });
  connection = await connectTo(sandbox.temporal.address);
});
afterAll(async () => {
  await connection?.close();
  await sandbox?.stop();
});

it('without schedules the worker says once which rules do not begin, and does all else', async () => {
  const client = new Client({ connection });
  await expect(client.schedule.getHandle('any').describe()).rejects.toThrow();
  const parsed = parseConfig(
    `temporal: { address: ${sandbox.temporal.address} }
clusters: [{ name: none, kubeconfig: /none/kubeconfig }]
rules: [{ name: often, runbook: drain-instance, target: k8s/none/shop/pod/web-0, schedule: every 5m }]
`,
    'salvor.yaml',
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  const said: { level: number; rule?: string; reason?: string; msg: string }[] = [];
  const logger = pino({ level: 'warn' }, { write: (line: string) => said.push(JSON.parse(line)) });
  const audit = { url: `file:${join(sandbox.folder, 'audit.db')}` };
  const worker = await startWorker({ config: parsed.config, audit, logger });
  try {
    const told = () => said.filter(({ msg }) => /by its schedule|schedules that the configuration/.test(msg));
    await eventually('it says so', () => told().length >= 2);
    expect(told()).toMatchObject([
      {
        level: 50,
        rule: 'often',
        msg: 'the rule does not begin by its schedule until that is mended and a worker is started again',
      },
      {
        level: 50,
        msg: 'schedules that the configuration has no more stay until that is mended and a worker is started again',
      },
    ]);
    expect(told()[0]?.reason).toMatch(/schedule/i);
    expect(await worker.health()).toMatchObject({ polls: true, temporal: true });
  } finally {
    await worker.stop();
  }
});
