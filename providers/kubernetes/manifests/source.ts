import type { ManifestsStack } from '../../../model/drift/options.ts';
import type { Pulse } from '../../instance.ts';
import type { Watch } from '../../processes/run.ts';
import { type Checkout, checkout } from '../../source/checkout.ts';
import { kustomize } from './kustomize.ts';
import type { Manifest } from './manifest.ts';
import { checked, parseManifests, readManifests } from './read.ts';

/** A source on this machine, and what long processes on it are given. */
export interface At extends Pick<Checkout, 'folder' | 'root' | 'revision'> {
  watch: Watch;
}

/** Brings the source here for as long as it is used. @param revision the very commit, as an earlier look had it */
export async function withSource<T>(
  options: ManifestsStack,
  revision: string | undefined,
  pulse: Pulse,
  use: (at: At) => Promise<T>,
): Promise<T> {
  const watch: Watch = { signal: pulse.signal, beat: () => pulse.beat(undefined) };
  const found = await checkout(options, { ...watch, ...(revision !== undefined && { revision }) });
  try {
    return await use({ ...found, watch });
  } finally {
    await found[Symbol.asyncDispose]();
  }
}

/** All that the source declares. @throws UnfitSource; FinalError where kustomize is missing */
export async function manifestsIn(
  { kustomize: isBuilt }: Pick<ManifestsStack, 'kustomize'>,
  { folder, root, watch }: At,
): Promise<Manifest[]> {
  if (!isBuilt) return readManifests(folder, root);
  return checked(parseManifests(await kustomize(folder, watch), 'kustomize build'));
}
