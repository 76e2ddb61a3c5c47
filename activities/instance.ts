import type { InstancePort, ReplaceRequest, ReplaceResult } from '../model/ports/instance.ts';
import { HeldBack, type InstanceProvider } from '../providers/instance.ts';
import type { Registry } from '../providers/registry.ts';
import { type Announce, attempt, type Clear, type Fence, notCleared, pulse } from './attempt.ts';
import { asFailure, asUndoFailure, told } from './errors.ts';

/** The activities behind the Instance port. */
export function instanceActivities(
  registry: Pick<Registry, 'instance'>,
  fence: Fence,
  announce: Announce = async () => undefined,
  clear: Clear = async () => undefined,
): InstancePort {
  const of = <T>(target: string, act: (provider: InstanceProvider) => Promise<T>, failure = asFailure): Promise<T> =>
    told(async () => act(registry.instance(target)), failure);
  return {
    assess: (request) => of(request.target, (it) => it.assess(request)),
    cut: async (request) => {
      if (request.audit) await announce(request.audit);
      return of(request.instance.key, async (it) => {
        const objection = request.clearance && (await clear(request.clearance));
        if (objection) throw notCleared(objection);
        return it.cut(request, attempt(fence));
      });
    },
    restore: (request) => of(request.instance.key, (it) => it.restore(request, attempt(fence)), asUndoFailure),
    hold: (request) => of(request.instance.key, (it) => it.hold(request, pulse(fence))),
    replace: (request) => of(request.instance.key, (it) => replaceCleared(it, request, { fence, clear })),
    verify: (request) => of(request.instance.key, (it) => it.verify(request, pulse(fence))),
  };
}

/** Asks before each try: one that was put off may be made much later. */
async function replaceCleared(
  provider: InstanceProvider,
  request: ReplaceRequest,
  { fence, clear }: { fence: Fence; clear: Clear },
): Promise<ReplaceResult> {
  const { clearance } = request;
  const own = pulse(fence);
  const stillMine = async (): Promise<void> => {
    const objection = clearance && (await clear(clearance));
    if (objection) throw new HeldBack(objection);
    await own.stillMine();
  };
  try {
    return await provider.replace(request, { ...own, stillMine });
  } catch (error) {
    if (!(error instanceof HeldBack)) throw error;
    return { verdict: 'held-back', why: error.message, changes: [], objection: error.objection };
  }
}
