import { Client, status as codes, credentials, type ServiceError } from '@grpc/grpc-js';

/** `grpc.health.v1.HealthCheckResponse.ServingStatus` */
const STATUSES = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'] as const;

/**
 * `grpc.health.v1.Health/Check`, on a connection of its own. Its two messages have one field each, so they are written and read
 * here: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
 *
 * @returns what it says of itself, such as `SERVING`
 * @throws ServiceError; the signal's reason
 */
export async function checkHealth(
  { host, port, service, tls }: { host: string; port: number; service: string; tls: boolean },
  within: number,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const client = new Client(address, tls ? credentials.createSsl() : credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.enable_retries': 0,
  });
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const call = client.makeUnaryRequest(
    '/grpc.health.v1.Health/Check',
    (name: string) => requestOf(name),
    statusOf,
    service,
    { deadline: Date.now() + within },
    (error, status) => (error ? reject(error) : resolve(STATUSES[status ?? 0] ?? `status ${status}`)),
  );
  const cancel = () => call.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    return await promise;
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
    client.close();
  }
}

/** `DEADLINE_EXCEEDED: …` */
export function describeGrpc(error: unknown, within: number): string {
  const { code, details, message } = error as Partial<ServiceError> & Error;
  if (code === codes.DEADLINE_EXCEEDED) return `nothing within ${within} ms`;
  return code === undefined ? message : `${codes[code]}: ${details || message}`;
}

/** Field 1, a text. */
function requestOf(service: string): Buffer {
  const text = Buffer.from(service, 'utf8');
  return text.length === 0 ? text : Buffer.concat([Buffer.from([0x0a, ...varint(text.length)]), text]);
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  for (let left = value; ; left >>>= 7) {
    if (left < 0x80) return [...bytes, left];
    bytes.push((left & 0x7f) | 0x80);
  }
}

/** Field 1, a small number; absent where it is 0. Fields of later versions, if there are any, come after it. */
const statusOf = (message: Buffer): number => (message[0] === 0x08 ? (message[1] ?? 0) : 0);
