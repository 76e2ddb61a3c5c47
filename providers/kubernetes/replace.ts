import type { Change } from '../../model/change.ts';
import { HELD_ANNOTATION } from '../../model/names.ts';
import type { ReplaceRequest, ReplaceResult } from '../../model/ports/instance.ts';
import { LOST, type Pulse } from '../instance.ts';
import { beating, Sleeper } from '../pulse.ts';
import type { Cluster } from './cluster.ts';
import { evict, pauseAfter, remove } from './eviction.ts';
import { holdsOn, nameOf, parseField, readField, shown, writerOf } from './fields.ts';
import { absence, carriesProtected, controllerOf } from './health.ts';
import type { Pod, Ref } from './objects.ts';
import { isQuarantined } from './quarantine.ts';

/** What an attempt tells the next one. */
interface Memory {
  /** The eviction, or deletion, may have been asked for: if the pod is gone, it was most likely Salvor. */
  evicting: boolean;
}

/**
 * Heartbeats reach the server up to three seconds late (less on an otherwise idle activity). So `evicting` is said this
 * long before the first request, or with the very first heartbeat, which is sent at once.
 */
const SAID_BEFORE_MS = 5_000;

/** Fields of the changes that this makes: verbs, for nothing is written. */
export const EVICTION = 'eviction';
export const DELETION = 'deletion';

/**
 * Evicts the pod through the eviction API, or deletes one that is kept in quarantine; never forced.
 *
 * @param protectedLabels `key` or `key=value`: a pod that carries one by now is left
 */
export async function replace(
  cluster: Cluster,
  ref: Ref,
  request: ReplaceRequest,
  pulse: Pulse,
  protectedLabels: readonly string[],
): Promise<ReplaceResult> {
  const notBefore = Date.parse(request.notBefore);
  const earlier = (pulse.last as Memory | undefined)?.evicting ?? false;
  const memory = (): Memory => ({ evicting: earlier || Date.now() >= notBefore - SAID_BEFORE_MS });
  const removal = isQuarantined(request.held, request.instance.uid) ? deletion : eviction;
  return beating(pulse, memory, async () => {
    await new Sleeper().sleep(notBefore - Date.now(), pulse.signal);
    return removeUntilGranted({ cluster, ref, request, removal, asked: earlier, pulse, protectedLabels });
  });
}

/** How a pod is asked to go. */
interface Removal {
  ask: typeof evict;
  field: string;
  done: string;
  granted: string;
  /** Why there is nothing left to ask for. */
  absence(pod: Pod | undefined, uid: string): string | undefined;
  /** Why the pod as it is must not go; final. */
  refusal(pod: Pod, request: ReplaceRequest): string | undefined;
}

const eviction: Removal = {
  ask: evict,
  field: EVICTION,
  done: 'evicted',
  granted: 'its eviction was granted',
  absence,
  refusal: () => undefined,
};

const deletion: Removal = {
  ask: remove,
  field: DELETION,
  done: 'deleted',
  granted: 'it was deleted, after its quarantine',
  // One that has ended is still an object, and no controller is left to clear it away.
  absence: (pod, uid) => absence(pod && { ...pod, status: {} }, uid),
  refusal: outOfQuarantine,
};

/** Whoever has taken it out of quarantine wants it to live: it may serve again, and be counted on. */
function outOfQuarantine(pod: Pod, { held = [], actor }: ReplaceRequest): string | undefined {
  const { metadata } = pod;
  const controller = controllerOf(metadata);
  if (controller) return `it belongs to ${controller.kind} ${controller.name} now`;
  const noted = (holdsOn(metadata) ?? []).filter(({ remediation }) => remediation === actor.remediation);
  for (const one of held) {
    const field = parseField(one.field);
    const found = readField(pod, field);
    if (found !== one.set)
      return `its ${nameOf(field)} is ${shown(found)} now, set by ${writerOf(metadata, field)?.manager ?? '(not recorded)'}`;
    if (!noted.some((note) => note.field === one.field))
      return `the note of its quarantine (annotation ${HELD_ANNOTATION}) is gone`;
  }
  return undefined;
}

interface Given {
  cluster: Cluster;
  ref: Ref;
  request: ReplaceRequest;
  removal: Removal;
  /** An earlier attempt may have asked for it. */
  asked: boolean;
  pulse: Pulse;
  protectedLabels: readonly string[];
}

/** The pod is gone: by a request of an earlier attempt whose answer was lost, or by somebody else. */
function ended({ request, removal, asked }: Given, gone: string): ReplaceResult {
  if (!asked) return { verdict: 'gone', why: gone, changes: [] };
  const what = `${removal.done} the pod${LOST}`;
  return { verdict: 'replaced', why: `${removal.done}; ${gone}`, changes: [removed(request, removal, what)] };
}

function removed({ step, instance }: ReplaceRequest, { field }: Removal, what: string, auditId?: string): Change {
  const at = new Date().toISOString();
  return {
    ...{ step, what, object: instance, field, before: null, after: null, at },
    ...(auditId && { requestId: auditId }),
  };
}

async function removeUntilGranted(given: Given): Promise<ReplaceResult> {
  const { cluster, ref, request, removal, pulse, protectedLabels } = given;
  const deadline = Date.parse(request.deadline);
  const sleeper = new Sleeper();
  let why = 'the deadline had passed before it could be asked for';
  for (let refusals = 0; ; ) {
    // The server asks the budgets first, and says nothing of the identity while they forbid the eviction.
    const pod = await cluster.get<Pod>(ref, pulse.signal);
    const gone = removal.absence(pod, request.instance.uid);
    if (!pod || gone) return ended(given, gone ?? '');
    // Asked for again and again, or after it was kept for long: a person may have put it out of reach since the last look.
    const label = carriesProtected(pod.metadata, protectedLabels);
    const refusal = label ? `it carries the protected label ${label}` : removal.refusal(pod, request);
    if (refusal) return { verdict: 'failed', why: `it was not ${removal.done}: ${refusal}`, changes: [] };
    if (Date.now() >= deadline) {
      const late = `it could not be ${removal.done} before ${request.deadline}: ${why}`;
      return { verdict: 'blocked', why: late, changes: [] };
    }
    await pulse.stillMine();
    const answer = await removal.ask(cluster, pod, ref, request.instance.key);
    if (!('status' in answer)) {
      const changes = [removed(request, removal, `${removal.done} the pod`, answer.auditId)];
      return { verdict: 'replaced', why: removal.granted, changes };
    }
    why = answer.why;
    if (answer.status === 429) refusals += 1;
    await sleeper.sleep(Math.min(pauseAfter(answer, refusals), deadline - Date.now()), pulse.signal);
  }
}
