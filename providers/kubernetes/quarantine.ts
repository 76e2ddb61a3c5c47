import type { Held } from '../../model/change.ts';
import type { LabelSelector, Labels } from '../../model/selectors.ts';
import { parseField, readField } from './fields.ts';
import { controllerOf } from './health.ts';
import type { OwnerReference, Pod, Service } from './objects.ts';
import { keysOf, selectorOfService, selects } from './selectors.ts';

/** In place of a label's value: nothing selects it, and it is the same on every look at this very pod. */
export const quarantineValue = (uid: string): string => `quarantined-${uid}`;

/** Whether a held field of the pod with this UID is one of the labels that its quarantine has set. */
export const isQuarantine = ({ set }: Pick<Held, 'set'>, uid: string): boolean => set === quarantineValue(uid);

/** Whether these fields, held of the pod with this UID, keep it in quarantine. */
export const isQuarantined = (held: readonly Pick<Held, 'set'>[] | undefined, uid: string): boolean =>
  held?.some((one) => isQuarantine(one, uid)) ?? false;

/** Whether these notes keep the pod in quarantine, and nobody has taken it out by hand. */
export function staysInQuarantine(pod: Pod, notes: readonly Held[]): boolean {
  const own = notes.filter((note) => isQuarantine(note, pod.metadata.uid));
  return own.length > 0 && own.every(({ field, set }) => readField(pod, parseField(field)) === set);
}

/** How the pod gets out of its owner's selector, and of the Services that select it; or why that cannot be. */
export type Leaving =
  | { keys: string[]; services: string[]; why?: never }
  | { keys?: never; services?: never; why: string };

/**
 * The labels to change, as few as take the pod out of the selector of its owner and of every Service that selects it: one
 * where these have one in common.
 */
export function leavingOf(pod: Pod, selector: LabelSelector | undefined, services: readonly Service[]): Leaving {
  const { labels = {}, uid } = pod.metadata;
  // It would have to have the name of the pod that is kept.
  if (controllerOf(pod.metadata)?.kind === 'StatefulSet')
    return { why: 'its owner is a StatefulSet, which starts no other pod before this one is gone' };
  if (!selector) return { why: 'the selector of its owner is not known' };
  if (!selects(selector, labels)) return { why: 'its owner does not select it any more' };
  const value = quarantineValue(uid);
  const ofOwner = leavingKeys(selector, labels, value);
  if (ofOwner.length === 0) return { why: 'no change of a label takes it out of the selector of its owner' };
  const selecting = services.flatMap((service) => {
    const own = selectorOfService(service);
    return own && selects(own, labels) ? [{ name: service.metadata.name, keys: leavingKeys(own, labels, value) }] : [];
  });
  return {
    keys: fewest([ofOwner, ...selecting.map(({ keys }) => keys)]),
    services: selecting.map(({ name }) => name),
  };
}

/** The labels each of which takes the pod out of a selector when it is set to this value. */
const leavingKeys = (selector: LabelSelector, labels: Labels, value: string): string[] =>
  [...keysOf(selector)].filter((key) => !selects(selector, { ...labels, [key]: value }));

/** One key of each set at least: again and again the one that is in the most sets that are left, by name where several are. */
function fewest(sets: string[][]): string[] {
  const chosen: string[] = [];
  for (let left = sets; left.length > 0; ) {
    const uses = new Map<string, number>();
    for (const key of left.flat()) uses.set(key, (uses.get(key) ?? 0) + 1);
    const [[best] = []] = [...uses].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
    if (best === undefined) return chosen;
    chosen.push(best);
    left = left.filter((keys) => !keys.includes(best));
  }
  return chosen;
}

/** The owner as the note of a quarantine names it: the pod itself no longer does. */
export function notedController(notes: readonly { controller?: unknown }[]): OwnerReference | undefined {
  return notes.map(({ controller }) => controller).find(isReference);
}

function isReference(value: unknown): value is OwnerReference {
  if (typeof value !== 'object' || value === null) return false;
  const reference = value as Record<string, unknown>;
  return ['apiVersion', 'kind', 'name', 'uid'].every((key) => typeof reference[key] === 'string');
}
