import { type Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { z } from 'zod';
import { NOT_YET } from './not-yet.ts';

/** One thing that is wrong in a configuration file. */
export interface ConfigProblem {
  file: string;
  /** Counted from 1. */
  line: number;
  /** Counted from 1. */
  column: number;
  /** Where in the configuration, e.g. `rules[0].with.recoverWithin`; empty for the whole. */
  path: string;
  /** What is wrong and what would be right. */
  message: string;
}

type Path = readonly PropertyKey[];

/** A YAML file whose values know their lines. */
export class ConfigFile {
  /** Plain data, what {@link takeNotYet} found taken out. */
  readonly value: unknown;
  /** What keeps it from being read at all. */
  readonly problems: ConfigProblem[];
  readonly #file: string;
  readonly #lines = new LineCounter();
  readonly #document: Document | undefined;

  constructor(text: string, file: string) {
    this.#file = file;
    try {
      this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
      const faults = [...this.#document.errors, ...this.#document.warnings];
      this.problems = faults.map(({ pos, message }) => this.#at(pos[0], '', message));
      this.value = faults.length > 0 ? undefined : (this.#document.toJS() ?? {});
    } catch (error) {
      // Aliases that multiply without end (ReferenceError) and nesting that exhausts the stack (RangeError).
      if (!(error instanceof ReferenceError || error instanceof RangeError)) throw error;
      this.problems = [this.#at(0, '', `the file cannot be read: ${error.message}`)];
    }
  }

  problem(path: Path, message: string): ConfigProblem {
    return this.#at(this.#offsets(path).value, formatPath(path), message);
  }

  lineOf(path: Path): number {
    return this.#lines.linePos(this.#offsets(path).value).line;
  }

  /** The schema's problems at their lines; each unknown key is a problem of its own, at the key. */
  locate({ issues }: Pick<z.core.$ZodError, 'issues'>, parent: Path = []): ConfigProblem[] {
    return issues.flatMap((issue) => {
      const path = [...parent, ...issue.path];
      if (issue.code === 'invalid_union') {
        // Of the alternatives the one that has the right type but a fault inside, where there is such a one.
        const meant = issue.errors.find((faults) => faults.every(({ code }) => code !== 'invalid_type'));
        return meant ? this.locate({ issues: meant }, path) : [this.problem(path, issue.message)];
      }
      if (issue.code !== 'unrecognized_keys') return [this.problem(path, issue.message)];
      const messages = issue.message.split('\n');
      return issue.keys.map((key, i) => {
        const at = [...path, key];
        return this.#at(this.#offsets(at).key, formatPath(at), messages[i] ?? issue.message);
      });
    });
  }

  /** Takes out the keys that have no effect in this version, and reports each. */
  takeNotYet(): ConfigProblem[] {
    return NOT_YET.flatMap(({ at, value, instead }) =>
      keysAt(this.value, at.split('.')).flatMap(({ parent, path }) => {
        const key = String(path.at(-1));
        const actual = parent[key];
        if (value !== undefined && actual !== value) return [];
        delete parent[key];
        const what = value === undefined ? key : `${key}: ${value}`;
        const message = `not available in this version: ${what}; ${instead}`;
        return [this.#at(this.#offsets(path).key, formatPath(path), message)];
      }),
    );
  }

  /** Where a key and its value begin; where there is none, the innermost section that there is. */
  #offsets(path: Path): { key: number; value: number } {
    let node = this.#document?.contents;
    let key = node?.range?.[0] ?? 0;
    let value = key;
    for (const step of path) {
      if (isAlias(node)) node = this.#document && node.resolve(this.#document);
      let next: unknown;
      if (isMap(node)) {
        const pair = node.items.find(({ key: name }) => isScalar(name) && String(name.value) === step);
        if (!pair) break;
        key = (pair.key as Node).range?.[0] ?? key;
        next = pair.value;
      } else if (isSeq(node)) {
        next = node.items[Number(step)];
        key = isNode(next) ? (next.range?.[0] ?? key) : key;
      }
      if (!isNode(next)) return { key, value: key };
      node = next;
      value = next.range?.[0] ?? key;
    }
    return { key, value };
  }

  #at(offset: number, path: string, message: string): ConfigProblem {
    const { line, col } = this.#lines.linePos(offset);
    return { file: this.#file, line: Math.max(line, 1), column: Math.max(col, 1), path, message };
  }
}

/** The keys that a pattern (`*` for any item of a list) finds in plain data, each with the object that has it. */
function keysAt(
  value: unknown,
  [step = '', ...rest]: string[],
  path: PropertyKey[] = [],
): { parent: Record<string, unknown>; path: PropertyKey[] }[] {
  if (step === '*') return Array.isArray(value) ? value.flatMap((item, i) => keysAt(item, rest, [...path, i])) : [];
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, step)) return [];
  const parent = value as Record<string, unknown>;
  return rest.length === 0 ? [{ parent, path: [...path, step] }] : keysAt(parent[step], rest, [...path, step]);
}

const formatPath = (path: Path): string =>
  path.map((step, i) => (typeof step === 'number' ? `[${step}]` : `${i > 0 ? '.' : ''}${String(step)}`)).join('');
