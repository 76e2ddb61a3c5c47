import { MIMEType } from 'node:util';

/** A request that is refused before any alert is looked at. The message is for the sender and tells no secret. */
export class Rejection extends Error {
  override name = 'Rejection';
  readonly status: number;
  /** For the counter: one of few words. */
  readonly reason: string;

  constructor(message: string, { status, reason, cause }: { status: number; reason: string; cause?: unknown }) {
    super(message, { cause });
    this.status = status;
    this.reason = reason;
  }
}

/** What the type of a body must be. @throws Rejection 415 */
export function checkType(type: string | undefined, encoding: string | undefined): void {
  let mime: MIMEType | undefined;
  try {
    mime = new MIMEType(type ?? '');
  } catch {
    // Not a media type at all, which is refused below like any other wrong one.
  }
  if (mime?.essence !== 'application/json') {
    throw new Rejection('The body must be of the type application/json.', { status: 415, reason: 'content-type' });
  }
  if ((mime.params.get('charset') ?? 'utf-8').toLowerCase() !== 'utf-8') {
    throw new Rejection('The body must be encoded in UTF-8.', { status: 415, reason: 'charset' });
  }
  if ((encoding ?? 'identity').toLowerCase() !== 'identity') {
    throw new Rejection('The body must not be compressed: no Content-Encoding is known.', {
      status: 415,
      reason: 'content-encoding',
    });
  }
}

/** Turns what the framework throws into the answer for the sender; undefined for what is not the sender's fault. */
export function rejectionOf(error: unknown): Rejection | undefined {
  if (error instanceof Rejection) return error;
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new Rejection('The body is larger than gateway.maxBody allows.', {
      status: 413,
      reason: 'too-large',
      cause: error,
    });
  }
  if (typeof statusCode !== 'number' || statusCode < 400 || statusCode > 499) return undefined;
  return new Rejection('The request is broken or incomplete.', { status: statusCode, reason: 'broken', cause: error });
}
