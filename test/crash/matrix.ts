import type { Firing } from './alerts.ts';
import { Chaos, type Kill } from './chaos.ts';
import { type Kind, treat, WARD } from './patients.ts';
import { seeded } from './random.ts';
import { type Reckoning, reckon } from './reckoning.ts';
import type { World } from './world.ts';

/** Remediations of one ward: of the crowd, at least two are refused and one is resolved before its turn. */
const RUNS = Object.values(WARD).reduce((sum, count) => sum + count) - 3;
/** Wards at a time. */
const ABREAST = 3;

export interface Matrix extends Reckoning {
  kills: Kill[];
  /** Remediations during which something was killed. */
  hit: number;
}

export interface Wanted {
  runs: number;
  seed: number;
  say(text: string): void;
  /** Alerts of this world that were taken before. */
  before?: Firing[];
}

/** At least so many remediations, of every kind, while one thing after the other is killed; and what is on record then. */
export async function crashMatrix(world: World, { runs, seed, say, before = [] }: Wanted): Promise<Matrix> {
  const random = seeded(seed);
  const chaos = new Chaos(world.victims, random);
  const wards = Math.ceil(runs / RUNS);
  const firings = [...before];
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < wards) {
      next += 1;
      const ward = next;
      const kinds = Object.keys(WARD) as Kind[];
      firings.push(...(await Promise.all(kinds.map((kind) => treat(world, kind, random)))).flat());
      say(`ward ${ward} of ${wards} is done; ${chaos.kills.length} kills`);
    }
  };
  chaos.start();
  try {
    await Promise.all(Array.from({ length: ABREAST }, lane));
  } finally {
    await chaos.stop();
  }
  say('all have ended; now the reckoning');
  const reckoning = await reckon(world, firings);
  const { kills } = chaos;
  const hit = reckoning.remediations.filter(({ from, to = Date.now() }) =>
    kills.some(({ at }) => at >= from && at <= to),
  ).length;
  return { ...reckoning, kills, hit };
}

/** For people, in a few lines. */
export function describe({ remediations, outcomes, kills, hit, ...rest }: Matrix): string {
  const { records, decisions, mutations, histories, problems } = rest;
  const count = (all: Record<string, number>) =>
    Object.entries(all)
      .map(([name, some]) => `${some} ${name}`)
      .join(', ');
  const killed = Object.groupBy(kills, ({ name }) => name);
  const byName = Object.fromEntries(Object.entries(killed).map(([name, some]) => [name, some?.length ?? 0]));
  return [
    `${remediations.length} remediations (${count(outcomes)}), ${hit} of them with a kill in their midst`,
    `${kills.length} kills (${count(byName)})`,
    `${records} records, ${decisions} of them decisions to wait or refuse; ${histories} histories; ${mutations} mutations`,
    problems.length === 0 ? 'nothing lost, nothing doubled' : `${problems.length} problems:\n${problems.join('\n')}`,
  ].join('\n');
}
