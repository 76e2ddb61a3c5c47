import type { Difference } from './difference.ts';

/** Characters of JSON that the differences of one look may take: the server refuses a payload of more than 2 MiB. */
const MOST = 256 * 1024;

/** As they are where they have room; else with fewer of their fields. Digests, by which they are compared, stay. */
export function bounded(differences: readonly Difference[], most = MOST): Difference[] {
  for (const fields of [20, 8, 3, 1, 0]) {
    const some = differences.map((one) => withFields(one, fields));
    if (JSON.stringify(some).length <= most) return some;
  }
  // Without their fields: so many addresses are far below it, unless they are absurdly long.
  return fitting(differences, most, 0);
}

/** As many as have room, from the first, each with so many fields at most. */
export function fitting(differences: readonly Difference[], most: number, fields: number): Difference[] {
  let room = most;
  const kept: Difference[] = [];
  for (const difference of differences) {
    const one = withFields(difference, fields);
    room -= JSON.stringify(one).length;
    if (room < 0) break;
    kept.push(one);
  }
  return kept;
}

function withFields(difference: Difference, most: number): Difference {
  const { fields, more = 0 } = difference;
  if (fields.length <= most) return difference;
  return { ...difference, fields: fields.slice(0, most), more: more + fields.length - most };
}
