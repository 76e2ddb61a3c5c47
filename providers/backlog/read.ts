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
export const readScale = async (...asked: Parameters<typeof look>): Promise<ScaleReading> =>
  (await look(...asked)).reading;

/** Whether it is gone, or no more is asked for than there is, by signals that can all be read. */
export async function isScaleWell(...asked: Parameters<typeof look>): Promise<boolean> {
  const { reading, problems } = await look(...asked);
  return reading.verdict === 'gone' || (reading.verdict === 'good' && problems.length === 0);
}

/** What was read, and what of it could not be. */
interface Looked {
  reading: ScaleReading;
  problems: readonly string[];
}

async function look(
  { target, options, actor, uid }: ReadScaleRequest,
  scalable: ScalableProvider,
  signals: Signals,
): Promise<Looked> {
  const reading = await scalable.read(actor.remediation, uid);
  if (reading.verdict !== 'found') return { reading: { verdict: reading.verdict, why: reading.why }, problems: [] };
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
  if (desired > scale.desired) return { reading: { verdict: 'short', desired, ...outlook }, problems };
  const asked = Math.max(0, ...Object.values(decision.evidence.asked));
  if (asked > scale.desired && scale.desired >= controller.max) {
    const most = `it has all that it may have (${controller.max}), and more is asked for`;
    return { reading: { verdict: 'protected', why: `${most}: ${why}` }, problems };
  }
  return { reading: { verdict: 'good', ...outlook }, problems };
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
