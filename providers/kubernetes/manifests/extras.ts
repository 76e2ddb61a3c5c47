import { digest } from '../../../model/digest.ts';
import type { Difference } from '../../../model/drift/difference.ts';
import { ignoredBy } from '../../../model/drift/ignore.ts';
import { type Manager, OWN_MANAGER } from '../../../model/drift/managers.ts';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import { exclusion } from '../health.ts';
import { addressOf, type Kind, type Kinds, type Place } from './kinds.ts';
import type { Looked, Looking, Seen } from './look.ts';
import { UnfitSource } from './manifest.ts';
import { inParallel } from './parallel.ts';
import { type Live, patientCall } from './try.ts';

/**
 * Objects that are live and that the source does not have. Nothing says whose an object is but marks that deployers leave on what
 * they apply; so only what has the same mark as the source's own live objects is found, of the kinds that the source has, in
 * namespaces that the source has. Without such a mark nothing is. Where the rule lists a kind in `prune`, who has applied the
 * source's objects is mark enough, for then a person has said that all of them there are of this stack.
 */
export async function extras(
  looking: Looking,
  kinds: Kinds,
  { places, live, prune }: { places: readonly Place[]; live: readonly Live[]; prune: readonly string[] },
): Promise<(Seen & { place: Place })[]> {
  const namespaces = [...new Set(places.flatMap(({ namespace }) => namespace ?? []))];
  const marks = marksOf(live);
  const appliers = new Set(live.flatMap(({ metadata }) => appliersOf(metadata.managedFields)));
  const wanted = await kindsOf(kinds, places, prune, marks.length > 0);
  const declared = new Set(places.map(({ address }) => address));
  const asked = wanted.flatMap((kind) => namespaces.map((namespace) => ({ kind, namespace })));
  const found = await inParallel(asked, 8, async ({ kind, namespace }) => {
    const isListed = prune.includes(kind.kind);
    const { cluster, signal } = looking;
    if ((await looking.excluded(namespace)) !== undefined) return [];
    const { items } = await patientCall(() => cluster.list<Live>({ ...kind.ref, namespace }, signal), signal);
    return items
      .filter((one) => isOfStack(one, marks, isListed ? appliers : new Set()))
      .map((one) => placeOf(looking.cluster.name, kind, one))
      .filter(({ place }) => !declared.has(place.address) && !ignoredBy(looking.ignore, place.address))
      .map(({ place, live: one }) => ({ place, live: one, looked: extra(place, one, isListed) }));
  });
  return found.flat();
}

/** @throws UnfitSource where a kind of `prune` is none of the cluster's */
async function kindsOf(
  kinds: Kinds,
  places: readonly Place[],
  prune: readonly string[],
  own: boolean,
): Promise<Kind[]> {
  const found = new Map<string, Kind>();
  const add = (kind: Kind | undefined) => {
    if (kind?.namespaced) found.set(`${kind.ref.group} ${kind.kind}`, kind);
  };
  for (const place of places) if (own || prune.includes(place.kind)) add(await kinds.of(place));
  for (const name of prune) {
    if (places.some(({ kind }) => kind === name)) continue;
    const named = await kinds.named(name);
    if (named.length === 0)
      throw new UnfitSource(
        `prune of the rule lists ${name}: expected a kind that the cluster has, such as NetworkPolicy`,
      );
    for (const kind of named) add(kind);
  }
  return [...found.values()];
}

type Mark = (metadata: Live['metadata']) => string | undefined;

/** What deployers write on all that is of one application, or release. */
const MARKS: Mark[] = [
  ({ labels }) => joined(labels, 'kustomize.toolkit.fluxcd.io/name', 'kustomize.toolkit.fluxcd.io/namespace'),
  ({ labels }) => joined(labels, 'helm.toolkit.fluxcd.io/name', 'helm.toolkit.fluxcd.io/namespace'),
  ({ annotations }) => joined(annotations, 'meta.helm.sh/release-name', 'meta.helm.sh/release-namespace'),
  // The name of the application, then what the object is.
  ({ annotations }) => annotations?.['argocd.argoproj.io/tracking-id']?.split(':')[0],
  ({ labels }) => labels?.['argocd.argoproj.io/instance'],
  ({ labels }) => labels?.['applyset.kubernetes.io/part-of'],
];

function joined(map: Record<string, string> | undefined, ...keys: string[]): string | undefined {
  const values = keys.map((key) => map?.[key]);
  return values.every((value) => value !== undefined) ? values.join('/') : undefined;
}

interface Marked {
  read: Mark;
  value: string;
}

/** Those that all of the source's live objects have, with one and the same value. */
function marksOf(live: readonly Live[]): Marked[] {
  return MARKS.flatMap((read) => {
    const values = new Set(live.map(({ metadata }) => read(metadata)));
    const [value] = values;
    return values.size === 1 && value !== undefined ? [{ read, value }] : [];
  });
}

const appliersOf = (managers: readonly Manager[] = []): string[] =>
  managers.flatMap(({ manager, operation, subresource }) => {
    if (manager === undefined || subresource) return [];
    return operation === 'Apply' || DEPLOYERS.some((name) => manager.startsWith(name)) ? [manager] : [];
  });

/** Who applies without the server's help, by the beginnings of their names as field managers. By `kubectl edit` nobody applies. */
const DEPLOYERS = ['kubectl-client-side-apply', 'argocd', 'helm', 'Terraform', 'terraform', 'OpenTofu', OWN_MANAGER];

function isOfStack({ metadata }: Live, marks: readonly Marked[], appliers: ReadonlySet<string>): boolean {
  const { ownerReferences = [], deletionTimestamp, annotations, managedFields } = metadata;
  if (ownerReferences.length > 0 || deletionTimestamp !== undefined || exclusion(metadata, undefined)) return false;
  // A person gives back what is held before anything is deleted.
  if (annotations?.[HELD_ANNOTATION] !== undefined) return false;
  if (marks.length > 0) return marks.every(({ read, value }) => read(metadata) === value);
  return appliersOf(managedFields).some((manager) => appliers.has(manager));
}

function placeOf(cluster: string, { apiVersion, kind, ref }: Kind, live: Live): { place: Place; live: Live } {
  const { name, namespace = '' } = live.metadata;
  const own = { apiVersion, kind, namespace, name, object: live, where: '(live)' };
  return { place: { ...own, address: addressOf(cluster, own), ref: { ...ref, namespace, name } }, live };
}

function extra(place: Place, live: Live, isListed: boolean): Looked {
  const { address, kind } = place;
  const why = isListed
    ? `the source does not have it, and prune of the rule lists ${kind}`
    : 'the source does not have it: it is reported, and deleted only where prune of the rule lists its kind';
  const difference: Difference = {
    ...{ address, kind, why, action: 'delete', class: isListed ? 'destructive' : 'extra', fields: [] },
    digest: digest({ address, action: 'delete', uid: live.metadata.uid }),
  };
  return { difference, ...(isListed && { write: { kind: 'delete', place, live } }) };
}
