import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { startSandbox } from '../sandbox/sandbox.ts';
import type { Death, Engine } from './peer/engine.ts';
import { installRulebook, Rulebook } from './peer/rulebook.ts';
import { Salvor } from './peer/salvor.ts';
import type { Benchmark } from './support/benchmark.ts';
import { calibrate, now } from './support/clock.ts';
import { median, ratios, spread, table } from './support/numbers.ts';
import { Pods } from './support/pods.ts';
import { until } from './support/product.ts';

/** How many alerts each phase has. */
interface Counts {
  latency: number;
  burst: number;
  kill: number;
}

const PEER: Counts = { latency: 10, burst: 40, kill: 30 };
/** What lasts the peer half a minute is over here before a kill could land: more of it. */
const OURS: Counts = { latency: 10, burst: 40, kill: 300 };
const ACT_WITHIN = 180_000;
/** Nothing more is expected when nothing has been done for so long; a step that a dead worker had is retried after 20 s. */
const QUIET = 45_000;
/** How long it is watched for second actions when everything has been done once. */
const WATCH = 15_000;

interface Kill {
  death: string;
  acknowledged: number;
  lost: number;
  doubled: number;
}

interface Round {
  /** Milliseconds, median of the phase. */
  latency: number;
  perSecond: number;
  kills: Kill[];
}

/** Salvor beside ansible-rulebook: an action that is real for both, the same protocol, in turns. */
export const peer: Benchmark = async ({ rounds, quick, say }) => {
  const bin = await installRulebook(say);
  const sandbox = await startSandbox({
    parts: ['temporal', 'kubernetes'],
    temporal: { headless: true },
    kubernetes: { users: [{ name: 'salvor' }] },
  });
  const connection = await Connection.connect({ address: sandbox.temporal.address });
  const pods = new Pods(sandbox.kubernetes);
  await pods.allowSalvor();
  const rulebook = (persistence: boolean, parallel: boolean) => async (): Promise<Engine> => {
    const folder = join(sandbox.folder, `rulebook-${Date.now()}`);
    await mkdir(folder);
    return await Rulebook.start({ folder, bin, persistence, parallel });
  };
  const engines: [start: () => Promise<Engine>, counts: Counts][] = [
    [() => Salvor.start({ sandbox, client: new Client({ connection }), pods }), OURS],
    [rulebook(false, false), PEER],
    [rulebook(true, false), PEER],
    // Its processes then eat both cores: how it dies is told by the other two.
    [rulebook(true, true), { ...PEER, kill: 0 }],
  ];
  try {
    const results = new Map<string, Round[]>();
    for (let round = 1; round <= rounds; round++) {
      for (const [start, counts] of round % 2 === 0 ? [...engines].reverse() : engines) {
        const engine = await start();
        const figures = await measure(
          engine,
          quick ? { latency: 2, burst: 6, kill: counts.kill && 12 } : counts,
        ).finally(() => engine.stop());
        results.set(engine.name, [...(results.get(engine.name) ?? []), figures]);
        say(`round ${round}, ${engine.name}: ${JSON.stringify(figures)}`);
      }
    }
    return report(results);
  } finally {
    await connection.close();
    await sandbox.stop();
  }
};

async function measure(engine: Engine, counts: Counts): Promise<Round> {
  // The first one meets cold code.
  await latency(engine, 1);
  calibrate();
  const ms = await latency(engine, counts.latency);
  const perSecond = await burst(engine, counts.burst);
  const kills: Kill[] = [];
  if (counts.kill > 0) for (const death of engine.deaths) kills.push(await kill(engine, death, counts.kill));
  return { latency: median(ms), perSecond, kills };
}

/** One after the other: sent → action received, in milliseconds. */
async function latency(engine: Engine, count: number): Promise<number[]> {
  const all: number[] = [];
  for (const id of await engine.targets(count)) {
    const sent = now();
    if (!(await engine.send(id))) throw new Error(`${engine.name} did not take the alert`);
    const [at = Number.NaN] = await until('the action', async () => (await engine.actions()).get(id), ACT_WITHIN, 10);
    all.push(at - sent);
    await sleep(500);
  }
  await engine.retire();
  return all;
}

/** All at once; actions a second, from the first alert to the last action. */
async function burst(engine: Engine, count: number): Promise<number> {
  const ids = await engine.targets(count);
  const began = now();
  await Promise.all(ids.map((id) => engine.send(id)));
  const actions = await until(
    'all actions',
    async () => {
      const done = await engine.actions();
      return done.size >= count && done;
    },
    ACT_WITHIN,
    10,
  );
  const last = Math.max(...[...actions.values()].map(([at = 0]) => at));
  await engine.retire();
  return (count / (last - began)) * 1000;
}

/** All at once, SIGKILL as soon as one in ten is done, start again, wait until it is quiet. */
async function kill(engine: Engine, death: Death, count: number): Promise<Kill> {
  const ids = await engine.targets(count);
  const acknowledged = new Set<string>();
  const sending = Promise.all(
    ids.map(async (id) => {
      if (await engine.send(id)) acknowledged.add(id);
    }),
  );
  await until('the first actions', async () => (await engine.actions()).size >= count / 10, ACT_WITHIN, 2);
  await death.kill();
  await sending;
  await death.restart();
  const actions = await untilQuiet(engine, acknowledged);
  const lost = [...acknowledged].filter((id) => !actions.has(id)).length;
  const doubled = [...actions.values()].filter((times) => times.length > 1).length;
  await engine.retire();
  return { death: death.name, acknowledged: acknowledged.size, lost, doubled };
}

async function untilQuiet(
  engine: Engine,
  acknowledged: ReadonlySet<string>,
): Promise<ReadonlyMap<string, readonly number[]>> {
  let seen = 0;
  let since = performance.now();
  for (;;) {
    const actions = await engine.actions();
    const count = [...actions.values()].reduce((sum, times) => sum + times.length, 0);
    if (count !== seen) [seen, since] = [count, performance.now()];
    const done = [...acknowledged].every((id) => actions.has(id));
    if (performance.now() - since > (done ? WATCH : QUIET)) return actions;
    await sleep(250);
  }
}

function report(results: Map<string, Round[]>): string {
  const ours = results.get('Salvor') ?? [];
  const of = (rounds: Round[], field: 'latency' | 'perSecond') => rounds.map((round) => round[field]);
  const rows = [...results].map(([name, rounds]) => [
    name,
    rounds === ours ? '' : `**${spread(ratios(of(rounds, 'latency'), of(ours, 'latency')))}**`,
    rounds === ours ? '' : `**${spread(ratios(of(ours, 'perSecond'), of(rounds, 'perSecond')))}**`,
    spread(of(rounds, 'latency'), ' ms'),
    spread(of(rounds, 'perSecond')),
  ]);
  const deaths = [...results].flatMap(([name, rounds]) =>
    (rounds[0]?.kills ?? []).map(({ death }) => {
      const kills = rounds.flatMap(({ kills }) => kills.filter((one) => one.death === death));
      const each = (field: 'acknowledged' | 'lost' | 'doubled') => kills.map((one) => one[field]).join(', ');
      return [name, death, `**${each('lost')}**`, `**${each('doubled')}**`, each('acknowledged')];
    }),
  );
  return [
    table(['', "its latency over Salvor's", "Salvor's rate over its", 'alert → action', 'actions a second'], rows),
    '',
    table(['', 'SIGKILL of', 'lost, in each round', 'doubled', 'of so many acknowledged'], deaths),
  ].join('\n');
}
