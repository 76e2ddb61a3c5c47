import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, join, relative, sep } from 'node:path';
import { type Document, LineCounter, parseAllDocuments, type Tags } from 'yaml';
import type { Json } from '../../../model/breaker/patch.ts';
import { type Manifest, manifestsOf, UnfitSource } from './manifest.ts';

/** Far above what one stack should be; below what would fill a worker. */
const MOST = { files: 2_000, bytes: 64 * 1024 * 1024, objects: 5_000 };
const NAMES = /\.(?:ya?ml|json)$/i;

/**
 * All manifests in a folder, with those below it, or in one file.
 *
 * @param root what a link may lead to: the folder, or the repository that it is of
 * @throws UnfitSource
 */
export async function readManifests(place: string, root = place): Promise<Manifest[]> {
  const isFolder = (await stat(place)).isDirectory();
  const files = isFolder ? await filesIn(root, place) : [place];
  if (files.length > MOST.files)
    throw new UnfitSource(`the source has ${files.length} files of YAML and JSON: expected at most ${MOST.files}`);
  let bytes = 0;
  const found: Manifest[] = [];
  for (const file of files) {
    // Before it is read: a small repository can hold one that would fill the worker.
    bytes += (await stat(file)).size;
    if (bytes > MOST.bytes) throw new UnfitSource(`the source is larger than ${MOST.bytes} bytes: expected less`);
    const text = await readFile(file, 'utf8');
    found.push(...parseManifests(text, relative(place, file) || basename(file)));
  }
  return checked(found);
}

/** By name, so that two workers read the same in the same order. What a link leads to outside of the folder is no part of it. */
async function filesIn(root: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('.')) continue;
    const path = join(folder, name);
    const real = await realpath(path).catch(() => undefined); // a link to nothing
    if (real === undefined || !real.startsWith(root + sep)) continue;
    const is = await stat(real);
    if (is.isDirectory() && real === path) found.push(...(await filesIn(root, path)));
    else if (is.isFile() && NAMES.test(name)) found.push(path);
  }
  return found;
}

/** The manifests of one text, which may have several documents. @throws UnfitSource */
export function parseManifests(text: string, file: string): Manifest[] {
  const lines = new LineCounter();
  // As kubectl reads it: 0644 is octal, and `on` is true. Errors without the text around them, for it may be a secret.
  const options = { version: '1.1', customTags: plainTags, lineCounter: lines, prettyErrors: false } as const;
  const documents = parseAllDocuments(text, options);
  if (!Array.isArray(documents)) return [];
  return documents.flatMap((document) => {
    const [error] = document.errors;
    if (error) throw new UnfitSource(`${file}:${lines.linePos(error.pos[0]).line}: no valid YAML: ${error.code}`);
    const start = document.contents?.range?.[0];
    const where = `${file}:${start === undefined ? 1 : lines.linePos(start).line}`;
    const value = contentOf(document, where);
    return value === null ? [] : manifestsOf(value, where);
  });
}

function contentOf(document: Document, where: string): Json {
  try {
    return document.toJS({ maxAliasCount: 1_000 }) as Json;
  } catch (error) {
    throw new UnfitSource(`${where}: no valid YAML: ${(error as Error).name}`, { cause: error });
  }
}

/** Neither times, nor numbers to the base of 60, nor binary data: all of those are texts to Kubernetes. */
function plainTags(tags: Tags): Tags {
  return tags.filter((tag) => {
    if (typeof tag === 'string') return true;
    return tag.format !== 'TIME' && !/:(?:timestamp|binary|omap|pairs|set)$/.test(tag.tag);
  });
}

/** @throws UnfitSource where there is none, or one twice */
export function checked(manifests: Manifest[]): Manifest[] {
  if (manifests.length === 0)
    throw new UnfitSource(
      'the source is empty: it declares no object at all, so nothing is compared, and nothing is deleted',
    );
  if (manifests.length > MOST.objects)
    throw new UnfitSource(`the source declares ${manifests.length} objects: expected at most ${MOST.objects}`);
  return manifests;
}
