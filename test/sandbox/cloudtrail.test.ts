import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SetDesiredCapacityCommand } from '@aws-sdk/client-auto-scaling';
import {
  CloudTrailClient,
  type Event,
  type LookupAttributeKey,
  LookupEventsCommand,
  type LookupEventsCommandInput,
} from '@aws-sdk/client-cloudtrail';
import {
  AuthorizeSecurityGroupIngressCommand,
  CreateSecurityGroupCommand,
  DescribeSecurityGroupRulesCommand,
  EC2Client,
  RevokeSecurityGroupIngressCommand,
} from '@aws-sdk/client-ec2';
import { fromTemporaryCredentials } from '@aws-sdk/credential-providers';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { type Moto, startMoto } from '../../sandbox/moto.ts';
import { credentials, REGION, TestAws } from '../support/aws.ts';

let folder: string;
let moto: Moto;
let trail: CloudTrailClient;
const clients: { destroy(): void }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
  moto = await startMoto({ folder });
  trail = new CloudTrailClient({ region: REGION, endpoint: moto.url, credentials });
  clients.push(trail);
}, 300_000);
afterAll(async () => {
  for (const client of clients) client.destroy();
  await moto?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** EC2, as somebody asks it whose access key this is. */
function ec2(accessKeyId: string, region = REGION): EC2Client {
  const client = new EC2Client({ region, endpoint: moto.url, credentials: { ...credentials, accessKeyId } });
  clients.push(client);
  return client;
}

async function group(as: EC2Client): Promise<string> {
  const name = `web-${randomUUID().slice(0, 8)}`;
  const made = await as.send(new CreateSecurityGroupCommand({ GroupName: name, Description: 'of a test' }));
  return made.GroupId ?? '';
}

const ssh = [{ IpProtocol: 'tcp', FromPort: 22, ToPort: 22, IpRanges: [{ CidrIp: '0.0.0.0/0' }] }];
const open = (as: EC2Client, GroupId: string) =>
  as.send(new AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions: ssh }));

async function lookup(asked: LookupEventsCommandInput = {}): Promise<Event[]> {
  return (await trail.send(new LookupEventsCommand(asked))).Events ?? [];
}
const by = (AttributeKey: LookupAttributeKey, AttributeValue: string) => ({
  LookupAttributes: [{ AttributeKey, AttributeValue }],
});
const names = (events: Event[]) => events.map(({ EventName }) => EventName);

test('tells who opened a port of a security group, and how', async () => {
  moto.proxy.trail.know('AKIAADA', { user: 'ada' });
  const ada = ec2('AKIAADA');
  const id = await group(ada);
  const { SecurityGroupRules: [made] = [] } = await open(ada, id);
  const [event, creation, ...more] = await lookup(by('ResourceName', id));
  expect(event).toMatchObject({
    EventName: 'AuthorizeSecurityGroupIngress',
    EventSource: 'ec2.amazonaws.com',
    Username: 'ada',
    AccessKeyId: 'AKIAADA',
    ReadOnly: 'false',
    Resources: [{ ResourceType: 'AWS::EC2::SecurityGroup', ResourceName: id }],
  });
  const request = moto.proxy.requests.find(({ parameters }) => parameters['GroupId'] === id);
  expect(event?.EventTime).toEqual(new Date(Math.floor(Date.parse(request?.at ?? '') / 1_000) * 1_000));
  expect(JSON.parse(event?.CloudTrailEvent ?? '')).toMatchObject({
    eventID: event?.EventId,
    eventName: 'AuthorizeSecurityGroupIngress',
    awsRegion: REGION,
    userIdentity: { type: 'IAMUser', userName: 'ada', arn: 'arn:aws:iam::123456789012:user/ada' },
    requestParameters: {
      groupId: id,
      ipPermissions: {
        items: [
          {
            ...{ ipProtocol: 'tcp', fromPort: 22, toPort: 22, groups: {}, ipv6Ranges: {}, prefixListIds: {} },
            ipRanges: { items: [{ cidrIp: '0.0.0.0/0' }] },
          },
        ],
      },
    },
    responseElements: {
      _return: true,
      securityGroupRuleSet: { items: [{ securityGroupRuleId: made?.SecurityGroupRuleId, groupId: id }] },
    },
  });
  expect(creation).toMatchObject({ EventName: 'CreateSecurityGroup', Username: 'ada' });
  expect(more).toEqual([]);
});

