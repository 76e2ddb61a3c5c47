/**
 * Keeps secrets off the record: by the name of a field, and by pattern in any text. Pure, so that workflows and the
 * gateway can use it too. It errs on the side of removing.
 */

const REMOVED = '[redacted]';

/** Names without case and separators; a name that has one of these in it holds a secret, */
const SECRET_NAME =
  /passw(?:or)?d|passphrase|secret|token|credential|authorization|cookie|apikey|privatekey|accesskey|signingkey|encryptionkey|masterkey|sshkey|sessionid|bearer|^(?:auth|basicauth|pwd|pass|jwt)$/;
/** unless it ends with one of these: then it says where the secret is, or what it is called. */
const HARMLESS_NAME =
  /(?:name|file|path|ref|refs|env|namespace|keyid|type|kind|reviewed|expiry|expires|expiration|expiresat|idempotencytoken)$/;

/** Names come again and again. */
const known = new Map<string, boolean>();
const MOST_KNOWN = 1_000;

function isSecretName(name: string): boolean {
  const before = known.get(name);
  if (before !== undefined) return before;
  const bare = name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const is = SECRET_NAME.test(bare) && !HARMLESS_NAME.test(bare);
  if (known.size < MOST_KNOWN && name.length < 100) known.set(name, is);
  return is;
}

/** The last part of a path such as `data.password` or `metadata.labels[api-token]`. */
const lastPart = (path: string): string => /[^.[\]"'/]+(?=["'\]]*$)/.exec(path)?.[0] ?? path;

/**
 * A copy without secrets, for plain JSON values. Texts in fields whose name says so are replaced whole, in every other text
 * what looks like a secret. Numbers, booleans and null stay.
 */
export function redact(value: unknown): unknown {
  if (typeof value === 'string') return redactText(value);
  if (Array.isArray(value)) return value.map(redact);
  if (typeof value !== 'object' || value === null) return value;
  return redactObject(value as Record<string, unknown>);
}

function redactObject(object: Record<string, unknown>): Record<string, unknown> {
  const beside = secretsBeside(object);
  const members = Object.entries(object).map(([name, value]): [string, unknown] => [
    // A name is data too where it comes from a map.
    redactText(name),
    isSecretName(name) || beside.has(name) ? removeTexts(value) : redact(value),
  ]);
  return Object.fromEntries(members);
}

/** Members that another member says are secret: a Secret's data, the value of a variable, a change of such a field. */
function secretsBeside(object: Record<string, unknown>): ReadonlySet<string> {
  if (object.kind === 'Secret') return new Set(['data', 'stringData']);
  const named = [object.name, object.key].some((name) => typeof name === 'string' && isSecretName(name));
  if (named) return new Set(['value']);
  const { field } = object;
  if (typeof field === 'string' && isSecretName(lastPart(field))) return new Set(['before', 'after', 'set']);
  return new Set();
}

function removeTexts(value: unknown): unknown {
  if (typeof value === 'string') return value === '' ? '' : REMOVED;
  if (Array.isArray(value)) return value.map(removeTexts);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [redactText(name), removeTexts(member)]));
}

/** Anything shorter holds no secret that a pattern could tell. */
const SHORTEST = 8;

