import { InputError, shown } from './input-error.ts';

/** Units from large to small, as Prometheus orders them; so that `1m1d` cannot be meant as a month and a day. */
const UNITS = [
  ['w', 604_800_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

/** The form of a duration as a regular expression, for schemas. */
export const DURATION_PATTERN = `^(0|(?=\\d)${UNITS.map(([unit]) => `(\\d+${unit})?`).join('')})$`;

const DURATION = new RegExp(DURATION_PATTERN);

/**
 * Reads a duration such as `1h30m` in Prometheus' syntax: whole numbers with the units w, d, h, m, s, ms, each at
 * most once, the larger first; or `0`.
 *
 * @returns milliseconds
 * @throws InputError
 */
export function parseDuration(text: string): number {
  const match = DURATION.exec(text);
  if (!match) {
    throw new InputError(
      `${shown(text)} is not a duration: write whole numbers with the units w, d, h, m, s, ms, the larger first, such as 1h30m or 500ms`,
    );
  }
  const parts = match.slice(2);
  const ms = UNITS.reduce((sum, [unit, factor], i) => sum + factor * Number(parts[i]?.slice(0, -unit.length) ?? 0), 0);
  if (!Number.isSafeInteger(ms)) throw new InputError(`${shown(text)} is too long a duration`);
  return ms;
}

/**
 * Writes milliseconds as `parseDuration` reads them: `90000` as `1m30s`. Nothing larger than days is used, for `14d`
 * says more than `2w`.
 */
export function formatDuration(ms: number): string {
  if (!Number.isSafeInteger(ms) || ms < 0) throw new RangeError(`not a number of milliseconds: ${ms}`);
  if (ms === 0) return '0s';
  let rest = ms;
  let text = '';
  for (const [unit, factor] of UNITS.slice(1)) {
    const count = Math.floor(rest / factor);
    if (count > 0) text += `${count}${unit}`;
    rest %= factor;
  }
  return text;
}
