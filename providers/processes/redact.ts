/** What stands where a secret was. */
const REDACTED = '(redacted)';

/** Control characters, which would move a terminal's cursor or colour its text; line ends and tabs stay. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROL = /\u001b\[[0-9;]*[A-Za-z]|[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** Text that a process printed, without the secrets that it was given and without what a terminal would obey. */
export function redacted(text: string, secrets: readonly string[]): string {
  // The longest first: one may be a part of another, whose rest would stay.
  const ordered = secrets.filter((secret) => secret !== '').sort((a, b) => b.length - a.length);
  return ordered.reduce((left, secret) => left.replaceAll(secret, REDACTED), text).replace(CONTROL, '');
}

/** The end of a text, in one line, for a message. */
export function lastLines(text: string, most = 1_000): string {
  const line = text
    .split('\n')
    .map((one) => one.trim())
    .filter((one) => one !== '')
    .join(' / ');
  return line.length <= most ? line : `… ${line.slice(-most)}`;
}
