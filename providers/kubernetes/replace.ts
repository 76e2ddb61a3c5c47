import type { Change } from '../../model/change.ts';
import type { ReplaceRequest, ReplaceResult } from '../../model/ports/instance.ts';
import { FinalError } from '../errors.ts';
import type { Pulse } from '../instance.ts';
import type { Cluster } from './cluster.ts';
import { ApiError } from './errors.ts';
import { absence } from './health.ts';
import type { Pod, Ref } from './objects.ts';
import { beating, Sleeper } from './pulse.ts';

/** What an attempt tells the next one. */
interface Memory {
  /** The eviction may have been asked for: if the pod is gone, it was most likely Salvor. */
  evicting: boolean;
}

/**
 * Heartbeats reach the server up to three seconds late (less on an otherwise idle activity). So `evicting` is said this
 * long before the first request, or with the very first heartbeat, which is sent at once.
 */
const SAID_BEFORE_MS = 5_000;
const BACKOFF_MS = { first: 1_000, most: 10_000 };

/** Another write came between the read and the request: how long until both are made again. */
const AGAIN_MS = 100;

/**
 * Evicts the pod through the eviction API, with its identity and its version as preconditions; never forced, with its own
 * grace period.
 */
export async function replace(
  cluster: Cluster,
  ref: Ref,
  request: ReplaceRequest,
  pulse: Pulse,
): Promise<ReplaceResult> {
  const notBefore = Date.parse(request.notBefore);
  const earlier = (pulse.last as Memory | undefined)?.evicting ?? false;
  const memory = (): Memory => ({ evicting: earlier || Date.now() >= notBefore - SAID_BEFORE_MS });
  return beating(pulse, memory, async () => {
    await new Sleeper().sleep(notBefore - Date.now(), pulse.signal);
    return evictUntilGranted(cluster, ref, request, earlier, pulse);
  });
}

/** The pod is gone: by an eviction of an earlier attempt whose answer was lost, or by somebody else. */
function ended(request: ReplaceRequest, gone: string, asked: boolean): ReplaceResult {
  if (!asked) return { verdict: 'gone', why: gone, changes: [] };
  const what = 'evicted the pod (the answer was lost with an earlier attempt)';
  return { verdict: 'replaced', why: `evicted; ${gone}`, changes: [evicted(request, what)] };
}

function evicted({ step, instance }: ReplaceRequest, what: string, auditId?: string): Change {
  const at = new Date().toISOString();
  return {
    ...{ step, what, object: instance, field: 'eviction', before: null, after: null, at },
    ...(auditId && { requestId: auditId }),
  };
}

async function evictUntilGranted(
  cluster: Cluster,
  ref: Ref,
  request: ReplaceRequest,
  asked: boolean,
  pulse: Pulse,
): Promise<ReplaceResult> {
  const deadline = Date.parse(request.deadline);
  const sleeper = new Sleeper();
  let why = 'the deadline had passed before it could be asked for';
  for (let refusals = 0; ; ) {
    // The server asks the budgets first, and says nothing of the identity while they forbid the eviction.
    const pod = await cluster.get<Pod>(ref, pulse.signal);
    const gone = absence(pod, request.instance.uid);
    if (!pod || gone) return ended(request, gone ?? '', asked);
    if (Date.now() >= deadline)
      return { verdict: 'blocked', why: `it could not be evicted before ${request.deadline}: ${why}`, changes: [] };
    await pulse.stillMine();
    const answer = await evict(cluster, ref, request, pod.metadata.resourceVersion);
    if ('verdict' in answer) return answer;
    why = answer.why;
    if (answer.status === 429) refusals += 1;
    await sleeper.sleep(Math.min(pauseAfter(answer, refusals), deadline - Date.now()), pulse.signal);
  }
}

/** Milliseconds until it is worth asking again. */
function pauseAfter({ status, retryAfter }: NotNow, refusals: number): number {
  if (status !== 429) return AGAIN_MS * Math.random();
  return retryAfter ?? Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** (refusals - 1)) * (0.5 + Math.random() / 2);
}

interface NotNow {
  why: string;
  /** 429: refused. 404, 409: the pod has changed, or gone, since it was read. */
  status: number;
  /** Milliseconds, where the server says when. */
  retryAfter?: number;
}

/** One request; without the signal, for once it is sent its answer matters. */
async function evict(
  cluster: Cluster,
  ref: Ref,
  request: ReplaceRequest,
  resourceVersion: string,
): Promise<ReplaceResult | NotNow> {
  const { uid, key } = request.instance;
  const eviction = {
    apiVersion: 'policy/v1',
    kind: 'Eviction',
    metadata: { name: ref.name, namespace: ref.namespace },
    deleteOptions: { preconditions: { uid, resourceVersion } },
  };
  try {
    const { auditId } = await cluster.create({ ...ref, subresource: 'eviction' }, eviction);
    const changes = [evicted(request, 'evicted the pod', auditId)];
    return { verdict: 'replaced', why: 'its eviction was granted', changes };
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
