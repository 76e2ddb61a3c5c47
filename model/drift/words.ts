import type { Difference, DriftClass, DriftCounts } from './difference.ts';

/** How differences are told of, for people. */

/** Addresses that one sentence names. */
const MOST_NAMED = 5;

/** `a, b and 3 more`, each with who has changed it, where that is known. */
export function named(differences: readonly Difference[]): string {
  const names = differences.slice(0, MOST_NAMED).map((one) => `${one.address}${by(one)}`);
  const left = differences.length - names.length;
  return left > 0 ? `${names.join(', ')} and ${left} more` : names.join(', ');
}

const by = ({ who }: Difference): string => (who ? ` (changed by ${who.by}${who.at ? ` at ${who.at}` : ''})` : '');

const WORDS: Record<DriftClass, (count: number) => string> = {
  destructive: (n) => `${n} to be reverted with an approval only`,
  reversible: (n) => `${n} to be reverted`,
  mixed: (n) => `${n} with drift and unapplied source in one, which is reported and never reverted`,
  extra: (n) => `${n} that the source does not have, which is reported and never deleted`,
  unapplied: (n) => `the source has changes that are not applied: ${n}; that is not drift`,
  held: (n) => `${n} held by Salvor`,
  ignored: (n) => `${n} ignored`,
  computed: (n) => `${n} only computed`,
};

/** All that there is, the gravest first; `nothing differs` for nothing. */
export function described(counts: DriftCounts): string {
  const parts = (Object.keys(WORDS) as DriftClass[]).flatMap((one) =>
    counts[one] > 0 ? [WORDS[one](counts[one])] : [],
  );
  return parts.join('; ') || 'nothing differs';
}
