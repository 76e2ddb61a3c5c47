import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { expect, onTestFinished, test } from 'vitest';
import { SEARCH_ATTRIBUTES } from '../../model/names.ts';
import { ComponentStartError } from '../../sandbox/processes.ts';
import { startSandbox } from '../../sandbox/sandbox.ts';
import { startTemporal } from '../../sandbox/temporal.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import { processesWith } from './processes.ts';

async function temporalOfTest() {
  const { temporal, stop } = await startSandbox({ parts: ['temporal'] });
  onTestFinished(stop);
  return temporal;
}

async function clientOf(address: string): Promise<Client> {
  const connection = await connectTo(address);
  onTestFinished(() => connection.close());
  return new Client({ connection });
}

test.for(['stop', 'kill'] as const)('after %s and start it has its workflows, on the same address', async (end) => {
  const temporal = await temporalOfTest();
  const { address, pid, uiUrl } = temporal;
  const client = await clientOf(address);
  const workflowId = `kept-${end}`;
  const search = { SalvorTarget: ['k8s/sandbox/shop/pod/web-0'] };
  await client.workflow.start('kept', { workflowId, taskQueue: 'none', searchAttributes: search });

  await temporal[end]();
  expect(temporal.pid).toBeUndefined();
  await expect(Connection.connect({ address, connectTimeout: 500 })).rejects.toThrow();

  await temporal.start();
  expect(temporal.pid).not.toBe(pid);
  expect(temporal.address).toBe(address);
  const again = await clientOf(address);
  const description = await again.workflow.getHandle(workflowId).describe();
  expect(description.status.name).toBe('RUNNING');
  expect(description.searchAttributes.SalvorTarget).toEqual(search.SalvorTarget);
  // Nothing waits for the UI when the server comes up.
  await eventually('the UI answers', async () => (await fetch(uiUrl!)).status === 200);
});

test('the settings of the embedded server are in force', async () => {
  const temporal = await temporalOfTest();
  const client = await clientOf(temporal.address);
  const { customAttributes } = await client.connection.operatorService.listSearchAttributes({ namespace: 'default' });
  expect(Object.keys(customAttributes ?? {})).toEqual(expect.arrayContaining([...SEARCH_ATTRIBUTES]));
  // One partition: the queue itself and no child of it.
  const { activityTaskQueuePartitions } = await client.workflowService.listTaskQueuePartitions({
    namespace: 'default',
    taskQueue: { name: 'any' },
  });
  expect(activityTaskQueuePartitions).toHaveLength(1);
});

async function folderOfTest(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test('on a port that is taken it is not started, and the other server is not taken for it', async () => {
  const { address } = await temporalOfTest();
  const port = Number(address.split(':')[1]);
  const logFile = join(await folderOfTest(), 'temporal.log');
  const start = startTemporal({ port, logFile, headless: true });
  await expect(start).rejects.toThrow(ComponentStartError);
  await expect(start).rejects.toThrow(`127.0.0.1:${port}`);
});

test('a start that fails says so with the end of the log, and leaves nothing running', async () => {
  const folder = await folderOfTest();
  const dbFile = join(folder, 'no', 'such', 'folder', 'temporal.db');
  const logFile = join(folder, 'temporal.log');
  const failure = await startTemporal({ dbFile, logFile, headless: true }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(ComponentStartError);
  expect(String(failure)).toContain(`temporal ended while starting, with status 1. The end of its log ${logFile}:\n`);
  expect(String(failure)).toContain(dirname(dbFile));
  expect(await processesWith(folder)).toEqual([]);
});
