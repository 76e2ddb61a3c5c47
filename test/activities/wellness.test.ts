import { describe, expect, it } from 'vitest';
import { type WellnessMeans, wellness } from '../../activities/wellness.ts';
import { countsOf } from '../../model/drift/difference.ts';
import type { DriftStanding } from '../../model/drift/standing.ts';
import type { OwnAlert } from '../../model/herald.ts';
import { runRule } from '../../model/names.ts';
import type { Assessment } from '../../model/ports/instance.ts';
import type { Finding, Position } from '../../model/ports/switch.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import type { InstanceProvider } from '../../providers/instance.ts';
import type { Registry } from '../../providers/registry.ts';
import type { ProviderReading, ScalableProvider } from '../../providers/scalable.ts';
import type { SwitchProvider } from '../../providers/switch.ts';
import { dependency } from '../providers/switch-support.ts';
import { deployment, scaleOf, scaleRule } from '../support/scaling.ts';
import { rule } from '../support/workflows.ts';

const unasked = () => expect.fail('nobody asks it');

const registryOf = (parts: Partial<WellnessMeans['registry']>): WellnessMeans['registry'] => ({
  ...{ instance: unasked, scalable: unasked, switches: { of: unasked, release: unasked } },
  ...{ signals: { read: unasked }, prober: { confirm: unasked, try: unasked } },
  ...parts,
});

const alertOf = (target: string, name: string): OwnAlert => ({
  ...{ id: 'run-1', alertname: 'SalvorEscalation', target, startsAt: '2026-01-01T00:00:00.000Z' },
  ...{ labels: { salvor_rule: name }, annotations: {}, run: { workflowId: `remediation/${target}`, runId: 'run-1' } },
});

const rulesOf = (...rules: ResolvedRule[]) => new Map(rules.map((one) => [one.name, one]));

describe('an instance', () => {
  const target = 'k8s/test/shop/pod/web-0';
  const instance = (verdict: Assessment['verdict'] | Error) => () =>
    ({
      assess: async () => {
        if (verdict instanceof Error) throw verdict;
        return { verdict, why: '' } as Assessment;
      },
    }) as unknown as InstanceProvider;

  it.each([
    ['healthy', true],
    ['gone', true],
    ['sick', false],
    ['protected', false],
    [new Error('no answer'), false],
  ] as const)('%s: well is %s, whether its rule is configured, gone, or a person ran it', async (verdict, expected) => {
    const means = {
      registry: registryOf({ instance: instance(verdict) }),
      rules: rulesOf(rule('r')),
      dependencies: [],
      drift: unasked,
    };
    for (const name of ['r', 'gone', runRule('drain-instance')])
      expect(await wellness(means)(alertOf(target, name))).toBe(expected);
  });
});

describe('a size', () => {
  const target = deployment('web');
  const found = (more: object = {}): ProviderReading => ({
    ...{ verdict: 'found', scale: { ...scaleOf(target, 4), ...more }, version: '1' },
  });

  /** With so many items waiting; undefined: nobody can tell. */
  function means(reading: ProviderReading, waiting: number | undefined, asked: string[] = []): WellnessMeans {
    const read: ScalableProvider['read'] = async (remediation) => {
      asked.push(remediation);
      return reading;
    };
    const signals: Registry['signals'] = {
      read: async () =>
        waiting === undefined ? { problem: 'gives no series' } : { samples: [{ at: Date.now(), value: waiting }] },
    };
    const registry = registryOf({ scalable: () => ({ read }) as unknown as ScalableProvider, signals });
    const own = scaleRule('r');
    return {
      registry,
      rules: rulesOf({ ...own, with: { ...own.with, perReplica: 1 } }),
      dependencies: [],
      drift: unasked,
    };
  }

  it('is well when no more is asked for than there is, whatever its own remediation holds', async () => {
    const asked: string[] = [];
    expect(await wellness(means(found(), 0, asked))(alertOf(target, 'r'))).toBe(true);
    expect(asked).toEqual(['run-1']);
  });

  it('is well when it is gone', async () => {
    expect(await wellness(means({ verdict: 'gone', why: '' }, undefined))(alertOf(target, 'r'))).toBe(true);
  });

  it('is not while more is asked for, also where it has all that it may have', async () => {
    expect(await wellness(means(found(), 9_000))(alertOf(target, 'r'))).toBe(false);
    expect(await wellness(means(found({ max: 4 }), 9_000))(alertOf(target, 'r'))).toBe(false);
  });

  it('is not where it cannot be told: no signal, no such rule, not to be touched', async () => {
    expect(await wellness(means(found(), undefined))(alertOf(target, 'r'))).toBe(false);
    expect(await wellness(means(found(), 0))(alertOf(target, runRule('scale-on-backlog')))).toBe(false);
    expect(await wellness(means({ verdict: 'protected', why: '' }, 0))(alertOf(target, 'r'))).toBe(false);
  });
});

describe('a dependency', () => {
  const known = dependency(
    { envoy: { admin: ['http://127.0.0.1:1'], envoyCluster: 'payments', quorum: 'all' } },
    { name: 'payments' },
  );
  const target = 'dependency/payments';
  const means = (position: Position | 'mixed', verdict: Finding['verdict']): WellnessMeans => ({
    registry: registryOf({
      switches: {
        of: () => ({ read: async () => ({ position, why: '', held: [] }) }) as unknown as SwitchProvider,
        release: unasked,
      },
      prober: { confirm: unasked, try: async () => ({ verdict, why: '' }) },
    }),
    rules: new Map(),
    dependencies: [known],
    drift: unasked,
  });

  it.each([
    ['closed', 'healthy', true],
    ['closed', 'failing', false],
    ['closed', 'unknown', false],
    ['open', 'healthy', false],
    ['mixed', 'healthy', false],
  ] as const)('whose switch is %s, and which is %s: well is %s', async (position, verdict, expected) => {
    const alert = alertOf(target, runRule('circuit-breaker'));
    expect(await wellness(means(position, verdict))(alert)).toBe(expected);
    expect(await wellness({ ...means(position, verdict), dependencies: [] })(alert)).toBe(false);
  });
});

describe('a stack', () => {
  const counts = { ...countsOf([]), unapplied: 2, extra: 1 };
  const standing = (more: Partial<DriftStanding> = {}): DriftStanding => ({
    at: '2026-01-01T00:00:00Z',
    verdict: 'differs',
    counts,
    ...more,
  });

  it.each([
    ['differs by nothing that is reverted', standing(), true],
    ['differs by what waits for a person', standing({ counts: { ...counts, destructive: 1 } }), false],
    ['was never compared', undefined, false],
    ['must not be compared', standing({ verdict: 'refused' }), false],
  ])('that %s: well is %s', async (_, found, expected) => {
    const means = { registry: registryOf({}), rules: new Map(), dependencies: [], drift: async () => found };
    expect(await wellness(means)(alertOf('stack/net', runRule('revert-drift')))).toBe(expected);
  });
});
