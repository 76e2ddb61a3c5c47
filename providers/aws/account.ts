import type { AutoScalingClient } from '@aws-sdk/client-auto-scaling';
import type { AwsConfig } from '../../model/config.ts';
import { clientConfig } from './client.ts';
import { asProviderError } from './errors.ts';
import { type Group, groupOf } from './group.ts';
import { type Note, noteKey, noteValue, SIZE, type SizeNote, sizeNoteValue } from './notes.ts';

/** What AWS answers to a mutation. */
export interface Answered {
  /** ISO time. */
  at: string;
  requestId?: string;
}

/** As many names as one DescribeAutoScalingGroups takes. */
const NAMES = 50;
/** Reads that are asked for within it are one request: the API allows a few a second for a whole account. */
const TOGETHER_MS = 20;
const REFRESHING = new Set(['Pending', 'InProgress', 'Cancelling', 'Baking', 'RollbackInProgress']);
const TERMINATING = 'autoscaling:EC2_INSTANCE_TERMINATING';

type Sdk = typeof import('@aws-sdk/client-auto-scaling');

interface Connected {
  sdk: Sdk;
  client: AutoScalingClient;
}

interface Reading {
  names: Set<string>;
  groups: Promise<Map<string, Group>>;
}

/**
 * The Auto Scaling API of one account and region.
 *
 * All its methods throw UnavailableError for what trying again may mend, FinalError for what a person must (see errors.ts).
 */
export class Account {
  readonly name: string;
  readonly region: string;
  readonly #connected: Promise<Connected>;
  #reading: Reading | undefined;

  constructor(config: AwsConfig) {
    this.name = config.name;
    this.region = config.region;
    this.#connected = connect(config);
    // Whoever asks for something is told.
    this.#connected.catch(() => undefined);
  }

  /** As it is this moment; undefined where there is none. */
  async group(name: string): Promise<Group | undefined> {
    const reading = this.#reading && this.#reading.names.size < NAMES ? this.#reading : this.#nextReading();
    reading.names.add(name);
    return (await reading.groups).get(name);
  }

  /** Every group of the account, in this region. */
  async groups(): Promise<Group[]> {
    return this.#describe({ MaxRecords: 100 }, 'all groups');
  }

