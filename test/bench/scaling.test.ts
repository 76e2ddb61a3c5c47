import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { AIMS, bestOf, ratios, run, START_UPS, worseIn } from '../../bench/scaling/figures.ts';
import { parseTrace, readScenarios } from '../../bench/scaling/scenario.ts';
import { serve } from '../../bench/scaling/serve.ts';
import { type Controller, type Question, type Second, simulate } from '../../bench/scaling/simulation.ts';

const BENCH = join(import.meta.dirname, '..', '..', 'bench', 'scaling');

const question: Question = {
  ...{ t: 0, sample: null, ready: 3, starting: 0, S: 30, min: 1, max: 50, mu_nominal: 10, objective_s: 10 },
};
const full = { t: 15, backlog: 3000, arrivals_total: 3000, served_total: 0, cpu: 1, ready: 3 };

async function answers(lines: (object | string)[]): Promise<unknown[]> {
  const [input, output] = [new PassThrough(), new PassThrough()];
  input.end(lines.map((line) => `${typeof line === 'string' ? line : JSON.stringify(line)}\n`).join(''));
  const told = text(output);
  await serve(input, output);
  output.end();
  return (await told)
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

describe('the controller as a server', () => {
  test('answers each line by one: events by {}, questions by a number, nonsense by what is wrong', async () => {
    const more = { ...question, t: 30, sample: full };
    expect(await answers([{ event: 'start', S: 30 }, question, more, 'no', { t: 45 }, { event: 'end' }])).toEqual([
      ...[{}, { desired: 3 }, { desired: expect.any(Number) }],
      ...[{ error: expect.stringContaining('JSON') }, { error: expect.stringContaining('expected a number of ready') }],
      {},
    ]);
  });

  test('forgets at the start of a run what was before', async () => {
    const lines = [question, { ...question, t: 30, sample: full }, { ...question, t: 45 }];
    const [first, second] = [lines, lines].map((run) => [{ event: 'start' }, ...run]);
    const all = await answers([...first!, ...second!]);
    expect(all.slice(4)).toEqual(all.slice(0, 4));
  });

  test('as a process, until its input ends', async () => {
    const process_ = spawn(process.execPath, [join(BENCH, 'main.ts'), '--serve'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    process_.stdin.end(`{"event":"start"}\n${JSON.stringify(question)}\n`);
    const [told] = await Promise.all([text(process_.stdout), once(process_, 'exit')]);
    expect(told).toBe('{}\n{"desired":3}\n');
    expect(process_.exitCode).toBe(0);
  });
});

describe('the simulation', () => {
  const fixed =
    (desired: (t: number) => number): Controller =>
    () =>
    ({ t }) =>
      desired(t);
  const scenario = { name: 'short', arrivals: Array.from({ length: 120 }, () => 40), faults: [] };

  test('a queue, replicas that take their time, and what it all costs', () => {
    const seconds: Second[] = [];
    // 40 a second come; 2 replicas serve 20 until the 4 that are ordered after 15 s serve too, from second 45 on.
    const figures = simulate(
      scenario,
      30,
      fixed((t) => (t < 15 ? 2 : 6)),
      (second) => seconds.push(second),
    );
    // The fleet begins with 6 for 40 a second, and is told at once to have 2.
    expect(seconds[0]).toMatchObject({ backlog: 0, ready: 6 });
    expect(seconds[44]).toMatchObject({ backlog: 880, ready: 2, desired: 6, wait: 44 });
    expect(seconds[45]).toMatchObject({ backlog: 860, ready: 6 });
    expect(figures.worstBacklog).toBe(880);
    // More than 10 s: above 200 with 2 replicas, above 600 with 6.
    expect(figures.over).toBe(34 + 13);
    expect(figures.replicaHours).toBeCloseTo((6 * 1 + 2 * 15 + 6 * 104) / 3600, 10);
  });

  test('samples are 15 s old, and there are none while they are missing', () => {
    const asked: Question[] = [];
    const watching: Controller = () => (one) => {
      asked.push(one);
      return 6;
    };
    const faults = [
      { kind: 'missing-metrics' as const, from: 45, to: 75 },
      { kind: 'counter-reset' as const, at: 100 },
    ];
    simulate({ ...scenario, faults }, 30, watching);
    expect(asked.map(({ t, sample }) => [t, sample?.t])).toEqual([
      ...[
        [0, undefined],
        [15, 0],
        [30, 15],
        [45, undefined],
        [60, undefined],
      ],
      ...[
        [75, 30],
        [90, 75],
        [105, 90],
      ],
    ]);
    expect(asked[7]?.sample?.arrivals_total).toBe(91 * 40);
  });

  test('those who wait for too long come once more', () => {
    const faults = [{ kind: 'retries' as const, patience: 20, share: 0.5 }];
    const seconds: Second[] = [];
    simulate(
      { ...scenario, faults },
      30,
      fixed(() => 2),
      (second) => seconds.push(second),
    );
    const first = seconds.findIndex(({ wait }) => wait > 20);
    expect(seconds[first + 19]?.arrivals).toBe(40);
    expect(seconds[first + 20]?.arrivals).toBe(60);
  });

  test('a trace is read as straight lines, and a wrong one is refused', () => {
    expect(parseTrace('# made by hand\nt,arrivals\n0,10\n2,20\n4,0\n', 'x.csv')).toEqual([10, 15, 20, 10]);
    for (const wrong of [
      '0,10\n',
      't,arrivals\n5,10\n',
      't,arrivals\n0,10\n0,10\n',
      't,arrivals\n0,-1\n',
      't,arrivals\n0,x\n',
    ])
      expect(() => parseTrace(wrong, 'x.csv')).toThrow('x.csv: ');
  });
});

describe.each(START_UPS)('with a start-up time of %d s', (startUp) => {
  const found = run(readScenarios(BENCH), startUp);

  test.each(AIMS)('the aim against $of is met', ({ of, over, hours }) => {
    const best = bestOf(ratios(found), of)!;
    expect(best.over).toBeLessThanOrEqual(over);
    expect(best.hours).toBeLessThanOrEqual(hours);
  });

  test('nowhere the best rival is better in both', () => {
    expect(worseIn(found)).toEqual([]);
  });
});
