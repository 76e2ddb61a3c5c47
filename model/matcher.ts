import { RE2JS } from 're2js';
import { InputError } from './input-error.ts';
import { type Labels, labelValue } from './labels.ts';

/**
 * Matchers in Alertmanager's syntax, as its UTF-8 parser (0.27 and later, strict mode) reads them:
 * https://prometheus.io/docs/alerting/latest/configuration/#label-matchers
 */
export interface Matcher {
  readonly label: string;
  readonly op: '=' | '!=' | '=~' | '!~';
  readonly value: string;
  /** Whether a value of the label satisfies it. */
  readonly test: (value: string) => boolean;
}

/** Whether the labels satisfy every matcher. */
export const matches = (matchers: readonly Matcher[], labels: Labels): boolean =>
  matchers.every((matcher) => matcher.test(labelValue(labels, matcher.label)));

export const formatMatcher = ({ label, op, value }: Matcher): string =>
  `${PLAIN_NAME.test(label) ? label : JSON.stringify(label)}${op}${JSON.stringify(value)}`;

const PLAIN_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/**
 * Reads exactly one matcher, such as `namespace!~"kube-.*"`.
 *
 * @throws InputError
 */
export function parseMatcher(text: string): Matcher {
  const [first, ...others] = parseMatchers(text);
  if (!first) throw new InputError('there is no matcher: write one such as alertname="KubePodNotReady"');
  if (others.length > 0) throw new InputError(`one matcher is expected here, found ${others.length + 1}`);
  return first;
}

/**
 * Reads matchers separated by commas, with or without braces round them: `{alertname="Down", severity=~"page|warn"}`.
 *
 * @throws InputError
 */
export function parseMatchers(text: string): Matcher[] {
  const tokens = new Tokens(text);
  const braces = tokens.take('{') !== undefined;
  const found: Matcher[] = [];
  while (!tokens.at('}', 'end')) {
    found.push(readMatcher(tokens));
    if (tokens.take(',')) {
      if (!tokens.at('quoted', 'unquoted', '}', 'end'))
        tokens.fail('expected a matcher or a closing brace after the comma');
    } else if (!tokens.at('}', 'end')) {
      tokens.fail('expected a comma or a closing brace');
    }
  }
  if (braces && !tokens.take('}')) tokens.fail('expected a closing brace');
  if (!braces && tokens.at('}')) tokens.fail('there is no opening brace for it');
  if (!tokens.at('end')) tokens.fail('expected the end');
  return found;
}

function readMatcher(tokens: Tokens): Matcher {
  const label = tokens.take('quoted', 'unquoted') ?? tokens.fail('expected a label name');
  const op = tokens.take('op') ?? tokens.fail('expected an operator: =, !=, =~ or !~');
  const value = tokens.take('quoted', 'unquoted') ?? tokens.fail('expected a value; the empty one is written ""');
  return newMatcher(label.value, op.value as Matcher['op'], value.value);
}

/** @throws InputError where the value is not a regular expression of RE2. */
export function newMatcher(label: string, op: Matcher['op'], value: string): Matcher {
  if (op === '=') return { label, op, value, test: (actual) => actual === value };
  if (op === '!=') return { label, op, value, test: (actual) => actual !== value };
  let pattern: RE2JS;
  try {
    pattern = RE2JS.compile(value);
  } catch (error) {
    throw new InputError(
      `${JSON.stringify(value)} is not a regular expression of RE2: ${error instanceof Error ? error.message : error}`,
      { cause: error },
    );
  }
  const wanted = op === '=~';
  return { label, op, value, test: (actual) => pattern.testExact(actual) === wanted };
}

type Kind = '{' | '}' | ',' | 'op' | 'quoted' | 'unquoted' | 'end';

interface Token {
  kind: Kind;
  /** What it stands for: unescaped where it was quoted. */
  value: string;
  start: number;
  end: number;
}

// White_Space is what Go's unicode.IsSpace takes for space.
const TOKEN =
  /\p{White_Space}*(?:(?<punctuation>[{},])|(?<op>=~|!=|!~|=)|(?<quoted>"(?:[^"\\]|\\.)*")|(?<unquoted>[^\p{White_Space}{}!=~,\\"'`]+)|(?<end>$))/suy;

