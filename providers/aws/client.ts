import type { AutoScalingClientConfig } from '@aws-sdk/client-auto-scaling';
import type { CloudTrailClientConfig } from '@aws-sdk/client-cloudtrail';
import type { CloudWatchClientConfig } from '@aws-sdk/client-cloudwatch';
import type { EC2ClientConfig } from '@aws-sdk/client-ec2';
import type { AwsConfig } from '../../model/config.ts';

/** What the clients of all services of an account have in common. */
type ClientConfig = Pick<
  AutoScalingClientConfig & CloudTrailClientConfig & CloudWatchClientConfig & EC2ClientConfig,
  'region' | 'maxAttempts' | 'requestHandler' | 'endpoint' | 'credentials'
>;

/**
 * Each request is made once: an answer that was lost says nothing of what was done, so whoever asked looks before he asks again,
 * which the SDK would not.
 *
 * @param endpoint of the service, where it is not that of AWS
 */
export async function clientConfig(
  { region, roleArn, profile }: AwsConfig,
  endpoint: string | undefined,
): Promise<ClientConfig> {
  // It takes a while to load: only where there is an account.
  const { fromIni, fromTemporaryCredentials } = await import('@aws-sdk/credential-providers');
  const own = profile === undefined ? undefined : fromIni({ profile });
  const role =
    roleArn === undefined
      ? undefined
      : fromTemporaryCredentials({
          params: { RoleArn: roleArn, RoleSessionName: 'salvor' },
          clientConfig: { region },
          ...(own && { masterCredentials: own }),
        });
  const credentials = role ?? own;
  return {
    region,
    maxAttempts: 1,
    requestHandler: { connectionTimeout: 3_000, requestTimeout: 6_000, throwOnRequestTimeout: true },
    ...(endpoint !== undefined && { endpoint }),
    ...(credentials && { credentials }),
  };
}
