import { digest } from '../../model/digest.ts';
import type { Plan } from '../../model/plan.ts';
import type { ReadScaleRequest, Scale, ScaleReading } from '../../model/ports/scalable.ts';
import type { ScalingOptions } from '../../model/scaling/controller.ts';
import type { ScaleOnBacklogOptions } from '../../model/scaling/options.ts';
import { parseTarget } from '../../model/target.ts';
import { UnavailableError } from '../errors.ts';
import type { ScalableProvider } from '../scalable.ts';
import type { Signals } from '../signals.ts';
import { controllerOptions, decideNow, floorOf, lookBack, newestOf, newState, primed } from './look.ts';
import { readSignals } from './signals.ts';

/** How many looks back a first one reads. */
const LOOKS_BACK = 20;

/** A fresh look at size and signals, without a memory of its own. @throws UnavailableError where no signal can be read */
export async function readScale(
  { target, options, actor, uid }: ReadScaleRequest,
  scalable: ScalableProvider,
  signals: Signals,
): Promise<ScaleReading> {
  const reading = await scalable.read(actor.remediation, uid);
  if (reading.verdict !== 'found') return { verdict: reading.verdict, why: reading.why };
  const { scale } = reading;
  const to = Date.now();
  const window = { from: to - lookBack(options, LOOKS_BACK), to, step: options.every };
  const { samples, problems } = await readSignals(
    signals,
    { options, target: parseTarget(target), strict: true },
    window,
  );
  const newest = newestOf(samples);
  if (!newest) throw new UnavailableError(`no signal of ${target} can be read: ${problems.join('; ')}`);
  const controller = controllerOptions(options, scale);
  const before = primed(
    samples.filter(({ at }) => at < newest.at),
    scale,
    controller,
  );
  const { state, decision } = decideNow(before, scale, newest, controller);
  const why = [decision.reason, ...problems].join('; ');
  const { desired } = decision;
  const outlook = { why, scale, state: newState(state), plan: planOf({ target, options, scale, controller }) };
  if (desired > scale.desired) return { verdict: 'short', desired, ...outlook };
  const asked = Math.max(0, ...Object.values(decision.evidence.asked));
  if (asked > scale.desired && scale.desired >= controller.max) {
    const most = `it has all that it may have (${controller.max}), and more is asked for`;
    return { verdict: 'protected', why: `${most}: ${why}` };
  }
  return { verdict: 'good', ...outlook };
}

interface Planned {
  target: string;
  options: ScaleOnBacklogOptions;
  scale: Scale;
  controller: ScalingOptions;
}

/**
 * What a person approves is the room that Salvor has, not the number of one moment: that changes while he reads it, and is none
 * of the digest.
 */
function planOf({ target, options, scale, controller }: Planned): Plan {
  const { object, field, value } = scale.by;
  const before = value ?? 'absent';
  const room = `between ${floorOf(options, scale)} and ${controller.max}`;
  const what = `${field}: ${before} → as the signals ask, ${room}`;
  const changes = [{ what, object, field, before: value, after: controller.max }];
  const steps = [
    `set ${field} of ${object.key} (now ${before}) as the signals ask, ${room} (${scale.why})`,
    `when they are good for long enough: ${value === null ? 'remove it again' : `set it to ${before} again`}`,
  ];
  const fixed = changes.map(({ what: _, ...change }) => change);
  return { steps, changes, digest: digest({ target, changes: fixed, options }) };
}
