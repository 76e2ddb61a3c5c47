import type { Change } from '../../../model/change.ts';
import type { ScaleToRequest } from '../../../model/ports/scalable.ts';
import { FinalError } from '../../errors.ts';
import { type Attempt, LOST } from '../../instance.ts';
import type { Cluster } from '../cluster.ts';
import { shown } from '../fields.ts';
import { deciding } from '../pod-writer.ts';
import { refOf } from './kinds.ts';
import { heldByOther } from './notes.ts';
import { goneFor, readSize, type Sized } from './objects.ts';
import { describeSize, SizeWriter } from './writer.ts';

/** The field that says how much an autoscaler allows, by the one that is written. */
const LIMITS: Record<string, string> = {
  'spec.minReplicas': 'spec.maxReplicas',
  'spec.minReplicaCount': 'spec.maxReplicaCount',
};

/**
 * Sets the size in one write with the note of what is held.
 *
 * @throws FinalError `Replaced`, `Contested`; see {@link import('../../scalable.ts').ScalableProvider.scaleTo}
 */
export async function scaleTo(cluster: Cluster, request: ScaleToRequest, attempt: Attempt): Promise<Change[]> {
  const { scale, step, actor, to } = request;
  const { object, field } = scale.by;
  const ref = await refOf(cluster, object.key);
  return deciding<Change[], Sized>(cluster, ref, async (found) => {
    const gone = goneFor(found, object.uid);
    if (!found || gone !== undefined)
      throw new FinalError(`did not set ${field} of ${object.key} to ${to}: ${gone}; nothing was touched`, {
        type: 'Replaced',
      });
    const writer = new SizeWriter({ cluster, ref, step, actor, object, field }, found);
    const made = madeBefore(writer, request);
    if (made) return made;
    const reason = request.adopt ? `it is ${shown(writer.value)} now` : contest(writer, request, attempt.since);
    if (reason !== undefined)
      throw new FinalError(`did not set ${field} of ${object.key} to ${to}: ${reason}; nothing was touched`, {
        type: 'Contested',
      });
    await attempt.stillMine();
    return [await writer.set(to, request.held, describeSize(field, writer.value, to))];
  });
}

/** The change where an earlier attempt has made it; none where there is nothing to do. */
function madeBefore(writer: SizeWriter, { scale, from, to }: ScaleToRequest): Change[] | undefined {
  if (writer.value !== to) return undefined;
  if (from === to) return [];
  if (writer.own?.set !== to) return undefined;
  const { field } = scale.by;
  return [writer.change(field, from, to, `${describeSize(field, from, to)}${LOST}`, { at: writer.writer?.time })];
}

/** Why the size must not be set; undefined where it may be. */
function contest(writer: SizeWriter, request: ScaleToRequest, since: number): string | undefined {
  const { scale, actor, from, to } = request;
  const { field } = scale.by;
  const { value, own, object } = writer;
  const other = heldByOther(object.metadata, actor.remediation);
  if (other) return other;
  const by = writer.writer?.manager ?? '(not recorded)';
  if (value !== from && value !== own?.set)
    return `it was ${shown(from)} when that was decided and is ${shown(value)} now, set by ${by}`;
  // This very step has set it once, and somebody has put it back before that could be told.
  if (value === from && own?.set === to && isOthersSince(writer, since))
    return `it was set to ${to} already, and ${by} has set it back to ${shown(value)} meanwhile`;
  const limit = LIMITS[field];
  const most = limit === undefined ? null : readSize(object, limit);
  return most !== null && to > most ? `its ${limit} is ${most} now` : undefined;
}

function isOthersSince(writer: SizeWriter, since: number): boolean {
  const last = writer.writer;
  // Times of writers are cut to the second.
  return last?.time !== undefined && last.manager !== writer.manager && Date.parse(last.time) >= cutToSecond(since);
}

export const cutToSecond = (ms: number): number => Math.floor(ms / 1000) * 1000;
