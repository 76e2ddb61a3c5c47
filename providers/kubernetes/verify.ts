import type { Owner, VerifyRequest, VerifyResult } from '../../model/ports/instance.ts';
import { parseTarget } from '../../model/target.ts';
import { FinalError } from '../errors.ts';
import type { Pulse } from '../instance.ts';
import { beating, Sleeper } from '../pulse.ts';
import type { Cluster } from './cluster.ts';
import { absence, controllerOf, isTrue } from './health.ts';
import type { Controller, Pod, Ref } from './objects.ts';
import { replicasOf, resourceOfKind } from './owner.ts';
import { isQuarantined } from './quarantine.ts';
import type { Following, Watches } from './watch.ts';
import { controlledBy, controllersOf, podsOf } from './watched.ts';

/**
 * Waits until the old pod is gone and its place is taken: by a Ready pod of its name where its owner is a StatefulSet,
 * else by as many ready replicas as the owner wants now, less those that were unready before, the sick pod not counted
 * among these. A pod in quarantine stays: it is enough that its owner has let go of it.
 */
export async function verify(
  cluster: Cluster,
  watches: Watches,
  ref: Ref,
  request: VerifyRequest,
  pulse: Pulse,
): Promise<VerifyResult> {
  return beating(
    pulse,
    () => undefined,
    async () => {
      const owner = await ownerRef(cluster, request.owner);
      const namespace = ref.namespace ?? '';
      const pods = await watches.follow(podsOf(namespace), pulse.signal);
      try {
        const controllers = await watches.follow(controllersOf(owner, namespace), pulse.signal);
        try {
          return await waitForIt({ pods, controllers, ref, owner, request }, pulse.signal);
        } finally {
          controllers.release();
        }
      } finally {
        pods.release();
      }
    },
  );
}

interface Given {
  pods: Following<Pod>;
  controllers: Following<Controller>;
  ref: Ref;
  owner: Ref & { name: string };
  request: VerifyRequest;
}

async function ownerRef(cluster: Cluster, { key }: Owner): Promise<Ref & { name: string }> {
  const target = parseTarget(key);
  const ref = target.type === 'k8s' && (await resourceOfKind(cluster, target.group ?? '', target.kind));
  if (!ref)
    throw new FinalError(`the cluster ${cluster.name} has no resource for the owner ${key}`, { type: 'UnknownTarget' });
  return { ...ref, name: target.name };
}

async function waitForIt(given: Given, signal: AbortSignal): Promise<VerifyResult> {
  const { pods, controllers, ref, owner, request } = given;
  const deadline = Date.parse(request.deadline);
  const sleeper = new Sleeper();
  const silences = [
    pods.listen(ref.name ?? '', sleeper.wake),
    pods.listen(controlledBy(request.owner.uid), sleeper.wake),
    controllers.listen(owner.name, sleeper.wake),
  ];
  try {
    for (;;) {
      const seen = look(given);
      if (seen.verified || seen.final) return { verified: seen.verified, why: seen.why };
      const left = deadline - Date.now();
      if (left <= 0) return { verified: false, why: `not verified before ${request.deadline}: ${seen.why}` };
      await sleeper.sleep(left, signal);
    }
  } finally {
    for (const silence of silences) silence();
  }
}

interface Seen extends VerifyResult {
  /** Waiting longer will not change it. */
  final?: boolean;
}

function look(given: Given): Seen {
  const { pods, controllers, ref, owner, request } = given;
  const { instance } = request;
  const present = pods.get(ref.name ?? '');
  const quarantined = isQuarantined(request.held, instance.uid);
  if (present?.metadata.uid === instance.uid && !quarantined)
    return { verified: false, why: 'the old pod is not gone yet' };
  const controller = controllers.get(owner.name);
  if (!controller)
    return {
      verified: false,
      final: true,
      why: `its owner ${request.owner.key} was deleted meanwhile: nothing replaces it`,
    };
  if (quarantined) return lookWithout(given, controller);
  if (owner.group === 'apps' && owner.resource === 'statefulsets')
    return lookAtSuccessor(present, controller, ref.name ?? '');
  const { desired, ready } = replicasOf(controller);
  const needed = Math.max(0, desired - excused(request.owner));
  const why = `${request.owner.key} has ${ready} of ${desired} replicas ready, ${needed} needed`;
  return { verified: ready >= needed, why };
}

/**
 * The owner's status counts the pod among the ready ones until the owner has let go of it, and for a moment longer: so its
 * pods are counted here, by what they themselves say.
 */
function lookWithout({ pods, request }: Given, controller: Controller): Seen {
  const { key, uid } = request.owner;
  const own = [...pods.values()].filter(({ metadata }) => controllerOf(metadata)?.uid === uid);
  if (own.some(({ metadata }) => metadata.uid === request.instance.uid))
    return { verified: false, why: `${key} has not let go of the pod yet` };
  const { desired } = replicasOf(controller);
  const ready = own.filter((pod) => absence(pod, undefined) === undefined && isTrue(pod, 'Ready')).length;
  const needed = Math.max(0, desired - excused(request.owner));
  return {
    verified: ready >= needed,
    why: `${key} has ${ready} of ${desired} replicas ready without the pod in quarantine, ${needed} needed`,
  };
}

/** Replicas that were unready before, beside the sick one: they are not what this replacement is judged by. */
const excused = ({ desired, ready }: Owner): number => Math.max(0, desired - ready - 1);

/** A StatefulSet gives the successor the same name. */
function lookAtSuccessor(pod: Pod | undefined, { spec }: Controller, name: string): Seen {
  const ordinal = Number(name.slice(name.lastIndexOf('-') + 1));
  const last = (spec?.ordinals?.start ?? 0) + (spec?.replicas ?? 1) - 1;
  if (!pod && ordinal > last) return { verified: true, why: `its StatefulSet was scaled down: ${name} is not needed` };
  if (!pod) return { verified: false, why: `there is no new pod ${name} yet` };
  if (!isTrue(pod, 'Ready')) return { verified: false, why: `the new pod ${name} is not Ready yet` };
  return { verified: true, why: `the new pod ${name} is Ready` };
}
