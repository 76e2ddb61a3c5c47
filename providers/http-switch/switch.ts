import type { Dependency, HttpSwitch } from '../../model/breaker/options.ts';
import { isObject, type Json } from '../../model/breaker/patch.ts';
import type { Change, FieldValue, Held, ObjectRef } from '../../model/change.ts';
import type { KeepOpenRequest, Position, SetSwitchRequest, SwitchReading } from '../../model/ports/switch.ts';
import { formatTarget } from '../../model/target.ts';
import { UnavailableError } from '../errors.ts';
import type { Attempt, Release } from '../instance.ts';
import { keepOpen, type Look } from '../keep-open.ts';
import { placeOf } from '../one-request.ts';
import type { ReleasableSwitch } from '../switch-kinds.ts';
import { readState, sendState } from './call.ts';

/** A switch that is set by a call to somebody's API, and read by another. */
export function httpSwitch(dependency: Dependency, options: HttpSwitch): ReleasableSwitch {
  const { open, closed, pointer } = options.read;
  const object: ObjectRef = {
    key: formatTarget({ type: 'dependency', name: dependency.name }),
    uid: placeOf(options.url),
  };
  const where = `${placeOf(options.read.url)}${pointer}`;
  const is = (state: Json | undefined, wanted: string) => plain(state) === wanted || String(plain(state)) === wanted;

  async function set(position: Position, step: string, why = ''): Promise<Change[]> {
    const before = await readState(options);
    const wanted = typeof position === 'string' ? { open, closed }[position] : undefined;
    // What it says of a share is its own: it is asked for again.
    if (wanted !== undefined && is(before, wanted)) return [];
    await sendState(options, dependency.name, position);
    const after = await readState(options);
    if (wanted === undefined ? is(after, open) : !is(after, wanted))
      throw new UnavailableError(
        `${options.method} ${placeOf(options.url)} was taken, but ${where} is still ${shown(after)}, expected ${wanted ?? 'a share'}`,
      );
    const what = `${where}: ${shown(before)} → ${shown(after)}${why}`;
    const at = new Date().toISOString();
    return [{ step, what, object, field: pointer, before: plain(before), after: plain(after), at }];
  }

  const positionOf = (state: Json | undefined): SwitchReading['position'] =>
    is(state, open) ? 'open' : is(state, closed) ? 'closed' : 'mixed';

  async function look({ step }: KeepOpenRequest, mayAssert: boolean, mayWrite: () => Promise<void>): Promise<Look> {
    if (is(await readState(options), open)) return { changes: [] };
    const contest = { by: `somebody at ${placeOf(options.url)} (not recorded)`, object };
    if (!mayAssert) return { changes: [], contest };
    await mayWrite();
    return { changes: await set('open', step, ' again, for somebody had changed it'), contest };
  }

  return {
    read: async () => {
      const state = await readState(options);
      const position = positionOf(state);
      const held = { object, field: pointer, before: plain(state), set: open };
      return { position, why: `${where} is ${shown(state)}`, held: position === 'open' ? [] : [held] };
    },
    set: async ({ position, step }: SetSwitchRequest, attempt: Attempt) => {
      // Closing is an undo: that is never kept from being done.
      if (position !== 'closed' && Date.now() >= attempt.aloneUntil) await attempt.stillMine();
      return set(position, step);
    },
    keepOpen: (request, pulse) =>
      keepOpen(request, pulse, (mayAssert) => look(request, mayAssert, () => pulse.stillMine())),
    release: async (_: Held, dryRun: boolean): Promise<Release> => {
      const state = await readState(options);
      if (is(state, closed)) return { result: 'as-before', why: `${where} is ${closed} already`, changes: [] };
      const why = `${where}: ${shown(state)} → ${closed}`;
      return { result: 'given-back', why, changes: dryRun ? [] : await set('closed', 'release') };
    },
  };
}

/** What is no plain value is told as its JSON. */
const plain = (value: Json | undefined): FieldValue =>
  value === undefined ? null : Array.isArray(value) || isObject(value) ? JSON.stringify(value).slice(0, 200) : value;

const shown = (value: Json | undefined): string => (value === undefined ? '(none)' : JSON.stringify(plain(value)));
