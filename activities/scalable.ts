import type { ScalablePort } from '../model/ports/scalable.ts';
import { readScale } from '../providers/backlog/read.ts';
import { watchBacklog } from '../providers/backlog/watch.ts';
import type { Registry } from '../providers/registry.ts';
import { type Announce, attempt, type Clear, type Fence, notCleared, pulse } from './attempt.ts';
import { asUndoFailure, told } from './errors.ts';

/** The activities behind the Scalable port. */
export function scalableActivities(
  registry: Pick<Registry, 'scalable' | 'signals'>,
  fence: Fence,
  announce: Announce = async () => undefined,
  clear: Clear = async () => undefined,
): ScalablePort {
  const { signals } = registry;
  return {
    readScale: (request) => told(() => readScale(request, registry.scalable(request.target), signals)),
    watchBacklog: (request) =>
      told(() => watchBacklog(request, { scalable: registry.scalable(request.target), signals, pulse: pulse(fence) })),
    scaleTo: async (request) => {
      if (request.audit) await announce(request.audit);
      return told(async () => {
        const scalable = registry.scalable(request.scale.object.key);
        const objection = request.clearance && (await clear(request.clearance));
        if (objection) throw notCleared(objection);
        return scalable.scaleTo(request, attempt(fence));
      });
    },
    giveScaleBack: (request) =>
      told(() => registry.scalable(request.scale.object.key).giveBack(request, attempt(fence)), asUndoFailure),
  };
}
