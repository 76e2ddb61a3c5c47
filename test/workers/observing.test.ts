import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Salvor } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';

/** What a remediation does when the worker's configuration has changed under it. */

const salvor = new Salvor();
beforeAll(() => salvor.startSandbox());
afterAll(() => salvor.stopSandbox());

/** Time enough to start again with another configuration while it is held. */
const RULE = { with: { recoverWithin: '40s', stableFor: '1s', quietFor: '0s' }, gates: { maxUnavailable: '50%' } };

describe('a remediation that has cut the traffic', () => {
  it.each([
    ['comes to observe', 'observed', (rule: string) => ({ [rule]: { ...RULE, mode: 'observe' } })],
    ['is removed', 'removed', () => ({})],
  ])('whose rule %s replaces nothing: the traffic is given back', async (_, rule, later) => {
    await salvor.start({ [rule]: RULE });
    onTestFinished(() => salvor.stop());
    const { namespace, pod } = await salvor.sickPod();
    expect(await salvor.alert({ namespace, pod, rule })).toBe(200);
    const isOut = async () => (await salvor.cluster.trafficLabel(namespace, pod)) === 'off';
    await eventually('its traffic is cut', isOut);
    await salvor.stop();
    await salvor.start(later(rule));
    const ending = await salvor.ending(namespace, pod);
    expect(ending).toMatchObject({ outcome: 'refused', reason: expect.stringContaining(rule) });
    expect(ending.changes.map(({ field }) => field)).not.toContain('eviction');
    expect(await salvor.cluster.trafficLabel(namespace, pod)).toBe('on');
    expect((await salvor.cluster.pods(namespace, 'web')).some(({ metadata }) => metadata?.name === pod)).toBe(true);
  });
});
