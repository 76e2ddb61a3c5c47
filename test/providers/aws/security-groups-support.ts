import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  AuthorizeSecurityGroupEgressCommand,
  AuthorizeSecurityGroupIngressCommand,
  CreateSecurityGroupCommand,
  CreateTagsCommand,
  CreateVpcCommand,
  DescribeSecurityGroupRulesCommand,
  EC2Client,
  type IpPermission,
  RevokeSecurityGroupIngressCommand,
  type SecurityGroupRule,
} from '@aws-sdk/client-ec2';
import type { Difference } from '../../../model/drift/difference.ts';
import type { Stack } from '../../../model/drift/options.ts';
import type { CompareRequest, Comparison, RevertRequest } from '../../../model/ports/desired-state.ts';
import { Aws } from '../../../providers/aws/provider.ts';
import type { DesiredStateProvider } from '../../../providers/desired-state.ts';
import type { Pulse } from '../../../providers/instance.ts';
import { stacksOf } from '../../../providers/stacks-of.ts';
import { type Moto, startMoto } from '../../../sandbox/moto.ts';
import { credentials, REGION } from '../../support/aws.ts';
import { pulse } from './support.ts';

export type Differs = Extract<Comparison, { differences: Difference[] }>;

export const tcp = (port: number, cidr: string): IpPermission => ({
  IpProtocol: 'tcp',
  FromPort: port,
  ToPort: port,
  IpRanges: [{ CidrIp: cidr }],
});

/** moto, and Salvor's provider on it (as the access key `salvor`). */
export class GroupsWorld {
  moto!: Moto;
  aws!: Aws;
  vpc = '';
  #folder = '';
  #count = 0;
  readonly #clients: EC2Client[] = [];

  async start(): Promise<void> {
    // As whom it asks is what the proxy tells the tests' own requests by.
    process.env['AWS_ACCESS_KEY_ID'] = 'salvor';
    process.env['AWS_SECRET_ACCESS_KEY'] = 'salvor';
    this.#folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
    this.moto = await startMoto({ folder: this.#folder });
    this.aws = new Aws({ name: 'main', region: REGION, endpoint: this.moto.url });
    const made = await this.as('test').send(new CreateVpcCommand({ CidrBlock: '10.0.0.0/16' }));
    this.vpc = made.Vpc?.VpcId ?? '';
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.destroy();
    await this.aws?.close();
    await this.moto?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  #name(what: string): string {
    this.#count += 1;
    return `${what}-${this.#count}`;
  }

  /** EC2, as somebody asks it whose access key this is. */
  as(accessKeyId: string): EC2Client {
    const client = new EC2Client({
      region: REGION,
      endpoint: this.moto.url,
      credentials: { ...credentials, accessKeyId },
    });
    this.#clients.push(client);
    return client;
  }

  /** A group of its own for a test. @returns its id */
  async group(name = this.#name('web')): Promise<string> {
    const command = new CreateSecurityGroupCommand({ GroupName: name, Description: 'of a test', VpcId: this.vpc });
    return (await this.as('test').send(command)).GroupId ?? '';
  }

  async tag(id: string, Key: string): Promise<void> {
    await this.as('test').send(new CreateTagsCommand({ Resources: [id], Tags: [{ Key, Value: '' }] }));
  }

  /** As a person does. */
  async open(GroupId: string, IpPermissions: IpPermission[], by = 'AKIAADA'): Promise<void> {
    await this.as(by).send(new AuthorizeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
  }

  async openEgress(GroupId: string, IpPermissions: IpPermission[]): Promise<void> {
    await this.as('AKIAADA').send(new AuthorizeSecurityGroupEgressCommand({ GroupId, IpPermissions }));
  }

  async close(GroupId: string, IpPermissions: IpPermission[], by = 'AKIAADA'): Promise<void> {
    await this.as(by).send(new RevokeSecurityGroupIngressCommand({ GroupId, IpPermissions }));
  }

  async rules(id: string, egress = false): Promise<SecurityGroupRule[]> {
    const asked = new DescribeSecurityGroupRulesCommand({ Filters: [{ Name: 'group-id', Values: [id] }] });
    const { SecurityGroupRules = [] } = await this.as('test').send(asked);
    return SecurityGroupRules.filter(({ IsEgress }) => IsEgress === egress);
  }

  /** `22 10.0.0.0/8`, of each rule, sorted. */
  async openIn(id: string, egress = false): Promise<string[]> {
    const all = await this.rules(id, egress);
    return all.map(({ FromPort, CidrIpv4 }) => `${FromPort} ${CidrIpv4}`).sort();
  }

  /** A stack whose source is these files. */
  async stack(files: string | Record<string, string>, more: Partial<Stack> = {}): Promise<GroupsStack> {
    const folder = join(this.#folder, this.#name('stack'));
    await mkdir(folder);
    for (const [name, text] of Object.entries(typeof files === 'string' ? { 'groups.yaml': files } : files))
      await writeFile(join(folder, name), text);
    const stack: Stack = {
      ...{ name: 'edge', ignore: [], minAge: 0, holdWhile: [], lockWithin: 1_000 },
      securityGroups: { aws: 'main', folder },
      ...more,
    };
    return new GroupsStack(this, stack, folder);
  }
}

export class GroupsStack {
  readonly world: GroupsWorld;
  readonly stack: Stack;
  readonly folder: string;
  readonly provider: DesiredStateProvider;
  readonly actor = { runbook: 'revert-drift', remediation: crypto.randomUUID() };

  constructor(world: GroupsWorld, stack: Stack, folder: string) {
    this.world = world;
    this.stack = stack;
    this.folder = folder;
    this.provider = stacksOf({ clusters: new Map(), accounts: new Map([['main', world.aws]]) }).of(stack);
  }

  write(text: string, name = 'groups.yaml'): Promise<void> {
    return writeFile(join(this.folder, name), text);
  }

  get #request(): CompareRequest {
    return { stack: this.stack, actor: this.actor, prune: [], create: [] };
  }

  compare(): Promise<Comparison> {
    return this.provider.compare(this.#request, { pulse: pulse(), isRepeat: false, held: async () => [] });
  }

  async found(): Promise<Differs> {
    const found = await this.compare();
    if (found.verdict === 'refused') throw new Error(found.why);
    return found;
  }

  revert(reviewed: Difference[], by: Pulse = pulse(), isRepeat = by.last !== undefined) {
    const request: RevertRequest = { ...this.#request, step: 'revert', reviewed };
    return this.provider.revert(request, { pulse: by, isRepeat, held: async () => [] });
  }

  /** What Salvor has changed of a group, in order, as the proxy has it. */
  mutations(id: string): string[] {
    return this.world.moto.proxy.mutations('salvor', id);
  }
}
