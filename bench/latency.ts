import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { freePort } from '../sandbox/ports.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { Bare } from './bare/bare.ts';
import { Alertmanager, type PodAlert } from './support/alerts.ts';
import { Audit } from './support/audit.ts';
import type { Benchmark, Settings } from './support/benchmark.ts';
import { calibrate, now } from './support/clock.ts';
import { median, quantile, ratios, spread, table } from './support/numbers.ts';
import { Pods } from './support/pods.ts';
import { configure, startUp, until } from './support/product.ts';
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

interface Parts {
  pods: Pods;
  audit: Audit;
  alertmanager: Alertmanager;
  bare: Bare;
  client: Client;
}

/** Latencies in milliseconds of one round. */
interface Round {
  bare: number[];
  salvor: number[];
}

/** Webhook request sent → first mutating call received by the API server, against bare Temporal's start → local activity. */
export const latency: Benchmark = async (settings) => {
  const sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users: [{ name: 'salvor' }] } });
  const folder = await mkdtemp(join(tmpdir(), 'salvor-bench-'));
  const pods = new Pods(sandbox.kubernetes);
  await pods.allowSalvor();
  const temporal = `127.0.0.1:${await freePort()}`;
  const config = await configure(folder, { kubernetes: sandbox.kubernetes, temporal });
  const up = await startUp({ folder, config, profile: settings.profile });
  const connection = await Connection.connect({ address: up.temporal });
  const parts: Parts = {
    pods,
    audit: new Audit(sandbox.kubernetes),
    alertmanager: new Alertmanager(config.webhook),
    bare: await Bare.start(up.temporal),
    client: new Client({ connection }),
  };
  try {
    return await measure(parts, settings);
  } finally {
    await parts.bare.stop();
    await parts.alertmanager.close();
    await connection.close();
    await up.component.stop(30_000);
    await sandbox.stop();
    await rm(folder, { recursive: true, force: true });
  }
};

async function measure(parts: Parts, { rounds, quick, say }: Settings): Promise<string> {
  const paces = quick ? PACES.map((pace) => ({ ...pace, count: 10 })) : PACES;
  const results = new Map<Pace, Round[]>(paces.map((pace) => [pace, []]));
  await parts.bare.paced(WARM_UP, 100);
  await alerts(parts, { name: 'warm up', perSecond: 10, count: WARM_UP }, 'warm');
  for (let round = 1; round <= rounds; round++) {
    for (const pace of paces) {
      // Whoever is first meets the noise of that moment: they take turns.
      const sides = [bareOf, salvorOf];
      const one: Partial<Round> = {};
      for (const side of round % 2 === 0 ? sides : sides.reverse()) Object.assign(one, await side(parts, pace, round));
      const { bare = [], salvor = [] } = one;
      results.get(pace)?.push({ bare, salvor });
      const figures = [bare, salvor].map((ms) => `${median(ms).toFixed(1)} / ${quantile(ms, 0.99).toFixed(1)} ms`);
      say(`round ${round}, ${pace.name}: bare ${figures[0]}, Salvor ${figures[1]} (p50 / p99)`);
    }
  }
  return report(results);
}

const bareOf = async ({ bare }: Parts, { count, perSecond }: Pace): Promise<Partial<Round>> => ({
  bare: await bare.paced(count, 1000 / perSecond),
});

const salvorOf = async (parts: Parts, pace: Pace, round: number): Promise<Partial<Round>> => ({
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
    await sleep(began + (n * 1000) / perSecond - performance.now());
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
  for (const { pod, at } of await audit.look()) first.set(pod, Math.min(at, first.get(pod) ?? Number.POSITIVE_INFINITY));
  return first.size === count ? first : undefined;
}

function report(results: Map<Pace, Round[]>): string {
  const rows = [...results].map(([{ name, count }, rounds]) => {
    const of = (side: keyof Round, q: number) => rounds.map((round) => quantile(round[side], q));
    return [
      `${name} (${count} a round)`,
      `**${spread(ratios(of('salvor', 0.5), of('bare', 0.5)))}**`,
      spread(of('salvor', 0.5), ' ms'),
      spread(of('salvor', 0.99), ' ms'),
      spread(of('bare', 0.5), ' ms'),
      spread(of('bare', 0.99), ' ms'),
    ];
  });
  return table(['', 'p50 over bare', 'Salvor p50', 'p99', 'bare p50', 'p99'], rows);
}
