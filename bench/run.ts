import { parseArgs } from 'node:util';
import type { Benchmark } from './support/benchmark.ts';
import { conditions, describeMachine } from './support/machine.ts';
import { writeSection } from './support/report.ts';

/** Loaded only when asked for: each starts other things. */
const BENCHMARKS: Record<string, () => Promise<Benchmark>> = {
  latency: async () => (await import('./latency.ts')).latency,
  burst: async () => (await import('./burst.ts')).burst,
  cost: async () => (await import('./cost.ts')).cost,
  peer: async () => (await import('./peer.ts')).peer,
  start: async () => (await import('./start.ts')).start,
  replay: async () => (await import('./replay.ts')).replay,
  audit: async () => (await import('./audit.ts')).audit,
  limits: async () => (await import('./limits.ts')).limits,
  pause: async () => (await import('./pause.ts')).pauseBenchmark,
  drop: async () => (await import('./drop.ts')).drop,
  breaker: async () => (await import('./breaker.ts')).breaker,
};

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { rounds: { type: 'string', default: '3' }, quick: { type: 'boolean' }, profile: { type: 'string' } },
});
const unknown = positionals.filter((name) => !(name in BENCHMARKS));
if (positionals.length === 0 || unknown.length > 0) {
  console.error(`Usage: npm run bench -- ${Object.keys(BENCHMARKS).join('|')} [--rounds N] [--quick] [--profile DIR]`);
  process.exit(2);
}
const rounds = Number(values.rounds);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds: expected a whole number, got ${values.rounds}`);

for (const name of positionals) {
  const before = conditions();
  const say = (text: string): void => console.error(`${new Date().toISOString().slice(11, 19)} ${name}: ${text}`);
  const benchmark = await BENCHMARKS[name]?.();
  const figures = await benchmark?.({ rounds, quick: values.quick === true, profile: values.profile, say });
  const section = `${figures}\n\n*${describeMachine(before)}; ${rounds} rounds: median (least–most).*`;
  console.log(`\n${section}\n`);
  if (values.quick !== true) await writeSection(name, section);
}
// The guard of the sandbox and kept-alive connections have nothing left to do.
process.exit(0);