  /** In which group the instance is, and its LifecycleState there; undefined where it is in none. */
  async find(instanceId: string): Promise<{ group: string; state: string } | undefined> {
    const input = { InstanceIds: [instanceId] };
    const { AutoScalingInstances } = await this.#send('DescribeAutoScalingInstances', instanceId, ({ sdk, client }) =>
      client.send(new sdk.DescribeAutoScalingInstancesCommand(input)),
    );
    const found = AutoScalingInstances?.[0];
    return found && { group: found.AutoScalingGroupName ?? '', state: found.LifecycleState ?? '' };
  }

  /** Id and status of the instance refresh that runs in the group, for people. */
  async refreshing(group: string): Promise<string | undefined> {
    const input = { AutoScalingGroupName: group, MaxRecords: 10 };
    const found = await this.#send('DescribeInstanceRefreshes', group, ({ sdk, client }) =>
      client.send(new sdk.DescribeInstanceRefreshesCommand(input)),
    );
    const running = found.InstanceRefreshes?.find(({ Status }) => REFRESHING.has(Status ?? ''));
    return running && `${running.InstanceRefreshId} is ${running.Status}`;
  }

  /** The scaling policies of the group that are switched on: name and type. */
  async policies(group: string): Promise<string[]> {
    const input = { AutoScalingGroupName: group, MaxRecords: 100 };
    const { ScalingPolicies } = await this.#send('DescribePolicies', group, ({ sdk, client }) =>
      client.send(new sdk.DescribePoliciesCommand(input)),
    );
    return (ScalingPolicies ?? [])
      .filter(({ Enabled }) => Enabled !== false)
      .map(({ PolicyName, PolicyType }) => `${PolicyName} (${PolicyType})`);
  }

  /** Why its size was changed lately, newest first, in the words of AWS. */
  async causes(group: string): Promise<string[]> {
    const input = { AutoScalingGroupName: group, MaxRecords: 20 };
    const { Activities } = await this.#send('DescribeScalingActivities', group, ({ sdk, client }) =>
      client.send(new sdk.DescribeScalingActivitiesCommand(input)),
    );
    return (Activities ?? []).flatMap(({ Cause }) => Cause ?? []);
  }

  /** Those of the names that are termination hooks of the group. */
  async terminationHooks(group: string, names: readonly string[]): Promise<string[]> {
    if (names.length === 0) return [];
    const input = { AutoScalingGroupName: group };
    const { LifecycleHooks } = await this.#send('DescribeLifecycleHooks', group, ({ sdk, client }) =>
      client.send(new sdk.DescribeLifecycleHooksCommand(input)),
    );
    return (LifecycleHooks ?? [])
      .filter(({ LifecycleTransition }) => LifecycleTransition === TERMINATING)
      .flatMap(({ LifecycleHookName = '' }) => (names.includes(LifecycleHookName) ? [LifecycleHookName] : []));
  }

  enterStandby(group: string, instanceId: string, decrement: boolean): Promise<Answered> {
    const input = {
      AutoScalingGroupName: group,
      InstanceIds: [instanceId],
      ShouldDecrementDesiredCapacity: decrement,
    };
    return this.#mutate('EnterStandby', instanceId, ({ sdk, client }) =>
      client.send(new sdk.EnterStandbyCommand(input)),
    );
  }

  exitStandby(group: string, instanceId: string): Promise<Answered> {
    const input = { AutoScalingGroupName: group, InstanceIds: [instanceId] };
    return this.#mutate('ExitStandby', instanceId, ({ sdk, client }) => client.send(new sdk.ExitStandbyCommand(input)));
  }

  /**
   * At once, whatever the group's cooldown: that is for simple scaling policies, and a backlog does not wait for it. With
   * HonorCooldown AWS would refuse what comes within it, also what is to be given back.
   */
  setDesired(group: string, desired: number): Promise<Answered> {
    const input = {
      AutoScalingGroupName: group,
      DesiredCapacity: desired,
      HonorCooldown: false,
    };
    return this.#mutate('SetDesiredCapacity', group, ({ sdk, client }) =>
      client.send(new sdk.SetDesiredCapacityCommand(input)),
    );
  }

  /** Never makes the group smaller. */
  terminate(instanceId: string): Promise<Answered> {
    const input = {
      InstanceId: instanceId,
      ShouldDecrementDesiredCapacity: false,
    };
    return this.#mutate('TerminateInstanceInAutoScalingGroup', instanceId, ({ sdk, client }) =>
      client.send(new sdk.TerminateInstanceInAutoScalingGroupCommand(input)),
    );
  }

  note(group: string, note: Note): Promise<Answered> {
    return this.#tag(group, note.instance, noteValue(note));
  }

  /** @param of an instance, or `SIZE` */
  unnote(group: string, of: string): Promise<Answered> {
    const input = { Tags: [tagOf(group, of)] };
    return this.#mutate('DeleteTags', group, ({ sdk, client }) => client.send(new sdk.DeleteTagsCommand(input)));
  }

  /** What is held of the size of the group itself. */
  noteSize(group: string, note: SizeNote): Promise<Answered> {
    return this.#tag(group, SIZE, sizeNoteValue(note));
  }

  heartbeat(group: string, instanceId: string, hook: string): Promise<Answered> {
    const input = actionOf(group, instanceId, hook);
    return this.#mutate('RecordLifecycleActionHeartbeat', instanceId, ({ sdk, client }) =>
      client.send(new sdk.RecordLifecycleActionHeartbeatCommand(input)),
    );
  }

  complete(group: string, instanceId: string, hook: string): Promise<Answered> {
    const input = {
      ...actionOf(group, instanceId, hook),
      LifecycleActionResult: 'CONTINUE',
    };
    return this.#mutate('CompleteLifecycleAction', instanceId, ({ sdk, client }) =>
      client.send(new sdk.CompleteLifecycleActionCommand(input)),
    );
  }

  async close(): Promise<void> {
    const connected = await this.#connected.catch(() => undefined); // then there is nothing to be closed
    connected?.client.destroy();
  }

  #nextReading(): Reading {
    const names = new Set<string>();
    const { promise, resolve } = Promise.withResolvers<void>();
    setTimeout(resolve, TOGETHER_MS);
    const groups = promise.then(async () => {
      // Whoever asks from now on wants to know what is from now on.
      if (this.#reading === reading) this.#reading = undefined;
      const asked = [...names];
      const found = await this.#describe({ AutoScalingGroupNames: asked, MaxRecords: 100 }, asked.join(', '));
      return new Map(found.map((group) => [group.name, group]));
    });
    const reading: Reading = { names, groups };
    this.#reading = reading;
    return reading;
  }

  async #describe(input: { AutoScalingGroupNames?: string[]; MaxRecords: number }, about: string): Promise<Group[]> {
    const groups: Group[] = [];
    for (let token: string | undefined; ; ) {
      const asked = { ...input, ...(token && { NextToken: token }) };
      const page = await this.#send('DescribeAutoScalingGroups', about, ({ sdk, client }) =>
        client.send(new sdk.DescribeAutoScalingGroupsCommand(asked)),
      );
      groups.push(...(page.AutoScalingGroups ?? []).map(groupOf));
      token = page.NextToken;
      if (!token) return groups;
    }
  }

  #tag(group: string, of: string, value: string): Promise<Answered> {
    const input = { Tags: [{ ...tagOf(group, of), Value: value, PropagateAtLaunch: false }] };
    return this.#mutate('CreateOrUpdateTags', group, ({ sdk, client }) =>
      client.send(new sdk.CreateOrUpdateTagsCommand(input)),
    );
  }

  async #mutate(
    call: string,
    about: string,
    send: (connected: Connected) => Promise<{ $metadata: { requestId?: string } }>,
  ): Promise<Answered> {
    const { $metadata } = await this.#send(call, about, send);
    const { requestId } = $metadata;
    return { at: new Date().toISOString(), ...(requestId !== undefined && { requestId }) };
  }

  async #send<T>(call: string, about: string, send: (connected: Connected) => Promise<T>): Promise<T> {
    try {
      return await send(await this.#connected);
    } catch (error) {
      throw asProviderError(error, { account: this.name, region: this.region, call, about });
    }
  }
}

const tagOf = (group: string, of: string) => ({
  ResourceId: group,
  ResourceType: 'auto-scaling-group',
  Key: noteKey(of),
});

const actionOf = (group: string, instanceId: string, hook: string) => ({
  AutoScalingGroupName: group,
  InstanceId: instanceId,
  LifecycleHookName: hook,
});

async function connect(config: AwsConfig): Promise<Connected> {
  // It takes a while to load: only where there is an account.
  const [sdk, options] = await Promise.all([
    import('@aws-sdk/client-auto-scaling'),
    clientConfig(config, config.endpoint),
  ]);
  return { sdk, client: new sdk.AutoScalingClient(options) };
}
