/**
 * A proxy before moto that adds what moto 5.2.5 lacks of the Auto Scaling API, as its API reference
 * (https://docs.aws.amazon.com/autoscaling/ec2/APIReference) says:
 *
 * - CompleteLifecycleAction, RecordLifecycleActionHeartbeat: while a group has hooks for `EC2_INSTANCE_TERMINATING`, an
 *   instance that is terminated stays in `Terminating:Wait` until each hook is completed. An action is named by its
 *   instance or its token; an unknown one is a ValidationError. The timeouts of hooks do not run.
 * - StartInstanceRefresh, DescribeInstanceRefreshes, CancelInstanceRefresh: a refresh stays `InProgress` and does nothing.
 * - EnterStandby, ExitStandby, SetDesiredCapacity, TerminateInstanceInAutoScalingGroup refuse (ValidationError) what would
 *   leave MinSize and MaxSize, what is in the wrong state, and what is not there.
 *
 * - DescribeScalingActivities tells of SetDesiredCapacity and ExecutePolicy, newest first.
 * - CloudWatch: see aws-cloudwatch.ts. CloudTrail: see aws-trail.ts.
 *
 * It is also the witness of a test (`requests`), and makes trouble on demand (`throttle`, `stall`, `show`).
 */
import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ActivityLog } from './aws-activities.ts';
import { CloudWatch } from './aws-cloudwatch.ts';
import { jsonAction, jsonCodeOf, jsonError } from './aws-json.ts';
import { type AwsRequest, isRead, mutationsIn } from './aws-record.ts';
import { Refreshes } from './aws-refreshes.ts';
import { Refusal } from './aws-refusal.ts';
import { RulePages } from './aws-rule-pages.ts';
import { type Caller, callerOf, type Headers, headersOf, type Sent } from './aws-sent.ts';
import { type CloudTrail, Trail } from './aws-trail.ts';
import { type Stall, type Trouble, Troubles } from './aws-trouble.ts';
import { ec2Error, elementOf, instancesIn, type SeenInstance, withStates, xmlError, xmlResult } from './aws-xml.ts';

export interface AwsProxy {
  readonly url: string;
  /** All that clients have asked for, in the order of the answers; what the proxy itself asks moto is not among them. */
  readonly requests: readonly AwsRequest[];
  /** Those of them that changed something of these resources, in short: `EnterStandby with decrement`. */
  mutations(by: string, ...resources: string[]): string[];
  /** The next so many requests (of one action) are refused, by default as throttled. */
  throttle(count: number, trouble?: Trouble): void;
  /** The next request of an action is held back before it is carried out, or after it was and before its answer. */
  stall(action: string, when: 'before' | 'after'): Stall;
  /** The next request of an action is carried out, and its connection closed without an answer. */
  lose(action: string): void;
  /** Says of an instance, until it is told otherwise, that it is in this state; undefined: that in which it is. */
  show(instanceId: string, state: string | undefined): void;
  /** Answers of GetMetricData have so many data points at most from now on. */
  page(size: number): void;
  /** Answers of DescribeSecurityGroupRules have so many rules at most from now on. */
  pageRules(size: number): void;
  /** The next answer of GetMetricData has this status: `PartialData`, `InternalError`. */
  answerMetrics(status: string): void;
  /** Instances that are launched from now on stay `Pending` until they are let go. */
  holdLaunches(): { release(): void };
  readonly trail: CloudTrail;
  stop(): Promise<void>;
}

const TERMINATING = 'autoscaling:EC2_INSTANCE_TERMINATING';

type Parameters = Record<string, string>;

/** What is asked of moto, and what it answers. */
interface Answer {
  status: number;
  body: string;
  date?: Date | undefined;
}

interface Group {
  desired: number;
  min: number;
  max: number;
  instances: SeenInstance[];
}

/** An instance in `Terminating:Wait`: the hooks that have not been completed, with their tokens. */
interface Waiting {
  group: string;
  hooks: Map<string, string>;
}

/** @param moto its URL */
export async function startAwsProxy(moto: string): Promise<AwsProxy> {
  const proxy = new BeforeMoto(moto);
  await proxy.listen();
  return proxy;
}

