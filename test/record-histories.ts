import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { breakerGroup } from './recording/breaker.ts';
import { drainGroup } from './recording/drain.ts';
import { driftGroup } from './recording/drift.ts';
import { type Group, type Recording, textOf } from './recording/group.ts';
import { continuedScaleGroup, scaleGroup } from './recording/scale.ts';

/**
 * Records what test/replay replays: the histories of whole ways on real components, one for each way in which a workflow
 * can go, into test/histories/<version>. Run by hand (`npm run histories`) before a release, or when a workflow has
 * learned a new way; the histories of earlier releases stay as they are. `npm run histories -- refused dropped` records
 * only those whose names hold one of these words; `--into DIR` puts them elsewhere.
 */
const ROOT = join(import.meta.dirname, '..');

/** One after the other: each has a world of its own. */
const GROUPS: readonly Group[] = [drainGroup, scaleGroup, continuedScaleGroup, breakerGroup, driftGroup];

/** A busy machine may let a wait run out; each scenario has a workload of its own, so it can be played again. */
const TRIES = 2;

async function record(name: string, recording: Recording): Promise<Map<string, string>> {
  for (let tried = 1; ; tried++) {
    try {
      const texts = new Map<string, string>();
      for (const [file, handle] of Object.entries(await recording())) {
        const text = await textOf(handle);
        texts.set(`${file}.json`, text);
        console.log(`${file}: ${text.length} characters, ${handle.workflowId}`);
      }
      return texts;
    } catch (error) {
      console.error(`${name}, try ${tried} of ${TRIES}:`, error);
      if (tried === TRIES) throw error;
    }
  }
}

const { values, positionals } = parseArgs({ allowPositionals: true, options: { into: { type: 'string' } } });
const isChosen = (name: string): boolean => positionals.length === 0 || positionals.some((part) => name.includes(part));

async function recordGroup({ start, stop, recordings }: Group): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  const chosen = Object.entries(recordings).filter(([name]) => isChosen(name));
  if (chosen.length === 0) return texts;
  try {
    await start();
    for (const [name, recording] of chosen) for (const entry of await record(name, recording)) texts.set(...entry);
  } finally {
    await stop();
  }
  return texts;
}

/** Nothing is written before all of it is recorded. Those of this version that were not chosen stay. */
async function main(): Promise<void> {
  const { version } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { version: string };
  const names = GROUPS.flatMap(({ recordings }) => Object.keys(recordings));
  if (!names.some(isChosen)) throw new Error(`there is no such scenario; there are: ${names.join(', ')}`);
  const texts = new Map<string, string>();
  for (const group of GROUPS) for (const entry of await recordGroup(group)) texts.set(...entry);
  const folder = values.into ?? join(ROOT, 'test', 'histories', version);
  if (positionals.length === 0) await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  for (const [name, text] of texts) await writeFile(join(folder, name), text);
  console.log(`${texts.size} histories in ${folder}`);
}

await main();
