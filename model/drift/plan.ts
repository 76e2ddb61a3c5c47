import { digest } from '../digest.ts';
import type { Plan, PlannedChange } from '../plan.ts';
import type { Difference } from './difference.ts';

/** Of a plan, which is kept in history: its digest is over all of it. */
const MOST_STEPS = 30;
const MOST_CHANGES = 100;

/**
 * What reverting these differences would do. Its digest is of what would be written and of what is there now, and not of the
 * commit: one that changes nothing of it is no other plan, and in a repository that is busy no approval would ever hold.
 *
 * Not for workflows, which have no digest.
 */
export function planOf(target: string, reviewed: readonly Difference[], revision?: string): Plan {
  const ordered = [...reviewed].sort((a, b) => (a.address < b.address ? -1 : 1));
  const at = revision === undefined ? '' : ` at ${revision.slice(0, 12)}`;
  const lines = reviewed.map(({ action, address, why }) => `${action} ${address}: ${why}`);
  return {
    steps: [
      `look again; where it is still just this, make it as the source${at} says, and touch nothing else`,
      ...firstOf(lines, MOST_STEPS),
      'compare again: nothing of this may be left',
    ],
    changes: reviewed.flatMap((difference) => changesOf(target, difference)).slice(0, MOST_CHANGES),
    digest: digest({ target, reviewed: ordered.map(({ address, action, digest: of }) => ({ address, action, of })) }),
  };
}

function changesOf(key: string, { address, action, fields, more = 0 }: Difference): PlannedChange[] {
  // An address has no identity of its own here: what it is the provider finds again, and compares.
  const object = { key, uid: address };
  const whole = { what: `${action} ${address}`, object, field: action, before: null, after: null };
  const changes = fields.map(
    ({ path, live, source }): PlannedChange => ({
      what: `${address} ${path}`,
      ...{ object, field: path, before: live, after: source },
    }),
  );
  const left = more > 0 ? [{ ...whole, what: `${address}: ${more} more fields` }] : [];
  return action === 'update' ? [...changes, ...left] : [whole, ...changes, ...left];
}

const firstOf = (lines: string[], most: number): string[] =>
  lines.length > most ? [...lines.slice(0, most), `… and ${lines.length - most} more`] : lines;
