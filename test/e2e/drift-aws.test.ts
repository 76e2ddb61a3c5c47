import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  AuthorizeSecurityGroupIngressCommand,
  CreateSecurityGroupCommand,
  DescribeSecurityGroupRulesCommand,
  EC2Client,
} from '@aws-sdk/client-ec2';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import { type Moto, startMoto } from '../../sandbox/moto.ts';
import { type Component, startComponent, untilReady } from '../../sandbox/processes.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { BIN, salvor } from '../cli/salvor.ts';
import { credentials, REGION } from '../support/aws.ts';
import { eventually } from '../support/wait.ts';

/** A port of a security group that was opened by hand: the schedule finds it, and the worker closes it; the proxy is the witness. */
let sandbox: Sandbox<'temporal'>;
let moto: Moto;
let ec2: EC2Client;
let worker: Component | undefined;
let configFile: string;
let group: string;
const PATIENCE = 90_000;
const KEYS = { AWS_ACCESS_KEY_ID: 'salvor', AWS_SECRET_ACCESS_KEY: 'salvor' };

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  moto = await startMoto({ folder: join(sandbox.folder, 'moto') });
  moto.proxy.trail.know('AKIAADA', { user: 'ada' });
  ec2 = new EC2Client({ region: REGION, endpoint: moto.url, credentials: { ...credentials, accessKeyId: 'AKIAADA' } });
  const made = await ec2.send(new CreateSecurityGroupCommand({ GroupName: 'web', Description: 'of a test' }));
  group = made.GroupId ?? '';
  await open(443);
  const folder = join(sandbox.folder, 'edge');
  await mkdir(folder);
  const rule = '{ protocol: tcp, port: 443, cidr: 0.0.0.0/0 }';
  await writeFile(join(folder, 'groups.yaml'), `groups:\n  - { id: ${group}, ingress: [${rule}] }\n`);
  configFile = join(sandbox.folder, 'salvor.yaml');
  const config = {
    temporal: { address: sandbox.temporal.address },
    audit: { url: 'file:./audit.db' },
    aws: [{ name: 'main', region: REGION, endpoint: moto.url }],
    stacks: [{ name: 'edge', securityGroups: { aws: 'main', folder: './edge' }, minAge: '0s' }],
    rules: [
      {
        name: 'edge-drift',
        runbook: 'revert-drift',
        target: 'stack/edge',
        mode: 'act',
        schedule: { every: '2s', jitter: '0s' },
        gates: { cooldown: '0s' },
      },
    ],
  };
  await writeFile(configFile, JSON.stringify(config));
  worker = await startComponent({
    name: 'salvor worker',
    file: process.execPath,
    args: [BIN, 'worker', '--single', '--config', configFile],
    env: KEYS,
    logFile: join(sandbox.folder, 'worker.log'),
  });
  const { logFile } = worker;
  await untilReady(worker, async () => (await readFile(logFile, 'utf8')).includes('worker is ready'));
});
afterAll(async () => {
  await worker?.stop();
  ec2?.destroy();
  await moto?.stop();
  await sandbox?.stop();
});

const open = (port: number) =>
  ec2.send(
    new AuthorizeSecurityGroupIngressCommand({
      GroupId: group,
      IpPermissions: [{ IpProtocol: 'tcp', FromPort: port, ToPort: port, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }],
    }),
  );

async function ports(): Promise<(number | undefined)[]> {
  const asked = new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: 'group-id', Values: [group] }] });
  const { SecurityGroupRules = [] } = await ec2.send(asked);
  return SecurityGroupRules.filter(({ IsEgress }) => !IsEgress).map(({ FromPort }) => FromPort);
}

test('a port that was opened by hand is closed by the next time of the schedule, and who opened it is on record', async () => {
  const compared = () => moto.proxy.requests.some(({ by, action }) => by === 'salvor' && action.startsWith('Describe'));
  await eventually('it is compared', async () => compared(), PATIENCE);
  const same = await salvor(['--config', configFile, 'drift', 'check', 'edge'], { env: KEYS });
  expect(same.status, same.stderr).toBe(0);
  expect(moto.proxy.mutations('salvor', group)).toEqual([]);

  await open(22);
  await eventually('it is closed', async () => (await ports()).join() === '443', PATIENCE);
  const store = await openAuditStore({ url: `file:${join(sandbox.folder, 'audit.db')}` });
  try {
    const [run] = await eventually(
      'its end is on record',
      async () => {
        const runs = await store.streams({ target: 'stack/edge', outcome: 'remediated', limit: 10 });
        return runs.length > 0 && runs;
      },
      PATIENCE,
    );
    expect(run).toMatchObject({ rule: 'edge-drift', by: 'schedule:edge-drift' });
    expect(JSON.stringify(await store.records(run?.id ?? ''))).toContain('arn:aws:iam::123456789012:user/ada');
  } finally {
    await store.close();
  }
  expect(moto.proxy.mutations('salvor', group)).toEqual([
    expect.stringMatching(/^RevokeSecurityGroupIngress sgr-\w+$/),
  ]);
});
