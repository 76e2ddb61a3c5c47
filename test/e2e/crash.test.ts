import { afterAll, beforeAll, expect, test } from 'vitest';
import { MESSAGE, remediationId, responderId } from '../../model/names.ts';
import type { ResponderState } from '../../model/responder.ts';
import { deliver, type Firing } from '../crash/alerts.ts';
import { crashMatrix, describe } from '../crash/matrix.ts';
import { patiently } from '../crash/patience.ts';
import { RULES } from '../crash/patients.ts';
import { reckon } from '../crash/reckoning.ts';
import { World } from '../crash/world.ts';
import { deployment, isReady, nameOf, service, uidOf } from '../support/kubernetes.ts';

/** What takes a minute on an idle machine may take much longer on a busy one. */
const BUSY = 15 * 60_000;

const world = new World();
const firings: Firing[] = [];
beforeAll(() => world.start(RULES), BUSY);
afterAll(() => world.stop(), BUSY);

test(
  'the audit store is down: the pod is healed all the same, and its record follows',
  async () => {
    const { cluster, webhook, client, database } = world;
    const namespace = await cluster.namespace('down');
    const workload = deployment({ namespace, name: 'web', trafficLabel: true });
    await cluster.create(service(namespace, 'web', true), workload);
    const [sick] = await cluster.readyPods(namespace, 'web', 2);
    await cluster.setUnready(namespace, nameOf(sick!), true);

    await database.kill();
    const firing = { namespace, pod: nameOf(sick!), rule: 'replaced', startsAt: new Date().toISOString() };
    firings.push(firing);
    await deliver(webhook, [firing], 'firing');
    await patiently('another pod is Ready in its place', async () => {
      const pods = await cluster.pods(namespace, 'web');
      return pods.length === 2 && pods.every((pod) => isReady(pod) && uidOf(pod) !== uidOf(sick!));
    });
    await patiently('its slot is free for the next', async () => {
      const responder = client.workflow.getHandle(responderId('replaced', namespace));
      const { open, settled } = await responder.query<ResponderState>(MESSAGE.state);
      return Object.keys(open).length === 0 && Object.keys(settled).length === 1;
    });
    const remediation = client.workflow.getHandle(remediationId(cluster.target(namespace, firing.pod)));
    expect((await remediation.describe()).status.name, 'it does not end before its record is in').toBe('RUNNING');

    await database.start();
    expect(await remediation.result()).toMatchObject({ outcome: 'remediated' });
    expect((await reckon(world, firings)).problems).toEqual([]);
  },
  BUSY,
);

test(
  'workers, gateway and database are killed again and again: no record is lost, none is doubled',
  async () => {
    const seed = Math.floor(Math.random() * 2 ** 32);
    const say = (text: string) => console.log(`seed ${seed}: ${text}`);
    const matrix = await crashMatrix(world, { runs: 17, seed, say, before: firings });
    say(describe(matrix));
    expect(matrix.problems, `seed ${seed}`).toEqual([]);
    expect(matrix.hit).toBeGreaterThan(0);
    expect(matrix.decisions, 'the crowd waits or is refused').toBeGreaterThanOrEqual(4);
  },
  BUSY,
);
