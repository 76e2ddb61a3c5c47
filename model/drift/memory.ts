import type { Remembered } from '../remediation.ts';
import { type Difference, isDrift } from './difference.ts';

/** What is remembered of an address from one remediation of its stack to the next. Times in milliseconds since the epoch. */
export interface Sighting {
  /** Since when it is known to have drifted; absent: it has not, by now. */
  since?: number;
  /** As it was seen last, and since when it looks so: what is still being changed is not old. */
  digest?: string;
  unchanged?: number;
  /** When it was reverted. */
  reverts: number[];
  /** When people were told that somebody keeps changing it, and by which alert. */
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
/** Reverts of an address that are remembered: more than can count. */
const MOST_REVERTS = 20;

/** How long an address is remembered after it was seen last. */
export const rememberFor = (per: number): number => Math.max(per, DAY);

export type DriftMemory = Readonly<Record<string, Remembered>>;

export const sightingOf = (memory: DriftMemory, address: string): Sighting | undefined =>
  memory[keyOf(address)]?.value as Sighting | undefined;

/**
 * What is to be remembered after a look; null of what is to be forgotten. What is not in it stays as it is.
 *
 * @param per milliseconds over which reverts are counted
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
      reverts: counted(known, now, per),
      ...(known?.told !== undefined && { told: known.told }),
      ...(known?.alert !== undefined && { alert: known.alert }),
    };
    changed[keyOf(address)] = { until, value };
  }
  const keys = new Set(drifted.map(({ address }) => keyOf(address)));
  for (const [key, { until: old, value }] of Object.entries(memory)) {
    if (!key.startsWith('@') || keys.has(key)) continue;
    const reverts = counted(value as Sighting, now, per);
    // What is as it should be is remembered for its reverts only.
    changed[key] = reverts.length === 0 ? null : { until: old, value: { reverts } satisfies Sighting };
  }
  // It could be compared.
  if (memory[UNFIT]) changed[UNFIT] = null;
  return changed;
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
      const reverts = [...counted(sightingOf(memory, address), now, per), now].slice(-MOST_REVERTS);
      return [keyOf(address), { until, value: { reverts } satisfies Sighting }];
    }),
  );
}

/** Reverts of it that still count. */
export const counted = (known: Sighting | undefined, now: number, per: number): number[] =>
  (known?.reverts ?? []).filter((at) => at > now - per);

/** Alerts that are over: nothing of what they told of is left. */
export function alertsOver(before: DriftMemory, after: DriftMemory): string[] {
  const open = new Set(alertsIn(after));
  return [...new Set(alertsIn(before))].filter((alert) => !open.has(alert));
}

const alertsIn = (memory: DriftMemory): string[] =>
  Object.entries(memory).flatMap(([key, { value }]) =>
    key === DECLINED ? [] : ((value as Partial<Sighting & Unfit>).alert ?? []),
  );
