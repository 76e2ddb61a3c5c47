import type { ManifestsStack, Source } from '../../../model/drift/options.ts';
import { kustomize } from './kustomize.ts';
import type { Manifest } from './manifest.ts';
import { checked, parseManifests, readManifests } from './read.ts';

/** Where a source is on this machine, for as long as it is used. */
export interface CheckedOut {
  folder: string;
  revision?: string;
}

export type CheckOut = <T>(
  source: Source,
  revision: string | undefined,
  signal: AbortSignal,
  use: (at: CheckedOut) => Promise<T>,
) => Promise<T>;

/** All that the source declares. @throws UnfitSource; FinalError where kustomize is missing */
export async function manifestsIn(
  { kustomize: isBuilt }: Pick<ManifestsStack, 'kustomize'>,
  folder: string,
  signal: AbortSignal,
): Promise<Manifest[]> {
  if (!isBuilt) return readManifests(folder);
  return checked(parseManifests(await kustomize(folder, signal), 'kustomize build'));
}

export const folderOnly: CheckOut = async ({ folder = '' }, _, __, use) => use({ folder });
