import { readFile } from 'node:fs/promises';
import { type Component, startComponent, untilReady } from '../../sandbox/processes.ts';
import { BIN } from '../cli/salvor.ts';

/** The built `salvor worker`, a process of its own that can be killed. Resolves when it polls. */
export async function startWorkerProcess(options: {
  configFile: string;
  logFile: string;
  env?: Record<string, string>;
}): Promise<Component> {
  const { configFile, ...more } = options;
  const args = [BIN, 'worker', '--single', '--config', configFile];
  const worker = await startComponent({ name: 'salvor worker', file: process.execPath, args, ...more });
  await untilReady(worker, async () => (await readFile(worker.logFile, 'utf8')).includes('worker is ready'));
  return worker;
}
