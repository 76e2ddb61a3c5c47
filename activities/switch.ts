import { ApplicationFailure } from '@temporalio/common';
import { planOf } from '../model/breaker/plan.ts';
import type { Change } from '../model/change.ts';
import type { DriveBeat, Driven, SetSwitchRequest, SwitchPort } from '../model/ports/switch.ts';
import type { Prober, Switches } from '../providers/switch.ts';
import { type Announce, attempt, type Clear, type Fence, notCleared, pulse } from './attempt.ts';
import { Drive } from './drive.ts';
import { asFailure, asUndoFailure, told } from './errors.ts';

export interface SwitchOptions {
  switches: Switches;
  prober: Prober;
  fence: Fence;
  announce?: Announce;
  clear?: Clear;
}

/** The activities behind the Switch port. */
export function switchActivities({
  switches,
  prober,
  fence,
  announce = async () => undefined,
  clear = async () => undefined,
}: SwitchOptions): SwitchPort {
  async function set(request: SetSwitchRequest): Promise<Change[]> {
    const provider = switches.of(request.dependency);
    const objection = request.clearance && (await clear(request.clearance));
    if (objection) throw notCleared(objection);
    return await provider.set(request, attempt(fence));
  }

  return {
    readSwitch: ({ dependency }) =>
      told(async () => {
        const reading = await switches.of(dependency).read();
        return { ...reading, plan: planOf(dependency, reading) };
      }),
    setSwitch: async (request) => {
      if (request.audit) await announce(request.audit);
      // Closing gives the traffic back: it is tried on as an undo is.
      return told(() => set(request), request.position === 'closed' ? asUndoFailure : asFailure);
    },
    driveBreaker: (request) =>
      told(async (): Promise<Driven> => {
        if (request.audit) await announce(request.audit);
        const own = pulse(fence);
        const last = own.last as DriveBeat | undefined;
        let latest = last;
        const { stands } = request;
        const remembering = {
          ...own,
          beat: (details: unknown) => {
            latest = { ...(details as DriveBeat), ...(stands !== undefined && { stands }) };
            own.beat(latest);
          },
        };
        try {
          const drive = new Drive(request, {
            provider: switches.of(request.dependency),
            prober,
            pulse: remembering,
            last,
          });
          return await drive.run();
        } catch (error) {
          throw knowing(asFailure(error), latest);
        }
      }),
  };
}

/** What ends it for good also ends its heartbeats: how far it came goes with it. */
function knowing(failure: unknown, latest: DriveBeat | undefined): unknown {
  if (!(failure instanceof ApplicationFailure) || !failure.nonRetryable || !latest) return failure;
  const { message, type } = failure;
  return ApplicationFailure.create({ message, ...(type && { type }), nonRetryable: true, details: [latest] });
}