class BeforeMoto implements AwsProxy {
  readonly requests: AwsRequest[] = [];
  readonly #moto: string;
  readonly #server = createServer((request, response) => {
    // Who breaks off in the midst of a request, as a worker that is killed, is nobody's error.
    this.#serve(request, response).catch(() => response.destroy());
  });
  readonly trail = new Trail();
  readonly #troubles = new Troubles();
  readonly #shown = new Map<string, string>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #refreshes = new Refreshes();
  readonly #known = new Set<string>();
  readonly #launching = new Set<string>();
  readonly #activities = new ActivityLog();
  readonly #cloudwatch = new CloudWatch();
  readonly #rulePages = new RulePages();
  #holdsLaunches = false;

  constructor(moto: string) {
    this.#moto = moto;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  mutations(by: string, ...resources: string[]): string[] {
    return mutationsIn(this.requests, by, resources);
  }

  throttle(count: number, trouble?: Trouble): void {
    this.#troubles.throttle(count, trouble);
  }

  stall(action: string, when: 'before' | 'after'): Stall {
    return this.#troubles.stall(action, when);
  }

  lose(action: string): void {
    this.#troubles.lose(action);
  }

  show(instanceId: string, state: string | undefined): void {
    if (state === undefined) this.#shown.delete(instanceId);
    else this.#shown.set(instanceId, state);
  }

  page(size: number): void {
    this.#cloudwatch.page(size);
  }

  pageRules(size: number): void {
    this.#rulePages.size(size);
  }

  answerMetrics(status: string): void {
    this.#cloudwatch.status(status);
  }

  holdLaunches(): { release(): void } {
    this.#holdsLaunches = true;
    return {
      release: () => {
        this.#holdsLaunches = false;
        this.#launching.clear();
      },
    };
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const at = new Date().toISOString();
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const headers = headersOf(request);
    const json = jsonAction(headers['x-amz-target']);
    const parameters: Parameters = json ? { Body: body } : Object.fromEntries(new URLSearchParams(body));
    const action = json ?? parameters['Action'] ?? '';
    const caller = callerOf(headers);
    const errorOf = json ? jsonError : caller.service === 'ec2' ? ec2Error : xmlError;
    await this.#troubles.stalled(action, 'before');
    // Whoever asked is gone, and on a real network would not have been heard.
    if (response.destroyed) return;
    const sent = { headers, body, path: request.url ?? '/' };
    const answer = await this.#answer(action, parameters, sent, caller).catch((error: unknown): Answer => {
      if (error instanceof Refusal) return { status: error.status, body: errorOf(error), date: error.date };
      return { status: 500, body: errorOf({ code: 'InternalFailure', message: String(error) }) };
    });
    const refusal = json ? jsonCodeOf : (xml: string) => elementOf(xml, 'Code');
    const code = answer.status < 300 ? undefined : refusal(answer.body);
    const seen = { ...caller, action, parameters, at, status: answer.status, ...(code !== undefined && { code }) };
    this.requests.push(seen);
    this.trail.took(seen, answer.body);
    await this.#troubles.stalled(action, 'after');
    if (this.#troubles.loses(action)) {
      request.socket.destroy();
      return;
    }
    response.writeHead(answer.status, {
      'content-type': json ? (headers['content-type'] ?? 'application/x-amz-json-1.0') : 'text/xml',
      'x-amzn-requestid': randomUUID(),
      ...(answer.date && { date: answer.date.toUTCString() }),
    });
    response.end(answer.body);
  }

  async #answer(action: string, parameters: Parameters, sent: Sent, { service, region }: Caller): Promise<Answer> {
    this.#troubles.refuse(action);
    if (service === 'monitoring') return this.#ofCloudWatch(action, sent);
    if (service === 'cloudtrail' && action === 'LookupEvents')
      return { status: 200, body: this.trail.lookup(sent.body, region) };
    // Other services (EC2, STS) are moto's own affair.
    const own = service === 'autoscaling';
    const handler = own ? this.#handlers[action] : undefined;
    const answer = (await handler?.(parameters, sent.headers)) ?? (await this.#forward(sent));
    if (action === 'DescribeSecurityGroupRules')
      return { ...answer, body: this.#rulePages.paged(answer.body, parameters['NextToken']) };
    return own && isRead(action) ? { ...answer, body: this.#asShown(answer.body) } : answer;
  }

  async #ofCloudWatch(action: string, sent: Sent): Promise<Answer> {
    const answer = await this.#forward({ ...sent, body: this.#cloudwatch.known(sent.body) });
    if (answer.status >= 300) return answer;
    if (action === 'PutMetricData') this.#cloudwatch.took(sent.body);
    if (action !== 'GetMetricData') return answer;
    return { ...answer, body: this.#cloudwatch.completed(sent.body, answer.body) };
  }

  /** What is not as moto would have it; an answer of its own, or none where moto then answers. */
  readonly #handlers: Record<string, (parameters: Parameters, headers: Headers) => Promise<Answer | undefined>> = {
    EnterStandby: async (parameters, headers) => {
      const [group, instance] = await this.#instanceOf(parameters, headers);
      if (instance.state !== 'InService')
        throw new Refusal(`The instance ${instance.id} is not in InService; it is ${instance.state}`);
      const decrement = parameters['ShouldDecrementDesiredCapacity'] === 'true';
      if (decrement && group.desired - 1 < group.min) throw new Refusal(sizes(parameters, group, 'place into standby'));
      return undefined;
    },
    ExitStandby: async (parameters, headers) => {
      const [group, instance] = await this.#instanceOf(parameters, headers);
      if (instance.state !== 'Standby')
        throw new Refusal(`The instance ${instance.id} is not in Standby; it is ${instance.state}`);
      if (group.desired + 1 > group.max) throw new Refusal(sizes(parameters, group, 'take out of standby'));
      return undefined;
    },
    SetDesiredCapacity: async (parameters, headers) => {
      const name = parameters['AutoScalingGroupName'];
      const { desired, min, max } = await this.#group(name, headers);
      const wanted = Number(parameters['DesiredCapacity']);
      const beyond = wanted < min ? `below min value ${min}` : wanted > max ? `above max value ${max}` : undefined;
      if (beyond) throw new Refusal(`New SetDesiredCapacity value ${wanted} is ${beyond} for the AutoScalingGroup.`);
      this.#activities.add(name ?? '', 'a user request explicitly set group desired capacity', [desired, wanted]);
      return undefined;
    },
    ExecutePolicy: async (parameters, headers) => {
      const { AutoScalingGroupName: name = '', PolicyName: policy } = parameters;
      const before = await this.#group(name, headers);
      const answer = await this.#ask('ExecutePolicy', parameters, headers);
      const after = await this.#group(name, headers);
      const cause = `a monitor alarm of-${policy} in state ALARM triggered policy ${policy}`;
      this.#activities.add(name, cause, [before.desired, after.desired]);
      return answer;
    },
    DescribeScalingActivities: async (parameters, headers) => {
      const name = parameters['AutoScalingGroupName'] ?? '';
      await this.#group(name, headers);
      return { status: 200, body: xmlResult('DescribeScalingActivities', this.#activities.of(name)) };
    },
    TerminateInstanceInAutoScalingGroup: (parameters, headers) => this.#terminate(parameters, headers),
    CompleteLifecycleAction: async (parameters, headers) => {
      const { id, waiting, hook } = this.#actionOf(parameters);
      waiting.hooks.delete(hook);
      if (waiting.hooks.size === 0) {
        this.#waiting.delete(id);
        await this.#ask('TerminateInstanceInAutoScalingGroup', terminationOf(id, 'false'), headers);
      }
      return { status: 200, body: xmlResult('CompleteLifecycleAction', '') };
    },
    RecordLifecycleActionHeartbeat: async (parameters) => {
      this.#actionOf(parameters);
      return { status: 200, body: xmlResult('RecordLifecycleActionHeartbeat', '') };
    },
    StartInstanceRefresh: (parameters, headers) => this.#refresh('start', parameters, headers),
    CancelInstanceRefresh: (parameters, headers) => this.#refresh('cancel', parameters, headers),
    DescribeInstanceRefreshes: (parameters, headers) => this.#refresh('describe', parameters, headers),
  };

  async #refresh(what: 'start' | 'cancel' | 'describe', parameters: Parameters, headers: Headers): Promise<Answer> {
    const name = parameters['AutoScalingGroupName'] ?? '';
    await this.#group(name, headers);
    return { status: 200, body: this.#refreshes[what](name) };
  }

  /** With hooks it waits in `Terminating:Wait`; for its place it is out of the group at once, as any that terminates. */
  async #terminate(parameters: Parameters, headers: Headers): Promise<Answer | undefined> {
    const id = parameters['InstanceId'] ?? '';
    const { body } = await this.#ask('DescribeAutoScalingInstances', { 'InstanceIds.member.1': id }, headers);
    const [instance] = instancesIn(this.#asShown(body));
    if (!instance) throw new Refusal(`Instance Id not found - No managed instance found for instance ID: ${id}`);
    if (instance.state.startsWith('Terminating'))
      throw new Refusal(`The instance ${id} is being terminated`, 'ScalingActivityInProgress');
    const group = elementOf(body, 'AutoScalingGroupName') ?? '';
    const hooks = (await this.#ask('DescribeLifecycleHooks', { AutoScalingGroupName: group }, headers)).body
      .split('<member>')
      .filter((hook) => elementOf(hook, 'LifecycleTransition') === TERMINATING)
      .map((hook) => elementOf(hook, 'LifecycleHookName') ?? '');
    if (hooks.length === 0) return undefined;
    this.#waiting.set(id, { group, hooks: new Map(hooks.map((hook) => [hook, randomUUID()])) });
    await this.#ask(
      'EnterStandby',
      {
        AutoScalingGroupName: group,
        'InstanceIds.member.1': id,
        ShouldDecrementDesiredCapacity: parameters['ShouldDecrementDesiredCapacity'] ?? 'false',
      },
      headers,
    );
    const activity = `<Activity><ActivityId>${randomUUID()}</ActivityId><AutoScalingGroupName>${group}</AutoScalingGroupName><Cause>a user request</Cause><StartTime>${new Date().toISOString()}</StartTime><StatusCode>InProgress</StatusCode></Activity>`;
    return { status: 200, body: xmlResult('TerminateInstanceInAutoScalingGroup', activity) };
  }

  #actionOf(parameters: Parameters): { id: string; waiting: Waiting; hook: string } {
    const { InstanceId: instance, LifecycleActionToken: token, LifecycleHookName: hook = '' } = parameters;
    for (const [id, waiting] of this.#waiting) {
      if (waiting.group !== parameters['AutoScalingGroupName']) continue;
      const own = waiting.hooks.get(hook);
      if (own !== undefined && (token === undefined ? id === instance : own === token)) return { id, waiting, hook };
    }
    const named = token === undefined ? `instance ID ${instance}` : `token ${token}`;
    throw new Refusal(`No active Lifecycle Action found with ${named}`);
  }

  async #instanceOf(parameters: Parameters, headers: Headers): Promise<[Group, SeenInstance]> {
    const group = await this.#group(parameters['AutoScalingGroupName'], headers);
    const id = parameters['InstanceIds.member.1'] ?? '';
    const instance = group.instances.find((one) => one.id === id);
    if (!instance)
      throw new Refusal(`The instance ${id} is not part of Auto Scaling group ${parameters['AutoScalingGroupName']}.`);
    return [group, instance];
  }

  async #group(name: string | undefined, headers: Headers): Promise<Group> {
    const asked = { 'AutoScalingGroupNames.member.1': name ?? '' };
    const body = this.#asShown((await this.#ask('DescribeAutoScalingGroups', asked, headers)).body);
    const number = (element: string) => Number(elementOf(body, element));
    if (elementOf(body, 'AutoScalingGroupARN') === undefined)
      throw new Refusal(`AutoScalingGroup name not found - AutoScalingGroup '${name}' not found`);
    return {
      desired: number('DesiredCapacity'),
      min: number('MinSize'),
      max: number('MaxSize'),
      instances: instancesIn(body),
    };
  }

  /** The states that moto does not know, in place of its own. */
  #asShown(body: string): string {
    for (const { id } of instancesIn(body)) {
      if (this.#holdsLaunches && !this.#known.has(id)) this.#launching.add(id);
      this.#known.add(id);
    }
    return withStates(body, (id) => {
      if (this.#shown.has(id)) return this.#shown.get(id);
      if (this.#waiting.has(id)) return 'Terminating:Wait';
      return this.#launching.has(id) ? 'Pending' : undefined;
    });
  }

  #ask(action: string, parameters: Parameters, headers: Headers): Promise<Answer> {
    const body = new URLSearchParams({ Action: action, Version: '2011-01-01', ...parameters }).toString();
    return this.#forward({ headers, body, path: '/' });
  }

  async #forward({ headers, body, path }: Sent): Promise<Answer> {
    const response = await fetch(`${this.#moto}${path}`, { method: 'POST', headers, body });
    return { status: response.status, body: await response.text() };
  }
}

const terminationOf = (id: string, decrement: string): Parameters => ({
  InstanceId: id,
  ShouldDecrementDesiredCapacity: decrement,
});

const sizes = (parameters: Parameters, { min, max, desired }: Group, what: string): string =>
  `AutoScalingGroup ${parameters['AutoScalingGroupName']} has min-size=${min}, max-size=${max}, and desired-size=${desired}. To ${what} 1 instance(s), please update the AutoScalingGroup sizes appropriately.`;
