import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateAutoScalingGroupCommand } from '@aws-sdk/client-auto-scaling';
import { afterAll, afterEach, beforeAll, expect, onTestFinished, test, vi } from 'vitest';
import { Aws } from '../../../providers/aws/provider.ts';
import { REGION } from '../../support/aws.ts';
import { World } from './support.ts';

const world = new World();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());
afterEach(() => vi.unstubAllEnvs());

/** What came from this account's client, by whom. */
async function asked(config: { profile?: string; roleArn?: string }, id: string): Promise<string[]> {
  const aws = new Aws({ name: 'other', region: REGION, endpoint: world.moto.url, ...config });
  const before = world.moto.proxy.requests.length;
  try {
    await aws.groupOf(id);
  } finally {
    await aws.close();
  }
  return world.moto.proxy.requests.slice(before).map(({ action, by }) => `${action} by ${by}`);
}

test('it asks as a profile of the shared configuration, and as a role that is assumed', async () => {
  const { ids } = await world.aws.group({ min: 1, desired: 1, max: 1 });
  const folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, 'credentials');
  await writeFile(file, '[drains]\naws_access_key_id = ofprofile\naws_secret_access_key = secret\n');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', file);
  vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'config'));
  vi.stubEnv('AWS_ENDPOINT_URL_STS', world.moto.url);
  expect(await asked({ profile: 'drains' }, ids[0]!)).toEqual(['DescribeAutoScalingInstances by ofprofile']);

  const roleArn = 'arn:aws:iam::123456789012:role/salvor';
  const [assumed, read] = await asked({ roleArn, profile: 'drains' }, ids[0]!);
  expect(assumed).toBe('AssumeRole by ofprofile');
  expect(read).toMatch(/^DescribeAutoScalingInstances by ASIA/);

  await expect(asked({ profile: 'none' }, ids[0]!)).rejects.toMatchObject({
    name: 'UnavailableError',
    message: expect.stringMatching(/in AWS account other \(eu-west-1\).* renew them if this lasts/),
  });
});

test('where nobody listens it is to be tried again', async () => {
  const aws = new Aws({ name: 'main', region: REGION, endpoint: 'http://127.0.0.1:9' });
  onTestFinished(() => aws.close());
  await expect(aws.groupOf('i-00000000')).rejects.toMatchObject({
    name: 'UnavailableError',
    message: expect.stringContaining('cannot DescribeAutoScalingInstances i-00000000 in AWS account main (eu-west-1)'),
  });
});

test('many groups are read by fifties, and all of an account by pages', async () => {
  const { name, ids } = await world.aws.group({ min: 0, desired: 1, max: 1 });
  const names = Array.from({ length: 110 }, (_, i) => `${name}-${i}`);
  for (const AutoScalingGroupName of names)
    await world.aws.client.send(
      new CreateAutoScalingGroupCommand({
        ...{ AutoScalingGroupName, LaunchConfigurationName: name, AvailabilityZones: [`${REGION}a`] },
        ...{ MinSize: 0, MaxSize: 1, DesiredCapacity: 0 },
      }),
    );
  const before = world.moto.proxy.requests.length;
  const keys = names.map((group) => `asg/main/${group}/${ids[0]}`);
  const { workloads } = await world.provider.evidence.look(keys, []);
  expect(Object.keys(workloads)).toHaveLength(110);
  expect(world.moto.proxy.requests.length - before).toBe(3);

  await world.aws.tag(names[109]!, `salvor.dev/held/${ids[0]}`, 'unreadable');
  const found = await world.provider.find();
  expect(found.map(({ object }) => object.key)).toEqual([`asg/main/${names[109]}/${ids[0]}`]);
});

test('the policy for its role allows what it calls, and nothing else', async () => {
  const root = new URL('../../../', import.meta.url);
  const calledIn = async (file: string, service: string) => {
    const source = await readFile(new URL(`providers/aws/${file}`, root), 'utf8');
    return [...source.matchAll(/new (?:sdk\.)?(\w+)Command\(/g)].map(([, name]) => `${service}:${name}`);
  };
  const policy = JSON.parse(await readFile(new URL('deploy/aws/iam-policy.json', root), 'utf8')) as {
    Statement: { Effect: string; Action: string[] }[];
  };
  const called = new Set([
    ...(await calledIn('account.ts', 'autoscaling')),
    ...(await calledIn('metrics.ts', 'cloudwatch')),
    ...(await calledIn('security-groups/api.ts', 'ec2')),
    ...(await calledIn('trail.ts', 'cloudtrail')),
  ]);
  expect(policy.Statement.flatMap(({ Action }) => Action).sort()).toEqual([...called].sort());
  expect(policy.Statement.map(({ Effect }) => Effect)).toEqual(['Allow', 'Allow', 'Allow', 'Allow']);
});
