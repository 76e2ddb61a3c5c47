import { tsToMs } from '@temporalio/common/lib/time.js';
import { expect, test } from 'vitest';
import { WORKFLOW } from '../../model/names.ts';
import { deployment, nameOf, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import type { Complaint } from './exporter.ts';
import { inShort, PATIENCE, SALVOR, useStack } from './support.ts';

/** Over all rules. */
const MOST_IN_FLIGHT = 5;
const EVICT = { recoverWithin: '1s', stableFor: '1s', quietFor: '1s' };

const stack = useStack(
  {
    // Above 40% of the scope, and more than 25% of a workload: the defaults.
    stormy: { with: EVICT, gates: { maxInFlight: 5, storm: { settleFor: '5s' } } },
    many: { with: EVICT },
  },
  { limits: { maxInFlight: MOST_IN_FLIGHT } },
);

/** A Deployment that gets traffic whether its pods are ready or not. */
async function workload(rule: string, replicas: number) {
  const namespace = await stack.cluster.namespace('gates');
  await stack.cluster.create(
    stack.exposed(namespace, 'web'),
    deployment({ namespace, name: 'web', trafficLabel: true, replicas }),
  );
  const pods = await stack.cluster.readyPods(namespace, 'web', replicas);
  return pods.map((pod) => ({ namespace, pod: nameOf(pod), rule, uid: uidOf(pod) }));
}

/** The IDs of escalations about the scope of which anybody was ever told. */
function escalated(scope: string): Set<string> {
  const told = stack.exporter.webhooks.flatMap(
    (body) => (JSON.parse(body) as { alerts: { labels: Record<string, string> }[] }).alerts,
  );
  const own = told.filter(
    ({ labels }) => labels['alertname'] === 'SalvorEscalation' && labels['salvor_scope'] === scope,
  );
  return new Set(own.map(({ labels }) => labels['salvor_id'] ?? ''));
}

/** The most intervals that overlap at any moment; those that only touch do not. */
function mostAtOnce(intervals: readonly (readonly [from: number, to: number])[]): number {
  const turns = intervals.flatMap(([from, to]) => [
    { at: from, by: 1 },
    { at: to, by: -1 },
  ]);
  let [now, most] = [0, 0];
  for (const { by } of turns.sort((a, b) => a.at - b.at || a.by - b.by)) {
    now += by;
    most = Math.max(most, now);
  }
  return most;
}

test('6 of 10 pods are unready: a storm, none is touched, one escalation; then 2 are: it ends by itself, and they are healed', async () => {
  const pods = await workload('stormy', 10);
  const { namespace } = pods[0]!;
  const scope = `sandbox/${namespace}`;
  const [stay, recover] = [pods.slice(0, 2), pods.slice(2, 6)];
  const sick = [...stay, ...recover];
  await Promise.all(sick.map(({ pod }) => stack.cluster.setUnready(namespace, pod, true)));
  for (const it of sick) stack.exporter.set(it, true);

  const ofStorm = { alertname: 'SalvorEscalation', salvor_scope: scope };
  const [escalation] = await eventually(
    'an escalation in Alertmanager',
    async () => {
      const found = await stack.alerts(ofStorm);
      return found.length > 0 && found;
    },
    PATIENCE,
  );
  expect(escalation?.annotations['summary']).toMatch(/6 of 10 pods .* above 40%/);
  const state = await eventually(
    'all of them wait',
    async () => {
      const seen = await stack.responder(sick[0]!);
      return Object.keys(seen.queue).length === 6 && seen;
    },
    PATIENCE,
  );
  for (const { gate } of Object.values(state.queue)) expect(gate).toBe('storm');
  expect(state).toMatchObject({ open: {}, storm: { live: 10, unhealthy: 6 } });
  const isListed = async () => {
    const { status, stdout } = await stack.salvor(['list']);
    return status === 0 && stdout.includes('6 of 10 pods');
  };
  await eventually('the storm is listed', isListed, PATIENCE);
  expect(await stack.alerts(ofStorm), 'one, however many wait').toHaveLength(1);
  expect(await stack.requests(namespace), 'nothing is touched').toEqual([]);

  await Promise.all(recover.map((it) => stack.mendPod(it)));
  expect(await Promise.all(stay.map((it) => stack.ending(it)))).toMatchObject([
    { outcome: 'remediated' },
    { outcome: 'remediated' },
  ]);
  const touched = (await stack.changes(namespace)).sort();
  expect(touched).toEqual(stay.flatMap(({ uid }) => [`traffic off ${uid}`, `eviction ${uid}`]).sort());
  await eventually('its escalation is over', async () => (await stack.alerts(ofStorm)).length === 0, PATIENCE);
  expect(escalated(scope).size, 'people were told once').toBe(1);
  expect((await stack.responder(sick[0]!)).storm).toBeUndefined();
  const left = (await stack.cluster.readyPods(namespace, 'web', 10)).map(uidOf);
  for (const { uid } of recover) expect(left, 'what recovered is as it was').toContain(uid);
  for (const it of stay) stack.exporter.set(it, false);
});

test('50 scopes with a sick pod each: at no moment is more in flight than limits allow, and all are healed', async () => {
  const sick: (Complaint & { uid: string })[] = [];
  for (let made = 0; made < 50; made += 10)
    sick.push(...(await Promise.all(Array.from({ length: 10 }, async () => (await workload('many', 2))[0]!))));
  for (let at = 0; at < 50; at += 10)
    await Promise.all(
      sick.slice(at, at + 10).map(({ namespace, pod }) => stack.cluster.setUnready(namespace, pod, true)),
    );
  const since = new Date();
  for (const it of sick) stack.exporter.set(it, true);
  const endings = await Promise.all(
    sick.map(async (it) => {
      await eventually(`a remediation of ${it.pod}`, () => stack.remediation(it).describe(), 5 * PATIENCE, 2_000);
      return stack.ending(it);
    }),
  );
  expect(endings.filter(({ outcome }) => outcome === 'remediated')).toHaveLength(50);
  for (const it of sick) stack.exporter.set(it, false);

  // The first witness: what the API server let Salvor change, in its order. A pod is held from its cut to its eviction.
  const events = await stack.sandbox.kubernetes.readAudit({ user: SALVOR, since });
  const when = (what: string): number => {
    const found = events.filter((event) => inShort(event) === what && (event.responseStatus?.code ?? 0) < 300);
    expect(found, what).toHaveLength(1);
    return Date.parse(found[0]!.stageTimestamp);
  };
  const held = sick.map(({ uid }) => [when(`traffic off ${uid}`), when(`eviction ${uid}`)] as const);
  expect(mostAtOnce(held)).toBeLessThanOrEqual(MOST_IN_FLIGHT);

  // The second: Temporal's histories. A remediation is in flight from its start until it tells its responder of its end.
  const open = await Promise.all(
    sick.map(async (it) => {
      const history = (await stack.remediation(it).fetchHistory()).events ?? [];
      const at = (index: number): number => tsToMs(history[index]?.eventTime);
      const settle = history.findIndex(
        ({ activityTaskScheduledEventAttributes: scheduled }) => scheduled?.activityType?.name === 'settle',
      );
      return [at(0), at(settle)] as const;
    }),
  );
  expect(mostAtOnce(open)).toBeLessThanOrEqual(MOST_IN_FLIGHT);
  expect(mostAtOnce(open), 'and what they allow is used').toBeGreaterThan(1);
  const waited = await Promise.all(sick.map(async (it) => (await stack.responder(it)).tally.wait));
  expect(waited.filter(Boolean).length, 'others waited for them').toBeGreaterThan(0);
  const count = await stack.client.workflow.count(`WorkflowType = '${WORKFLOW.remediation}' AND SalvorRule = 'many'`);
  expect(count.count, 'each once').toBe(50);
}, 600_000);
