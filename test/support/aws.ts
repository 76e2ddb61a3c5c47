import { randomUUID } from 'node:crypto';
import {
  AutoScalingClient,
  type AutoScalingGroup,
  CreateAutoScalingGroupCommand,
  type CreateAutoScalingGroupType,
  CreateLaunchConfigurationCommand,
  CreateOrUpdateTagsCommand,
  DeleteTagsCommand,
  DescribeAutoScalingGroupsCommand,
  ExecutePolicyCommand,
  type Instance,
  PutLifecycleHookCommand,
  PutScalingPolicyCommand,
  SetDesiredCapacityCommand,
  SetInstanceHealthCommand,
  SuspendProcessesCommand,
} from '@aws-sdk/client-auto-scaling';
import type { Moto } from '../../sandbox/moto.ts';

export const REGION = 'eu-west-1';
export const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };

/** What the tests themselves do to AWS, as a person would, past the proxy's witness where it does not matter. */
export class TestAws {
  readonly moto: Moto;
  readonly client: AutoScalingClient;

  constructor(moto: Moto) {
    this.moto = moto;
    this.client = new AutoScalingClient({ region: REGION, endpoint: moto.url, credentials });
  }

  /** A group of its own for a test, with its instances InService. @returns its name, and their ids */
  async group(sizes: { min: number; desired: number; max: number }, more: Partial<CreateAutoScalingGroupType> = {}) {
    const name = `web-${randomUUID().slice(0, 8)}`;
    await this.client.send(
      new CreateLaunchConfigurationCommand({
        LaunchConfigurationName: name,
        ImageId: 'ami-12c6146b',
        InstanceType: 't3.micro',
      }),
    );
    await this.client.send(
      new CreateAutoScalingGroupCommand({
        AutoScalingGroupName: name,
        LaunchConfigurationName: name,
        MinSize: sizes.min,
        DesiredCapacity: sizes.desired,
        MaxSize: sizes.max,
        AvailabilityZones: [`${REGION}a`],
        ...more,
      }),
    );
    const { instances } = await this.read(name);
    return { name, ids: instances.map(({ InstanceId = '' }) => InstanceId) };
  }

  async read(name: string): Promise<{ group: AutoScalingGroup; desired: number; instances: Instance[] }> {
    const found = await this.client.send(new DescribeAutoScalingGroupsCommand({ AutoScalingGroupNames: [name] }));
    const group = found.AutoScalingGroups?.[0];
    if (!group) throw new Error(`no group ${name}`);
    return { group, desired: group.DesiredCapacity ?? -1, instances: group.Instances ?? [] };
  }

  async state(name: string, id: string): Promise<string | undefined> {
    const { instances } = await this.read(name);
    return instances.find(({ InstanceId }) => InstanceId === id)?.LifecycleState;
  }

  /** By id. */
  async states(name: string): Promise<Record<string, string>> {
    const { instances } = await this.read(name);
    return Object.fromEntries(
      instances.map(({ InstanceId = '', LifecycleState = '' }) => [InstanceId, LifecycleState]),
    );
  }

  async health(id: string, HealthStatus: 'Healthy' | 'Unhealthy'): Promise<void> {
    await this.client.send(new SetInstanceHealthCommand({ InstanceId: id, HealthStatus }));
  }

  /** Keys of Salvor's notes on the group. */
  async notes(name: string): Promise<Record<string, string>> {
    const { group } = await this.read(name);
    const own = (group.Tags ?? []).filter(({ Key }) => Key?.startsWith('salvor.dev/held/'));
    return Object.fromEntries(own.map(({ Key = '', Value = '' }) => [Key, Value]));
  }

  async tag(name: string, Key: string, Value = ''): Promise<void> {
    const tag = { ResourceId: name, ResourceType: 'auto-scaling-group', Key, Value, PropagateAtLaunch: false };
    await this.client.send(new CreateOrUpdateTagsCommand({ Tags: [tag] }));
  }

  async untag(name: string, Key: string): Promise<void> {
    const tag = { ResourceId: name, ResourceType: 'auto-scaling-group', Key };
    await this.client.send(new DeleteTagsCommand({ Tags: [tag] }));
  }

  async hook(name: string, hook: string): Promise<void> {
    await this.client.send(
      new PutLifecycleHookCommand({
        AutoScalingGroupName: name,
        LifecycleHookName: hook,
        LifecycleTransition: 'autoscaling:EC2_INSTANCE_TERMINATING',
        HeartbeatTimeout: 300,
        DefaultResult: 'CONTINUE',
      }),
    );
  }

  async setDesired(AutoScalingGroupName: string, DesiredCapacity: number): Promise<void> {
    await this.client.send(new SetDesiredCapacityCommand({ AutoScalingGroupName, DesiredCapacity }));
  }

  async suspend(AutoScalingGroupName: string, ...ScalingProcesses: string[]): Promise<void> {
    await this.client.send(new SuspendProcessesCommand({ AutoScalingGroupName, ScalingProcesses }));
  }

  /** A simple scaling policy, which sets the desired capacity to a number when it is executed. */
  async policy(AutoScalingGroupName: string, PolicyName: string, to: number): Promise<{ execute(): Promise<void> }> {
    const how = { AdjustmentType: 'ExactCapacity', ScalingAdjustment: to, PolicyType: 'SimpleScaling' };
    await this.client.send(new PutScalingPolicyCommand({ AutoScalingGroupName, PolicyName, ...how }));
    const command = new ExecutePolicyCommand({ AutoScalingGroupName, PolicyName });
    return { execute: async () => void (await this.client.send(command)) };
  }

  close(): void {
    this.client.destroy();
  }
}
