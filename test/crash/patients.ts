import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { HELD_ANNOTATION, MESSAGE, proposalId, remediationId, responderId, TRAFFIC_LABEL } from '../../model/names.ts';
import type { Outcome } from '../../model/outcome.ts';
import type { CancelRequest } from '../../model/remediation.ts';
import type { ResponderState } from '../../model/responder.ts';
import { deployment, nameOf, service } from '../support/kubernetes.ts';
import { deliver, type Firing } from './alerts.ts';
import { patiently } from './patience.ts';
import type { Rules, World } from './world.ts';

/** All pods of a ward are sick at once. */
const OFTEN = { maxInFlight: 100, retries: { max: 100 }, maxUnavailable: '100%', storm: { above: '100%' } };
const AT_ONCE = { recoverWithin: '0s', stableFor: '0s', quietFor: '0s' };

/** What becomes of pods that are unable to work; each kind is a rule. */
export const RULES = {
  recovers: { with: { recoverWithin: '30m', stableFor: '1s' }, gates: OFTEN },
  replaced: { with: AT_ONCE, gates: OFTEN },
  /** One at a time, two may wait, and the others are refused. */
  limited: { with: AT_ONCE, gates: { ...OFTEN, maxInFlight: 1, maxQueue: 2 } },
  cancelled: { with: { recoverWithin: '30m' }, gates: OFTEN },
  /** Given back, and failed. */
  kept: { with: { recoverWithin: '1s', stableFor: '1s', replace: false }, gates: OFTEN },
  observed: { mode: 'observe', gates: OFTEN },
} satisfies Rules;
export type Kind = keyof typeof RULES;

/** What each comes to, if it has a remediation. */
export const OUTCOME: Record<Kind, Outcome> = {
  recovers: 'recovered',
  replaced: 'remediated',
  limited: 'remediated',
  cancelled: 'cancelled',
  kept: 'failed',
  observed: 'observed',
};

/** Pods of a ward, by kind. */
export const WARD: Record<Kind, number> = { recovers: 5, replaced: 5, limited: 5, cancelled: 2, kept: 1, observed: 2 };

/** Breaks so many pods of a kind, has their alerts delivered, and does to them what the kind is about. */
export async function treat(world: World, kind: Kind, random: () => number): Promise<Firing[]> {
  const { cluster, webhook } = world;
  const namespace = await cluster.namespace(kind);
  const count = WARD[kind];
  const exposed = service(namespace, 'web', true);
  // A Service that sends traffic to pods that are not ready too, as long as their label lets it in.
  const open = { ...exposed, spec: { ...exposed.spec, publishNotReadyAddresses: true } };
  const workload = deployment({ namespace, name: 'web', replicas: count, trafficLabel: true });
  await cluster.create(open, workload);
  const pods = (await patiently(`${count} pods`, () => cluster.readyPods(namespace, 'web', count))).map(nameOf);
  const startsAt = new Date().toISOString();
  const firings = pods.map((pod): Firing => ({ namespace, pod, rule: kind, startsAt }));
  await Promise.all(pods.map((pod) => cluster.setUnready(namespace, pod, true)));
  if (kind === 'limited') await crowd(world, firings);
  else await Promise.all(firings.map((firing) => each(world, kind, firing, random)));
  await patiently(`all of ${namespace} has ended`, () => isOver(world, kind, firings));
  // It still fires: after a failure that is a retry, once the cooldown is over.
  if (kind === 'kept') await deliver(webhook, firings, 'firing');
  return firings;
}

/** All in one delivery; and one that waits is resolved meanwhile. */
async function crowd({ client, webhook }: World, firings: Firing[]): Promise<void> {
  await deliver(webhook, firings, 'firing');
  const [{ namespace, rule }] = firings as [Firing];
  // One that is resolved before it is decided would never have been there.
  await patiently('all of the crowd are decided', async () => {
    const { tally } = await client.workflow
      .getHandle(responderId(rule, namespace))
      .query<ResponderState>(MESSAGE.state);
    return Object.values(tally).reduce((sum, count) => sum + count) >= firings.length;
  });
  await deliver(webhook, firings.slice(2, 3), 'resolved');
}

async function each(world: World, kind: Kind, firing: Firing, random: () => number): Promise<void> {
  const { cluster, webhook } = world;
  await sleep(random() * 3_000);
  await deliver(webhook, [firing], 'firing');
  await deliver(webhook, [firing], 'firing'); // By the other one of the pair.
  if (kind !== 'recovers' && kind !== 'cancelled') return;
  const isCut = async () => (await cluster.trafficLabel(firing.namespace, firing.pod)) === 'off';
  await patiently(`the traffic of ${firing.pod} is cut`, isCut);
  await sleep(random() * 3_000);
  if (kind === 'cancelled') await cancel(world, cluster.target(firing.namespace, firing.pod));
  else {
    await cluster.setUnready(firing.namespace, firing.pod, false);
    await deliver(webhook, [firing], 'resolved');
  }
}

/** As `salvor cancel` does. */
async function cancel({ client }: World, target: string): Promise<void> {
  const handle = client.workflow.getHandle(remediationId(target));
  const asked: CancelRequest = { by: 'person:mary', reason: `drill ${randomUUID().slice(0, 8)}` };
  await handle.signal(MESSAGE.cancel, asked);
  await handle.cancel();
}

async function isOver(world: World, kind: Kind, firings: Firing[]): Promise<boolean> {
  const { client, cluster } = world;
  const [{ namespace } = { namespace: '' }] = firings;
  const statuses = await Promise.all(
    firings.map(async ({ pod }) => {
      const target = cluster.target(namespace, pod);
      const handle = client.workflow.getHandle(kind === 'observed' ? proposalId(kind, target) : remediationId(target));
      return handle.describe().then(
        ({ status }) => status.name,
        () => 'NONE', // Refused, not started yet, or not needed any more.
      );
    }),
  );
  if (statuses.includes('RUNNING')) return false;
  if (kind !== 'limited') return !statuses.includes('NONE');
  const state = await client.workflow.getHandle(responderId(kind, namespace)).query<ResponderState>(MESSAGE.state);
  return [state.open, state.queue].every((kept) => Object.keys(kept).length === 0);
}

/** What is still altered on the pods of a namespace, as they say themselves. */
export async function altered({ cluster }: World, namespace: string): Promise<string[]> {
  const pods = await cluster.pods(namespace, 'web');
  return pods.flatMap(({ metadata }) => {
    const held = metadata?.annotations?.[HELD_ANNOTATION];
    const off = metadata?.labels?.[TRAFFIC_LABEL] !== 'on';
    return held || off ? [`pod ${namespace}/${metadata?.name} is still held: ${held ?? 'traffic off, no note'}`] : [];
  });
}
