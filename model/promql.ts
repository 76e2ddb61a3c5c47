import { DURATION_PATTERN, parseDuration } from './duration.ts';
import { InputError } from './input-error.ts';

/** What may stand in a query for a part of its target. */
export const QUERY_VALUES = ['cluster', 'namespace', 'pod', 'node', 'name', 'group', 'instance'] as const;
export type QueryValue = (typeof QUERY_VALUES)[number];
export type QueryValues = Partial<Record<QueryValue, string>>;

/** A place that a value takes; in a matcher with `=~` or `!~` it is a part of a regular expression. */
export interface QueryPlace {
  value: QueryValue;
  regexp: boolean;
}

/** A query: text, and the places between. */
export type QueryParts = (string | QueryPlace)[];

const PLACE = /\$\{([^}]*)\}/g;

/**
 * Reads a query with places such as `${pod}`. A place may only stand within the quoted value of a label matcher
 * (`pod="${pod}"`), for there its value can be escaped so that it stays a value.
 *
 * @throws InputError
 */
export function parseQuery(text: string): QueryParts {
  if (text.trim() === '') throw new InputError('expected a query');
  const strings = stringsOf(text);
  const parts: QueryParts = [];
  let from = 0;
  for (const match of text.matchAll(PLACE)) {
    const [place, name] = match;
    const value = QUERY_VALUES.find((known) => known === name);
    if (value === undefined)
      throw new InputError(
        `expected one of ${QUERY_VALUES.map((known) => `\${${known}}`).join(', ')} in place of ${place}`,
      );
    const string = strings.find(({ start, end }) => start < match.index && match.index + place.length <= end);
    if (string?.quote !== '"' || string.operator === undefined)
      throw new InputError(`expected ${place} within a label value in double quotes, such as pod="\${pod}"`);
    // Behind an odd number of backslashes its first character would be read as a part of an escape.
    if (/(?<!\\)(?:\\\\)*\\$/.test(text.slice(string.start + 1, match.index)))
      throw new InputError(`expected no backslash right before ${place}`);
    parts.push(text.slice(from, match.index), { value, regexp: string.operator.endsWith('~') });
    from = match.index + place.length;
  }
  parts.push(text.slice(from));
  return parts;
}

const RANGE = /\[\s*([0-9a-z]+)\s*[\]:]/g;

/** Milliseconds of the longest range (`[5m]`, `[1h:1m]`) in some queries; undefined where there is none. */
export function longestRange(queries: readonly string[]): number | undefined {
  const ranges = queries.flatMap((text) =>
    [...text.replaceAll(LEXEME, '').matchAll(RANGE)].map(([, range = '']) => range),
  );
  const known = ranges.flatMap((range) => (new RegExp(DURATION_PATTERN).test(range) ? [parseDuration(range)] : []));
  return known.length > 0 ? Math.max(...known) : undefined;
}

interface QuotedString {
  quote: string;
  /** Where its quotes are. */
  start: number;
  end: number;
  /** The operator of the matcher whose value it is. */
  operator?: '=' | '!=' | '=~' | '!~';
}

/** As PromQL's lexer: a comment, or a string in one of PromQL's three quotes, of which `` ` `` knows no escapes. */
const LEXEME = /#[^\n]*|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`/g;

/** @throws InputError where one is not closed: what it would take in depends on the values */
function stringsOf(text: string): QuotedString[] {
  const open = /["'`]/.exec(text.replaceAll(LEXEME, ''))?.[0];
  if (open !== undefined) throw new InputError(`expected a query in which every ${open} is closed`);
  const strings: QuotedString[] = [];
  let from = 0;
  for (const { 0: lexeme, index: start } of text.matchAll(LEXEME)) {
    const operator = /(?:=~|!~|!=|(?<![=<>!])=)(?=\s*$)/.exec(text.slice(from, start))?.[0];
    from = start + lexeme.length;
    const quote = lexeme[0] ?? '';
    if (quote === '#') continue;
    strings.push({
      quote,
      start,
      end: from - 1,
      ...(operator !== undefined && { operator: operator as NonNullable<QuotedString['operator']> }),
    });
  }
  return strings;
}

/**
 * The query for one target. Each value is escaped for a string in double quotes, and before that for a regular expression
 * where it stands in one, so that it means itself and nothing else.
 *
 * @throws InputError where the target has no such part
 */
export function renderQuery(text: string, values: QueryValues): string {
  return parseQuery(text)
    .map((part) => {
      if (typeof part === 'string') return part;
      const value = values[part.value];
      if (value === undefined)
        throw new InputError(`the target has no ${part.value}, which the query ${text} asks for`);
      return JSON.stringify(part.regexp ? quoteRegExp(value) : value).slice(1, -1);
    })
    .join('');
}

/** As RE2's QuoteMeta. */
const quoteRegExp = (value: string): string => value.replaceAll(/[\\.+*?()|[\]{}^$]/g, '\\$&');

/** What of the target a query asks for; nothing of one that cannot be read. */
export function placesOf(query: string): QueryValue[] {
  try {
    return parseQuery(query).flatMap((part) => (typeof part === 'string' ? [] : [part.value]));
  } catch (error) {
    if (!(error instanceof InputError)) throw error;
    return []; // the schema says what is wrong with it
  }
}
