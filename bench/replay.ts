import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { packageRoot } from '../sandbox/paths.ts';
import type { Benchmark } from './support/benchmark.ts';
import { ratios, spread, table } from './support/numbers.ts';
import { SALVOR } from './support/product.ts';

const HISTORIES = 1_000;
const QUICK = 100;
const RECORDED = join(packageRoot(), 'test', 'histories');
const LIMIT = 'limit: bare Temporal, one worker';

/** From the command to its end, and the most memory that its process had. */
interface Measured {
  rate: number;
  memory: number;
}

/** Replays recorded histories, each many times under other names, as `salvor replay --dir` and as bare Temporal. */
export const replay: Benchmark = async ({ rounds, quick, say }) => {
  const count = quick ? QUICK : HISTORIES;
  const folder = await mkdtemp(join(tmpdir(), 'salvor-bench-'));
  const bundle = join(packageRoot(), 'dist', 'workflow-bundle.js');
  const salvor = (jobs: number): string[] => [SALVOR, '--json', 'replay', '--dir', folder, '--jobs', `${jobs}`];
  const ways: Record<string, string[]> = {
    'salvor replay --jobs 1': salvor(1),
    'salvor replay --jobs 2': salvor(2),
    [LIMIT]: [join(import.meta.dirname, 'bare', 'replay.ts'), folder, bundle],
  };
  const results = new Map<string, Measured[]>(Object.keys(ways).map((name) => [name, []]));
  try {
    await multiply(count, folder);
    for (let round = 1; round <= rounds; round++) {
      for (const [name, command] of Object.entries(ways)) {
        const measured = await measure(command, count);
        results.get(name)?.push(measured);
        say(`round ${round}, ${name}: ${measured.rate.toFixed(1)} a second, ${measured.memory.toFixed(0)} MiB`);
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return report(results);
};

/** Writes so many histories, with Workflow IDs and run IDs of their own. */
async function multiply(count: number, folder: string): Promise<void> {
  const files = (await readdir(RECORDED, { recursive: true })).filter((file) => file.endsWith('.json')).sort();
  const texts = await Promise.all(files.map((file) => readFile(join(RECORDED, file), 'utf8')));
  for (let n = 0; n < count; n++) {
    const recorded = texts[n % texts.length] ?? '';
    const runId = /"originalExecutionRunId":"([^"]+)"/.exec(recorded)?.[1] ?? '';
    const renamed = recorded
      .replaceAll(runId, randomUUID())
      .replace(/"workflowId":"[^"]+"/, (id) => `${id.slice(0, -1)}/${n}"`);
    await writeFile(join(folder, `${String(n).padStart(4, '0')}.json`), renamed);
  }
}

async function measure(args: string[], count: number): Promise<Measured> {
  const began = performance.now();
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let memory = 0;
  // What it has at its end cannot be read any more; the peak before is as good, for the kernel keeps the most there was.
  const look = setInterval(async () => {
    memory = Math.max(memory, await peakOf(child.pid ?? 0));
  }, 200);
  const [said, [status]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  clearInterval(look);
  const seconds = (performance.now() - began) / 1000;
  const { replayed, same } = JSON.parse(said) as { replayed: number; same: number };
  if (status !== 0 || replayed !== count || same !== count)
    throw new Error(`${args.join(' ')} ended with ${status}: ${same} of ${replayed} went the same way, not ${count}`);
  return { rate: count / seconds, memory };
}

/** The most that a process ever had resident, in MiB (`VmHWM`; Linux); 0 where it is gone. */
async function peakOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) / 1024;
}

function report(results: Map<string, Measured[]>): string {
  const rates = (name: string): number[] => (results.get(name) ?? []).map(({ rate }) => rate);
  const rows = [...results].map(([name, measured]) => [
    name,
    name === LIMIT ? '' : `**${spread(ratios(rates(name), rates(LIMIT)))}**`,
    `**${spread(rates(name))}**`,
    `**${spread(
      measured.map(({ memory }) => memory),
      ' MiB',
    )}**`,
  ]);
  return table(['', 'over the limit', 'histories a second', 'peak memory'], rows);
}
