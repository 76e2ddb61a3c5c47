import type { Remembered } from '../remediation.ts';
import { type Difference, isDrift } from './difference.ts';

/** What is remembered of an address from one remediation of its stack to the next. Times in milliseconds since the epoch. */
export interface Sighting {
  /** Since when it is known to have drifted. A revert that does not last changes nothing in that. */
  since?: number;
  /** As it was seen last, and since when it looks so: what is still being changed is not old. Absent: it had not drifted. */
  digest?: string;
  unchanged?: number;
  /** When it was reverted, of those reverts that have not lasted by now. */
  reverts: number[];
  /** Since when it is seen to be as its source says. */
  right?: number;
  /** Since when it is left to a person, for somebody keeps changing it; and the alert by which people were told. */
  told?: number;
  alert?: string;
}

/** What a person has to mend before it can be compared, and by which alert people were told. */
export interface Unfit {
  why: string;
  alert: string;
}

/** A plan that a person has denied, or about which nobody has decided in time. */
export interface Declined {
  digest: string;
  why: string;
}

/** Keys of {@link Declined} and {@link Unfit} in the memory; those of addresses begin with `@`. */
export const DECLINED = 'declined';
export const UNFIT = 'unfit';
export const keyOf = (address: string): string => `@${address}`;

const DAY = 86_400_000;
/** Reverts of an address that are remembered: more do not count. */
export const MOST_REVERTS = 20;

/** How long an address is remembered after it was seen last: a fight is one, too, where a stack is looked at once a week. */
export const rememberFor = (per: number): number => Math.max(2 * per, 8 * DAY);

export type DriftMemory = Readonly<Record<string, Remembered>>;

export const sightingOf = (memory: DriftMemory, address: string): Sighting | undefined =>
  memory[keyOf(address)]?.value as Sighting | undefined;

/**
 * What is to be remembered after a look; null of what is to be forgotten. What is not in it stays as it is.
 *
 * @param per milliseconds for which a revert has to be seen to last, or it counts
 */
export function sightings(
  memory: DriftMemory,
  differences: readonly Difference[],
  { now, per }: { now: number; per: number },
): Record<string, Remembered | null> {
  const drifted = differences.filter(isDrift);
  const until = now + rememberFor(per);
  const changed: Record<string, Remembered | null> = {};
  for (const { address, digest } of drifted) {
    const known = sightingOf(memory, address);
    const isSame = known?.digest === digest && known.unchanged !== undefined;
    const value: Sighting = {
      ...{ since: known?.since ?? now, digest, unchanged: isSame ? known.unchanged : now },
      reverts: known?.reverts ?? [],
      ...(known?.told !== undefined && { told: known.told }),
      ...(known?.alert !== undefined && { alert: known.alert }),
    };
    changed[keyOf(address)] = { until, value };
  }
  const keys = new Set(drifted.map(({ address }) => keyOf(address)));
  for (const [key, { value }] of Object.entries(memory)) {
    if (!key.startsWith('@') || keys.has(key)) continue;
    const right = seenRight(value as Sighting, now, per);
    changed[key] = right && { until, value: right };
  }
  // It could be compared.
  if (memory[UNFIT]) changed[UNFIT] = null;
  return changed;
}

/** Of an address that is as its source says; null where nothing of it matters any more. */
function seenRight({ since, digest, reverts, right, alert }: Sighting, now: number, per: number): Sighting | null {
  // Only what was seen counts: where nobody looked meanwhile, nobody knows whether it has lasted.
  if (reverts.length === 0 || (right !== undefined && now - right >= per)) return null;
  return {
    ...(since !== undefined && { since }),
    ...{ reverts, right: right ?? now },
    // Where it was Salvor who has reverted it, it may well be changed again; else somebody has mended it.
    ...(digest === undefined && alert !== undefined && { alert }),
  };
}

/** After these were reverted. */
export function reverted(
  memory: DriftMemory,
  reviewed: readonly Difference[],
  { now, per }: { now: number; per: number },
): Record<string, Remembered> {
  const until = now + rememberFor(per);
  return Object.fromEntries(
    reviewed.map(({ address }) => {
      const { since, alert, reverts = [] } = sightingOf(memory, address) ?? {};
      const value: Sighting = {
        ...(since !== undefined && { since }),
        reverts: [...reverts, now].slice(-MOST_REVERTS),
        ...(alert !== undefined && { alert }),
      };
      return [keyOf(address), { until, value }];
    }),
  );
}

/** Alerts that are over: nothing of what they told of is left. */
export function alertsOver(before: DriftMemory, after: DriftMemory): string[] {
  const open = new Set(alertsIn(after));
  return [...new Set(alertsIn(before))].filter((alert) => !open.has(alert));
}

const alertsIn = (memory: DriftMemory): string[] =>
  Object.entries(memory).flatMap(([key, { value }]) =>
    key === DECLINED ? [] : ((value as Partial<Sighting & Unfit>).alert ?? []),
  );
