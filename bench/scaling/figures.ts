import { short, table } from '../support/numbers.ts';
import { RIVALS } from './rivals.ts';
import { salvor } from './salvor.ts';
import type { Scenario } from './scenario.ts';
import { type Controller, type Figures, simulate } from './simulation.ts';

/** In seconds. */
export const START_UPS = [5, 30, 120];

/** Seconds over the objective, at replica-hours: both of Salvor over those of the best of these rivals. */
export const AIMS = [
  { of: ['a', 'b', 'c'], over: 0.4, hours: 1.1 },
  { of: ['d'], over: 0.65, hours: 1.05 },
  { of: ['e'], over: 0.9, hours: 1 },
];

/** What one start-up time gave: the figures of each controller in each scenario. */
export interface Run {
  startUp: number;
  rows: { scenario: string; salvor: Figures; rivals: Record<string, Figures> }[];
}

export function run(scenarios: readonly Scenario[], startUp: number): Run {
  const of = (scenario: Scenario, controller: Controller): Figures => simulate(scenario, startUp, controller);
  const rows = scenarios.map((scenario) => ({
    scenario: scenario.name,
    salvor: of(scenario, salvor),
    rivals: Object.fromEntries(Object.entries(RIVALS).map(([name, rival]) => [name, of(scenario, rival)])),
  }));
  return { startUp, rows };
}

const sum = (figures: readonly Figures[]): Figures => ({
  over: figures.reduce((all, { over }) => all + over, 0),
  worstBacklog: Math.max(...figures.map(({ worstBacklog }) => worstBacklog)),
  replicaHours: figures.reduce((all, { replicaHours }) => all + replicaHours, 0),
});

export interface Ratio {
  rival: string;
  over: number;
  hours: number;
}

/** Over all scenarios together. */
export function ratios({ rows }: Run): Ratio[] {
  const own = sum(rows.map((row) => row.salvor));
  return Object.keys(RIVALS).map((rival) => {
    const theirs = sum(rows.flatMap((row) => row.rivals[rival] ?? []));
    return { rival, over: own.over / theirs.over, hours: own.replicaHours / theirs.replicaHours };
  });
}

/** Of several rivals the best is the one with the fewest seconds over the objective: the one with the highest ratio. */
export const bestOf = (all: readonly Ratio[], letters: readonly string[]): Ratio | undefined =>
  all.filter(({ rival }) => letters.some((letter) => rival.startsWith(letter))).sort((a, b) => b.over - a.over)[0];

/** The scenarios in which the best rival (fewest seconds over the objective, then fewest replica-hours) is better in both. */
export const worseIn = ({ rows }: Run): string[] =>
  rows
    .filter(({ salvor: own, rivals }) => {
      const best = Object.values(rivals).sort((a, b) => a.over - b.over || a.replicaHours - b.replicaHours)[0];
      return best !== undefined && best.over < own.over && best.replicaHours < own.replicaHours;
    })
    .map(({ scenario }) => scenario);

const cell = ({ over, worstBacklog, replicaHours }: Figures): string =>
  `${over} / ${worstBacklog < 1 ? 0 : short(worstBacklog)} / ${replicaHours.toFixed(0)}`;

/** Everything as Markdown. */
export function report(runs: readonly Run[]): string {
  const names = Object.keys(RIVALS);
  const tables = runs.map(({ startUp, rows }) => {
    const all = {
      scenario: '**together**',
      salvor: sum(rows.map((row) => row.salvor)),
      rivals: {} as Run['rows'][0]['rivals'],
    };
    for (const name of names) all.rivals[name] = sum(rows.flatMap((row) => row.rivals[name] ?? []));
    const lines = [...rows, all].map((row) => [
      row.scenario,
      `**${cell(row.salvor)}**`,
      ...names.map((name) => cell(row.rivals[name] ?? row.salvor)),
    ]);
    return `Start-up ${startUp} s:\n\n${table(['', 'Salvor', ...names], lines)}`;
  });
  return [summary(runs), ...tables].join('\n\n');
}

/** Salvor over each rival, and whether the aims are met. */
export function summary(runs: readonly Run[], name = 'seconds over objective at replica-hours'): string {
  const head = [name, ...Object.keys(RIVALS), 'aims', 'worse than the best rival in both'];
  const lines = runs.map((one) => {
    const all = ratios(one);
    const met = AIMS.filter((aim) => {
      const best = bestOf(all, aim.of);
      return best !== undefined && best.over <= aim.over && best.hours <= aim.hours;
    });
    const cells = all.map(({ over, hours }) => `**${over.toFixed(2)}** at ${hours.toFixed(2)}`);
    return [
      `start-up ${one.startUp} s`,
      ...cells,
      `${met.length} of ${AIMS.length} met`,
      worseIn(one).join(', ') || 'none',
    ];
  });
  return table(head, lines);
}
