import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client, Connection } from '@temporalio/client';
import { parseConfig } from '../model/config.ts';
import { remediationId } from '../model/names.ts';
import { ENVOY_CLUSTER, type Envoy, startEnvoy } from '../sandbox/envoy.ts';
import { freePort } from '../sandbox/ports.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import type { Answer } from '../test/support/data-plane/answers.ts';
import { Load } from '../test/support/data-plane/load.ts';
import { PROBE_PATH, RealDependency } from '../test/support/dependency.ts';
import { alertOf, deliver, webhookOf } from '../test/support/webhook.ts';
import type { Benchmark, Settings } from './support/benchmark.ts';
import { type LongCost, Longrun } from './support/breaker.ts';
import { quantile, ratios, short, spread, table } from './support/numbers.ts';
import { type Configured, startUp, until } from './support/product.ts';

const PER_SECOND = 50;
/** Milliseconds until Envoy gives up a call. */
const TIMEOUT = 5_000;
/** Milliseconds for which callers are watched once it has settled: the breaker is open, or they have piled up. */
const WINDOW = 40_000;
const QUICK = 5_000;
/** Longest that confirming, and closing after it has healed, may take. */
const PATIENCE = 120_000;

const HOW = ['hangs', 'refuses'] as const;
type How = (typeof HOW)[number];
const SIDES = ['without', 'with'] as const;
type Side = (typeof SIDES)[number];

const MEASURED = 'measured';
const OPEN_LONG = 'open-long';

interface Parts {
  up: { config: Configured; client: Client };
  dependency: RealDependency;
  envoy: Envoy;
}

/** One side of one round, of callers that began within the window. Times in milliseconds. */
interface Round {
  callers: number;
  p50: number;
  p99: number;
  /** To the dependency, as Envoy tells, at the end of the window. */
  connections: number;
  /** Connections that Envoy tried within the window: what the dependency has of it where nothing listens too. */
  tried: number;
  /** Requests of callers that reached it within the window. */
  reached: number;
  /** Of Salvor. */
  trials: number;
  /** From the alert until callers are refused at once. */
  opened?: number;
  /** From the moment at which it is well again until callers are served. */
  closed?: number;
}

/** Callers of a dependency that hangs or refuses, without Salvor and with it; and what an open breaker costs. */
export const breaker: Benchmark = async (settings) => {
  const sandbox = await startSandbox({ parts: [] });
  const { folder } = sandbox;
  const dependency = new RealDependency();
  await dependency.start();
  const envoys: Envoy[] = [];
  try {
    for (const name of [MEASURED, OPEN_LONG])
      envoys.push(await startEnvoy({ folder: join(folder, name), timeout: TIMEOUT }));
    const [envoy, other] = envoys as [Envoy, Envoy];
    await envoy.setEndpoints([dependency.address]);
    await until('Envoy sends there', async () => (await envoy.endpoints()).length === 1, 10_000);
    const config = await configure(folder, { envoy, other, dependency });
    const { component, temporal } = await startUp({ folder, config, profile: settings.profile });
    const connection = await Connection.connect({ address: temporal });
    try {
      return await measure({ up: { config, client: new Client({ connection }) }, dependency, envoy }, settings);
    } finally {
      await connection.close();
      await component.stop(30_000);
    }
  } finally {
    for (const one of envoys) await one.stop();
    await dependency.stop();
    await sandbox.stop();
  }
};

interface World {
  envoy: Envoy;
  other: Envoy;
  dependency: RealDependency;
}

