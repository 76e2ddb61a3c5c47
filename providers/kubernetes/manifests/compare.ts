import { comparisonOf, revertibleFirst } from '../../../model/drift/comparison.ts';
import type { ManifestsStack, Stack } from '../../../model/drift/options.ts';
import type { CompareRequest, Comparison } from '../../../model/ports/desired-state.ts';
import type { DriftMeans } from '../../desired-state.ts';
import { beating } from '../../pulse.ts';
import { MovedError } from '../../source/git.ts';
import type { Cluster } from '../cluster.ts';
import { exclusion } from '../health.ts';
import { NAMESPACES } from '../objects.ts';
import { extras } from './extras.ts';
import { Kinds, type Place, placed } from './kinds.ts';
import { type Looking, look, type Seen } from './look.ts';
import { UnfitSource } from './manifest.ts';
import { inParallel } from './parallel.ts';
import { type At, manifestsIn, withSource } from './source.ts';
import { patientCall } from './try.ts';

/** What a stack of manifests is compared with and by. */
export interface Means {
  cluster: Cluster;
  stack: Stack;
  options: ManifestsStack;
}

/** Objects that are looked at at the same time: two calls each, which must leave the API server room for others. */
const AT_ONCE = 8;

export async function compare(means: Means, request: CompareRequest, { pulse }: DriftMeans): Promise<Comparison> {
  const look = () => withSource(means.options, request.revision, pulse, (at) => compareWith(means, request, at));
  try {
    return await beating(pulse, () => undefined, look);
  } catch (error) {
    if (error instanceof UnfitSource || error instanceof MovedError) return { verdict: 'refused', why: error.message };
    throw error;
  }
}

async function compareWith(means: Means, request: CompareRequest, at: At): Promise<Comparison> {
  const { count, seen } = await lookAtAll(means, request, at);
  const all = revertibleFirst([...seen.values()].flatMap(({ looked }) => looked?.difference ?? []));
  const objects = count === 1 ? 'one object' : `${count} objects`;
  const why = all.length > 0 ? `${all.length} differ, of ${objects} in the source` : `${objects}, all as in the source`;
  return comparisonOf(all, { why, revision: at.revision });
}

/** What was seen of all objects, by their addresses. */
export interface View {
  /** Objects that the source declares. */
  count: number;
  seen: Map<string, Seen & { place: Place }>;
}

/**
 * Looks at all that the source declares, and at what it does not.
 *
 * @param only these addresses, where it is about nothing else; what the source does not have is then not looked for
 */
export async function lookAtAll(
  { cluster, stack, options }: Means,
  { prune, create }: Pick<CompareRequest, 'prune' | 'create'>,
  at: At,
  only?: ReadonlySet<string>,
): Promise<View> {
  const kinds = new Kinds(cluster);
  const manifests = await manifestsIn(options, at);
  const all = await placed(cluster.name, kinds, manifests, options.namespace);
  const places = only ? all.filter(({ address }) => only.has(address)) : all;
  const { signal } = at.watch;
  const looking: Looking = { cluster, ignore: stack.ignore, create, signal, excluded: excludedIn(cluster, signal) };
  const seen = await inParallel(places, AT_ONCE, async (place) => ({ place, ...(await look(looking, place)) }));
  const live = seen.flatMap((one) => one.live ?? []);
  const more = only ? [] : await extras(looking, kinds, { places, live, prune });
  return { count: all.length, seen: new Map([...seen, ...more].map((one) => [one.place.address, one])) };
}

/** Each namespace is asked for once. */
function excludedIn(cluster: Cluster, signal: AbortSignal): Looking['excluded'] {
  const asked = new Map<string, Promise<string | undefined>>();
  const ask = async (name: string) =>
    exclusion(undefined, (await patientCall(() => cluster.get({ ...NAMESPACES, name }, signal), signal))?.metadata);
  return (name) => {
    const known = asked.get(name) ?? ask(name);
    asked.set(name, known);
    return known;
  };
}
