import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { packageRoot } from '../sandbox/paths.ts';
import { freePort } from '../sandbox/ports.ts';
import { startTemporal } from '../sandbox/temporal.ts';
import type { Benchmark } from './support/benchmark.ts';
import { ratios, short, spread, table } from './support/numbers.ts';
import { configure, SALVOR } from './support/product.ts';

/** Starts a round; they are short. */
const TIMES = 5;

const WAYS = {
  'npx salvor up, first start': { command: ['npx', 'salvor'], again: false },
  'npx salvor up, on the state of the first': { command: ['npx', 'salvor'], again: true },
  'node bin/salvor.mjs up, first start': { command: [process.execPath, SALVOR], again: false },
} as const;
const LIMIT = 'limit: Temporal alone, tuned, until it answers';

/** From the command to `ready`, with Temporal and the build in their caches. */
export const start: Benchmark = async ({ rounds, quick, say }) => {
  const results = new Map<string, number[]>([...Object.keys(WAYS), LIMIT].map((name) => [name, []]));
  for (let round = 1; round <= rounds * (quick ? 1 : TIMES); round++) {
    const folder = await mkdtemp(join(tmpdir(), 'salvor-bench-'));
    for (const [name, { command, again }] of Object.entries(WAYS)) {
      const data = join(folder, again ? 'npx salvor up, first start' : name);
      results.get(name)?.push(await up(folder, command, data));
    }
    results.get(LIMIT)?.push(await temporalAlone(folder));
    say([...results].map(([name, seconds]) => `${name} ${short(seconds.at(-1) ?? 0)} s`).join(', '));
    await rm(folder, { recursive: true, force: true });
  }
  const limit = results.get(LIMIT) ?? [];
  const rows = [...results].map(([name, seconds]) => [
    name,
    name === LIMIT ? '' : `**${spread(ratios(seconds, limit))}**`,
    `**${spread(seconds, ' s')}**`,
  ]);
  return table(['', 'over Temporal alone', 'until ready'], rows);
};

/** Seconds until it says that it is ready; it has ended when this resolves. */
async function up(folder: string, [file, ...args]: readonly [string, ...string[]], data: string): Promise<number> {
  const config = await configure(folder, { temporal: `127.0.0.1:${await freePort()}` });
  const ui = `${await freePort()}`;
  const all = [...args, '--config', config.file, '--json', 'up', '--data', data, '--ui-port', ui];
  const began = performance.now();
  const child = spawn(file, all, { cwd: packageRoot(), stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  const ready = Promise.withResolvers<number>();
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line.includes('"ready":true')) ready.resolve((performance.now() - began) / 1000);
  });
  const ended = closed.then(([code]) => {
    throw new Error(`${file} ended with ${code} before it was ready`);
  });
  const seconds = await Promise.race([ready.promise, ended]);
  // npx hands it on, or ends and is missed by its child; the pipe closes when all of them are gone.
  child.kill('SIGTERM');
  await closed;
  return seconds;
}

async function temporalAlone(folder: string): Promise<number> {
  const began = performance.now();
  const temporal = await startTemporal({ dbFile: join(folder, 'alone.db'), logFile: join(folder, 'alone.log') });
  const seconds = (performance.now() - began) / 1000;
  await temporal.stop();
  return seconds;
}
