import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { type Sandbox, startSandbox } from '../sandbox/sandbox.ts';
import { Bare } from './bare/bare.ts';
import { Alertmanager, type PodAlert } from './support/alerts.ts';
import { Audit } from './support/audit.ts';
import type { Benchmark, Settings } from './support/benchmark.ts';
import { ratios, short, spread, table } from './support/numbers.ts';
import { Pods } from './support/pods.ts';
import { configure, peakMemory, startGateway, startWorker } from './support/product.ts';
import { remediationsSince, untilCompleted } from './support/remediations.ts';

const GROUP = 100;
const SCOPES = 10;
const AT_ONCE = 50;
const HANDLE_WITHIN = 600_000;

interface Parts {
  sandbox: Sandbox<'temporal' | 'kubernetes'>;
  client: Client;
  audit: Audit;
  bare: Bare;
  /** Real pods, all of them healthy again by the time at which their alert comes. */
  targets: { namespace: string; pod: string }[];
}

interface BareRound {
  startsPerSecond: number;
  seconds: number;
}

interface SalvorRound {
  acknowledgedPerSecond: number;
  seconds: number;
  gatewayMiB: number;
  workerMiB: number;
}

/** 5,000 alerts at once, against as many bare starts and completions. */
export const burst: Benchmark = async (settings) => {
  const sandbox = await startSandbox({
    parts: ['temporal', 'kubernetes'],
    temporal: { headless: true },
    kubernetes: { users: [{ name: 'salvor' }] },
  });
  const connection = await Connection.connect({ address: sandbox.temporal.address });
  const bare = await Bare.start(sandbox.temporal.address);
  try {
    const pods = new Pods(sandbox.kubernetes);
    await pods.allowSalvor();
    const targets = await run(pods, settings);
    const client = new Client({ connection });
    return await measure({ sandbox, client, audit: new Audit(sandbox.kubernetes), bare, targets }, settings);
  } finally {
    await bare.stop();
    await connection.close();
    await sandbox.stop();
  }
};

async function run(pods: Pods, { quick, say }: Settings): Promise<Parts['targets']> {
  const targets: Parts['targets'] = [];
  for (let scope = 0; scope < SCOPES; scope++) {
    const { namespace, pods: names } = await pods.run(quick ? 50 : 500, { unready: false });
    targets.push(...names.map((pod) => ({ namespace, pod })));
  }
  say(`${targets.length} pods run`);
  return targets;
}

async function measure(parts: Parts, { rounds, profile, say }: Settings): Promise<string> {
  const [bares, salvors]: [BareRound[], SalvorRound[]] = [[], []];
  for (let round = 1; round <= rounds; round++) {
    const sides = [
      async () => {
        const figures = await bareOf(parts);
        bares.push(figures);
        say(`round ${round}, bare: ${show(figures)}`);
      },
      async () => {
        const figures = await salvorOf(parts, round, profile);
        salvors.push(figures);
        say(`round ${round}, Salvor: ${show(figures)}`);
      },
    ];
    for (const side of round % 2 === 0 ? sides : sides.reverse()) await side();
  }
  return report(parts.targets.length, bares, salvors);
}

const show = (figures: object): string =>
  Object.entries(figures)
    .map(([name, value]) => `${name} ${short(value)}`)
    .join(', ');

/** Eager starts complete sooner, plain ones are taken faster: the limit is the better of both. */
async function bareOf({ bare, client, targets }: Parts): Promise<BareRound> {
  const count = targets.length;
  const ways: BareRound[] = [];
  for (const way of ['eager', 'plain'] as const) {
    const since = new Date();
    const took = await bare.burst(count, AT_ONCE, way);
    await untilCompleted(client, 'bare', since, count, HANDLE_WITHIN);
    ways.push({ startsPerSecond: (count / took) * 1000, seconds: (Date.now() - since.getTime()) / 1000 });
  }
  return {
    startsPerSecond: Math.max(...ways.map(({ startsPerSecond }) => startsPerSecond)),
    seconds: Math.min(...ways.map(({ seconds }) => seconds)),
  };
}

