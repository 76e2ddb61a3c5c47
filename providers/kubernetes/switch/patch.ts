import type { PatchSwitch } from '../../../model/breaker/options.ts';
import {
  filled,
  formatPointer,
  isObject,
  type Json,
  type JsonObject,
  leavesOf,
  merged,
  type Path,
  parsePointer,
  putBack,
  touched,
  valueAt,
  withValue,
} from '../../../model/breaker/patch.ts';
import { FinalError } from '../../errors.ts';
import type { Form, Kept } from './form.ts';

/** Any object, opened by a JSON merge patch. Its fields are JSON pointers. */
export function patchForm(options: PatchSwitch): Form {
  const { apiVersion, kind, namespace, name } = options;
  const patchOf = (position: Kept): JsonObject => {
    const patch = position === 'open' ? options.open : options.share;
    if (patch === undefined)
      throw new FinalError(
        `${kind} ${namespace}/${name} lets no share through: expected \`share\` beside \`open\` in its switch`,
        { type: 'Invalid' },
      );
    const share = position === 'open' ? 0 : position.share;
    return filled(patch as JsonObject, { '${share}': share, '${rest}': 100 - share }) as JsonObject;
  };
  const patches = [options.open, ...(options.share ? [options.share] : [])];
  const leaves = patches.flatMap((patch) => leavesOf(patch as Json));
  return {
    ...{ apiVersion, kind, namespace, name },
    title: `${kind} ${namespace}/${name}`,
    want: (base, position) => object(merged(base, patchOf(position))),
    slots: (base, made, position) =>
      touched(base, patchOf(position), made).map(({ path, before, after }) => ({
        ...{ field: formatPointer(path), before, set: after },
      })),
    read: (target, field) => valueAt(target, pathOf(field)),
    write: (target, field, value) => object(withValue(target, pathOf(field), value)),
    putBack: (target, { field, before, set }) => object(putBack(target, { path: pathOf(field), before, after: set })),
    owns: (field) => {
      const path = parsePointer(field);
      return path !== undefined && leaves.some((leaf) => isPrefix(leaf, path) || isPrefix(path, leaf));
    },
    path: pathOf,
  };
}

/** What is held may be an object above, which the patch made as a whole, or a value that the API added below. */
const isPrefix = (start: Path, path: Path): boolean => start.every((key, at) => path[at] === key);

const object = (value: Json): JsonObject => (isObject(value) ? value : {});

function pathOf(field: string): string[] {
  const path = parsePointer(field);
  if (!path || path.length === 0)
    throw new FinalError(`"${field}" is not a field that a switch holds: expected a JSON pointer`, { type: 'Invalid' });
  return path;
}
