import { describe, expect, it } from 'vitest';
import { type Backtest, backtest } from '../../backtest/backtest.ts';
import type { Difference } from '../../backtest/compare.ts';
import { readRecord } from '../../backtest/record.ts';
import type { AuditPage } from '../../model/audit.ts';
import { alert, config, notesOf, record, type Written } from './recorder.ts';
import { indexOf, MINUTE, PODS, podName, STORM_GATES, storm } from './storm.ts';

const T0 = Date.parse('2026-01-01T03:00:00Z');

async function test(pages: AuditPage[], written: Written, options = { from: 0 }): Promise<Backtest> {
  return backtest(await readRecord(notesOf(pages)), config(written), options);
}

/** What a difference says of its pod: `17: waits shorter, admitted 1 → admitted`, with minutes of waiting. */
const told = ({ target, change, before, after, assumed }: Difference): string => {
  const way = ({ decision, waited, gate }: Difference['before']) =>
    [decision, ...(waited ? [waited / 60] : []), ...(gate ? [gate] : [])].join(' ');
  return `${indexOf(target)}: ${change}, ${way(before)} → ${way(after)}${assumed ? ' *' : ''}`;
};
const inPods = (lines: string[]): string[] => lines.toSorted((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
const pods = Array.from({ length: PODS }, (_, i) => i);

/** How the storm goes with room for so many at once: a minute each, at most twenty minutes of waiting. */
const inStorm = (i: number, room: number, most = 20): string => {
  const minute = Math.floor(i / room);
  if (minute === 0) return 'admitted';
  return minute < most ? `admitted ${minute} in-flight` : `refused ${most} in-flight`;
};

describe('a storm under the very rules under which it was recorded', () => {
  it('comes to the same decisions, each as it is on record', async () => {
    const { compared, differences, unknown } = await test(storm(T0), { gates: STORM_GATES });
    expect({ compared, differences }).toEqual({ compared: PODS, differences: [] });
    expect(unknown).toEqual({
      unreproduced: 0,
      withoutLabels: 0,
      leftOut: 0,
      ofTheMoment: 0,
      lost: 0,
      changedOptions: [],
      changedGates: [],
    });
  });
});

describe('one threshold moved shows exactly the decisions that differ', () => {
  it('maxInFlight: who waits, for how long, and who is not refused any more', async () => {
    const { differences, totals } = await test(storm(T0), { gates: STORM_GATES.replace('10', '15') });
    const expected = pods.flatMap((i) => {
      const [before, after] = [inStorm(i, 10), inStorm(i, 15)];
      if (before === after) return [];
      if (before.startsWith('refused')) return [`${i}: starts now, ${before} → ${after} *`];
      return [`${i}: ${after === 'admitted' ? 'waits no longer' : 'waits shorter'}, ${before} → ${after}`];
    });
    expect(inPods(differences.map(told))).toEqual(expected);
    // 10 to 14 wait no longer, 15 to 19 wait a minute as before, 200 to 299 start, those after are refused as before.
    expect(totals).toEqual([
      { rule: 'pods', change: 'starts now', count: 100 },
      { rule: 'pods', change: 'waits no longer', count: 5 },
      { rule: 'pods', change: 'waits shorter', count: 180 },
    ]);
    expect(new Set(differences.map(({ why }) => why))).toEqual(new Set(['maxInFlight 10 → 15']));
  });

  it('waitAtMost: who is refused, and when', async () => {
    const { differences } = await test(storm(T0), { gates: STORM_GATES.replace('20m', '25m') });
    const expected = pods.slice(200).map((i) => {
      const after = inStorm(i, 10, 25);
      return `${i}: ${after.startsWith('refused') ? 'waits longer' : 'starts now'}, refused 20 in-flight → ${after} *`;
    });
    expect(inPods(differences.map(told))).toEqual(expected);
  });

  it('a matcher: what no rule takes, and what moves up', async () => {
    const { differences } = await test(storm(T0), { gates: STORM_GATES, match: ['pod!~"web-00."'] });
    const expected = pods.flatMap((i) => {
      const before = inStorm(i, 10);
      if (i < 10) return [`${i}: no rule any more, ${before} → unmatched`];
      const after = inStorm(i - 10, 10);
      if (before === after) return [];
      if (before.startsWith('refused')) return [`${i}: starts now, ${before} → ${after} *`];
      return [`${i}: ${after === 'admitted' ? 'waits no longer' : 'waits shorter'}, ${before} → ${after}`];
    });
    expect(inPods(differences.map(told))).toEqual(expected);
    expect(differences.find(({ change }) => change === 'no rule any more')?.why).toBe(
      'pod!~"web-00." does not match "web-000"',
    );
  });

  it('mode: nothing waits for a proposal', async () => {
    const { differences } = await test(storm(T0), { gates: STORM_GATES, mode: 'observe' });
    const expected = pods.map((i) => {
      const before = inStorm(i, 10);
      return `${i}: ${before.startsWith('refused') ? 'starts now' : 'observes now'}, ${before} → admitted`;
    });
    expect(inPods(differences.map(told))).toEqual(expected);
  });

  it('cooldown: who fires again too soon', async () => {
    const twenty = Array.from({ length: 20 }, (_, i) => podName(i));
    const pages = record({
      config: config({ gates: 'maxInFlight: 10, cooldown: 10m' }),
      deliveries: [T0, T0 + 5 * MINUTE].map((at) => ({ at, alerts: twenty.map((name) => alert(name, at - MINUTE)) })),
      goes: () => ({ takes: MINUTE, outcome: 'remediated' }),
    });
    const { differences, compared } = await test(pages, { gates: 'maxInFlight: 10, cooldown: 3m' });
    expect(compared).toBe(40);
    // Left alone until minutes 11 and 12 before, until 4 and 5 now; and then the second ten find no room for a minute.
    const expected = twenty.map((_, i) =>
      i < 10
        ? `${i}: waits no longer, admitted 6 cooldown → admitted`
        : `${i}: waits shorter, admitted 7 cooldown → admitted 1 in-flight`,
    );
    expect(inPods(differences.map(told))).toEqual(expected);
  });

  describe('retries', () => {
    const gates = (max: number) => `maxInFlight: 1, retries: { max: ${max}, per: 1h }`;
    const pages = () =>
      record({
        config: config({ gates: gates(3) }),
        deliveries: [{ at: T0, alerts: Array.from({ length: 10 }, (_, i) => alert(podName(i), T0)) }],
        goes: () => ({ takes: MINUTE, outcome: 'failed' }),
      });

    it('spent sooner', async () => {
      const { differences } = await test(pages(), { gates: gates(1) });
      expect(inPods(differences.map(told))).toEqual([
        '2: refused now, admitted 2 in-flight → refused 2 retry-budget',
        '3: refused now, admitted 3 in-flight → refused 2 retry-budget',
        ...[4, 5, 6, 7, 8, 9].map((i) => `${i}: waits shorter, refused 4 retry-budget → refused 2 retry-budget`),
      ]);
    });

    it('spent later: what never ran is assumed to end well', async () => {
      const { differences } = await test(pages(), { gates: gates(5) });
      expect(inPods(differences.map(told))).toEqual(
        [4, 5, 6, 7, 8, 9].map((i) => `${i}: starts now, refused 4 retry-budget → admitted ${i} in-flight *`),
      );
    });
  });
});

describe('another way through the rules', () => {
  const one = (goes = { takes: MINUTE, outcome: 'remediated' as const }) => ({
    deliveries: [{ at: T0, alerts: [alert('web-001', T0)] }],
    goes: () => goes,
  });

  it('another rule takes it first', async () => {
    const pages = record({ config: config(), ...one() });
    const before = `
  - name: web
    match: ['pod=~"web-.*"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
    mode: act`;
    const { differences } = await test(pages, { before });
    expect(differences).toMatchObject([
      {
        rule: 'pods',
        change: 'another rule',
        after: { rule: 'web', decision: 'admitted' },
        why: 'rule web takes it first',
      },
    ]);
    const both = await test(pages, { before: `${before}\n    continue: true` });
    // Two rules want one target: the second waits until it is looked at again after it was freed.
    expect(both.differences).toMatchObject([
      { rule: 'pods', change: 'waits now', after: { gate: 'target-busy', waited: 60 } },
      { rule: 'web', change: 'a rule more', after: { decision: 'admitted' } },
    ]);
  });

  it('a rule that only observed acts: how that goes is assumed, and it says what was found then', async () => {
    const pages = record({ config: config({ mode: 'observe' }), ...one() });
    const { differences } = await test(pages, { mode: 'act' });
    expect(differences).toMatchObject([{ change: 'acts now', assumed: true }]);
    expect(differences[0]?.why).toBe('mode observe → act (found then: sick: not Ready)');
  });

  it('its target cannot be made any more', async () => {
    const pages = record({ config: config(), ...one() });
    const changed = config();
    const { differences } = backtest(await readRecord(notesOf(pages)), { ...changed, clusters: [] }, { from: 0 });
    expect(differences).toMatchObject([{ change: 'no target any more', after: { decision: 'aimless' } }]);
    expect(differences[0]?.why).toContain('prod');
  });

  it('options of the runbook are compared by nobody, and it says so', async () => {
    const pages = record({ config: config(), ...one() });
    const changed = config();
    for (const { rule } of changed.rules) if (rule.runbook === 'drain-instance') rule.with.recoverWithin += 1;
    const { differences, unknown } = backtest(await readRecord(notesOf(pages)), changed, { from: 0 });
    expect(differences).toEqual([]);
    expect(unknown.changedOptions).toEqual(['pods']);
  });
});

describe('what is on record in part', () => {
  const strip = (pages: AuditPage[]): AuditPage[] =>
    structuredClone(pages).map((page) => {
      for (const { entry } of page.notes) if ('alert' in entry) delete entry.alert.labels;
      return page;
    });

  it('an alert without labels keeps its rule', async () => {
    const pages = strip(storm(T0));
    const other = await test(pages, { gates: STORM_GATES, match: ['pod!~"web-00."'] });
    expect(other).toMatchObject({ differences: [], unknown: { withoutLabels: PODS } });
    const renamed = config({ gates: STORM_GATES });
    for (const { rule } of renamed.rules) rule.name = 'instances';
    const gone = backtest(await readRecord(notesOf(pages)), renamed, { from: 0 });
    expect(gone.totals).toEqual([{ rule: 'pods', change: 'no rule any more', count: PODS }]);
    expect(gone.differences[0]?.why).toBe('there is no rule pods any more');
  });

  it('a decision under settings that nothing ever ran with is left out', async () => {
    const pages = storm(T0).filter(({ stream }) => stream.kind === 'responder');
    const { compared, unknown } = await test(pages, { gates: STORM_GATES });
    expect({ compared, leftOut: unknown.leftOut }).toEqual({ compared: 0, leftOut: PODS - 10 });
  });

  it('a decision that the simulation does not reproduce is counted', async () => {
    const pages = storm(T0);
    const [first] = pages.filter(({ stream }) => stream.kind === 'responder');
    const late = first?.notes.find(({ entry }) => entry.kind === 'decision' && entry.decision.answer === 'refuse');
    if (late?.entry.kind === 'decision')
      late.entry.decision = { answer: 'refuse', gate: 'retry-budget', reason: 'four have failed' };
    expect((await test(pages, { gates: STORM_GATES })).unknown.unreproduced).toBe(1);
  });

  it('what was decided by the moment (a pause, a storm, what was held) is left out, and counted', async () => {
    const pages = storm(T0);
    const [first] = pages.filter(({ stream }) => stream.kind === 'responder');
    const late = first?.notes.findLast(({ entry }) => entry.kind === 'decision' && entry.decision.answer === 'refuse');
    if (late?.entry.kind === 'decision')
      late.entry.decision = { answer: 'refuse', gate: 'excluded', reason: 'salvor.dev/skip' };
    const { compared, differences, unknown } = await test(pages, { gates: STORM_GATES });
    expect({ compared, differences, ofTheMoment: unknown.ofTheMoment }).toEqual({
      compared: PODS - 1,
      differences: [],
      ofTheMoment: 1,
    });
  });

  it('gates that rest on what nobody knows of that time are compared by nobody, and it says which', async () => {
    const { differences, unknown } = await test(storm(T0), { gates: `${STORM_GATES}, maxUnavailable: 3` });
    expect({ differences, changedGates: unknown.changedGates }).toEqual({
      differences: [],
      changedGates: ['pods: maxUnavailable'],
    });
  });

  it('windows are computed for the time of the record', async () => {
    const pages = record({
      config: config({ gates: 'maxInFlight: 10, waitAtMost: 1h' }),
      deliveries: [T0, T0 + 100 * MINUTE].map((at, i) => ({ at, alerts: [alert(podName(i), at)] })),
      goes: () => ({ takes: MINUTE, outcome: 'remediated' }),
    });
    const gates = `maxInFlight: 10, waitAtMost: 1h, windows: ['05:00-06:00 UTC']`;
    const { differences } = await test(pages, { gates });
    // Asked for at 03:00, which is two hours too soon, and at 04:40.
    expect(inPods(differences.map(told))).toEqual([
      '0: refused now, admitted → refused 60 windows',
      '1: waits now, admitted → admitted 20 windows',
    ]);
    expect(differences[0]?.why).toContain('windows always → 05:00-06:00 UTC');
  });

  it('what came before the period is its past, and is not compared', async () => {
    const name = podName(1);
    const at = [T0, T0 + 5 * MINUTE];
    const pages = record({
      config: config(),
      deliveries: at.map((time) => ({ at: time, alerts: [alert(name, time)] })),
      goes: () => ({ takes: MINUTE, outcome: 'remediated' }),
    });
    const { compared, differences } = await test(pages, { gates: 'cooldown: 0s' }, { from: T0 + MINUTE });
    expect(compared).toBe(1);
    expect(differences).toMatchObject([{ change: 'waits no longer', before: { gate: 'cooldown', waited: 360 } }]);
  });

  it('only one rule, where only that one is asked for', async () => {
    const pages = storm(T0);
    const recorded = await readRecord(notesOf(pages));
    const changed = config({ gates: STORM_GATES, mode: 'observe' });
    expect(backtest(recorded, changed, { from: 0, rule: 'pods' }).differences).toHaveLength(PODS);
    expect(backtest(recorded, changed, { from: 0, rule: 'other' })).toMatchObject({ compared: 0, differences: [] });
  });

  it('a time of a schedule is one of the rule as it is now, where that has a schedule still', async () => {
    const pages = record({
      config: config(),
      deliveries: [{ at: T0, alerts: [alert('web-001', T0)] }],
      goes: () => ({ takes: MINUTE, outcome: 'remediated' }),
    });
    const ticked = structuredClone(pages);
    for (const { entry } of ticked.flatMap(({ notes }) => notes)) {
      if (entry.kind !== 'begun') continue;
      entry.alert.by = 'schedule:pods';
      entry.alert.labels = { alertname: 'Schedule' };
    }
    const target = 'k8s/prod/shop/pod/web-001';
    const same = await test(ticked, { schedule: 'every 5m', target });
    expect({ compared: same.compared, differences: same.differences }).toEqual({ compared: 1, differences: [] });
    expect((await test(ticked, { schedule: 'every 5m', target, mode: 'observe' })).differences).toHaveLength(1);
    expect((await test(ticked, {})).differences).toMatchObject([{ why: 'rule pods has no schedule any more' }]);
  });

  it('a request that a person made keeps its rule, under the defaults', async () => {
    const pages = record({
      config: config(),
      deliveries: [{ at: T0, alerts: [alert('web-001', T0)] }],
      goes: () => ({ takes: MINUTE, outcome: 'remediated' }),
    });
    const asked = structuredClone(pages);
    for (const { entry } of asked.flatMap(({ notes }) => notes)) {
      if (entry.kind !== 'begun') continue;
      entry.rule.name = 'run:drain-instance';
      entry.alert.by = 'person:ada';
    }
    const { compared, differences, unknown } = await test(asked, { match: ['pod="another"'] });
    expect({ compared, differences, withoutLabels: unknown.withoutLabels }).toEqual({
      compared: 1,
      differences: [],
      withoutLabels: 0,
    });
  });
});