test('tells of a role by the session that took it, and of a refusal', async () => {
  moto.proxy.trail.know('ASIAGRACE', { role: 'operations', session: 'grace@example.com' });
  const grace = ec2('ASIAGRACE');
  const id = await group(grace);
  const SecurityGroupRuleIds = ['sgr-1', 'sgr-2'];
  const revoke = new RevokeSecurityGroupIngressCommand({ GroupId: id, SecurityGroupRuleIds });
  await expect(grace.send(revoke)).rejects.toThrow(/does not exist/);
  const [event] = await lookup(by('ResourceName', id));
  expect(event).toMatchObject({ EventName: 'RevokeSecurityGroupIngress', Username: 'grace@example.com' });
  expect(JSON.parse(event?.CloudTrailEvent ?? '')).toMatchObject({
    errorCode: 'Client.InvalidPermission.NotFound',
    userIdentity: {
      type: 'AssumedRole',
      arn: 'arn:aws:sts::123456789012:assumed-role/operations/grace@example.com',
      sessionContext: { sessionIssuer: { type: 'Role', userName: 'operations' } },
    },
    requestParameters: {
      groupId: id,
      securityGroupRuleIds: { items: [{ securityGroupRuleId: 'sgr-1' }, { securityGroupRuleId: 'sgr-2' }] },
    },
    responseElements: null,
  });
});

test('knows a role that was assumed by its session', async () => {
  const assumed = fromTemporaryCredentials({
    masterCredentials: credentials,
    params: { RoleArn: 'arn:aws:iam::123456789012:role/deployer', RoleSessionName: 'pipeline-7' },
    clientConfig: { region: REGION, endpoint: moto.url },
  });
  const client = new EC2Client({ region: REGION, endpoint: moto.url, credentials: assumed });
  clients.push(client);
  const id = await group(client);
  const [event] = await lookup(by('ResourceName', id));
  expect(event).toMatchObject({ EventName: 'CreateSecurityGroup', Username: 'pipeline-7' });
  expect(JSON.parse(event?.CloudTrailEvent ?? '')).toMatchObject({
    userIdentity: { type: 'AssumedRole', sessionContext: { sessionIssuer: { userName: 'deployer' } } },
  });
});

test('tells of Auto Scaling groups, too', async () => {
  const aws = new TestAws(moto);
  onTestFinished(() => aws.close());
  const { name } = await aws.group({ min: 1, desired: 1, max: 2 });
  await aws.client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName: name, DesiredCapacity: 2 }));
  const [event] = await lookup(by('ResourceName', name));
  expect(event).toMatchObject({ EventName: 'SetDesiredCapacity', Username: 'test' });
  const { requestParameters } = JSON.parse(event?.CloudTrailEvent ?? '') as { requestParameters: unknown };
  expect(requestParameters).toEqual({ autoScalingGroupName: name, desiredCapacity: 2 });
});

