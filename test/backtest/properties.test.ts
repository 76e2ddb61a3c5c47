import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Agenda } from '../../backtest/agenda.ts';
import { backtest } from '../../backtest/backtest.ts';
import { readRecord } from '../../backtest/record.ts';
import type { AuditPage } from '../../model/audit.ts';
import { alert, type Course, config, notesOf, record } from './recorder.ts';

const T0 = Date.parse('2026-01-01T03:00:00Z');
const SECOND = 1_000;
const RUNS = { numRuns: 60 };

const gates = fc
  .record({
    maxInFlight: fc.integer({ min: 1, max: 4 }),
    cooldown: fc.constantFrom('0s', '30s', '10m'),
    retries: fc.constantFrom('{ max: 0, per: 1h }', '{ max: 1, per: 5m }', '{ max: 3, per: 1h }'),
    waitAtMost: fc.constantFrom('1m', '10m', '1h'),
    maxQueue: fc.constantFrom(0, 2, 1000),
  })
  .map((chosen) =>
    Object.entries(chosen)
      .map(([name, value]) => `${name}: ${value}`)
      .join(', '),
  );

/** A second rule of the same targets: they contend for them. */
const second = (mode: string) => `
  - name: first
    match: ['pod!~".*[02468]"']
    runbook: drain-instance
    target: k8s/prod/\${labels.namespace}/pod/\${labels.pod}
    mode: ${mode}
    continue: true`;

const written = fc.record({
  gates,
  mode: fc.constantFrom('act', 'observe'),
  before: fc.constantFrom('', second('act'), second('observe')),
});

/** Alerts fire, are repeated and resolved; remediations take seconds to minutes, and end in every way. */
const incident = fc.record({
  written,
  latency: fc.constantFrom(0, 40, 700),
  firings: fc.uniqueArray(
    fc.record({
      pod: fc.integer({ min: 0, max: 9 }),
      namespace: fc.constantFrom('shop', 'pay'),
      at: fc.integer({ min: 0, max: 3_600 }),
      repeated: fc.array(fc.integer({ min: 1, max: 1_800 }), { maxLength: 2 }),
      resolved: fc.option(fc.integer({ min: 1, max: 3_600 })),
    }),
    { minLength: 1, maxLength: 25, selector: ({ pod, namespace, at }) => `${namespace}/${pod}@${at}` },
  ),
  courses: fc.array(
    fc.record({
      takes: fc.integer({ min: 1, max: 600 }).map((seconds) => seconds * SECOND + 500),
      outcome: fc.constantFrom<Course['outcome'][]>(
        'remediated',
        'recovered',
        'not-needed',
        'failed',
        'cancelled',
        'terminated',
      ),
    }),
    { minLength: 1, maxLength: 5 },
  ),
});
type Incident = typeof incident extends fc.Arbitrary<infer T> ? T : never;

function recorded({ written: chosen, latency, firings, courses }: Incident): AuditPage[] {
  const deliveries = firings.flatMap(({ pod, namespace, at, repeated, resolved }) => {
    const begin = T0 + at * SECOND;
    const deliver = (after: number, status: 'firing' | 'resolved') => ({
      at: begin + after * SECOND,
      alerts: [alert(`web-${pod}`, begin, { namespace, status })],
    });
    // An alert fires once at a time: it is resolved before it fires again.
    const later = firings.filter((other) => other.pod === pod && other.namespace === namespace && other.at > at);
    const end = Math.min(resolved ?? Number.POSITIVE_INFINITY, ...later.map((other) => other.at - at));
    return [
      ...[0, ...repeated].filter((after) => after < end).map((after) => deliver(after, 'firing')),
      ...(Number.isFinite(end) ? [deliver(end, 'resolved')] : []),
    ];
  });
  // No two deliveries at one moment, nor one when something ends: there the record does not tell what came first.
  deliveries.forEach((delivery, i) => {
    delivery.at += i;
  });
  let runs = 0;
  const goes = () => courses[runs++ % courses.length] ?? { takes: SECOND, outcome: 'remediated' as const };
  return record({ config: config(chosen), deliveries, goes, latency });
}

describe('a backtest', () => {
  it('of the recorded rules themselves finds no difference, however much happened', async () => {
    await fc.assert(
      fc.asyncProperty(incident, async (chosen) => {
        const same = config(chosen.written);
        const result = backtest(await readRecord(notesOf(recorded(chosen)), same.rules), same, { from: 0 });
        expect(result.differences).toEqual([]);
        expect(result.unknown).toMatchObject({ withoutLabels: 0, leftOut: 0, lost: 0, changedOptions: [] });
      }),
      RUNS,
    );
  });

  it('comes to every decision as it is on record, where starting takes no time', async () => {
    await fc.assert(
      fc.asyncProperty(incident, async (chosen) => {
        // When a responder looks for those that ended without a word depends on what is not on record.
        const told = ({ takes, outcome }: Course): Course => ({
          takes,
          outcome: outcome === 'terminated' ? 'failed' : outcome,
        });
        const pages = recorded({ ...chosen, latency: 0, courses: chosen.courses.map(told) });
        const { unknown } = backtest(await readRecord(notesOf(pages)), config(chosen.written), { from: 0 });
        expect(unknown.unreproduced).toBe(0);
      }),
      RUNS,
    );
  });

  it('of any other rules is the same every time, whatever the order of the record', async () => {
    await fc.assert(
      fc.asyncProperty(incident, written, fc.infiniteStream(fc.nat()), async (chosen, changed, dice) => {
        const notes = notesOf(recorded(chosen));
        const shuffled = notes
          .map((note) => ({ note, place: dice.next().value ?? 0 }))
          .sort((a, b) => a.place - b.place)
          .map(({ note }) => note);
        const told = async (some: typeof notes) =>
          JSON.stringify(backtest(await readRecord(some), config(changed), { from: 0 }));
        const first = await told(notes);
        expect(await told(shuffled)).toBe(first);
        // Reading a record twice adds nothing.
        expect(await told([...shuffled, ...notes])).toBe(first);
      }),
      RUNS,
    );
  });

  it('counts each difference once, and no more than it compared', async () => {
    await fc.assert(
      fc.asyncProperty(incident, written, async (chosen, changed) => {
        const pages = recorded(chosen);
        const result = backtest(await readRecord(notesOf(pages)), config(changed), { from: 0 });
        expect(result.totals.reduce((sum, { count }) => sum + count, 0)).toBe(result.differences.length);
        expect(result.differences.length).toBeLessThanOrEqual(result.compared);
      }),
      RUNS,
    );
  });
});

describe('the agenda', () => {
  it('gives what was planned by time, and at the same time by rank, and then as it was planned', () => {
    const planned = fc.array(fc.record({ at: fc.nat(20), rank: fc.nat(3) }));
    fc.assert(
      fc.property(planned, (events) => {
        const agenda = new Agenda<number>();
        events.forEach(({ at, rank }, number) => {
          agenda.add(at, rank, number);
        });
        const given: number[] = [];
        for (let next = agenda.next(); next; next = agenda.next()) {
          expect(next.events.every((number) => events[number]?.at === next?.at)).toBe(true);
          given.push(...next.events);
        }
        const sorted = events.map(({ at, rank }, number) => ({ at, rank, number }));
        sorted.sort((a, b) => a.at - b.at || a.rank - b.rank || a.number - b.number);
        expect(given).toEqual(sorted.map(({ number }) => number));
      }),
    );
  });
});
