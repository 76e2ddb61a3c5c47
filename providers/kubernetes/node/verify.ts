import type { Owner, VerifyRequest, VerifyResult } from '../../../model/ports/instance.ts';
import { NODE_OPTIONS } from '../../../model/rule.ts';
import { parseTarget } from '../../../model/target.ts';
import { FinalError } from '../../errors.ts';
import type { Pulse } from '../../instance.ts';
import type { Machines } from '../../machines.ts';
import { beating, Sleeper } from '../../pulse.ts';
import type { Cluster } from '../cluster.ts';
import type { Controller, Node, Ref } from '../objects.ts';
import { replicasOf, resourceOfKind } from '../owner.ts';
import type { Following, Watches } from '../watch.ts';
import { controllersOf } from '../watched.ts';
import { instanceIdOf, poolKey, serves } from './pool.ts';
import { ANY_NODE, NODES_WATCHED } from './watched.ts';

interface Given {
  cluster: Cluster;
  watches: Watches;
  ref: Ref;
  request: VerifyRequest;
  pulse: Pulse;
  machines: Machines | undefined;
}

/**
 * Waits until what ran on the node has its ready replicas again: as many as each controller wants now, less those that were
 * unready before. Where the machine was terminated, also until it is gone and the pool has as many nodes that serve as before.
 */
export async function verify(
  cluster: Cluster,
  watches: Watches,
  ref: Ref,
  request: VerifyRequest,
  pulse: Pulse,
  machines: Machines | undefined,
): Promise<VerifyResult> {
  return beating(
    pulse,
    () => undefined,
    async () => {
      const given = { cluster, watches, ref, request, pulse, machines };
      const parts = await Promise.all((request.moved ?? []).map((owner) => replicasOfOwner(given, owner)));
      if ((request.options?.node ?? NODE_OPTIONS).terminate) parts.push(await successor(given));
      try {
        return await untilAll(parts, request, pulse);
      } finally {
        for (const { release } of parts) release();
      }
    },
  );
}

/** One thing that is waited for. */
interface Part {
  look(): VerifyResult | Promise<VerifyResult>;
  listen(wake: () => void): () => void;
  /** Milliseconds after which it is looked at again though nothing says that it has changed. */
  every?: number;
  release(): void;
}

async function untilAll(parts: readonly Part[], request: VerifyRequest, { signal }: Pulse): Promise<VerifyResult> {
  const deadline = Date.parse(request.deadline);
  const sleeper = new Sleeper();
  const silences = parts.map((part) => part.listen(sleeper.wake));
  try {
    for (;;) {
      const seen = await Promise.all(parts.map((part) => part.look()));
      const missing = seen.filter(({ verified }) => !verified);
      if (missing.length === 0) return { verified: true, why: seen.map(({ why }) => why).join('; ') || NOTHING };
      const left = deadline - Date.now();
      const why = missing.map((one) => one.why).join('; ');
      if (left <= 0) return { verified: false, why: `not verified before ${request.deadline}: ${why}` };
      await sleeper.sleep(Math.min(left, ...parts.map(({ every = left }) => every)), signal);
    }
  } finally {
    for (const silence of silences) silence();
  }
}

const NOTHING = 'nothing that ran on it has replicas to be counted';

/** Of one controller of what ran on the node. */
async function replicasOfOwner({ cluster, watches, pulse }: Given, owner: Owner): Promise<Part> {
  const target = parseTarget(owner.key);
  const resource = target.type === 'k8s' && (await resourceOfKind(cluster, target.group ?? '', target.kind));
  if (target.type !== 'k8s' || !resource)
    throw new FinalError(`the cluster ${cluster.name} has no resource for ${owner.key}`, { type: 'UnknownTarget' });
  const controllers = await watches.follow(controllersOf(resource, target.namespace), pulse.signal);
  return {
    look: () => lookAtReplicas(owner, controllers.get(target.name)),
    listen: (wake) => controllers.listen(target.name, wake),
    release: controllers.release,
  };
}

function lookAtReplicas(owner: Owner, controller: Controller | undefined): VerifyResult {
  // A rollout, or a person, has put something else in its place.
  if (controller?.metadata.uid !== owner.uid) return { verified: true, why: `${owner.key} is there no more` };
  const { desired, ready } = replicasOf(controller);
  const needed = Math.max(0, desired - Math.max(0, owner.desired - owner.ready));
  return { verified: ready >= needed, why: `${owner.key} has ${ready} of ${desired} replicas ready, ${needed} needed` };
}

/** How often AWS is asked whether the machine is gone, while its node is still there. */
const MACHINE_MS = 10_000;

/** Of the pool of a node whose machine was terminated. */
async function successor({ watches, ...given }: Given): Promise<Part> {
  const nodes = await watches.follow(NODES_WATCHED, given.pulse.signal);
  return {
    look: () => lookAtPool(given, nodes),
    listen: (wake) => nodes.listen(ANY_NODE, wake),
    every: MACHINE_MS,
    release: nodes.release,
  };
}

async function lookAtPool(
  { cluster, ref, request, machines }: Omit<Given, 'watches'>,
  nodes: Following<Node>,
): Promise<VerifyResult> {
  const { instance, owner } = request;
  const old = nodes.get(ref.name ?? '');
  if (old?.metadata.uid === instance.uid && !(await isTerminated(old, machines)))
    return { verified: false, why: 'its machine is not gone yet' };
  const ready = [...nodes.values()].filter(
    (node) => node.metadata.uid !== instance.uid && poolKey(cluster.name, node.metadata) === owner.key && serves(node),
  ).length;
  // The owner counts the others; the one that takes its place comes on top.
  const needed = owner.ready + 1;
  return { verified: ready >= needed, why: `${owner.key} has ${ready} nodes that serve, ${needed} needed` };
}

async function isTerminated(node: Node, machines: Machines | undefined): Promise<boolean> {
  const id = instanceIdOf(node.spec);
  return machines !== undefined && id !== undefined && (await machines.find(id)) === undefined;
}
