import { equal, type JsonObject } from '../../../model/breaker/patch.ts';
import type { KeepOpenRequest } from '../../../model/ports/switch.ts';
import type { Look } from '../../keep-open.ts';
import type { Note } from '../fields.ts';
import { heldValue } from './form.ts';
import { breakerNotes, changeOf, type Live, MANAGER, withNotes, writerAt } from './notes.ts';
import { describe, type Switched } from './switched.ts';

/**
 * Looks whether an open switch is as it was set. What somebody else has changed is set again where `mayAssert` says so, and it
 * was not Salvor itself that gave it back: `salvor release`, or an undo that has overtaken this wait.
 */
export async function look(
  it: Switched,
  request: KeepOpenRequest,
  mayAssert: boolean,
  mayWrite: () => Promise<void>,
): Promise<Look> {
  const { form, writer, key } = it;
  if (request.held.length === 0) return { changes: [] };
  return writer.deciding(async (live) => {
    const uid = request.held[0]?.object.uid ?? '';
    const object = { key, uid };
    if (!live || live.metadata.uid !== uid) {
      const why = `${form.title} is not there any more, or another object has its name`;
      return { changes: [], contest: { by: 'somebody (not recorded)', object }, over: why };
    }
    const own = breakerNotes(live, form).filter(({ remediation }) => remediation === request.actor.remediation);
    const due = own.length > 0 ? own : request.held;
    const moved = due.filter(({ field, set }) => !equal(form.read(live, field), heldValue(set)));
    if (moved.length === 0 && own.length > 0) return { changes: [] };
    const by = byWhom(it, live, moved);
    const contest = { by, object };
    if (own.length === 0 && isGivenBack(it, live, request.held))
      return { changes: [], contest, over: `Salvor itself gave ${form.title} back; it is left so` };
    if (!mayAssert) return { changes: [], contest };
    await mayWrite();
    const again = moved.reduce<JsonObject>((object, { field, set }) => form.write(object, field, heldValue(set)), live);
    const { auditId } = await writer.write(live, withNotes(again, live, own, due));
    return { changes: changesOf(it, live, moved, { by, step: request.step, auditId }), contest };
  });
}

/**
 * By Salvor itself, which takes its note away with what it puts back; a person leaves that where it is. Who removed a field is not
 * recorded.
 */
const isGivenBack = ({ form }: Switched, live: Live, held: readonly Note[]): boolean =>
  held.every(({ field, before }) => {
    const found = form.read(live, field);
    if (!equal(found, heldValue(before))) return false;
    return found === undefined || writerAt(live.metadata, form.path(field), found)?.manager === MANAGER;
  });

/** Who removed a note is not recorded. */
function byWhom({ form }: Switched, live: Live, moved: readonly Note[]): string {
  const [first] = moved;
  if (!first) return 'somebody (not recorded)';
  const found = form.read(live, first.field);
  return writerAt(live.metadata, form.path(first.field), found)?.manager ?? '(not recorded)';
}

function changesOf(
  { form, key }: Switched,
  live: Live,
  moved: readonly Note[],
  { by, ...of }: { by: string; step: string; auditId?: string | undefined },
) {
  return moved.map(({ field, set }) => {
    const found = form.read(live, field);
    const before = found === undefined ? null : JSON.stringify(found);
    const what = `${describe(form, field, before, set)} again, for ${by} had changed it`;
    return changeOf({ ...of, key, uid: live.metadata.uid }, { what, field, before, after: set });
  });
}
