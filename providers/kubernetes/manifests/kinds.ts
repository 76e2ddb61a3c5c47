import type { JsonObject } from '../../../model/breaker/patch.ts';
import { isObject } from '../../../model/breaker/patch.ts';
import { formatTarget } from '../../../model/target.ts';
import type { Cluster } from '../cluster.ts';
import type { Ref } from '../objects.ts';
import { groupOf } from '../scale/kinds.ts';
import { type Manifest, UnfitSource } from './manifest.ts';

/** A kind as a cluster serves it. */
export interface Kind {
  kind: string;
  apiVersion: string;
  ref: Ref;
  namespaced: boolean;
}

interface Discovery {
  resources: { name: string; kind: string; namespaced: boolean }[];
}

interface Groups {
  groups: { preferredVersion?: { groupVersion: string } }[];
}

/** What a cluster serves, asked once for each version of a group. For one look: a kind may be installed between two. */
export class Kinds {
  readonly #cluster: Cluster;
  readonly #served = new Map<string, Promise<Kind[]>>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Undefined where the cluster has no such kind. */
  async of({ apiVersion, kind }: Pick<Manifest, 'apiVersion' | 'kind'>): Promise<Kind | undefined> {
    return (await this.#of(apiVersion)).find((one) => one.kind === kind);
  }

  /** All of this name, in the preferred version of each group. */
  async named(kind: string): Promise<Kind[]> {
    const ref: Ref = { group: '', version: '', resource: '(discovery)' };
    const { groups = [] } = (await this.#cluster.read<Groups>(ref, '/apis')) ?? {};
    const versions = ['v1', ...groups.flatMap(({ preferredVersion }) => preferredVersion?.groupVersion ?? [])];
    const all = await Promise.allSettled(versions.map((version) => this.#of(version)));
    const found = all
      .flatMap((one) => (one.status === 'fulfilled' ? one.value : []))
      .filter((one) => one.kind === kind);
    // A server behind the API that does not answer, as one of metrics may be, matters only where it may be its kind.
    const silent = all.find((one) => one.status === 'rejected');
    if (found.length === 0 && silent) throw silent.reason;
    return found;
  }

  #of(apiVersion: string): Promise<Kind[]> {
    const known = this.#served.get(apiVersion) ?? this.#read(apiVersion);
    this.#served.set(apiVersion, known);
    return known;
  }

  async #read(apiVersion: string): Promise<Kind[]> {
    const group = groupOf(apiVersion);
    const version = group === '' ? apiVersion : apiVersion.slice(group.length + 1);
    const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
    const found = await this.#cluster.read<Discovery>({ group, version, resource: '(discovery)' }, path);
    return (found?.resources ?? [])
      .filter(({ name }) => !name.includes('/'))
      .map(({ name, kind, namespaced }) => ({ kind, apiVersion, namespaced, ref: { group, version, resource: name } }));
  }
}

/** A manifest with its place in a cluster. */
export interface Place extends Manifest {
  address: string;
  /** Undefined where the cluster has no such kind. */
  ref: Ref | undefined;
}

export const addressOf = (
  cluster: string,
  { apiVersion, kind, namespace, name }: Pick<Manifest, 'apiVersion' | 'kind' | 'namespace' | 'name'>,
): string => {
  const group = groupOf(apiVersion);
  const own = { kind: kind.toLowerCase(), ...(group !== '' && { group }), name };
  return formatTarget({ type: 'k8s', cluster, namespace: namespace ?? NONE, ...own });
};

/** Stands in an address for the namespace of what has none. */
const NONE = '-';

/**
 * Finds the place of each manifest.
 *
 * @param namespace of what names none
 * @throws UnfitSource where one has no namespace and needs one, or the other way round, or one is declared twice
 */
export async function placed(
  cluster: string,
  kinds: Kinds,
  manifests: readonly Manifest[],
  namespace: string | undefined,
): Promise<Place[]> {
  const defined = new Map(manifests.flatMap(definitionOf));
  const places: Place[] = [];
  const at = new Map<string, string>();
  for (const manifest of manifests) {
    const kind = await kinds.of(manifest);
    const namespaced = kind?.namespaced ?? defined.get(`${groupOf(manifest.apiVersion)}/${manifest.kind}`) ?? 'unknown';
    const own = placeOf(manifest, namespaced, namespace);
    const address = addressOf(cluster, own);
    const other = at.get(address);
    if (other !== undefined)
      throw new UnfitSource(`${manifest.where}: ${address} is declared at ${other} already: expected it once`);
    at.set(address, manifest.where);
    const { name } = own;
    const ref = kind && { ...kind.ref, name, ...(own.namespace !== undefined && { namespace: own.namespace }) };
    places.push({ ...own, address, ref });
  }
  return places;
}

function placeOf(manifest: Manifest, namespaced: boolean | 'unknown', fallback: string | undefined): Manifest {
  const { namespace, kind, name, where, object, ...rest } = manifest;
  if (namespaced === false) {
    if (namespace === undefined) return manifest;
    throw new UnfitSource(`${where}: ${kind} ${name} has metadata.namespace: expected none, for a ${kind} is in none`);
  }
  const own = namespace ?? fallback;
  if (own === undefined) {
    if (namespaced === 'unknown') return manifest;
    throw new UnfitSource(
      `${where}: expected metadata.namespace of ${kind} ${name}, or namespace in the stack's manifests`,
    );
  }
  const metadata = isObject(object['metadata']) ? object['metadata'] : {};
  return {
    ...rest,
    kind,
    name,
    where,
    namespace: own,
    object: { ...object, metadata: { ...metadata, namespace: own } },
  };
}

/** Of a CustomResourceDefinition in the source: the kind that it defines, and whether its objects are in namespaces. */
function definitionOf({ kind, object }: Manifest): [string, boolean][] {
  const spec = object['spec'];
  if (kind !== 'CustomResourceDefinition' || !isObject(spec)) return [];
  const names: JsonObject = isObject(spec['names']) ? spec['names'] : {};
  return [[`${String(spec['group'])}/${String(names['kind'])}`, spec['scope'] !== 'Cluster']];
}
