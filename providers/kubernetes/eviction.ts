import { FinalError } from '../errors.ts';
import type { Answer, Cluster } from './cluster.ts';
import { ApiError } from './errors.ts';
import type { Pod, Ref } from './objects.ts';

const BACKOFF_MS = { first: 1_000, most: 10_000 };

/** Another write came between the read and the request: how long until both are made again. */
const AGAIN_MS = 100;

/** An eviction that was not granted, and may be later. */
export interface NotNow {
  why: string;
  /** 429: refused. 404, 409: the pod has changed, or gone, since it was read. */
  status: number;
  /** Milliseconds, where the server says when. */
  retryAfter?: number;
}

/** Milliseconds until it is worth asking again, after so many refusals. */
export function pauseAfter({ status, retryAfter }: Pick<NotNow, 'status' | 'retryAfter'>, refusals: number): number {
  if (status !== 429) return AGAIN_MS * Math.random();
  return retryAfter ?? Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** (refusals - 1)) * (0.5 + Math.random() / 2);
}

/**
 * One request for the eviction of a pod, with its identity and its version as it was read as preconditions; never forced,
 * with its own grace period. Without a signal, for once it is sent its answer matters.
 *
 * @param key of the pod, for messages
 * @throws FinalError `MisconfiguredBudget` where several disruption budgets select it; what else the API answers
 */
export async function evict(
  cluster: Cluster,
  { metadata }: Pod,
  ref: Ref,
  key: string,
): Promise<Pick<Answer<unknown>, 'auditId'> | NotNow> {
  const { uid, resourceVersion } = metadata;
  const eviction = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: ref.name, namespace: ref.namespace },
    deleteOptions: { preconditions: { uid, resourceVersion } },
  };
  return unlessRefused(key, () => cluster.create({ ...ref, subresource: 'eviction' }, eviction));
}

/** The same for one that no disruption budget counts, for nothing selects it. */
export async function remove(
  cluster: Cluster,
  { metadata }: Pod,
  ref: Ref,
  key: string,
): Promise<Pick<Answer<unknown>, 'auditId'> | NotNow> {
  const { uid, resourceVersion } = metadata;
  return unlessRefused(key, () => cluster.delete(ref, { uid, resourceVersion }));
}

async function unlessRefused<T>(key: string, ask: () => Promise<T>): Promise<T | NotNow> {
  try {
    return await ask();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const { status, message, retryAfter } = error;
    if (status === 500 && /more than one PodDisruptionBudget/i.test(message)) {
      throw new FinalError(
        `cannot evict ${key}: several disruption budgets select it, and the eviction API allows one. Change their selectors so that one selects it (${message})`,
        { type: 'MisconfiguredBudget', cause: error },
      );
    }
    if (status !== 404 && status !== 409 && status !== 429) throw error;
    return { why: describeRefusal(error), status, ...(retryAfter !== undefined && { retryAfter }) };
  }
}

/** A budget names itself as the cause; a 429 without it is the server's own rate limit. */
function describeRefusal(error: ApiError): string {
  if (error.status !== 429) return error.message;
  const budget = error.causes.find(({ reason }) => reason === 'DisruptionBudget');
  return budget
    ? (budget.message ?? 'a disruption budget does not allow it')
    : `the API server's rate limit: ${error.message}`;
}
