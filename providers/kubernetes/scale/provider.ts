import { fieldManager } from '../../../model/names.ts';
import type { Scale } from '../../../model/ports/scalable.ts';
import type { ObjectTarget } from '../../../model/target.ts';
import type { ScalableProvider } from '../../scalable.ts';
import type { Cluster } from '../cluster.ts';
import { giveBack } from './give-back.ts';
import { refOf } from './kinds.ts';
import { isHere, type Sized, sizeField, sizeWriterOf } from './objects.ts';
import { readScale } from './read.ts';
import { scaleTo } from './set.ts';

/** The Scalable port for one workload. */
export function scalable(cluster: Cluster, target: ObjectTarget, protectedLabels: readonly string[]): ScalableProvider {
  return {
    read: (remediation, uid) => readScale(cluster, target, { remediation, uid, protectedLabels }),
    scaleTo: (request, attempt) => scaleTo(cluster, request, attempt),
    giveBack: (request, attempt) => giveBack(cluster, request, attempt),
    whoSet: (scale) => whoSet(cluster, scale),
  };
}

const MANAGER = fieldManager('scale-on-backlog');

/** "kubectl-edit (at 2026-01-01T00:00:00Z)" */
async function whoSet(cluster: Cluster, { by: { object, field } }: Scale): Promise<string | undefined> {
  const found = await cluster.get<Sized>(await refOf(cluster, object.key));
  const last = isHere(found, object) ? sizeWriterOf(found.metadata, sizeField(field)) : undefined;
  if (!last || last.manager === MANAGER) return undefined;
  return last.time === undefined ? last.manager : `${last.manager} (at ${last.time})`;
}
