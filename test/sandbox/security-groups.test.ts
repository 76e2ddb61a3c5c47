import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AuthorizeSecurityGroupEgressCommand,
  AuthorizeSecurityGroupIngressCommand,
  CreateManagedPrefixListCommand,
  CreateSecurityGroupCommand,
  CreateVpcCommand,
  DescribeSecurityGroupRulesCommand,
  DescribeSecurityGroupsCommand,
  EC2Client,
  type IpPermission,
  RevokeSecurityGroupEgressCommand,
  RevokeSecurityGroupIngressCommand,
  type SecurityGroupRule,
  UpdateSecurityGroupRuleDescriptionsIngressCommand,
} from '@aws-sdk/client-ec2';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Moto, startMoto } from '../../sandbox/moto.ts';
import { credentials, REGION } from '../support/aws.ts';

let folder: string;
let moto: Moto;
let ec2: EC2Client;
let vpc: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
  moto = await startMoto({ folder });
  ec2 = new EC2Client({ region: REGION, endpoint: moto.url, credentials });
  vpc = (await ec2.send(new CreateVpcCommand({ CidrBlock: '10.0.0.0/16' }))).Vpc?.VpcId ?? '';
}, 300_000);
afterAll(async () => {
  ec2?.destroy();
  await moto?.stop();
  await rm(folder, { recursive: true, force: true });
});

/** A group of its own for a test. @returns its id */
async function group(): Promise<string> {
  const name = `web-${randomUUID().slice(0, 8)}`;
  const made = await ec2.send(
    new CreateSecurityGroupCommand({ GroupName: name, Description: 'of a test', VpcId: vpc }),
  );
  return made.GroupId ?? '';
}

const open = (GroupId: string, ...IpPermissions: IpPermission[]) =>
  ec2.send(new AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
const close = (GroupId: string, ...IpPermissions: IpPermission[]) =>
  ec2.send(new RevokeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
const closeById = (GroupId: string, ...SecurityGroupRuleIds: string[]) =>
  ec2.send(new RevokeSecurityGroupIngressCommand({ GroupId, SecurityGroupRuleIds }));

const tcp = (port: number, from: Partial<IpPermission>): IpPermission => ({
  IpProtocol: 'tcp',
  FromPort: port,
  ToPort: port,
  ...from,
});

async function rules(id: string, egress = false): Promise<SecurityGroupRule[]> {
  const asked = new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: 'group-id', Values: [id] }] });
  const { SecurityGroupRules = [] } = await ec2.send(asked);
  return SecurityGroupRules.filter(({ IsEgress }) => IsEgress === egress);
}
const idOf = (all: SecurityGroupRule[], port: number) =>
  all.find(({ FromPort }) => FromPort === port)?.SecurityGroupRuleId ?? expect.unreachable();

