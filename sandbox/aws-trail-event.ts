/** A request as CloudTrail tells of it (aws-trail.ts), as near as the examples of its user guide show. */
import { randomUUID } from 'node:crypto';
import { type AwsRequest, isRead } from './aws-record.ts';

/** Whose access key it is: that of a user, or that of a session in which somebody has taken a role. */
export type Identity = { user: string } | { role: string; session: string };

/** One of LookupEvents. */
export interface TrailEvent {
  EventId: string;
  EventName: string;
  ReadOnly: 'true' | 'false';
  AccessKeyId: string;
  /** Seconds since the epoch, whole ones. */
  EventTime: number;
  EventSource: string;
  Username: string;
  Resources: { ResourceType: string; ResourceName: string }[];
  /** JSON */
  CloudTrailEvent: string;
}

/** That of everything in moto. */
const ACCOUNT = '123456789012';

/** @param answer what the request was answered */
export function trailEvent(request: AwsRequest, identity: Identity, answer: string): TrailEvent {
  const { by, action, at, service, region, code } = request;
  const EventId = randomUUID();
  const EventTime = Math.floor(Date.parse(at) / 1_000);
  const EventSource = `${service}.amazonaws.com`;
  const full = {
    eventVersion: '1.11',
    userIdentity: userIdentity(identity, by),
    eventTime: new Date(EventTime * 1_000).toISOString().replace('.000Z', 'Z'),
    eventSource: EventSource,
    eventName: action,
    awsRegion: region,
    sourceIPAddress: '127.0.0.1',
    ...(code !== undefined && { errorCode: service === 'ec2' ? `Client.${code}` : code }),
    requestParameters: requestParameters(request),
    responseElements: code === undefined && !isRead(action) ? responseElements(answer) : null,
    requestID: randomUUID(),
    eventID: EventId,
    readOnly: isRead(action),
    eventType: 'AwsApiCall',
    managementEvent: true,
    recipientAccountId: ACCOUNT,
    eventCategory: 'Management',
  };
  return {
    ...{ EventId, EventName: action, EventTime, EventSource, AccessKeyId: by },
    ReadOnly: isRead(action) ? 'true' : 'false',
    Username: 'user' in identity ? identity.user : identity.session,
    Resources: isRead(action) ? [] : resourcesOf(request, answer),
    CloudTrailEvent: JSON.stringify(full),
  };
}

function userIdentity(identity: Identity, accessKeyId: string): object {
  const common = { accountId: ACCOUNT, accessKeyId };
  if ('user' in identity) {
    const { user: userName } = identity;
    const arn = `arn:aws:iam::${ACCOUNT}:user/${userName}`;
    return { type: 'IAMUser', principalId: 'AIDAEXAMPLE', arn, ...common, userName };
  }
  const { role, session } = identity;
  return {
    type: 'AssumedRole',
    principalId: `AROAEXAMPLE:${session}`,
    arn: `arn:aws:sts::${ACCOUNT}:assumed-role/${role}/${session}`,
    ...common,
    sessionContext: {
      sessionIssuer: {
        type: 'Role',
        principalId: 'AROAEXAMPLE',
        arn: `arn:aws:iam::${ACCOUNT}:role/${role}`,
        accountId: ACCOUNT,
        userName: role,
      },
    },
  };
}

/** The types of what a request names, by its parameter. */
const TYPES: readonly [parameter: RegExp, type: string][] = [
  [/^GroupId$|^GroupName$/, 'AWS::EC2::SecurityGroup'],
  [/^VpcId$/, 'AWS::EC2::VPC'],
  [/^InstanceIds?(\.member)?(\.\d+)?$/, 'AWS::EC2::Instance'],
  [/^AutoScalingGroupName$/, 'AWS::AutoScaling::AutoScalingGroup'],
];

function resourcesOf({ parameters }: AwsRequest, answer: string): TrailEvent['Resources'] {
  const named = Object.entries(parameters).flatMap(([name, ResourceName]) => {
    const type = TYPES.find(([parameter]) => parameter.test(name))?.[1];
    return type === undefined ? [] : [{ ResourceType: type, ResourceName }];
  });
  // A group that was named by its name, or has just been made.
  const id = /<groupId>(sg-\w+)</.exec(answer)?.[1];
  if (id !== undefined && !named.some(({ ResourceName }) => ResourceName === id))
    named.push({ ResourceType: 'AWS::EC2::SecurityGroup', ResourceName: id });
  return named;
}

interface Tree {
  [name: string]: Tree | string;
}

function requestParameters({ parameters, service }: AwsRequest): unknown {
  const { Action, Version, Body, ...flat } = parameters;
  if (Body !== undefined) return Body === '' ? null : renamed(JSON.parse(Body));
  const tree: Tree = {};
  for (const [path, value] of Object.entries(flat)) {
    const steps = path.split('.').filter((step) => step !== 'member');
    const last = steps.pop() ?? '';
    let place = tree;
    for (const step of steps) {
      place[step] ??= {};
      place = place[step] as Tree;
    }
    place[last] = value;
  }
  return withLists(tree, service === 'ec2');
}

/** EC2 has lists as `{ items: [] }`, also those that are empty, and what is in them as objects. */
function withLists(tree: Tree, items: boolean): object {
  const all = Object.entries(tree).map(([name, value]): [string, unknown] => {
    const key = camel(name);
    if (typeof value === 'string') return [key, NUMBERS.test(name) ? Number(value) : value];
    if (!Object.keys(value).every((step) => /^\d+$/.test(step))) return [key, withLists(value, items)];
    const list = Object.values(value).map((one) => (typeof one === 'string' ? one : withLists(one, items)));
    if (!items) return [key, list];
    const objects = list.map((one) => (typeof one === 'string' ? { [key]: one } : one));
    return [typeof list[0] === 'string' ? `${key}s` : key, { items: objects }];
  });
  const empty = { groups: {}, ipRanges: {}, ipv6Ranges: {}, prefixListIds: {} };
  return { ...(items && 'IpProtocol' in tree && empty), ...Object.fromEntries(all) };
}

const NUMBERS = /^(FromPort|ToPort|\w*Size|\w*Capacity|\w*Cooldown)$/;

function renamed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(renamed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, inner]) => [camel(name), renamed(inner)]));
}

const camel = (name: string): string => name.charAt(0).toLowerCase() + name.slice(1);

/** Of those that make rules of security groups: these. What others answer is left out. */
function responseElements(answer: string): object | null {
  const rules = /<securityGroupRuleSet>([\s\S]*)<\/securityGroupRuleSet>/.exec(answer)?.[1];
  if (rules === undefined) return /<return>true/.test(answer) ? { _return: true } : null;
  const items = rules.split('</item>').flatMap((rule) => {
    const elements = [...rule.matchAll(/<(\w+)>([^<]+)</g)].map(([, name = '', value = '']) => [name, value]);
    return elements.length === 0 ? [] : [Object.fromEntries(elements)];
  });
  return { _return: true, securityGroupRuleSet: { items } };
}