/** Both as everybody has them who sets nothing but what is required, but that one is not watched for long: rounds are to end. */
async function configure(folder: string, { envoy, other, dependency }: World): Promise<Configured> {
  const listen = `127.0.0.1:${await freePort()}`;
  const file = join(folder, 'salvor.yaml');
  const probed = (address: string) => ({ http: { url: `http://${address}${PROBE_PATH}` } });
  const opened = ({ adminUrl }: Envoy) => ({ envoy: { admin: [adminUrl], envoyCluster: ENVOY_CLUSTER } });
  const config = {
    temporal: { address: `127.0.0.1:${await freePort()}` },
    gateway: { listen },
    audit: { url: 'file:./audit.db' },
    defaults: { gates: { cooldown: '0s', retries: { max: 100, per: '1h' } } },
    dependencies: [
      { name: MEASURED, switch: opened(envoy), probe: probed(dependency.address), healthyFor: '1s' },
      // Nothing listens there, and nothing will.
      { name: OPEN_LONG, switch: opened(other), probe: probed(`127.0.0.1:${await freePort()}`) },
    ],
    rules: [
      {
        name: 'dependency-fails',
        match: ['alertname="DependencyFails"'],
        runbook: 'circuit-breaker',
        target: `dependency/\${labels.dependency}`,
        mode: 'act',
      },
    ],
  };
  await writeFile(file, JSON.stringify(config, null, 2));
  return { file, gateway: `http://${listen}`, webhook: `http://${listen}/webhook/alertmanager` };
}

async function alert(
  { gateway }: Configured,
  dependency: string,
  status: 'firing' | 'resolved' = 'firing',
  startsAt = new Date().toISOString(),
): Promise<string> {
  const fields = { status, startsAt, fingerprint: Buffer.from(dependency).toString('hex').slice(0, 16) };
  const alerts = [alertOf({ alertname: 'DependencyFails', dependency }, fields)];
  const answer = await deliver(gateway, webhookOf(alerts, status));
  if (answer.status !== 200) throw new Error(`the gateway answered ${answer.status}: ${answer.text}`);
  return startsAt;
}

type Results = Record<How, Record<Side, Round[]>>;

async function measure(parts: Parts, { rounds, quick, say }: Settings): Promise<string> {
  const { client, config } = parts.up;
  await alert(config, OPEN_LONG);
  const long = new Longrun(client, OPEN_LONG);
  const results: Results = { hangs: { with: [], without: [] }, refuses: { with: [], without: [] } };
  // The first round of a process meets cold code: it is not counted.
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 === 0 ? SIDES : SIDES.toReversed();
    for (const how of HOW)
      for (const side of order) {
        const one = await once(parts, how, side, quick || round === 0 ? QUICK : WINDOW);
        if (round > 0) results[how][side].push(one);
        say(`round ${round}, it ${how}, ${side} Salvor: ${JSON.stringify(one)}`);
      }
  }
  say('waiting until the other breaker has been open for long');
  const cost = await long.cost(quick ? 1 : 4, await defaults(config));
  say(JSON.stringify(cost));
  await long.stop();
  return [compared(results), absolute(results), described(cost)].join('\n\n');
}

/** What is measured is what the schema sets. */
async function defaults({ file }: Configured): Promise<{ openFor: number; maxOpen: number }> {
  const parsed = parseConfig(await readFile(file, 'utf8'), file);
  const found = parsed.ok && parsed.config.dependencies.find(({ name }) => name === OPEN_LONG);
  if (!found) throw new Error(`${file} has no dependency ${OPEN_LONG}`);
  return found;
}

/** It breaks under steady load, callers are watched for the window, and it heals. */
async function once({ up, dependency, envoy }: Parts, how: How, side: Side, window: number): Promise<Round> {
  const load = new Load({ url: envoy.url, perSecond: PER_SECOND });
  const served = () => load.answers.at(-1)?.status === 200;
  await until('callers are served', served, PATIENCE, 10);
  await dependency.is(how);
  let opened: number | undefined;
  let startsAt: string | undefined;
  if (side === 'with') {
    const from = Date.now();
    startsAt = await alert(up.config, MEASURED);
    await until('callers are refused at once', () => isRefused(envoy), PATIENCE, 10);
    opened = Date.now() - from;
  } else await sleep(TIMEOUT); // until as many wait as will
  const begin = Date.now();
  const before = await statsOf(envoy);
  await sleep(window);
  const end = Date.now();
  const after = await statsOf(envoy);
  await dependency.is('well');
  if (startsAt !== undefined) await alert(up.config, MEASURED, 'resolved', startsAt);
  await until(
    'callers are served',
    () => load.answers.some(({ start, status }) => start > end && status === 200),
    PATIENCE,
    10,
  );
  const closed = Date.now() - end;
  if (startsAt !== undefined) await up.client.workflow.getHandle(remediationId(`dependency/${MEASURED}`)).result();
  const answers = (await load.stop()).filter(({ start }) => start >= begin && start < end);
  const seen = dependency.requests.filter(({ at }) => at >= begin && at < end);
  return {
    ...latencies(answers),
    connections: after.active,
    tried: after.tried - before.tried,
    reached: seen.filter(({ path }) => path !== PROBE_PATH).length,
    trials: seen.filter(({ path }) => path === PROBE_PATH).length,
    ...(opened !== undefined && { opened, closed }),
  };
}

