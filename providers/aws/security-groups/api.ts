import type {
  DescribeSecurityGroupRulesCommandInput,
  DescribeSecurityGroupsCommandInput,
  EC2Client,
  Filter,
  IpPermission,
  SecurityGroup,
  SecurityGroupRule,
} from '@aws-sdk/client-ec2';
import type { AwsConfig } from '../../../model/config.ts';
import type { LiveGroup } from '../../../model/drift/compare-groups.ts';
import { type Direction, type GroupRule, type LiveRule, normalRule } from '../../../model/drift/group-rule.ts';
import { FinalError } from '../../errors.ts';
import type { Answered } from '../account.ts';
import { clientConfig } from '../client.ts';
import { asProviderError } from '../errors.ts';

/** As many values as one filter takes. */
const VALUES = 200;
const PAGE = 1_000;
/** Of all groups of a stack together: 100,000 rules are far more than a person declares. */
const MOST_PAGES = 100;
const SKIP = 'salvor.dev/skip';

type Sdk = typeof import('@aws-sdk/client-ec2');

interface Connected {
  sdk: Sdk;
  client: EC2Client;
}

/** A group without its rules. */
export type FoundGroup = Omit<LiveGroup, 'rules'>;

/**
 * The rules of the security groups of one account and region. It connects when it is first asked, for few accounts ever are.
 *
 * All its methods throw UnavailableError for what trying again may mend, FinalError for what a person must (see errors.ts).
 */
export class SecurityGroups {
  readonly account: string;
  readonly region: string;
  readonly #config: AwsConfig;
  #connected: Promise<Connected> | undefined;

  constructor(config: AwsConfig) {
    this.account = config.name;
    this.region = config.region;
    this.#config = config;
  }

  /** Those of the ids that there are. */
  byId(ids: readonly string[], signal: AbortSignal): Promise<FoundGroup[]> {
    return this.#groups(ids, (Values) => [{ Name: 'group-id', Values }], signal);
  }

  /** Those of the names that there are in the VPC. */
  byName(vpc: string, names: readonly string[], signal: AbortSignal): Promise<FoundGroup[]> {
    const inVpc = { Name: 'vpc-id', Values: [vpc] };
    return this.#groups(names, (Values) => [inVpc, { Name: 'group-name', Values }], signal);
  }

  /** All rules of these groups, by the group's id. */
  async rules(groups: readonly FoundGroup[], signal: AbortSignal): Promise<Map<string, LiveRule[]>> {
    const owners = new Map(groups.map(({ id, owner }) => [id, owner]));
    const rules = new Map(groups.map(({ id }): [string, LiveRule[]] => [id, []]));
    for (const Values of chunks([...owners.keys()])) {
      const input: DescribeSecurityGroupRulesCommandInput = {
        Filters: [{ Name: 'group-id', Values }],
        MaxResults: PAGE,
      };
      const found = await this.#pages(
        'DescribeSecurityGroupRules',
        Values.join(', '),
        async (NextToken) => {
          const { sdk, client } = await this.#connect();
          const command = new sdk.DescribeSecurityGroupRulesCommand({ ...input, ...(NextToken && { NextToken }) });
          const answer = await client.send(command, { abortSignal: signal });
          return { items: answer.SecurityGroupRules ?? [], next: answer.NextToken };
        },
        signal,
      );
      for (const rule of found) {
        const live = liveRule(rule, owners.get(rule.GroupId ?? '') ?? '');
        if (live) rules.get(rule.GroupId ?? '')?.push(live);
      }
    }
    return rules;
  }

  /** Opens just this. */
  authorize(group: string, rule: GroupRule): Promise<Answered> {
    const input = { GroupId: group, IpPermissions: [permissionOf(rule)] };
    const isIngress = rule.direction === 'ingress';
    return this.#mutate(
      isIngress ? 'AuthorizeSecurityGroupIngress' : 'AuthorizeSecurityGroupEgress',
      group,
      ({ sdk, client }) =>
        isIngress
          ? client.send(new sdk.AuthorizeSecurityGroupIngressCommand(input))
          : client.send(new sdk.AuthorizeSecurityGroupEgressCommand(input)),
    );
  }

  /** Closes just this rule, and no successor of it that lets the same through. */
  revoke(group: string, { id, direction }: Pick<LiveRule, 'id' | 'direction'>): Promise<Answered> {
    const input = { GroupId: group, SecurityGroupRuleIds: [id] };
    const isIngress = direction === 'ingress';
    return this.#mutate(
      isIngress ? 'RevokeSecurityGroupIngress' : 'RevokeSecurityGroupEgress',
      group,
      ({ sdk, client }) =>
        isIngress
          ? client.send(new sdk.RevokeSecurityGroupIngressCommand(input))
          : client.send(new sdk.RevokeSecurityGroupEgressCommand(input)),
    );
  }

  async close(): Promise<void> {
    const connected = await this.#connected?.catch(() => undefined); // then there is nothing to be closed
    connected?.client.destroy();
  }

  async #groups(
    names: readonly string[],
    filters: (values: string[]) => Filter[],
    signal: AbortSignal,
  ): Promise<FoundGroup[]> {
    const found: FoundGroup[] = [];
    for (const values of chunks([...new Set(names)])) {
      const input: DescribeSecurityGroupsCommandInput = { Filters: filters(values), MaxResults: PAGE };
      const groups = await this.#pages(
        'DescribeSecurityGroups',
        values.join(', '),
        async (NextToken) => {
          const { sdk, client } = await this.#connect();
          const command = new sdk.DescribeSecurityGroupsCommand({ ...input, ...(NextToken && { NextToken }) });
          const answer = await client.send(command, { abortSignal: signal });
          return { items: answer.SecurityGroups ?? [], next: answer.NextToken };
        },
        signal,
      );
      found.push(...groups.map(foundGroup));
    }
    return found;
  }

  async #pages<T>(
    call: string,
    about: string,
    page: (token: string | undefined) => Promise<{ items: T[]; next: string | undefined }>,
    signal: AbortSignal,
  ): Promise<T[]> {
    const all: T[] = [];
    let token: string | undefined;
    for (let n = 0; n < MOST_PAGES; n += 1) {
      const { items, next } = await this.#asking(call, about, () => page(token), signal);
      all.push(...items);
      if (!next) return all;
      token = next;
    }
    throw new FinalError(
      `${call} gives more than ${MOST_PAGES} pages for ${about} in AWS account ${this.account} (${this.region}): declare them in several stacks`,
      { type: 'Invalid' },
    );
  }

  async #mutate(
    call: string,
    about: string,
    send: (connected: Connected) => Promise<{ $metadata: { requestId?: string } }>,
  ): Promise<Answered> {
    const { $metadata } = await this.#asking(call, about, async () => send(await this.#connect()));
    const { requestId } = $metadata;
    return { at: new Date().toISOString(), ...(requestId !== undefined && { requestId }) };
  }

  async #asking<T>(call: string, about: string, ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await ask();
    } catch (error) {
      // The caller's own wish to stop is thrown on as it is.
      if (signal?.aborted) throw signal.reason;
      throw asProviderError(error, { account: this.account, region: this.region, service: 'ec2', call, about });
    }
  }

  #connect(): Promise<Connected> {
    this.#connected ??= connect(this.#config);
    return this.#connected;
  }
}