const PEM = /-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|$)/g;
// Texts are of strangers and may be megabytes long: no pattern here may look at the same characters again and again.
/** Each begins with what its issuer put there so that it can be found. */
const ISSUED = [
  /\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b/g, // AWS
  /\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,})/g, // GitHub, GitLab
  /\bxox[a-z]-[\w-]{10,}/g, // Slack
  /\bhooks\.slack\.com\/(?:services|workflows)\/[\w/-]{10,}/g,
  /\b(?:AIza[\w-]{35}|ya29\.[\w-]{20,}|GOCSPX-[\w-]{20,})/g, // Google
  /\b(?:sk|rk)_(?:live|test)_\w{16,}|\bnpm_[A-Za-z0-9]{30,}|\bhvs\.[\w-]{20,}/g,
];
/** Likewise, but so may a pod be called (`sk-learn-serving-6d4f8b7c9d-x2vkq`), whose name has to stay what it is. */
const ISSUED_OR_NAMED = /\b(?:xapp-[\w-]{10,}|sk-[\w-]{20,})/g;
const NO_NAME = /[A-Z_]|[a-z0-9]{24,}/;
/** Words that dots hold together, as they do the parts of a JWT. */
const DOTTED = /(?<![\w-])[\w-]+(?:\.[\w-]+)+/g;
const JWT_HEAD = /\beyJ[\w-]{5}/;
const JWT_BODY = 5;
const COOKIE = /\b((?:set-)?cookie["'\\]*\s*:\s*)[^\r\n]+/gi;
const SCHEME = /\b(bearer|basic|token|negotiate)(\s+)([\w.~+/-]{8,}=*)/gi;
const USER_INFO = /\b([a-z][a-z0-9+.-]{0,30}:\/\/)([^\s/?#"'<>]*)@/gi;
const NAMED =
  /(passw(?:or)?d|passphrase|pwd|secret|token|api[-_ ]?key|access[-_ ]?key|private[-_ ]?key|credential|authorization)([\w-]{0,40}["'\\]*)(\s*(?:=>?|:)\s*|\s+)("(?:[^"\\]|\\[\s\S])*(?:"|\\?$)|\\+"[^"]*(?:"|$)|'[^']*(?:'|$)|[^\s,;&"'}\]]+)/gi;

/** One look that most texts pass: what has none of these is met by no pattern below. */
const SUSPECT =
  /passw|passphrase|pwd|secret|token|key|credential|authorization|cookie|bearer|basic|negotiate|:\/\/|eyJ|A[KSB]IA|ACCA|gh[pousr]_|github_|glpat|xox|xapp|slack|AIza|ya29|GOCSPX|[sr]k[-_]|npm_|hvs\.|^\s*[[{]/i;

/** A text without what looks like a secret. */
function redactText(text: string): string {
  if (text.length < SHORTEST || !SUSPECT.test(text)) return text;
  let clean = redactJson(text) ?? text;
  clean = clean.replaceAll(PEM, REMOVED);
  for (const pattern of ISSUED) clean = clean.replaceAll(pattern, REMOVED);
  if (clean.includes('eyJ')) clean = clean.replaceAll(DOTTED, withoutJwt);
  return clean
    .replaceAll(ISSUED_OR_NAMED, (value) => (NO_NAME.test(value) ? REMOVED : value))
    .replaceAll(COOKIE, `$1${REMOVED}`)
    .replaceAll(SCHEME, (all, scheme: string, space: string, value: string) =>
      looksSecret(value) ? `${scheme}${space}${REMOVED}` : all,
    )
    .replaceAll(USER_INFO, redactUserInfo)
    .replaceAll(NAMED, redactNamed);
}

/** Header, payload and, where it is there, signature. */
function withoutJwt(dotted: string): string {
  const clean: string[] = [];
  const parts = dotted.split('.');
  for (let at = 0; at < parts.length; at++) {
    const part = parts[at] ?? '';
    const head = (parts[at + 1]?.length ?? 0) >= JWT_BODY ? part.search(JWT_HEAD) : -1;
    clean.push(head === -1 ? part : `${part.slice(0, head)}${REMOVED}`);
    if (head !== -1) at += 2;
  }
  return clean.join('.');
}

function redactUserInfo(all: string, scheme: string, info: string): string {
  const [user = ''] = /^[^:@]*/.exec(info) ?? [];
  if (info[user.length] === ':') return `${scheme}${user}:${REMOVED}@`;
  return user === info && /^https?:/i.test(scheme) ? `${scheme}${REMOVED}@` : all;
}

function redactNamed(
  ...[all, name, rest, between, value, at, text]: [string, string, string, string, string, number, string]
): string {
  if (value.includes(REMOVED.slice(0, -1)) || HARMLESS_NAME.test(rest.toLowerCase().replaceAll(/[^a-z0-9]/g, '')))
    return all;
  const sign = between.trim();
  const quoted = /^\\*["']/.test(value);
  // A value after a space belongs to an option: `--api-token abc123`; else it is prose, `the token web-0 uses`.
  if (sign === '' && !/(?:^|\s)--?[\w-]{0,40}$/.test(text.slice(Math.max(0, at - 44), at))) return all;
  // Prose says `the token: expired`; a program writes `token: "abc"`.
  const certain = sign.startsWith('=') || (sign === ':' && quoted) || /^pass|^pwd/i.test(name);
  return certain || looksSecret(value) ? `${name}${rest}${between}${REMOVED}` : all;
}

/** No word of a language: it has a digit and letters, or is of mixed case, or is very long. */
const looksSecret = (value: string): boolean =>
  value.length >= 24 || (value.length >= SHORTEST && /[A-Za-z]/.test(value) && /\d|[a-z][A-Z]|[+/=~]/.test(value));

/** JSON within a text, such as an annotation that holds a whole object. */
function redactJson(text: string): string | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.stringify(redact(JSON.parse(text)));
  } catch {
    return undefined; // It only began like JSON.
  }
}

const LONGEST_VALUE = 1_000;
const ALL_BYTES = 8 * 1_024;

/**
 * Labels or annotations as they go on record: secrets removed, each value cut to 1,000 characters, and names and values
 * together to 8 KiB of UTF-8. What has no room any more, in the order given, is left out.
 */
export function recordedLabels(labels: Readonly<Record<string, string>>): Record<string, string> {
  let room = ALL_BYTES;
  const kept: [string, string][] = [];
  for (const [name, value] of Object.entries(redactObject(labels))) {
    const cleanName = name.toWellFormed();
    room -= bytesOf(cleanName);
    if (room < 0) break;
    const cut = cutTo(String(value).toWellFormed(), LONGEST_VALUE, room);
    room -= bytesOf(cut);
    kept.push([cleanName, cut]);
  }
  return Object.fromEntries(kept);
}

/** The beginning of a well-formed text, of at most so many characters and bytes. */
function cutTo(text: string, characters: number, bytes: number): string {
  let end = 0;
  let size = 0;
  for (const character of text) {
    size += bytesOf(character);
    if (end + character.length > characters || size > bytes) break;
    end += character.length;
  }
  return text.slice(0, end);
}

/** In UTF-8; counted here, for where workflows run there is no Buffer. */
function bytesOf(text: string): number {
  let bytes = 0;
  for (const character of text) {
    const point = character.codePointAt(0) ?? 0;
    bytes += point < 0x80 ? 1 : point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
  }
  return bytes;
}