/** The tokens of a text, with one to look ahead. */
class Tokens {
  readonly #text: string;
  #next: Token;

  constructor(text: string) {
    this.#text = text;
    this.#next = this.#read(0);
  }

  at(...kinds: Kind[]): boolean {
    return kinds.includes(this.#next.kind);
  }

  take(...kinds: Kind[]): Token | undefined {
    if (!this.at(...kinds)) return undefined;
    const token = this.#next;
    if (token.kind !== 'end') this.#next = this.#read(token.end);
    return token;
  }

  fail(expected: string, at: Pick<Token, 'start' | 'end'> = this.#next): never {
    const found = this.#text.slice(at.start, at.end);
    const column = [...this.#text.slice(0, at.start)].length + 1;
    throw new InputError(
      found === '' ? `${expected}, but the text ends` : `${expected}, at ${found} (character ${column})`,
    );
  }

  #read(from: number): Token {
    TOKEN.lastIndex = from;
    const groups = TOKEN.exec(this.#text)?.groups;
    if (!groups) return this.#invalid(from);
    const end = TOKEN.lastIndex;
    const { punctuation, op, quoted, unquoted } = groups;
    const raw = punctuation ?? op ?? quoted ?? unquoted ?? '';
    const start = end - raw.length;
    if (punctuation !== undefined) return { kind: punctuation as Kind, value: raw, start, end };
    if (op !== undefined) return { kind: 'op', value: raw, start, end };
    if (unquoted !== undefined) return { kind: 'unquoted', value: raw, start, end };
    if (quoted === undefined) return { kind: 'end', value: '', start: end, end };
    const value =
      unquote(raw) ??
      this.fail('expected escapes as in a Go string (\\\\ for a backslash) and valid UTF-8', { start, end });
    return { kind: 'quoted', value, start, end };
  }

  #invalid(from: number): never {
    const start = from + (/^\p{White_Space}*/u.exec(this.#text.slice(from))?.[0].length ?? 0);
    const rest = this.#text.slice(start);
    if (rest.startsWith('"')) this.fail('there is no closing quote', { start, end: this.#text.length });
    if (rest.startsWith('!')) this.fail('expected != or !~', { start, end: start + 1 });
    this.fail('expected a name or value without reserved characters, or one in double quotes', {
      start,
      end: start + 1,
    });
  }
}

const ESCAPE =
  /\\(?:(?<simple>[abfnrtv\\"])|x(?<hex>[0-9a-fA-F]{2})|(?<octal>[0-3][0-7]{2})|u(?<u4>[0-9a-fA-F]{4})|U(?<u8>[0-9a-fA-F]{8}))|(?<plain>[^\\\n])/suy;

const SIMPLE: Record<string, string> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
};

/** The content of a double-quoted Go string literal (strconv.Unquote); undefined where it is none or not UTF-8. */
function unquote(literal: string): string | undefined {
  const text = literal.slice(1, -1);
  const chunks: Buffer[] = [];
  for (ESCAPE.lastIndex = 0; ESCAPE.lastIndex < text.length; ) {
    const groups = ESCAPE.exec(text)?.groups;
    if (!groups) return undefined;
    const { simple, hex, octal, u4, u8, plain } = groups;
    const code = u4 ?? u8;
    if (hex !== undefined) chunks.push(Buffer.of(Number.parseInt(hex, 16)));
    else if (octal !== undefined) chunks.push(Buffer.of(Number.parseInt(octal, 8)));
    else if (code !== undefined) {
      const point = Number.parseInt(code, 16);
      if (point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff)) return undefined;
      chunks.push(Buffer.from(String.fromCodePoint(point)));
    } else chunks.push(Buffer.from(simple === undefined ? (plain ?? '') : (SIMPLE[simple] ?? '')));
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Buffer.concat(chunks));
  } catch {
    return undefined; // not valid UTF-8; the caller says so
  }
}