describe('what moto does with the rules of a security group', () => {
  test('each range, group and prefix list is a rule with an id of its own', async () => {
    const [id, lb] = [await group(), await group()];
    const list = await ec2.send(
      new CreateManagedPrefixListCommand({ PrefixListName: 'partners', MaxEntries: 1, AddressFamily: 'IPv4' }),
    );
    const PrefixListId = list.PrefixList?.PrefixListId ?? '';
    await open(
      id,
      tcp(22, {
        IpRanges: [{ CidrIp: '10.0.0.0/8', Description: 'ssh' }, { CidrIp: '10.1.0.0/16' }],
        Ipv6Ranges: [{ CidrIpv6: '::/0', Description: 'six' }],
      }),
      tcp(8080, { UserIdGroupPairs: [{ GroupId: lb }] }),
      tcp(53, { PrefixListIds: [{ PrefixListId }] }),
      { IpProtocol: '-1', IpRanges: [{ CidrIp: '10.9.0.0/16' }] },
    );
    const found = await rules(id);
    expect(found).toMatchObject([
      { IpProtocol: 'tcp', FromPort: 22, ToPort: 22, CidrIpv4: '10.0.0.0/8', Description: 'ssh' },
      { FromPort: 22, CidrIpv4: '10.1.0.0/16' },
      { FromPort: 22, CidrIpv6: '::/0', Description: 'six' },
      { FromPort: 8080, ReferencedGroupInfo: { GroupId: lb, UserId: '123456789012' } },
      { FromPort: 53, PrefixListId },
      { IpProtocol: '-1', FromPort: -1, ToPort: -1, CidrIpv4: '10.9.0.0/16' },
    ]);
    expect(found[1]).not.toHaveProperty('Description');
    expect(new Set(found.map(({ SecurityGroupRuleId }) => SecurityGroupRuleId)).size).toBe(6);
    await closeById(id, idOf(found, 8080), idOf(found, 53), idOf(found, -1));
    expect((await rules(id)).map(({ FromPort }) => FromPort)).toEqual([22, 22, 22]);
  });

  test('a new group lets all out; what goes out has rules of its own', async () => {
    const id = await group();
    const [all] = await rules(id, true);
    expect(all).toMatchObject({ IsEgress: true, IpProtocol: '-1', CidrIpv4: '0.0.0.0/0' });
    const SecurityGroupRuleIds = [all?.SecurityGroupRuleId ?? ''];
    await expect(closeById(id, ...SecurityGroupRuleIds)).rejects.toMatchObject({ name: 'InvalidPermission.NotFound' });
    await ec2.send(new RevokeSecurityGroupEgressCommand({ GroupId: id, SecurityGroupRuleIds }));
    expect(await rules(id, true)).toEqual([]);
    const IpPermissions = [tcp(443, { IpRanges: [{ CidrIp: '0.0.0.0/0' }] })];
    await ec2.send(new AuthorizeSecurityGroupEgressCommand({ GroupId: id, IpPermissions }));
    expect(await rules(id, true)).toMatchObject([{ FromPort: 443 }]);
  });

  test('a rule that is there is refused, whatever its description; one that is not there cannot be revoked', async () => {
    const id = await group();
    const range = (Description: string) => tcp(443, { IpRanges: [{ CidrIp: '0.0.0.0/0', Description }] });
    await open(id, range('public'));
    await expect(open(id, range('other'))).rejects.toMatchObject({ name: 'InvalidPermission.Duplicate' });
    const [rule] = await rules(id);
    await close(id, range('another'));
    await expect(close(id, range('public'))).rejects.toMatchObject({ name: 'InvalidPermission.NotFound' });
    // AWS says InvalidSecurityGroupRuleId.NotFound.
    await expect(closeById(id, rule?.SecurityGroupRuleId ?? '')).rejects.toMatchObject({
      name: 'InvalidPermission.NotFound',
    });
  });
});

