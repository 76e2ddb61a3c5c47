import { describe, expect, it } from 'vitest';
import {
  describePause,
  isUnder,
  type Pause,
  pauseFault,
  pauseOf,
  prefixFault,
  standing,
  unknownPrefix,
} from '../../model/pause.ts';

const pause = (prefix: string, until?: string): Pause => ({
  prefix,
  by: 'person:ada',
  reason: 'a look',
  since: '2026-01-01T00:00:00.000Z',
  ...(until && { until }),
});
const now = Date.parse('2026-01-01T12:00:00Z');

describe('a prefix', () => {
  it.each([
    '',
    'k8s',
    'k8s/prod',
    'k8s/prod/shop',
    'k8s/prod/shop/pod/web-0',
    'k8s/prod/node/n1',
    'asg/main/my%20group',
    'rule/pods',
    'rule/run:drain-instance',
    'dependency/payments',
    'stack/net',
  ])('%j is one', (prefix) => {
    expect(prefixFault(prefix)).toBeUndefined();
  });

  it.each([
    'prod',
    'K8s/prod',
    'k8s/',
    'k8s//shop',
    'k8s/prod/*',
    'k8s/prod/shop/pod/web-0/more',
    'rule',
    'rule/',
    'rule/a/b',
    'rule/A',
    '/',
    'asg/main/my group',
    'stack/a/b',
    `k8s/${'x'.repeat(1_000)}`,
    'constructor/x',
  ])('%j is none, and it is said what would be', (prefix) => {
    expect(prefixFault(prefix)).toMatch(/write|at most/);
  });

  it('is of whole segments', () => {
    expect(isUnder('k8s/prod/shop/pod/a', 'k8s/prod/shop')).toBe(true);
    expect(isUnder('k8s/prod/shop', 'k8s/prod/shop')).toBe(true);
    expect(isUnder('k8s/prod/shop2/pod/a', 'k8s/prod/shop')).toBe(false);
    expect(isUnder('stack/net', '')).toBe(true);
  });

  it('of what is not configured is named, with what was probably meant', () => {
    const known = { clusters: ['prod', 'test'], rules: ['pods'] };
    expect(unknownPrefix('k8s/prd/shop', known)).toMatch(/no cluster prd; was k8s\/prod meant\?/);
    expect(unknownPrefix('rule/nodes', known)).toMatch(/no rule nodes/);
    for (const fine of ['', 'k8s', 'k8s/prod/x', 'rule/pods', 'rule/run:drain-instance', 'stack/x'])
      expect(unknownPrefix(fine, known), fine).toBeUndefined();
  });
});

describe('what holds a target back', () => {
  const target = 'k8s/prod/shop/pod/web-0';
  const held = (pauses: Pause[]) => pauseOf(pauses, { target, rule: 'pods', now })?.prefix;

  it('is a pause above it, at it, of its rule, or of everything', () => {
    for (const prefix of ['', 'k8s/prod', target, 'rule/pods']) expect(held([pause(prefix)])).toBe(prefix);
    for (const prefix of ['k8s/prod/sho', 'rule/pod', 'k8s/test', `${target}/x`])
      expect(held([pause(prefix)])).toBeUndefined();
  });

  it('is none whose time is over', () => {
    const [over, stands] = [pause('', '2026-01-01T12:00:00.000Z'), pause('k8s', '2026-01-01T12:00:00.001Z')];
    expect(held([over, stands])).toBe('k8s');
    expect(standing([over, stands], now)).toEqual([stands]);
  });
});

describe('an order to pause', () => {
  const order = { prefix: 'k8s/prod', by: 'person:ada', reason: '' };

  it.each([0, -1, 1.5, Number.NaN, 31 * 86_400_000])('for %s ms is refused', (ms) => {
    expect(pauseFault({ ...order, for: ms })).toMatch(/30d/);
  });

  it('is bounded in number and in words', () => {
    const many = Array.from({ length: 100 }, (_, i) => pause(`k8s/c${i}`));
    expect(pauseFault(order, many.slice(1))).toBeUndefined();
    expect(pauseFault(order, many)).toMatch(/100 pauses/);
    expect(pauseFault({ ...order, prefix: 'k8s/c7' }, many)).toBeUndefined();
    expect(pauseFault({ ...order, reason: 'x'.repeat(301) })).toMatch(/300/);
    expect(pauseFault({ ...order, by: '' })).toMatch(/nobody/);
    expect(pauseFault({ ...order, for: 30 * 86_400_000 })).toBeUndefined();
  });
});

it('a pause says who, why and until when', () => {
  expect(describePause(pause('', '2026-01-02T00:00:00.000Z'))).toBe(
    'everything is paused by person:ada (a look) until 2026-01-02T00:00:00.000Z',
  );
});