function latencies(answers: readonly Answer[]): Pick<Round, 'callers' | 'p50' | 'p99'> {
  const all = answers.map(({ latency }) => latency);
  return { callers: all.length, p50: quantile(all, 0.5), p99: quantile(all, 0.99) };
}

async function isRefused({ url }: Envoy): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(2 * TIMEOUT) });
  await response.arrayBuffer();
  return response.headers.get('x-envoy-overloaded') === 'true';
}

async function statsOf({ adminUrl }: Envoy): Promise<{ active: number; tried: number }> {
  const filter = encodeURIComponent(`^cluster.${ENVOY_CLUSTER}.upstream_cx_(active|total)$`);
  const response = await fetch(`${adminUrl}/stats?format=json&filter=${filter}`);
  const { stats } = (await response.json()) as { stats: { name: string; value: number }[] };
  const of = (name: string) => stats.find((one) => one.name.endsWith(name))?.value ?? Number.NaN;
  return { active: of('_active'), tried: of('_total') };
}

const figure = (rounds: readonly Round[], of: (round: Round) => number): number[] => rounds.map(of);

/** Without Salvor over with it, round by round. */
function compared(results: Results): string {
  const head = [
    'without Salvor over with it',
    'p99 of callers',
    'p50 of callers',
    'open connections',
    'connections tried',
  ];
  const rows = HOW.map((how) => {
    const { with: ours, without } = results[how];
    // Of none the ratio is taken as of one; where there are none without Salvor either there is nothing to compare.
    const over = (of: (round: Round) => number) => {
      const rival = figure(without, of);
      if (rival.every((value) => value === 0)) return '–';
      const own = figure(ours, (round) => Math.max(1, of(round)));
      return `**${spread(ratios(rival, own))}**`;
    };
    const times = (of: (round: Round) => number) => ratios(figure(without, of), figure(ours, of));
    return [
      `a dependency that ${how}`,
      `**${spread(times(({ p99 }) => p99))}**`,
      `**${spread(times(({ p50 }) => p50))}**`,
      over(({ connections }) => connections),
      over(({ tried }) => tried),
    ];
  });
  return table(head, rows);
}

function absolute(results: Results): string {
  const head = [
    '',
    'p50 / p99 of callers, ms',
    'open connections',
    'connections tried',
    'requests that reached it',
    'trials',
    'alert → open, s',
    'well → served, s',
  ];
  const rows = HOW.flatMap((how) =>
    SIDES.map((side) => {
      const rounds = results[how][side];
      const of = (what: (round: Round) => number) => spread(figure(rounds, what));
      const seconds = (what: (round: Round) => number | undefined) =>
        side === 'with' ? spread(figure(rounds, (round) => (what(round) ?? Number.NaN) / 1_000)) : '–';
      return [
        `${how}, ${side} Salvor`,
        `${of(({ p50 }) => p50)} / ${of(({ p99 }) => p99)}`,
        of(({ connections }) => connections),
        of(({ tried }) => tried),
        of(({ reached }) => reached),
        side === 'with' ? of(({ trials }) => trials) : '–',
        seconds(({ opened }) => opened),
        seconds(({ closed }) => closed),
      ];
    }),
  );
  return table(head, rows);
}

const described = ({ begin, relapses, perRelapse, firstHour, laterHour }: LongCost): string =>
  `History events of a breaker that stays open: **${short(perRelapse * firstHour)} in its first hour, ${short(perRelapse * laterHour)} in each later one**, ` +
  `and ${begin} until it was open. Counted: ${short(perRelapse)} for each of its first ${relapses} relapses; in the first hour there are ${firstHour}, then ${laterHour} an hour.`;