describe('what moto does otherwise than AWS', () => {
  test('of a group or a prefix list as source the rules have no description, and must be revoked with the same', async () => {
    const [id, lb] = [await group(), await group()];
    const from = (Description?: string) => tcp(8080, { UserIdGroupPairs: [{ GroupId: lb, Description }] });
    await open(id, from('the balancer'));
    const [rule] = await rules(id);
    expect(rule).not.toHaveProperty('Description');
    const described = await ec2.send(new DescribeSecurityGroupsCommand({ GroupIds: [id] }));
    expect(described.SecurityGroups?.[0]?.IpPermissions?.[0]?.UserIdGroupPairs).toMatchObject([
      { Description: 'the balancer' },
    ]);
    await expect(close(id, from())).rejects.toMatchObject({ name: 'InvalidPermission.NotFound' });
    // Not even seen as the same rule.
    await open(id, from('again'));
    await closeById(id, rule?.SecurityGroupRuleId ?? '');
    await close(id, from('again'));
    expect(await rules(id)).toEqual([]);
  });

  test('a request of several permissions is answered with the rules of the last, and may be done by half', async () => {
    const id = await group();
    const at = (port: number) => tcp(port, { IpRanges: [{ CidrIp: '10.0.0.0/8' }] });
    const { SecurityGroupRules } = await open(id, at(1), at(2));
    expect(SecurityGroupRules).toMatchObject([{ FromPort: 2 }]);
    await expect(open(id, at(3), at(1))).rejects.toMatchObject({ name: 'InvalidPermission.Duplicate' });
    expect((await rules(id)).map(({ FromPort }) => FromPort)).toEqual([1, 2, 3]);
  });

  test('a range is kept as it was given, and all rules are one page', async () => {
    const id = await group();
    const ranges = ['10.9.1.3/16', '10.1.0.0/16', '10.2.0.0/16', '10.3.0.0/16', '10.4.0.0/16', '10.5.0.0/16'];
    await open(id, tcp(7, { IpRanges: ranges.map((CidrIp) => ({ CidrIp })) }));
    const Filters = [{ Name: 'group-id', Values: [id] }];
    const { SecurityGroupRules, NextToken } = await ec2.send(
      new DescribeSecurityGroupRulesCommand({ Filters, MaxResults: 5 }),
    );
    expect(SecurityGroupRules?.filter(({ FromPort }) => FromPort === 7).map(({ CidrIpv4 }) => CidrIpv4)).toEqual(
      ranges,
    );
    expect(NextToken).toBeUndefined();
  });

  test('a prefix list that is not there is taken, and a description set by the id of a rule is not', async () => {
    const id = await group();
    await open(id, tcp(7, { PrefixListIds: [{ PrefixListId: 'pl-0123456789abcdef0' }] }));
    await open(id, tcp(8, { IpRanges: [{ CidrIp: '10.0.0.0/8', Description: 'before' }] }));
    const SecurityGroupRuleDescriptions = [{ SecurityGroupRuleId: idOf(await rules(id), 8), Description: 'after' }];
    await ec2.send(
      new UpdateSecurityGroupRuleDescriptionsIngressCommand({ GroupId: id, SecurityGroupRuleDescriptions }),
    );
    expect(await rules(id)).toMatchObject([
      { FromPort: 7, PrefixListId: 'pl-0123456789abcdef0' },
      { FromPort: 8, Description: 'before' },
    ]);
  });
});

describe('the proxy', () => {
  test('has the changes of a group on record, in short', async () => {
    const id = await group();
    await open(id, tcp(22, { IpRanges: [{ CidrIp: '10.0.0.0/8' }], Ipv6Ranges: [{ CidrIpv6: '::/0' }] }));
    await open(id, { IpProtocol: '-1', IpRanges: [{ CidrIp: '10.9.0.0/16' }] });
    const all = idOf(await rules(id), -1);
    await closeById(id, all);
    await close(id, tcp(22, { IpRanges: [{ CidrIp: '10.0.0.0/8' }] }));
    expect(moto.proxy.mutations('test', id)).toEqual([
      'AuthorizeSecurityGroupIngress tcp 22-22 10.0.0.0/8, tcp 22-22 ::/0',
      'AuthorizeSecurityGroupIngress -1 10.9.0.0/16',
      `RevokeSecurityGroupIngress ${all}`,
      'RevokeSecurityGroupIngress tcp 22-22 10.0.0.0/8',
    ]);
  });

  test('throttles and refuses as EC2 does', async () => {
    const id = await group();
    const action = 'RevokeSecurityGroupIngress';
    const once = new EC2Client({ region: REGION, endpoint: moto.url, credentials, maxAttempts: 1 });
    const revoke = new RevokeSecurityGroupIngressCommand({ GroupId: id, SecurityGroupRuleIds: ['sgr-1'] });
    moto.proxy.throttle(1, { action, code: 'RequestLimitExceeded', status: 503 });
    await expect(once.send(revoke)).rejects.toMatchObject({ name: 'RequestLimitExceeded' });
    moto.proxy.throttle(1, { action, code: 'UnauthorizedOperation', status: 403 });
    await expect(once.send(revoke)).rejects.toMatchObject({ name: 'UnauthorizedOperation' });
    once.destroy();
    expect(moto.proxy.mutations('test', id)).toEqual([]);
  });
});
