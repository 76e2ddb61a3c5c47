import { setTimeout as sleep } from 'node:timers/promises';
import { Bare } from './bare/bare.ts';
import type { PodAlert } from './support/alerts.ts';
import type { Audit } from './support/audit.ts';
import type { Benchmark, Settings } from './support/benchmark.ts';
import { type BesideUp, besideUp } from './support/beside-up.ts';
import { calibrate, now } from './support/clock.ts';
import { median, quantile, ratios, short, spread, table } from './support/numbers.ts';
import { until } from './support/product.ts';
import { untilNoneOpen } from './support/remediations.ts';

/** One way of sending alerts; each round does every one of them, and bare Temporal at the same pace. */
interface Pace {
  name: string;
  perSecond: number;
  count: number;
  /** Whether each alert is the first one of a scope of its own, so that its responder is started too. */
  ownScopes?: boolean;
}

const PACES: Pace[] = [
  { name: '1 alert a second', perSecond: 1, count: 60 },
  { name: '5 alerts a second', perSecond: 5, count: 120 },
  { name: '1 a second, each in a new scope', perSecond: 1, count: 30, ownScopes: true },
];
/** The first ones of a process meet cold code; they are sent and not counted. */
const WARM_UP = 10;
const ACT_WITHIN = 60_000;

interface Parts extends BesideUp {
  bare: Bare;
}

/** Latencies in milliseconds of one round. */
interface Round {
  eager: number[];
  plain: number[];
  salvor: number[];
}

/** Webhook request sent → first mutating call received by the API server, against bare Temporal's start → local activity. */
export const latency: Benchmark = (settings) =>
  besideUp(settings, async (beside) => {
    const bare = await Bare.start(beside.temporal);
    try {
      return await measure({ ...beside, bare }, settings);
    } finally {
      await bare.stop();
    }
  });

async function measure(parts: Parts, { rounds, quick, say }: Settings): Promise<string> {
  const paces = quick ? PACES.map((pace) => ({ ...pace, count: 10 })) : PACES;
  const results = new Map<Pace, Round[]>(paces.map((pace) => [pace, []]));
  for (const way of ['eager', 'plain'] as const) await parts.bare.paced(WARM_UP, 100, way);
  await alerts(parts, { name: 'warm up', perSecond: 10, count: WARM_UP }, 'warm');
  for (let round = 1; round <= rounds; round++) {
    for (const pace of paces) {
      // Whoever comes first meets the noise of that moment: they take turns.
      const sides = [bareOf('eager'), bareOf('plain'), salvorOf];
      const one: Round = { eager: [], plain: [], salvor: [] };
      for (const side of round % 2 === 0 ? sides : sides.reverse()) Object.assign(one, await side(parts, pace, round));
      results.get(pace)?.push(one);
      const figures = Object.entries(one).map(
        ([name, ms]) => `${name} ${short(median(ms))} / ${short(quantile(ms, 0.99))}`,
      );
      say(`round ${round}, ${pace.name}, p50 / p99 in ms: ${figures.join(', ')}`);
    }
  }
  return report(results);
}

type Side = (parts: Parts, pace: Pace, round: number) => Promise<Partial<Round>>;

const bareOf =
  (way: 'eager' | 'plain'): Side =>
  async ({ bare }, { count, perSecond }) => ({ [way]: await bare.paced(count, 1000 / perSecond, way) });

const salvorOf: Side = async (parts, pace, round) => ({
  salvor: await alerts(parts, pace, `${pace.perSecond}-${round}`),
});

/** Sends one alert for each of `count` unready pods; while they come, all remediations before them stay open, in hold. */
async function alerts(parts: Parts, { count, perSecond, ownScopes }: Pace, name: string): Promise<number[]> {
  const { pods, audit, alertmanager, client } = parts;
  const workload = await pods.run(count, { unready: true });
  // What the control plane has to do for so many new pods should not be in the figures.
  await sleep(3_000);
  await audit.clear();
  calibrate();
  const sent = new Map<string, number>();
  const began = performance.now();
  const answers = workload.pods.map(async (pod, n): Promise<void> => {
    await sleep(Math.max(0, began + (n * 1000) / perSecond - performance.now()));
    const alert: PodAlert = { namespace: workload.namespace, pod, scope: ownScopes ? `${name}-${n}` : name };
    sent.set(pod, now());
    const status = await alertmanager.send([alert]);
    if (status !== 200) throw new Error(`the gateway answered ${status}`);
  });
  await Promise.all(answers);
  const first = await until('every pod is cut', () => firstMutations(audit, count), ACT_WITHIN);
  await workload.remove();
  await untilNoneOpen(client, ACT_WITHIN);
  return [...sent].map(([pod, at]) => (first.get(pod) ?? Number.NaN) - at);
}

async function firstMutations(audit: Audit, count: number): Promise<Map<string, number> | undefined> {
  const first = new Map<string, number>();
  for (const { pod, at } of await audit.look())
    first.set(pod, Math.min(at, first.get(pod) ?? Number.POSITIVE_INFINITY));
  return first.size === count ? first : undefined;
}

function report(results: Map<Pace, Round[]>): string {
  const rows = [...results].map(([{ name, count }, rounds]) => {
    const of = (side: keyof Round, q: number) => rounds.map((round) => quantile(round[side], q));
    const both = (side: keyof Round) => `${spread(of(side, 0.5))} / ${spread(of(side, 0.99))}`;
    return [
      `${name} (${count} a round)`,
      `**${spread(ratios(of('salvor', 0.5), of('eager', 0.5)))}**`,
      spread(ratios(of('salvor', 0.5), of('plain', 0.5))),
      both('salvor'),
      both('eager'),
      both('plain'),
    ];
  });
  const head = ['', 'p50 over eager', 'p50 over plain', 'Salvor, p50 / p99 ms', 'bare, eager', 'bare, plain'];
  return table(head, rows);
}
