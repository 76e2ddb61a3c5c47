import { z } from 'zod';

/** A change, as CloudTrail tells of it. */
export interface TrailEvent {
  /** Action of the API: `AuthorizeSecurityGroupIngress`. */
  name: string;
  /** ISO time. */
  at: string;
  /** Principal: its ARN, or what else there is of it. */
  by: string;
  /** It was Salvor itself. */
  isOwn: boolean;
  /** AWS refused it. */
  isRefused: boolean;
  /** What was asked for, and what was answered, as the API has it. */
  request: unknown;
  response: unknown;
}

const written = z.object({
  eventName: z.string(),
  eventTime: z.iso.datetime(),
  errorCode: z.string().optional(),
  readOnly: z.boolean().optional(),
  userIdentity: z
    .object({
      arn: z.string().optional(),
      userName: z.string().optional(),
      principalId: z.string().optional(),
      /** A service of AWS that acted by itself. */
      invokedBy: z.string().optional(),
      accessKeyId: z.string().optional(),
      sessionContext: z.object({ sessionIssuer: z.object({ arn: z.string().optional() }).optional() }).optional(),
    })
    .optional(),
  requestParameters: z.unknown(),
  responseElements: z.unknown(),
});

/**
 * Reads one event of LookupEvents; undefined where it changes nothing, or cannot be read.
 *
 * @param own as whom Salvor acts
 */
export function readTrailEvent(
  text: string,
  own: { accessKeyId: string; roleArn?: string | undefined },
): TrailEvent | undefined {
  const { data: event } = written.safeParse(parsed(text));
  if (!event || event.readOnly === true) return undefined;
  const { arn, userName, invokedBy, principalId, accessKeyId, sessionContext } = event.userIdentity ?? {};
  const issuer = sessionContext?.sessionIssuer?.arn;
  return {
    name: event.eventName,
    at: event.eventTime,
    by: arn ?? userName ?? invokedBy ?? principalId ?? 'somebody whom CloudTrail does not name',
    isOwn: accessKeyId === own.accessKeyId || (issuer !== undefined && issuer === own.roleArn),
    isRefused: event.errorCode !== undefined,
    request: event.requestParameters,
    response: event.responseElements,
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // an event that cannot be read tells nothing
  }
}
