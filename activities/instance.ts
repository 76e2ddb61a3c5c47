import { Context } from '@temporalio/activity';
import type { InstancePort } from '../model/ports/instance.ts';
import type { InstanceProvider, Pulse } from '../providers/instance.ts';
import type { Registry } from '../providers/registry.ts';
import { asFailure } from './errors.ts';

/** The activities behind the Instance port. */
export function instanceActivities(registry: Registry): InstancePort {
  const of = async <T>(target: string, act: (provider: InstanceProvider) => Promise<T>): Promise<T> => {
    try {
      return await act(registry.instance(target));
    } catch (error) {
      throw asFailure(error);
    }
  };
  return {
    assess: (request) => of(request.target, (it) => it.assess(request)),
    cut: (request) => of(request.instance.key, (it) => it.cut(request)),
    restore: (request) => of(request.instance.key, (it) => it.restore(request)),
    hold: (request) => of(request.instance.key, (it) => it.hold(request, pulse())),
    replace: (request) => of(request.instance.key, (it) => it.replace(request, pulse())),
    verify: (request) => of(request.instance.key, (it) => it.verify(request, pulse())),
  };
}

/** A wait lives by the activity's heartbeats, and ends with its CancelledFailure. */
function pulse(): Pulse {
  const context = Context.current();
  return {
    signal: context.cancellationSignal,
    last: context.info.heartbeatDetails,
    beat: (details) => context.heartbeat(details),
  };
}
