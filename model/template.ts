import { InputError, shown } from './input-error.ts';
import { type Labels, labelValue } from './labels.ts';

/** A text with references to labels and annotations of an alert: data only, no code, nothing nested. */
export interface Template {
  readonly text: string;
  readonly parts: readonly Part[];
}

export type Part = string | Reference;

export interface Reference {
  readonly from: 'labels' | 'annotations';
  readonly name: string;
}

export interface Values {
  labels: Labels;
  annotations: Labels;
}

export type Rendered = { ok: true; value: string } | { ok: false; missing: Reference; problem: string };

const REFERENCE = /\$\{(?:(labels|annotations)(?:\.([a-zA-Z_][a-zA-Z0-9_]*)|\[("(?:[^"\\]|\\.)*")\]))\}/y;

/**
 * Reads a template: text with `${labels.NAME}` and `${annotations.NAME}`; a name that is not `[a-zA-Z_][a-zA-Z0-9_]*`
 * is written as a JSON string in brackets: `${labels["a.b"]}`.
 *
 * @throws InputError
 */
export function parseTemplate(text: string): Template {
  const parts: Part[] = [];
  let from = 0;
  while (from < text.length) {
    const start = text.indexOf('${', from);
    if (start !== from) parts.push(text.slice(from, start < 0 ? undefined : start));
    if (start < 0) break;
    REFERENCE.lastIndex = start;
    const match = REFERENCE.exec(text);
    const name = match && (match[2] ?? fromJson(match[3] ?? ''));
    if (!name) {
      throw new InputError(
        `${shown(text.slice(start, text.indexOf('}', start) + 1 || undefined))} is not a reference: only \${labels.NAME}, \${annotations.NAME} and, for other names, \${labels["a.b"]} are known`,
      );
    }
    parts.push({ from: match[1] as Reference['from'], name });
    from = REFERENCE.lastIndex;
  }
  return { text, parts };
}

function fromJson(quoted: string): string | undefined {
  try {
    return JSON.parse(quoted) as string;
  } catch {
    return undefined; // not a JSON string; the caller says what is expected
  }
}

/** It is the same for every alert. */
export const isLiteral = ({ parts }: Template): boolean => parts.every((part) => typeof part === 'string');

export const formatReference = ({ from, name }: Reference): string =>
  /^[a-zA-Z_][a-zA-Z0-9_]*$/.test(name) ? `${from}.${name}` : `${from}[${JSON.stringify(name)}]`;

/** Fills a template. A missing or empty label is a problem, for the text would be another one without it. */
export function render(template: Template, values: Values): Rendered {
  let value = '';
  for (const part of template.parts) {
    if (typeof part === 'string') {
      value += part;
      continue;
    }
    const filled = labelValue(values[part.from], part.name);
    if (filled === '') {
      const problem = `the alert has no ${part.from === 'labels' ? 'label' : 'annotation'} ${shown(part.name)}, which ${shown(template.text)} needs`;
      return { ok: false, missing: part, problem };
    }
    value += filled;
  }
  return { ok: true, value };
}
