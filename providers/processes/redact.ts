/** What stands where a secret was. */
const REDACTED = '(redacted)';

/** Control characters, which would move a terminal's cursor or colour its text; line ends and tabs stay. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const CONTROL = /\u001b\[[0-9;]*[A-Za-z]|[\u0000-\u0008\u000b-\u001f\u007f]/g;

/** What stands before the host of an address: a token may be in it. */
const USER_INFO = /(?<=[a-z][a-z0-9+.-]*:\/\/)[^/\s@'"]+(?=@)/gi;

/** Text that a process printed, without the secrets that it was given, those in addresses, and what a terminal would obey. */
export function redacted(text: string, secrets: readonly string[]): string {
  // The longest first: one may be a part of another, whose rest would stay.
  const ordered = secrets.filter((secret) => secret !== '').sort((a, b) => b.length - a.length);
  const left = ordered.reduce((some, secret) => some.replaceAll(secret, REDACTED), text);
  return left.replace(CONTROL, '').replace(USER_INFO, REDACTED);
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