test('looks up by one attribute, by time, and in the region that is asked alone', async () => {
  const key = `AKIA${randomUUID().slice(0, 8)}`;
  const [here, elsewhere] = [ec2(key), ec2(key, 'us-east-1')];
  const id = await group(here);
  await group(elsewhere);
  await here.send(new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: 'group-id', Values: [id] }] }));
  await open(here, id);
  const all = await lookup(by('AccessKeyId', key));
  expect(names(all)).toEqual(['AuthorizeSecurityGroupIngress', 'DescribeSecurityGroupRules', 'CreateSecurityGroup']);
  // To read is no change, and names nothing.
  expect(all[1]).toMatchObject({ ReadOnly: 'true', Resources: [] });
  expect(names(await lookup(by('Username', key)))).toEqual(names(all));
  const [last] = all;
  expect(await lookup(by('EventId', last?.EventId ?? ''))).toEqual([last]);
  const opened = await lookup(by('EventName', 'AuthorizeSecurityGroupIngress'));
  expect(opened[0]).toEqual(last);
  expect(new Set(names(opened)).size).toBe(1);

  const at = last?.EventTime?.getTime() ?? 0;
  const within = (from: number, to: number) =>
    lookup({ ...by('ResourceName', id), StartTime: new Date(at + from), EndTime: new Date(at + to) });
  expect(names(await within(0, 0))).toContain('AuthorizeSecurityGroupIngress');
  expect(await within(1_000, 60_000)).toEqual([]);
  expect(await within(-120_000, -60_000)).toEqual([]);
});

test('tells in pages, of which none repeats what another has', async () => {
  const key = `AKIA${randomUUID().slice(0, 8)}`;
  const client = ec2(key);
  const ids = [await group(client), await group(client), await group(client)];
  const asked = { ...by('AccessKeyId', key), MaxResults: 2 };
  const first = await trail.send(new LookupEventsCommand(asked));
  // What happens meanwhile is newer than all of them.
  await group(client);
  const second = await trail.send(new LookupEventsCommand({ ...asked, NextToken: first.NextToken }));
  expect(second.NextToken).toBeUndefined();
  const told = [first, second].flatMap(({ Events = [] }) => Events.map((one) => one.Resources?.at(-1)?.ResourceName));
  expect(told).toEqual(ids.reverse());
});

test('refuses what CloudTrail refuses', async () => {
  const two = [...by('ResourceName', 'sg-1').LookupAttributes, ...by('EventName', 'x').LookupAttributes];
  await expect(lookup({ LookupAttributes: two })).rejects.toMatchObject({ name: 'InvalidLookupAttributesException' });
  await expect(lookup({ MaxResults: 51 })).rejects.toMatchObject({ name: 'InvalidMaxResultsException' });
  await expect(lookup({ NextToken: 'x' })).rejects.toMatchObject({ name: 'InvalidNextTokenException' });
  const times = { StartTime: new Date(2_000), EndTime: new Date(1_000) };
  await expect(lookup(times)).rejects.toMatchObject({ name: 'InvalidTimeRangeException' });
});

test('events can be late', async () => {
  const client = ec2('AKIALATE');
  const { release } = moto.proxy.trail.hold();
  onTestFinished(release);
  const id = await group(client);
  expect(await lookup(by('ResourceName', id))).toEqual([]);
  release();
  expect(names(await lookup(by('ResourceName', id)))).toEqual(['CreateSecurityGroup']);
});

test('more than two lookups in a second can be throttled, and one can be refused', async () => {
  const once = new CloudTrailClient({ region: REGION, endpoint: moto.url, credentials, maxAttempts: 1 });
  clients.push(once);
  moto.proxy.throttle(1, { action: 'LookupEvents', code: 'AccessDeniedException' });
  await expect(once.send(new LookupEventsCommand({}))).rejects.toMatchObject({ name: 'AccessDeniedException' });
  moto.proxy.trail.limit();
  onTestFinished(() => moto.proxy.trail.limit(Number.POSITIVE_INFINITY));
  const many = Array.from({ length: 40 }, () => once.send(new LookupEventsCommand({ MaxResults: 1 })));
  const refused = (await Promise.allSettled(many)).filter((one) => one.status === 'rejected');
  expect(refused).not.toHaveLength(0);
  expect(new Set(refused.map(({ reason }) => (reason as Error).name))).toEqual(new Set(['ThrottlingException']));
});
