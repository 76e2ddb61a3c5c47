import type { BreakerState } from '../../model/breaker/machine.ts';
import type { Dependency } from '../../model/breaker/options.ts';
import type { Held } from '../../model/change.ts';
import type { Plan } from '../../model/plan.ts';
import type { SetSwitchRequest, SwitchReading } from '../../model/ports/switch.ts';
import type { Ending } from '../../model/remediation.ts';
import { parseTarget } from '../../model/target.ts';
import { objectionOf } from '../failures.ts';
import type { Life } from '../life.ts';
import { isLong } from '../runs.ts';
import { Breaker } from './breaker.ts';
import { closing, opening, readSwitch } from './breaker-steps.ts';
import { DAY } from './steps.ts';

type BreakerLife = Life<'circuit-breaker'>;
type Reading = SwitchReading & { plan: Plan };

/** What is told of it while it is watched on. */
type Done = Pick<Ending, 'outcome' | 'reason'>;

/** Where it stands, open, for the next run. */
interface Course {
  state: BreakerState;
  held: Held[];
  /** It was handed over before it was opened again. */
  done?: Done;
}

/**
 * Callers of a dependency that is down are kept from it for a set period. Its failure is confirmed first; then the switch is
 * opened and kept open, the dependency is tried, and callers are let back when it is healthy. It is then watched for a while,
 * and opened again, for longer, where it fails again.
 */
export async function circuitBreaker(life: BreakerLife): Promise<Ending> {
  const dependency = dependencyOf(life);
  if (!dependency)
    return life.end('failed', `${life.input.target} is not among the dependencies of the configuration (any more)`);
  const { order } = life.input.rule.with;
  const breaker = new Breaker(life, dependency);
  const { carried } = life.input;
  if (carried) return goOn(life, breaker, carried.course as Course);
  const reading = await readSwitch({ dependency, actor: life.actor });
  life.evidence('switch', typeof reading.position === 'string' ? reading.position : 'share', reading.why, {
    held: reading.held,
  });
  if (reading.position === 'open') return openAlready(life, reading);

  if (order) breaker.orders(order);
  else await confirm(life, breaker);
  if (breaker.state.phase === 'open') {
    life.because(breaker.state.reason);
    const over = await life.propose(reading.plan, breaker.state.reason, async () => undefined);
    if (over) return over;
  } else if (!breaker.state.by) return notOpened(life, breaker);
  const { phase } = breaker.state;
  return await live(life, breaker, phase === 'open' ? await whileOpen(life, breaker, reading) : undefined);
}

/** In a later run: what is held is taken back as before. */
async function goOn(life: BreakerLife, breaker: Breaker, course: Course): Promise<Ending> {
  const { state, held, done } = course;
  breaker.state = state;
  life.holding.resume('open the switch', () => closing(requestOf(life, breaker, 'closed', held)));
  return await live(life, breaker, await keptOpen(life, breaker, course), done);
}

function dependencyOf({ input: { target, rule } }: BreakerLife): Dependency | undefined {
  const parsed = parseTarget(target);
  return parsed.type === 'dependency' ? rule.with.dependencies[parsed.name] : undefined;
}

const openAlready = (life: BreakerLife, { why }: Reading): Ending =>
  life.end('refused', `its switch is open, and it was not this remediation that opened it: ${why}`);

/** An alert alone opens nothing, unless the rule says so. */
async function confirm(life: BreakerLife, breaker: Breaker): Promise<void> {
  const { alert, rule } = life.input;
  breaker.happens({ kind: 'alert', why: `the alert ${alert.alertname} fires`, trusted: rule.with.trustAlert });
  while (breaker.state.phase === 'confirming') await breaker.drive('see whether it fails', []);
}

function notOpened(life: BreakerLife, { state }: Breaker): Ending {
  const unconfirmed = life.story.breaker?.timeline.at(-1)?.cause === 'unconfirmed';
  return unconfirmed ? life.again('unconfirmed', state.reason) : life.end('not-needed', state.reason);
}

/**
 * From when it is closed, or what was open has ended, until nothing is to be remembered of it.
 *
 * @param done what was told already, where it was handed over before
 */
async function live(life: BreakerLife, breaker: Breaker, ended: Ending | undefined, done?: Done): Promise<Ending> {
  let end = ended;
  let told = done;
  while (!end) {
    breaker.stands();
    const { by, until, reason } = breaker.state;
    const handedOver = told !== undefined;
    // The word of a person who closed it stays the reason when it is no longer in force.
    if (told?.reason !== reason) told = { outcome: by === undefined ? 'recovered' : 'cancelled', reason };
    // Slot and place are free from here on; it is watched all the same, for what fails again is a relapse.
    if (!handedOver) await life.handOver(told.outcome, reason);
    if (until === null) return life.end(told.outcome, reason);
    await breaker.drive('see whether it stays healthy', []);
    if (breaker.state.phase === 'open') end = await openedAgain(life, breaker, told);
  }
  return end;
}

async function whileOpen(life: BreakerLife, breaker: Breaker, reading: Reading, done?: Done) {
  const held = await open(life, breaker, reading);
  return await keptOpen(life, breaker, { state: breaker.state, held, ...(done && { done }) });
}

/** @returns how it ends; nothing where it is closed now */
async function keptOpen(life: BreakerLife, breaker: Breaker, course: Course): Promise<Ending | undefined> {
  const { held } = course;
  while (breaker.state.phase !== 'closed') {
    breaker.stands();
    life.writeDown();
    if (isLong() && (await breaker.rests())) await life.goOn({ ...course, state: breaker.state });
    const contested = await breaker.drive('keep it open, then try it', held);
    if (!contested) continue;
    // What somebody else has set is theirs.
    life.released();
    return life.end('failed', `somebody else has closed its switch, and it is left so: ${contested.why}`);
  }
  life.record(await closing(requestOf(life, breaker, 'closed', held)));
  life.released();
  return undefined;
}

async function openedAgain(life: BreakerLife, breaker: Breaker, done: Done): Promise<Ending | undefined> {
  const { dependency, state } = breaker;
  try {
    return await whileOpen(life, breaker, await readSwitch({ dependency, actor: life.actor }), done);
  } catch (error) {
    const objection = objectionOf(error)?.objection;
    if (!objection) throw error;
    // The alert, which fires or will, is what asks for it again.
    return life.end('recovered', `${state.reason}; it was not opened again: ${objection.reason}`);
  }
}

async function open(life: BreakerLife, breaker: Breaker, reading: Reading): Promise<Held[]> {
  const until = life.in(LONGEST);
  const held: Held[] = reading.held.map((field) => ({ ...field, ...life.actor, until }));
  // A person's word is not for a gate to weigh.
  const clearance = breaker.state.by === undefined ? life.clearance(life.input.target, 'nothing') : undefined;
  const request = requestOf(life, breaker, 'open', held);
  await life.change('open the switch', (audit) => opening({ ...request, audit, ...(clearance && { clearance }) }), {
    held,
    undo: () => closing(requestOf(life, breaker, 'closed', held)),
  });
  return held;
}

const requestOf = (
  life: BreakerLife,
  { dependency }: Breaker,
  position: 'open' | 'closed',
  held: Held[],
): SetSwitchRequest => ({
  ...{ dependency, actor: life.actor, position, held },
  step: position === 'open' ? 'open' : 'close',
});

/** Relapses have no end of their own: what is held for longer is for a person to look at. */
const LONGEST = 7 * DAY;
