/** Text of strangers in Markdown, as Temporal's UI shows it. */

/** Characters of one value. */
const LONGEST = 240;

/** As text: what Markdown or HTML would make of it is taken from it. */
export const plain = (text: string): string => cut(text).replaceAll(/[\\`*_[\]<>|~&#]/g, '\\$&');

/** As code: names and values, of which every character matters. */
export const code = (text: string): string => `\`${cut(text).replaceAll('`', "'")}\``;

function cut(text: string): string {
  const line = text.replaceAll(/\s+/g, ' ').trim();
  return line.length > LONGEST ? `${line.slice(0, LONGEST - 1)}…` : line;
}
