/** The record of the proxy before moto (aws-proxy.ts). */

type Parameters = Record<string, string>;

/** One request that a client made, with what it was answered. */
export interface AwsRequest {
  /** Access key id of whoever asked. */
  by: string;
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

export const isRead = (action: string): boolean => /^(Describe|Get|List)/.test(action);

/** What this access key changed of these groups and instances, in order, in short: `EnterStandby with decrement`. */
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
      return '';
  }
}
