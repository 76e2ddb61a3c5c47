import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { Transition } from '../../model/breaker/machine.ts';
import { Prometheus } from '../../providers/prometheus/client.ts';
import { ENVOY_CLUSTER } from '../../sandbox/envoy.ts';
import { BreakerStack } from '../support/breaker.ts';
import { Load } from '../support/data-plane/load.ts';
import { envoyQueries } from '../support/envoy-queries.ts';
import { eventually } from '../support/wait.ts';

const WINDOW = '4s';
const SHARE = 'routes.app.share';
const QUERIES = envoyQueries(WINDOW);

/** No probe: what a share of the callers met is what it is judged by, as before it was opened. */
const stack = new BreakerStack();
const { dependency } = stack;
let load: Load;
let prometheus: Prometheus;
beforeAll(async () => {
  await stack.start({
    shareKey: SHARE,
    dependency: {
      probe: undefined,
      confirm: { ...QUERIES, minCalls: 20, failureRatio: 0.2 },
      confirmWithin: '3s',
      openFor: '2s',
      halfOpen: { successes: 2, trials: 20, every: '500ms', within: '20s', share: 30 },
      healthyFor: '20s',
    },
  });
  prometheus = new Prometheus(stack.sandbox.prometheus.url);
});
afterAll(() => stack.stop());
afterEach(async () => {
  await load?.stop();
  await stack.remediation.terminate('the test is over').catch(() => undefined);
});

const ways = (timeline: Transition[]): string[] => timeline.map(({ to, cause }) => `${to} (${cause})`);
const numberOf = async (query: string) => (await prometheus.number(query)).value ?? Number.NaN;

/** Callers come, and Prometheus knows of so many that the numbers say something. */
async function callersCome(): Promise<void> {
  load = new Load({ url: stack.envoy.url, perSecond: 50 });
  await eventually('Prometheus counts them', async () => (await numberOf(QUERIES.calls)) > 100);
}

describe('a dependency that is judged by what its callers met', () => {
  test('and that is well is not kept from them, whatever an alert says', async () => {
    await dependency.is('well');
    await callersCome();
    await stack.heal();
    const { outcome, reason, changes } = await stack.ending();
    expect({ outcome, changes }).toEqual({ outcome: 'not-needed', changes: [] });
    expect(reason).toMatch(/^0% of \d+(\.\d+)? calls failed, and 20% is failing/);
  });

  test('and that too few have called is not opened: nobody can tell', async () => {
    await dependency.is('fails');
    await eventually('nobody has called for long', async () => (await numberOf(QUERIES.calls)) === 0);
    await stack.heal();
    expect(await stack.ending()).toMatchObject({ outcome: 'refused', changes: [] });
    expect(ways(await stack.timeline())).toEqual(['confirming (alert)', 'closed (unconfirmed)']);
  });

  test('and that answers 500 to three of ten is opened, and what Envoy itself refuses is not held against it', async () => {
    await dependency.is('fails');
    await callersCome();
    await stack.heal();
    const opened = await eventually('it is open', async () => {
      const first = (await stack.timeline()).find(({ to }) => to === 'open');
      return first;
    });
    expect(opened).toMatchObject({ cause: 'confirmed' });
    expect(Number(/^([\d.]+)% of/.exec(opened.reason)?.[1])).toBeGreaterThanOrEqual(20);
    await stack.untilState('open');
    // It goes on to fail: what was let through tells so.
    await eventually('it is opened again', async () =>
      (await stack.timeline()).some(({ to, cause }) => to === 'open' && cause === 'failures'),
    );
    await dependency.is('well');
    const healed = Date.now();
    // All that are not let through are refused meanwhile, and Envoy counts them among the answers of its class 5.
    const all = `envoy_cluster_upstream_rq_xx{envoy_cluster_name="${ENVOY_CLUSTER}"`;
    const refused = `sum(increase(${all},envoy_response_code_class="5"}[${WINDOW}])) / sum(increase(${all}}[${WINDOW}]))`;
    await eventually('Envoy counts what it refuses', async () => (await numberOf(refused)) > 0.5);
    expect(await stack.ending()).toMatchObject({ outcome: 'recovered' });
    const timeline = await stack.timeline();
    // Nothing that had failed before was taken for a relapse.
    expect(ways(timeline.filter(({ at }) => at > healed)).filter((way) => way.startsWith('open'))).toEqual([]);
    expect(timeline.at(-1)).toMatchObject({ to: 'closed', cause: 'successes' });
    expect(await stack.call()).toEqual({ status: 200, overloaded: false });
  });
});