async function salvorOf(parts: Parts, round: number, profile: string | undefined): Promise<SalvorRound> {
  const { sandbox, client, audit, targets } = parts;
  const folder = join(sandbox.folder, `round-${round}`);
  await mkdir(folder);
  const config = await configure(folder, {
    kubernetes: sandbox.kubernetes,
    temporal: sandbox.temporal.address,
    gates: { maxInFlight: 500 },
  });
  const options = { folder, config, ...(profile !== undefined && { profile: join(profile, `round-${round}`) }) };
  const gateway = await startGateway(options);
  const worker = await startWorker({ ...options, client });
  const alertmanager = new Alertmanager(config.webhook);
  try {
    await audit.clear();
    const since = new Date();
    const acknowledged = await sendAll(alertmanager, groups(targets, round));
    await untilCompleted(client, 'remediation', since, targets.length, HANDLE_WITHIN);
    const seconds = (Date.now() - since.getTime()) / 1000;
    await check(parts, since);
    return {
      acknowledgedPerSecond: (targets.length / acknowledged) * 1000,
      seconds,
      gatewayMiB: await peakMemory(gateway),
      workerMiB: await peakMemory(worker),
    };
  } finally {
    await alertmanager.close();
    await Promise.all([gateway.stop(30_000), worker.stop(60_000)]);
  }
}

/** Each group has alerts of all scopes, as where Alertmanager groups by the alert's name: one group is ten signals. */
function groups(targets: Parts['targets'], round: number): PodAlert[][] {
  const count = Math.ceil(targets.length / GROUP);
  const all: PodAlert[][] = Array.from({ length: count }, () => []);
  // Scopes are new in every round, so that no responder has a past.
  targets.forEach((target, n) => {
    all[n % count]?.push({ ...target, scope: `${target.namespace}-${round}` });
  });
  return all;
}

/** Answers the milliseconds until the last group was acknowledged. */
async function sendAll(alertmanager: Alertmanager, all: PodAlert[][]): Promise<number> {
  const began = performance.now();
  const statuses = await Promise.all(all.map((group) => alertmanager.send(group)));
  const took = performance.now() - began;
  const other = statuses.filter((status) => status !== 200);
  if (other.length > 0)
    throw new Error(`${other.length} groups were not acknowledged: ${[...new Set(other)].join(', ')}`);
  return took;
}

/** Every target was handled, none twice, each by a look at its pod, and nothing was done to a healthy one. */
async function check({ client, audit, targets }: Parts, since: Date): Promise<void> {
  const { runs, outcomes } = await remediationsSince(client, since);
  const twice = [...runs].filter(([, count]) => count !== 1);
  const expected = outcomes.get('not-needed') === targets.length;
  const mutations = await audit.all();
  if (runs.size !== targets.length || twice.length > 0 || !expected || mutations.length > 0) {
    throw new Error(
      `${runs.size} of ${targets.length} targets handled, ${twice.length} of them not once; ` +
        `outcomes ${JSON.stringify([...outcomes])}; ${mutations.length} mutations`,
    );
  }
}

function report(count: number, bares: BareRound[], salvors: SalvorRound[]): string {
  const of = <T>(rounds: T[], field: keyof T) => rounds.map((round) => Number(round[field]));
  const acknowledged = of(salvors, 'acknowledgedPerSecond');
  const [starts, took, bareTook] = [of(bares, 'startsPerSecond'), of(salvors, 'seconds'), of(bares, 'seconds')];
  return [
    table(
      [`${count} alerts`, 'Salvor over bare', 'Salvor', 'bare'],
      [
        [
          'acknowledged (started) a second',
          `**${spread(ratios(acknowledged, starts))}**`,
          spread(acknowledged),
          spread(starts),
        ],
        [
          'time until all are handled',
          `**${spread(ratios(took, bareTook))}**`,
          spread(took, ' s'),
          spread(bareTook, ' s'),
        ],
      ],
    ),
    '',
    `Of ${count} alerts ${count} were handled in every round, each once. Peak resident memory: gateway ` +
      `${spread(of(salvors, 'gatewayMiB'), ' MiB')}, worker ${spread(of(salvors, 'workerMiB'), ' MiB')}.`,
  ].join('\n');
}
