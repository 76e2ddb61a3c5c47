import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const README = join(import.meta.dirname, '..', 'README.md');

/** Puts the figures of one benchmark into their place in README.md, between its two comments. */
export async function writeSection(name: string, figures: string): Promise<void> {
  const text = await readFile(README, 'utf8');
  const [begin, end] = [`<!-- ${name}: begin -->`, `<!-- ${name}: end -->`];
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`${README} has no place for ${name}: ${begin} … ${end}`);
  await writeFile(README, `${text.slice(0, from + begin.length)}\n\n${figures.trim()}\n\n${text.slice(to)}`);
}
