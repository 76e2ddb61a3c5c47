import { Context } from '@temporalio/activity';
import { labelFingerprint } from '../model/alertmanager.ts';
import { bounded } from '../model/drift/bounded.ts';
import { planOf } from '../model/drift/plan.ts';
import { type Matcher, matches, parseMatchers } from '../model/matcher.ts';
import type { AlertsRequest, DesiredStatePort, RevertRequest, RevertResult } from '../model/ports/desired-state.ts';
import { OWN_LABEL } from '../model/routing.ts';
import type { Alertmanager, GotAlert } from '../providers/alertmanager/client.ts';
import type { DriftMeans } from '../providers/desired-state.ts';
import { UnavailableError } from '../providers/errors.ts';
import { HeldBack, type HeldOn, type Pulse } from '../providers/instance.ts';
import type { HoldingRegistry, Place } from '../providers/registry.ts';
import { type Announce, type Clear, type Fence, notCleared, pulse } from './attempt.ts';
import { told } from './errors.ts';
import { Turns } from './turns.ts';

export interface DesiredStateOptions {
  registry: Pick<HoldingRegistry, 'stacks' | 'places'>;
  /** All members; none: no alert holds anything. */
  alertmanagers: readonly Pick<Alertmanager, 'firing'>[];
  fence: Fence;
  announce?: Announce;
  clear?: Clear;
}

/** Looks and reverts of one worker at the same time: each may be a plan, with its processes, memory and calls to APIs. */
const AT_ONCE = 4;

/** The activities behind the DesiredState port. */
export function desiredStateActivities({
  registry,
  alertmanagers,
  fence,
  announce = async () => undefined,
  clear = async () => undefined,
}: DesiredStateOptions): DesiredStatePort {
  const turns = new Turns(AT_ONCE);
  const meansOf = (own: Pulse): DriftMeans => {
    let held: Promise<HeldOn[]> | undefined;
    return {
      pulse: own,
      isRepeat: Context.current().info.attempt > 1,
      held: () => {
        held ??= heldNow(registry.places());
        return held;
      },
    };
  };

  async function revert(request: RevertRequest): Promise<RevertResult> {
    const { clearance } = request;
    const own = pulse(fence);
    await using _ = await turns.next(own);
    const means = meansOf({
      ...own,
      // Right before it writes: the attempt still counts, and it is the time for it.
      stillMine: async () => {
        await own.stillMine();
        const objection = clearance && (await clear(clearance));
        if (objection) throw new HeldBack(objection);
      },
    });
    try {
      return await registry.stacks.of(request.stack).revert(request, means);
    } catch (error) {
      // Of what was not begun no changes are told.
      throw error instanceof HeldBack ? notCleared(error.objection) : error;
    }
  }

  return {
    compareState: (request) =>
      told(async () => {
        const own = pulse(fence);
        await using _ = await turns.next(own);
        const found = await registry.stacks.of(request.stack).compare(request, meansOf(own));
        return found.verdict === 'refused' ? found : { ...found, differences: bounded(found.differences) };
      }),
    planRevert: async ({ target, reviewed, revision }) => planOf(target, reviewed, revision),
    revertDrift: async (request) => {
      if (request.audit) await announce(request.audit);
      return told(() => revert(request));
    },
    alertsWhile: (request) => told(() => alertsWhile(request, alertmanagers)),
  };
}

/** A place that does not answer may hold something: then nobody can tell, and it is tried again. */
async function heldNow(places: readonly Place[]): Promise<HeldOn[]> {
  const found = await Promise.allSettled(places.map((place) => place.find()));
  const silent = found.flatMap((answer, at) =>
    answer.status === 'rejected' ? [`${places[at]?.name}: ${messageOf(answer.reason)}`] : [],
  );
  if (silent.length > 0)
    throw new UnavailableError(
      `what Salvor holds now cannot be told, so nothing is compared: ${silent.join('; ')}. It is tried again`,
    );
  return found.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
}

/** Names of alerts that one answer tells. */
const MOST_NAMED = 10;

/** Every member is asked, for each may have heard of an alert that the others have not. */
async function alertsWhile(
  { stack, except }: AlertsRequest,
  alertmanagers: readonly Pick<Alertmanager, 'firing'>[],
): Promise<string[]> {
  const matchers = stack.holdWhile.flatMap(parseMatchers);
  if (matchers.length === 0) return [];
  const signal = Context.current().cancellationSignal;
  const all = await Promise.all(alertmanagers.map((one) => one.firing(equals(matchers), signal)));
  const names = all
    .flat()
    .filter((alert) => holds(alert, matchers, except))
    .map(nameOf);
  return [...new Set(names)].sort().slice(0, MOST_NAMED);
}

/** Salvor's own alerts hold nothing, nor does the one that it is about. */
const holds = ({ labels }: GotAlert, matchers: readonly Matcher[], except: string): boolean =>
  (labels[OWN_LABEL] ?? '') === '' && matches(matchers, labels) && labelFingerprint(labels) !== except;

/** What Alertmanager itself can look for. */
const equals = (matchers: readonly Matcher[]): Record<string, string> =>
  Object.fromEntries(matchers.flatMap(({ label, op, value }) => (op === '=' && value !== '' ? [[label, value]] : [])));

const nameOf = ({ labels, startsAt }: GotAlert): string => `${labels['alertname'] ?? 'an alert'} since ${startsAt}`;

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
