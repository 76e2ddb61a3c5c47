import { FinalError, UnavailableError } from '../errors.ts';

/** What was asked of which account; for messages. */
export interface Asked {
  /** Name under `aws:`. */
  account: string;
  region: string;
  /** As IAM names it. Default: `autoscaling`. */
  service?: 'cloudwatch' | 'ec2' | 'cloudtrail';
  /** The action of the API: `EnterStandby`. */
  call: string;
  /** Group or instance. */
  about: string;
}

const describeAsked = ({ account, region, call, about }: Asked): string =>
  `cannot ${call} ${about} in AWS account ${account} (${region})`;

/** Another request, or another change of the group, is in the way. */
const BUSY = new Set(['ScalingActivityInProgress', 'ResourceContention', 'ResourceInUse']);
const THROTTLED = new Set([
  'Throttling',
  'ThrottlingException',
  'ThrottledException',
  'RequestThrottled',
  'RequestThrottledException',
  'RequestLimitExceeded',
  'TooManyRequestsException',
  'SlowDown',
]);
const REFUSED = new Set([
  'AccessDenied',
  'AccessDeniedException',
  'UnauthorizedOperation',
  'AuthFailure',
  'OptInRequired',
  'MissingAuthenticationToken',
]);
/** Who gives the credentials may give none for a moment, or give new ones in the next. */
const EXPIRED = new Set([
  'ExpiredToken',
  'ExpiredTokenException',
  'RequestExpired',
  'CredentialsProviderError',
  'TokenProviderError',
]);
const WRONG = new Set([
  'InvalidClientTokenId',
  'UnrecognizedClientException',
  'SignatureDoesNotMatch',
  'IncompleteSignature',
]);

/** Answers to a signature whose time is not that of AWS, among others. */
const OF_TIME = new Set([
  'SignatureDoesNotMatch',
  'InvalidSignatureException',
  'RequestExpired',
  'RequestInTheFuture',
  'RequestTimeTooSkewed',
]);

/**
 * What the SDK throws, as an error of the providers: throttling, silence and what is in the way are to be tried again; what a
 * person must mend is final. https://docs.aws.amazon.com/autoscaling/ec2/APIReference/CommonErrors.html
 */
export function asProviderError(error: unknown, asked: Asked): FinalError | UnavailableError {
  const { name, message, status, skewed } = read(error);
  const told = `${describeAsked(asked)}: ${name}: ${message}`;
  // Signed at another time than AWS has: the SDK goes by the time of AWS from here on.
  if (skewed && OF_TIME.has(name)) {
    const how = 'the clock of this machine is minutes off that of AWS, and it is tried again by the latter';
    return new UnavailableError(`${told}; ${how}`, { cause: error });
  }
  if (THROTTLED.has(name) || status === 429)
    return new UnavailableError(`${told}; AWS limits the rate of requests, and it is tried again`, { cause: error });
  if (BUSY.has(name)) return new UnavailableError(`${told}; it is tried again`, { cause: error });
  if (EXPIRED.has(name)) {
    const how =
      'There are no credentials for this account that are valid now; it is tried again: renew them if this lasts';
    return new UnavailableError(`${told}. ${how}`, { cause: error });
  }
  if (WRONG.has(name)) {
    const how = 'The credentials of Salvor for this account are not accepted: renew them';
    return new FinalError(`${told}. ${how}`, { type: 'Forbidden', cause: error });
  }
  if (REFUSED.has(name) || status === 401 || status === 403) {
    const how = `Allow ${asked.service ?? 'autoscaling'}:${asked.call} to Salvor (deploy/aws/iam-policy.json has all that it needs)`;
    return new FinalError(`${told}. ${how}`, { type: 'Forbidden', cause: error });
  }
  if (status !== undefined && status < 500)
    return new FinalError(`${told}. Nothing was changed by this call`, { type: 'Invalid', cause: error });
  return new UnavailableError(told, { cause: error });
}

/** Without a status there was no answer. */
function read(error: unknown): { name: string; message: string; status?: number; skewed?: boolean } {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const given = '$metadata' in error ? error.$metadata : undefined;
  const metadata = typeof given === 'object' && given !== null ? (given as Record<string, unknown>) : {};
  const { httpStatusCode: status, clockSkewCorrected } = metadata;
  const code = 'code' in error && typeof error.code === 'string' ? `${error.code} ` : '';
  const message = error.message || `${code}no answer`;
  const skewed = clockSkewCorrected === true;
  return { name: error.name, message, skewed, ...(typeof status === 'number' && { status }) };
}

/** The code that AWS gave its refusal, such as `InvalidPermission.Duplicate`. */
export const codeOf = (error: unknown): string | undefined =>
  error instanceof FinalError && error.cause instanceof Error ? error.cause.name : undefined;

/** The API did not take the request as things stand: it may have been overtaken by a change since the look before it. */
export const isRefusal = (error: unknown): error is FinalError =>
  error instanceof FinalError && error.type === 'Invalid';
