/** The record of the proxy before moto (aws-proxy.ts). */
import type { Caller } from './aws-sent.ts';

type Parameters = Record<string, string>;

/** One request that a client made, with what it was answered. */
export interface AwsRequest extends Caller {
  /** `EnterStandby` */
  action: string;
  /** As the query protocol names them: `InstanceIds.member.1`. */
  parameters: Parameters;
  /** ISO time at which it came. */
  at: string;
  status: number;
  /** Of a refusal: `ValidationError`. */
  code?: string;
}

export const isRead = (action: string): boolean => /^(Describe|Get|List|Lookup)/.test(action);

/** What this access key changed of these resources, in order, in short: `EnterStandby with decrement`. */
export function mutationsIn(requests: readonly AwsRequest[], by: string, resources: readonly string[]): string[] {
  const concerns = (value: string) => resources.some((one) => value === one || value.endsWith(`/${one}`));
  return requests
    .filter((request) => request.by === by && !isRead(request.action) && request.status < 300)
    .filter(({ parameters }) => Object.values(parameters).some(concerns))
    .map(({ action, parameters }) => [action, detailOf(action, parameters)].filter(Boolean).join(' '));
}

/** What tells one mutation from another of its action, for people. */
function detailOf(action: string, parameters: Parameters): string {
  switch (action) {
    case 'SetDesiredCapacity':
      return parameters['DesiredCapacity'] ?? '';
    case 'CreateOrUpdateTags':
    case 'DeleteTags':
      return parameters['Tags.member.1.Key'] ?? '';
    case 'CompleteLifecycleAction':
      return `${parameters['LifecycleHookName']} ${parameters['LifecycleActionResult']}`;
    case 'RecordLifecycleActionHeartbeat':
      return parameters['LifecycleHookName'] ?? '';
    case 'EnterStandby':
    case 'TerminateInstanceInAutoScalingGroup':
      return parameters['ShouldDecrementDesiredCapacity'] === 'true' ? 'with decrement' : 'without decrement';
    default:
      return rulesOf(parameters).join(', ');
  }
}

/** Of a request about rules of a security group: `tcp 22-22 10.0.0.0/8`, or the ids by which it names them. */
function rulesOf(parameters: Parameters): string[] {
  return Object.entries(parameters).flatMap(([name, value]) => {
    if (/^SecurityGroupRuleId\.\d+$/.test(name)) return [value];
    const [, permission] = /^(IpPermissions\.\d+)\.\w+\.\d+\.(CidrIp|CidrIpv6|GroupId|PrefixListId)$/.exec(name) ?? [];
    if (permission === undefined) return [];
    const of = (field: string) => parameters[`${permission}.${field}`];
    const ports = of('FromPort') === undefined ? '' : ` ${of('FromPort')}-${of('ToPort')}`;
    return [`${of('IpProtocol')}${ports} ${value}`];
  });
}
