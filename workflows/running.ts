import { type DispatchRequest, MAX_STARTS, type Running as Run, type Start } from '../model/dispatch.ts';
import { alertKey, holds } from '../model/gates.ts';
import { proposalId, remediationId } from '../model/names.ts';
import type { EndReport } from '../model/remediation.ts';
import type { RunAnswer } from '../model/request.ts';
import type { Open, Proposed, ResponderState } from '../model/responder.ts';
import type { ResolvedRule } from '../model/rule.ts';
import { isTick } from '../model/tick.ts';

const MINUTE = 60_000;
/** How often what runs is looked at, for what was terminated by hand ends without a word. */
const CHECK_WAITED_FOR = MINUTE;
const CHECK = 10 * MINUTE;
/** Proposals wait for days, and nobody waits for them. */
const CHECK_PROPOSED = 60 * MINUTE;

/** Whether a target may have another, true key: an instance of an Auto Scaling group may be a node. */
const mayHaveOther = (target: string): boolean => target.startsWith('asg/');

/** What of a start is remembered while it runs. */
export type Admitted = Pick<Open, 'workload' | 'tries'> & { since: number; after?: string | undefined };

/** What a responder has started: remediations, proposals, and those that are still to be asked of the server. */
export class Running {
  /** Admitted under the rule as it is now, and not yet asked of the server. */
  starts: Start[] = [];
  readonly #state: ResponderState;
  #resolved: Run[] = [];
  /** Milliseconds since the epoch. */
  readonly #checked: { open: number; proposed: number };

  constructor(state: ResponderState, startTime: number) {
    this.#state = state;
    this.#checked = { open: startTime, proposed: startTime };
  }

  /** What is admitted is open from here on. */
  start(request: Start['request'], rule: ResolvedRule, { since, after, ...about }: Admitted, now: number): Start {
    const { fingerprint, startsAt, target, approval, by } = request;
    const acts = holds(rule, request);
    // Of what came only, and of nothing that depends on what else had come when this was decided: see Batch.delivery.
    const alert = alertKey(request);
    const episode = acts ? `${rule.name}/${request.delivery}/${alert}` : [alert, ...(after ? [after] : [])].join('/');
    const memory = this.#state.memory?.[target];
    const start: Start = { episode, request, since, ...(memory && { memory }) };
    this.starts.push(start);
    const running = { episode, runId: '', fingerprint, startsAt, since: now };
    const more = { ...(approval && { approval }), ...(isTick({ by }) && { scheduled: true as const }) };
    if (acts) this.#state.open[target] = { ...running, asked: since, ...more, ...about };
    else if (rule.mode === 'propose') {
      this.#state.proposed ??= {};
      this.#state.proposed[target] = running;
    }
    return start;
  }

  /** The key by which the target of an alert goes that came by another name of it, as far as something runs for it. */
  nameOf({ target, fingerprint }: Pick<Start['request'], 'target' | 'fingerprint'>): string {
    if (!mayHaveOther(target)) return target;
    const { open, proposed = {} } = this.#state;
    const among = (some: Record<string, Open | Proposed>) =>
      Object.keys(some).find((key) => some[key]?.fingerprint === fingerprint);
    return among(open) ?? among(proposed) ?? target;
  }

  /** What runs for a target, for people: what acts on it before what is only proposed. */
  standing(target: string, rule: ResolvedRule | undefined): Pick<RunAnswer, 'remediation'> {
    const { open, proposed } = this.#state;
    const [acting, waiting] = [open[target], proposed?.[target]];
    if (acting?.runId) return { remediation: { workflowId: remediationId(target), runId: acting.runId } };
    if (!waiting?.runId || !rule) return {};
    return { remediation: { workflowId: proposalId(rule.name, target), runId: waiting.runId } };
  }

  /** The server has started it, or it runs already. */
  started({ episode, request: { target } }: Start, runId: string): void {
    for (const running of this.#of(target)) if (running.episode === episode) running.runId = runId;
  }

  /** As if it had never been admitted. @returns whether it held its target */
  takeBack(start: Start): boolean {
    const { episode, request } = start;
    this.starts = this.starts.filter((other) => other !== start);
    const { open, proposed } = this.#state;
    if (proposed?.[request.target]?.episode === episode) this.#forget(request.target);
    if (open[request.target]?.episode !== episode) return false;
    delete open[request.target];
    return true;
  }

  /**
   * The alert of a target is resolved: what runs for it is told.
   *
   * @returns those that were admitted for it and not yet asked of the server
   */
  resolve({ target, fingerprint }: Start['request'], isOver: (alert: { startsAt: string }) => boolean): Start[] {
    const concerned = this.#of(target).filter((running) => running.fingerprint === fingerprint && isOver(running));
    for (const running of concerned) {
      running.resolved = true;
      const proposal = this.#state.proposed?.[target] === running;
      if (running.runId) this.#resolved.push({ target, runId: running.runId, ...(proposal && { proposal }) });
    }
    return this.starts.filter(({ episode }) => concerned.some((running) => running.episode === episode));
  }

  /** A proposal has ended. @returns what was remembered of it */
  proposalEnded({ target, episode, runId }: Pick<EndReport, 'target' | 'episode' | 'runId'>): Proposed | undefined {
    const proposed = this.#state.proposed?.[target];
    if (proposed?.episode !== episode && proposed?.runId !== runId) return undefined;
    this.#forget(target);
    return proposed;
  }

  /** When what runs is looked at next; infinity for never. */
  due(someoneWaits: boolean): number {
    const { open, proposed = {} } = this.#state;
    const due = [];
    if (Object.keys(open).length > 0) due.push(this.#checked.open + (someoneWaits ? CHECK_WAITED_FOR : CHECK));
    if (Object.keys(proposed).length > 0) due.push(this.#checked.proposed + CHECK_PROPOSED);
    return Math.min(...due, Number.POSITIVE_INFINITY);
  }

  /** What is to be asked of the server now. */
  take(someoneWaits: boolean, now: number): Pick<DispatchRequest, 'starts' | 'resolved' | 'check'> {
    return {
      starts: this.starts.splice(0, MAX_STARTS),
      resolved: this.#resolved.splice(0),
      check: this.#toCheck(someoneWaits, now).filter(({ runId }) => runId !== ''),
    };
  }

  #toCheck(someoneWaits: boolean, now: number): Run[] {
    if (this.due(someoneWaits) > now) return [];
    const { open, proposed = {} } = this.#state;
    this.#checked.open = now;
    const check: Run[] = Object.entries(open).map(([target, { runId }]) => ({ target, runId }));
    if (this.#checked.proposed + CHECK_PROPOSED > now) return check;
    this.#checked.proposed = now;
    return [
      ...check,
      ...Object.entries(proposed).map(([target, { runId }]) => ({ target, runId, proposal: true as const })),
    ];
  }

  #of(target: string): (Open | Proposed)[] {
    return [this.#state.open[target], this.#state.proposed?.[target]].filter((running) => running !== undefined);
  }

  #forget(target: string): void {
    const { proposed } = this.#state;
    if (!proposed) return;
    delete proposed[target];
    if (Object.keys(proposed).length === 0) this.#state.proposed = undefined;
  }
}
