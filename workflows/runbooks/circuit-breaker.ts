import { condition, isCancellation } from '@temporalio/workflow';
import type { BreakerState } from '../../model/breaker/machine.ts';
import type { Dependency } from '../../model/breaker/options.ts';
import type { Change, Held } from '../../model/change.ts';
import type { Plan } from '../../model/plan.ts';
import type { SetSwitchRequest, SwitchReading } from '../../model/ports/switch.ts';
import type { Ending } from '../../model/remediation.ts';
import { parseTarget } from '../../model/target.ts';
import { explain, objectionOf } from '../failures.ts';
import type { Life } from '../life.ts';
import { untilOneEnds } from '../race.ts';
import { isLong } from '../runs.ts';
import { Breaker } from './breaker.ts';
import { closing, closingForNow, opening, readSwitch } from './breaker-steps.ts';
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
  if (order?.order === 'close') {
    if (reading.position !== 'closed') {
      const left = await closeLeft(life, breaker, reading);
      if (left) return left;
    }
  } else if (reading.position === 'open') return openAlready(life, breaker, reading);
  if (order?.until !== undefined && Date.parse(order.until) <= Date.now())
    return life.end('not-needed', `${order.by} ordered it open until ${order.until}, and that is over`);

  if (order) breaker.orders(order);
  else await confirm(life, breaker);
  if (breaker.isOpen) {
    life.because(breaker.state.reason);
    const over = await life.propose(reading.plan, breaker.state.reason, async () => undefined);
    if (over) return over;
  } else if (!breaker.state.by) return notOpened(life, breaker);
  return await live(life, breaker, breaker.isOpen ? await whileOpen(life, breaker, reading) : undefined);
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

function openAlready(life: BreakerLife, { dependency }: Breaker, { why }: Reading): Ending {
  // Nobody drives it, and no later alert would: whoever looks after it has to know.
  life.needsAPerson();
  const how = `once callers are to be let back: salvor breaker close ${dependency.name}`;
  return life.end('refused', `its switch is open, and it was not this remediation that opened it: ${why}. ${how}`);
}

/** A person's word closes what nobody drives any more, whoever has opened it. @returns how it ends, where it cannot be closed */
async function closeLeft(life: BreakerLife, breaker: Breaker, reading: Reading): Promise<Ending | undefined> {
  const { dependency } = breaker;
  breaker.isUnderWay('closing');
  const until = life.in(LONGEST);
  const held: Held[] = reading.held.map((field) => ({ ...field, ...life.actor, until }));
  life.record(await closingForNow({ ...requestOf(life, breaker, 'closed', held), anyones: true }));
  const { position, why } = await readSwitch({ dependency, actor: life.actor });
  if (position === 'closed') return undefined;
  life.needsAPerson();
  return life.end('refused', `it is not closed: what is left is not Salvor's, and stays so: ${why}`);
}

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
    if (breaker.isOpen) end = await openedAgain(life, breaker, told);
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
  for (;;) {
    while (breaker.state.phase !== 'closed') {
      breaker.stands();
      life.writeDown();
      if (isLong() && (await breaker.rests())) await life.goOn({ ...course, state: breaker.state });
      const contested = await breaker.drive('keep it open, then try it', held);
      if (contested) return await contestedBy(life, breaker, held, contested.why);
    }
    if (await closed(life, breaker, course)) return undefined;
    await reopen(life, breaker, held);
  }
}

/** What somebody else has set is theirs; what still is as it was set would be nobody's. */
async function contestedBy(life: BreakerLife, breaker: Breaker, held: Held[], why: string): Promise<Ending> {
  const what = `somebody else has closed its switch, and it is left so: ${why}`;
  breaker.isUnderWay('closing');
  try {
    const back = await closingForNow(requestOf(life, breaker, 'closed', held));
    life.record(back);
    life.released();
    return life.end('failed', `${what}. ${putBack(back)}`);
  } catch (error) {
    if (isCancellation(error)) throw error;
    life.keeps();
    return life.end('failed', `${what}. What else it had set could not be put back: ${explain(error)}`);
  }
}

const putBack = (changes: readonly Change[]): string =>
  changes.length === 0
    ? 'Nothing else was left to be put back'
    : `What still was as Salvor set it was put back: ${changes.map(({ what }) => what).join('; ')}`;

/**
 * For as long as it cannot be closed people are told, it is tried again, and the dependency is watched: it may fail again, and
 * an order may come.
 *
 * @returns whether it is closed; not where it is to be open again
 */
async function closed(life: BreakerLife, breaker: Breaker, course: Course): Promise<boolean> {
  for (;;) {
    breaker.isUnderWay('closing');
    const failure = await closedNow(life, breaker, course.held);
    if (!failure) {
      life.released();
      await breaker.calm('unclosed');
      return true;
    }
    if (failure.why === undefined) breaker.obey();
    else await unclosed(breaker, failure.why);
    if (breaker.isOpen) return false;
    life.writeDown();
    if (isLong() && (await breaker.rests())) await life.goOn({ ...course, state: breaker.state });
  }
}

async function unclosed(breaker: Breaker, why: string): Promise<void> {
  await breaker.trouble('unclosed', `it is to be closed, and is not: ${why}`);
  const ms = breaker.backoff('unclosed');
  // Where nothing is remembered of it there is nothing to be watched.
  if (breaker.state.until === null) await condition(() => breaker.isAsked, ms);
  else await breaker.drive('see whether it stays healthy', [], ms);
  breaker.obey();
}

/** @returns what is the matter where it is not closed; without a reason where it was stopped, for somebody asks for something */
async function closedNow(life: BreakerLife, breaker: Breaker, held: Held[]): Promise<{ why?: string } | undefined> {
  const close = () =>
    closingForNow(requestOf(life, breaker, 'closed', held)).then(
      (changes) => ({ changes }),
      (failure: unknown) => {
        if (isCancellation(failure)) throw failure;
        return { why: explain(failure) };
      },
    );
  const [made] = await untilOneEnds<{ changes: Change[] } | { why: string }, void>(close, () =>
    condition(() => breaker.isAsked),
  );
  if (!made) return {};
  if ('why' in made) return made;
  life.record(made.changes);
  return undefined;
}

/** Some of it may be closed by now. Where it cannot be opened, its drive tells, and tries it again. */
async function reopen(life: BreakerLife, breaker: Breaker, held: Held[]): Promise<void> {
  breaker.isUnderWay('opening');
  try {
    life.record(await opening(requestOf(life, breaker, 'open', held)));
  } catch (error) {
    if (isCancellation(error)) throw error;
    await breaker.trouble('undriven', `it is to be opened again, and is not: ${explain(error)}`);
  }
}

async function openedAgain(life: BreakerLife, breaker: Breaker, done: Done): Promise<Ending | undefined> {
  const { dependency, state } = breaker;
  try {
    const reading = await readSwitch({ dependency, actor: life.actor });
    // Whoever has opened it closes it: what it was before is not known to this remediation.
    if (reading.position === 'open')
      return life.end('recovered', `${state.reason}; somebody else has opened its switch: ${reading.why}`);
    return await whileOpen(life, breaker, reading, done);
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
  breaker.isUnderWay('opening');
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
