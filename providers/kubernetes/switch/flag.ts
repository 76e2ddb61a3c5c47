import { isMap, isPair, isScalar, type Pair, parseDocument } from 'yaml';
import type { FlagSwitch } from '../../../model/breaker/options.ts';
import { equal, isObject, type Json, type JsonObject, valueAt, withValue } from '../../../model/breaker/patch.ts';
import { FinalError } from '../../errors.ts';
import type { Form } from './form.ts';

/**
 * A flag in a ConfigMap, in the format of flagd: the default variant of one flag is set, and all else of the text stays as it is,
 * byte for byte.
 */
export function flagForm(options: FlagSwitch): Form {
  const { namespace, configMap, key, flag } = options;
  const at = ['data', key];
  const name = `flag ${flag} in ${key} of ConfigMap ${namespace}/${configMap}`;
  const read = (object: JsonObject): Json | undefined => {
    const text = valueAt(object, at);
    return typeof text === 'string' ? spotOf(text, flag, name).value : undefined;
  };
  const write = (object: JsonObject, value: Json | undefined): JsonObject => {
    const text = valueAt(object, at);
    // Who has removed the whole file, or the flag, has removed what is held.
    if (typeof text !== 'string' || typeof value !== 'string') return object;
    const { start, end } = spotOf(text, flag, name);
    return withValue(object, at, text.slice(0, start) + JSON.stringify(value) + text.slice(end)) as JsonObject;
  };
  const field = `data[${key}].flags[${flag}].defaultVariant`;
  return {
    ...{ apiVersion: 'v1', kind: 'ConfigMap', namespace, name: configMap },
    title: name,
    want: (base, position) => {
      if (position !== 'open') throw invalid(`${name} lets no share through: only open and closed are set by a flag`);
      check(valueAt(base, at), options, name);
      return write(base, options.open);
    },
    slots: (base, made) => {
      const [before, set] = [read(base), read(made)];
      return equal(before, set) ? [] : [{ field, before, set }];
    },
    read,
    write: (object, _, value) => write(object, value),
    putBack: (object, { before, set }) => (equal(read(object), set) ? write(object, before) : object),
    owns: (one) => one === field,
    path: () => at,
  };
}

const invalid = (message: string, cause?: unknown): FinalError => new FinalError(message, { type: 'Invalid', cause });

/** @throws FinalError `Invalid` where setting the default variant would not do what it is meant to */
function check(text: Json | undefined, { flag, open, closed }: FlagSwitch, name: string): void {
  if (typeof text !== 'string') throw invalid(`${name} is not there: the ConfigMap has no such key in its data`);
  const definition = valueAt(parsed(text, name), ['flags', flag]);
  const found = isObject(definition) ? definition : {};
  const variants = isObject(found['variants']) ? Object.keys(found['variants']) : [];
  for (const variant of [open, closed])
    if (!variants.includes(variant))
      throw invalid(`${name} has no variant "${variant}"; it has ${variants.join(', ') || 'none'}`);
  if (found['state'] === 'DISABLED')
    throw invalid(`${name} is DISABLED, so applications use their own default, whatever its default variant is`);
  if (isObject(found['targeting']) && Object.keys(found['targeting']).length > 0)
    throw invalid(`${name} has targeting rules, which go before its default variant: expected a flag without them`);
}

function parsed(text: string, name: string): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (cause) {
    throw invalid(`${name} cannot be set: what is there is no JSON: ${(cause as Error).message}`, cause);
  }
}

/** Where the value stands in the text. JSON is YAML too, whose reader tells where each value stands. */
function spotOf(text: string, flag: string, name: string): { value: string; start: number; end: number } {
  parsed(text, name);
  const document = parseDocument(text, { schema: 'json', uniqueKeys: false });
  let at: unknown = document.contents;
  for (const key of ['flags', flag, 'defaultVariant']) at = lastOf(at, key);
  if (!isScalar(at) || typeof at.value !== 'string' || !at.range)
    throw invalid(`${name} cannot be set: expected flags[${JSON.stringify(flag)}].defaultVariant to be a text`);
  return { value: at.value, start: at.range[0], end: at.range[1] };
}

/** Of a key that stands twice JSON takes the last. */
function lastOf(node: unknown, key: string): unknown {
  if (!isMap(node)) return undefined;
  return node.items.findLast((pair): pair is Pair => isPair(pair) && isScalar(pair.key) && pair.key.value === key)
    ?.value;
}