async function connect(config: AwsConfig): Promise<Connected> {
  // It takes a while to load: only where there is such a stack.
  const [sdk, options] = await Promise.all([
    import('@aws-sdk/client-ec2'),
    clientConfig(config, config.ec2Endpoint ?? config.endpoint),
  ]);
  return { sdk, client: new sdk.EC2Client(options) };
}

function foundGroup({ GroupId = '', GroupName = '', VpcId = '', OwnerId = '', Tags = [] }: SecurityGroup): FoundGroup {
  const skipped = Tags.some(({ Key }) => Key === SKIP);
  return { id: GroupId, name: GroupName, vpc: VpcId, owner: OwnerId, skipped };
}

function liveRule(told: SecurityGroupRule, owner: string): LiveRule | undefined {
  const direction: Direction = told.IsEgress ? 'egress' : 'ingress';
  const { GroupId: group, UserId: account } = told.ReferencedGroupInfo ?? {};
  const { FromPort: from, ToPort: to, CidrIpv4: cidr, CidrIpv6: cidr6, PrefixListId: prefixList } = told;
  const one = { protocol: told.IpProtocol ?? '', from, to, cidr, cidr6, group, account, prefixList };
  const rule = normalRule(direction, one, owner);
  if (!rule) return undefined;
  const { SecurityGroupRuleId: id = '', Description: description } = told;
  return { ...rule, id, ...(description !== undefined && description !== '' && { description }) };
}

function permissionOf({ protocol, from, to, source, description }: GroupRule): IpPermission {
  const Description = description === undefined ? {} : { Description: description };
  const ports = { ...(from !== undefined && { FromPort: from }), ...(to !== undefined && { ToPort: to }) };
  const common = { IpProtocol: protocol, ...ports };
  if ('cidr' in source) return { ...common, IpRanges: [{ CidrIp: source.cidr, ...Description }] };
  if ('cidr6' in source) return { ...common, Ipv6Ranges: [{ CidrIpv6: source.cidr6, ...Description }] };
  if ('prefixList' in source)
    return { ...common, PrefixListIds: [{ PrefixListId: source.prefixList, ...Description }] };
  const { group: GroupId, account: UserId } = source;
  return { ...common, UserIdGroupPairs: [{ GroupId, ...(UserId !== undefined && { UserId }), ...Description }] };
}

const chunks = <T>(all: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(all.length / VALUES) }, (_, i) => all.slice(i * VALUES, (i + 1) * VALUES));
