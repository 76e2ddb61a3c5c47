/** Times for people are those of this machine, in every command; what says so is {@link zone}, once. */

/** Offset of this machine's time from UTC, as in `UTC+02:00`. */
export function zone(at = new Date()): string {
  const minutes = -at.getTimezoneOffset();
  const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
  return `UTC${minutes < 0 ? '-' : '+'}${String(hours).padStart(2, '0')}:${String(rest).padStart(2, '0')}`;
}

/** `17:52:03` */
export const clock = (at: string | number): string => new Date(at).toLocaleTimeString('en-GB');

/** `2026-01-31 17:52:03` */
export const dateAndTime = (at: string | number): string => new Date(at).toLocaleString('sv-SE');

/** The times in a sentence, which is written with ISO times in UTC, as the others of the command. */
export const localized = (text: string): string =>
  text.replaceAll(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (iso) => dateAndTime(iso));
