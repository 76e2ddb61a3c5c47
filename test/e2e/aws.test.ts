import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Client } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { remediationId } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { type Moto, startMoto } from '../../sandbox/moto.ts';
import type { Component } from '../../sandbox/processes.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { salvor } from '../cli/salvor.ts';
import { REGION, TestAws } from '../support/aws.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import { startWorkerProcess } from '../support/worker.ts';

/**
 * The whole way of an Auto Scaling instance, on Temporal and moto, with the worker killed between the calls to AWS: by the
 * record of the proxy before moto each mutation is made once, and the group ends as it should.
 */
let sandbox: Sandbox<'temporal'>;
let moto: Moto;
let aws: TestAws;
let client: Client;
let configFile: string;
let worker: Component | undefined;
let workers = 0;

const PATIENCE = 120_000;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  moto = await startMoto({ folder: join(sandbox.folder, 'moto') });
  aws = new TestAws(moto);
  client = new Client({ connection: await connectTo(sandbox.temporal.address) });
  configFile = join(sandbox.folder, 'salvor.yaml');
  const config = {
    temporal: { address: sandbox.temporal.address },
    audit: { url: 'file:./audit.db' },
    aws: [{ name: 'main', region: REGION, endpoint: moto.url }],
    rules: [
      {
        name: 'unused',
        match: ['alertname="Unused"'],
        runbook: 'drain-instance',
        target: 'asg/main/-/${labels.instance_id}',
      },
    ],
  };
  await writeFile(configFile, JSON.stringify(config));
});
beforeEach(async () => {
  if (!worker) await startWorker();
});
afterAll(async () => {
  await worker?.stop();
  aws?.close();
  await client?.connection.close();
  await moto?.stop();
  await sandbox?.stop();
});

async function startWorker(): Promise<void> {
  workers += 1;
  const env = { AWS_ACCESS_KEY_ID: 'salvor', AWS_SECRET_ACCESS_KEY: 'salvor' };
  worker = await startWorkerProcess({ configFile, logFile: join(sandbox.folder, `worker-${workers}.log`), env });
}

/** A group whose first instance its health checks find Unhealthy, and a remediation of it. */
async function remediation(sizes: { min: number; desired: number; max: number }, options: Record<string, string>) {
  const { name, ids } = await aws.group(sizes);
  const id = ids[0]!;
  await aws.health(id, 'Unhealthy');
  return {
    ...{ name, id },
    /** By the name that a rule makes of the label `instance_id`: the group is not known. */
    begin: async () => {
      const given = Object.entries({ stableFor: '1s', quietFor: '0s', ...options });
      const withs = given.flatMap(([key, value]) => ['--with', `${key}=${value}`]);
      const args = ['run', 'drain-instance', `asg/main/-/${id}`, '--mode', 'act', ...withs];
      const { status, stderr } = await salvor(['--config', configFile, ...args]);
      expect(stderr, stderr).not.toContain('rror');
      expect(status).toBe(0);
    },
    ending: async (): Promise<Ending> => {
      const handle = client.workflow.getHandle(remediationId(`asg/main/${name}/${id}`));
      await eventually('the remediation', () => handle.describe(), PATIENCE);
      return handle.result();
    },
    changes: () => moto.proxy.mutations('salvor', name, id).filter((one) => !/Tags/.test(one)),
  };
}

/** The worker dies while AWS has its request: before it is carried out, or after it, so that its answer is lost. */
async function killedAt(action: string, when: 'before' | 'after'): Promise<void> {
  const stall = moto.proxy.stall(action, when);
  await stall.reached;
  await worker?.kill();
  worker = undefined;
  stall.release();
  await startWorker();
}

test('above MinSize it recovers: it is back, and the desired capacity is as before', async () => {
  const it = await remediation({ min: 1, desired: 2, max: 3 }, { recoverWithin: '10m' });
  const cut = killedAt('EnterStandby', 'after');
  await it.begin();
  await cut;
  const back = killedAt('ExitStandby', 'after');
  await aws.health(it.id, 'Healthy');
  await back;
  expect(await it.ending()).toMatchObject({
    outcome: 'recovered',
    changes: [
      { field: 'LifecycleState', after: 'Standby' },
      { field: 'DesiredCapacity', before: 2, after: 1 },
      { field: 'LifecycleState', after: 'InService' },
      { field: 'DesiredCapacity', before: 1, after: 2 },
    ],
  });
  expect(it.changes()).toEqual(['EnterStandby with decrement', 'ExitStandby']);
  expect(await aws.read(it.name)).toMatchObject({ desired: 2, instances: [{}, {}] });
  expect(await aws.state(it.name, it.id)).toBe('InService');
  expect(await aws.notes(it.name)).toEqual({});
});

test('above MinSize it does not recover: it is replaced, and the group has its size', async () => {
  const it = await remediation({ min: 1, desired: 2, max: 3 }, { recoverWithin: '0s', stableFor: '0s' });
  const raised = killedAt('SetDesiredCapacity', 'after');
  await it.begin();
  await raised;
  await killedAt('TerminateInstanceInAutoScalingGroup', 'after');
  expect(await it.ending()).toMatchObject({
    outcome: 'remediated',
    changes: [
      { field: 'LifecycleState', after: 'Standby' },
      { field: 'DesiredCapacity', before: 2, after: 1 },
      { field: 'DesiredCapacity', before: 1, after: 2 },
      { field: 'termination' },
    ],
  });
  expect(it.changes()).toEqual([
    'EnterStandby with decrement',
    'SetDesiredCapacity 2',
    'TerminateInstanceInAutoScalingGroup without decrement',
  ]);
  await endsWhole(it, 2);
});

test('at MinSize it is replaced first, and never comes back', async () => {
  const it = await remediation({ min: 2, desired: 2, max: 2 }, {});
  const cut = killedAt('EnterStandby', 'before');
  await it.begin();
  await cut;
  await killedAt('TerminateInstanceInAutoScalingGroup', 'before');
  expect(await it.ending()).toMatchObject({
    outcome: 'remediated',
    changes: [{ field: 'LifecycleState', after: 'Standby' }, { field: 'termination' }],
  });
  expect(it.changes()).toEqual([
    'EnterStandby without decrement',
    'TerminateInstanceInAutoScalingGroup without decrement',
  ]);
  await endsWhole(it, 2);
});

/** All of them InService, none of them the sick one, and nothing held. */
async function endsWhole({ name, id }: { name: string; id: string }, size: number): Promise<void> {
  expect(await aws.read(name)).toMatchObject({ desired: size });
  const states = await aws.states(name);
  expect(Object.values(states)).toEqual(Array(size).fill('InService'));
  expect(states).not.toHaveProperty(id);
  expect(await aws.notes(name)).toEqual({});
}
