import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  CancellationScope,
  condition,
  isCancellation,
  log,
  proxyActivities,
  proxyLocalActivities,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { AuditEntry, AuditPage } from '../model/audit.ts';
import type { Change, Held } from '../model/change.ts';
import type { ClearanceRequest } from '../model/clearance.ts';
import { escalation } from '../model/escalation.ts';
import type { HeraldActivities, HeraldOrder, OwnAlert } from '../model/herald.ts';
import { limitsKey } from '../model/limits.ts';
import { type SearchAttribute, searchValue } from '../model/names.ts';
import type { Outcome } from '../model/outcome.ts';
import type { Plan } from '../model/plan.ts';
import type { Actor } from '../model/ports/instance.ts';
import type { CancelRequest, Ending, QueuedRequest, RemediationInput, Story } from '../model/remediation.ts';
import type { Batch, Request } from '../model/request.ts';
import type { SettleActivities, SettleRequest } from '../model/settle.ts';
import { remediationDetails } from './details.ts';
import { explain, objectionOf } from './failures.ts';
import { Hush } from './hush.ts';
import { Proposal } from './proposal.ts';
import { Notes } from './record.ts';
import { type Undo, unreported } from './undo.ts';
import { ownWatchQueue } from './waits.ts';

/** As `record` (see record.ts), and for its reasons no local activity, on the queue of the waits. */
const settling = (): SettleActivities =>
  proxyActivities<SettleActivities>({
    summary: 'tell its responder of the end, and put all on record',
    taskQueue: ownWatchQueue(),
    startToCloseTimeout: '20 seconds',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '1 minute' },
  });

const { herald } = proxyLocalActivities<HeraldActivities>({
  summary: 'tell people by an alert',
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '2 seconds',
  scheduleToCloseTimeout: '5 minutes',
  retry: { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' },
});

/** Lines of the story that an escalation tells, the latest. */
const MOST_TOLD = 20;

/** What a runbook has at hand: who it is, its story, and the undos of what it did. */
export class Life {
  readonly input: RemediationInput;
  readonly actor: Actor;
  readonly story: Story;
  readonly proposal: Proposal;
  readonly #notes: Notes;
  #undos: Undo[] = [];
  #hints = 0;
  #cancelledBy: CancelRequest | undefined;
  #hush: Hush | undefined;
  /** Its alerts that are open. */
  readonly #raised: string[] = [];
  #needsAPerson = false;
  /** Workload in whose budget it may have a place. */
  #workload: string | undefined;
  #again: { gate: string; reason: string } | undefined;

  constructor(input: RemediationInput) {
    this.input = input;
    const { rule, target } = input;
    this.actor = { runbook: rule.runbook, remediation: workflowInfo().firstExecutionRunId };
    this.story = {
      target,
      rule: rule.name,
      runbook: rule.runbook,
      mode: rule.mode,
      alert: { name: input.alert.alertname, startsAt: input.alert.startsAt },
      phase: 'diagnose',
      next: { what: 'look at it' },
      lines: [],
      changes: [],
      held: [],
    };
    const { scope, alert, episode, since, ruleDigest } = input;
    const { name, runbook, mode } = rule;
    this.#notes = new Notes({ kind: 'remediation', rule: name, target, runbook, mode, scope });
    this.#notes.add({ kind: 'begun', target, rule, ruleDigest, scope, alert, episode, ...(since && { since }) });
    this.proposal = new Proposal(this);
    this.say(`${input.alert.alertname} of ${input.alert.startsAt}, rule ${rule.name}, mode ${rule.mode}`);
  }

  /** A phase begins; shown in Temporal's UI and by `salvor show`, with what comes next. */
  phase(phase: string, text: string, next?: Story['next']): void {
    this.story.phase = phase;
    this.story.next = next;
    this.say(text);
  }

  say(text: string): void {
    this.story.lines.push({ at: new Date().toISOString(), text, phase: this.story.phase });
    setCurrentDetails(remediationDetails(this.story));
  }

  /** The diagnosis on which it acts. */
  because(why: string): void {
    this.story.why = why;
    this.say(why);
  }

  /** ISO time, `ms` milliseconds from now. */
  in(ms: number): string {
    return new Date(Date.now() + ms).toISOString();
  }

  /** What was read of live state, and what was made of it. */
  evidence(what: string, verdict: string, why: string, facts?: Record<string, unknown>): void {
    this.#notes.add({ kind: 'evidence', what, verdict, why, ...(facts && { facts }) });
  }

  note(entry: AuditEntry): void {
    this.#notes.add(entry);
  }

  attribute(name: SearchAttribute, value: string): void {
    if (this.input.searchAttributes) upsertSearchAttributes([attribute(name, value)]);
  }

  /**
   * What every mode comes to: the plan. Answers how it ends; or nothing, and then it acts on this very plan.
   *
   * @param look a fresh look, while it waits for a person: how it ends where nothing is to be healed any more
   */
  async propose(plan: Plan, why: string, look: () => Promise<Ending | undefined>): Promise<Ending | undefined> {
    const { rule, approval } = this.input;
    this.story.plan = plan;
    if (rule.mode === 'observe') return this.end('observed', why, plan.steps);
    if (rule.mode === 'propose') {
      if (!approval) return this.proposal.settled(plan, why, look);
      const { by, at, digest, comment } = approval;
      const approved = `plan ${digest} was approved by ${by} at ${at}${comment ? ` ("${comment}")` : ''}`;
      this.evidence('approval', digest === plan.digest ? 'same-plan' : 'plan-changed', approved, { ...approval });
      if (digest !== plan.digest)
        return this.again(
          'plan-changed',
          `${approved}; by now the plan would be ${plan.digest}, so it is proposed anew`,
        );
      this.say(approved);
    }
    this.#hushAlert();
    return undefined;
  }

  /** Silences the alert from here until the end. */
  #hushAlert(): void {
    const { rule, target, alert, responder } = this.input;
    if (!rule.hush) return;
    const { runId } = workflowInfo();
    const { labels, alertname, fingerprint } = alert;
    const about = { alertname, fingerprint, target, rule: rule.name, remediation: runId };
    const request = { ...about, ...(labels && { labels }) };
    const tell = responder && { responder, batch: this.batch(`hush-${runId}`, { status: 'resolved' }) };
    this.#hush = new Hush({ ...request, ...(tell && { tell }) }, (text) => this.say(text));
  }

  /** Its request, as it is handed to its responder. */
  batch(delivery: string, more: Pick<Request, 'status' | 'approval'>): Batch {
    const { rule, ruleDigest, scope, target, alert } = this.input;
    return { delivery, rule, ruleDigest, scope, requests: [{ ...alert, target, ...more }] };
  }

  /**
   * For a mutation: what must not object right before it. The place that it may take in the workload's budget is given back
   * at the end.
   *
   * @returns nothing in a run that an older version began: its rule says nothing of it
   */
  clearance(workload: string): ClearanceRequest | undefined {
    const { rule, target, responder } = this.input;
    const { maxUnavailable, failClosed } = rule.gates;
    if (workload === undefined || maxUnavailable === undefined) return undefined;
    this.#workload = workload;
    const { workflowId, runId } = workflowInfo();
    return {
      target,
      rule: rule.name,
      ...(responder && { responder }),
      ...(rule.limits && { limits: limitsKey(target) }),
      workload,
      bound: maxUnavailable,
      holder: { workflowId, runId },
      failClosed,
    };
  }

  /** An alert of Salvor's own, which ends with the remediation. Where people cannot be told so, it goes on. */
  async raise(alert: OwnAlert): Promise<void> {
    this.#raised.push(alert.id);
    await herald({ raise: [alert] }).catch((error: unknown) => {
      if (isCancellation(error)) throw error;
      this.say(`could not raise the alert ${alert.alertname}: ${explain(error)}`);
    });
  }

  /** It ends before it has acted: its request waits in its responder for that gate, and is decided anew. */
  again(gate: string, reason: string): Ending {
    this.#again = { gate, reason };
    return this.end('refused', reason);
  }

  /** People are told of the end, where the rule says so, as they are of a failure. */
  needsAPerson(): void {
    this.#needsAPerson = true;
  }

  /**
   * Makes a change that is to be undone if the remediation does not come to a good end. The undo is registered, and what
   * will be held is noted, before the change is made, for a step that timed out may have been applied.
   *
   * @param make is given what has been noted so far, for its activity to write down before it acts
   */
  async change(
    what: string,
    make: (audit: AuditPage) => Promise<Change[]>,
    { held, undo }: { held: Held[]; undo: () => Promise<Change[]> },
  ): Promise<void> {
    const registered: Undo = { what, undo, held, reported: false };
    this.#undos.push(registered);
    this.story.held.push(...held);
    for (const field of held) this.#notes.add({ kind: 'held', held: field });
    try {
      this.record(await make(this.#notes.page()));
      registered.reported = true;
    } catch (error) {
      if (isUntouched(error)) this.#forget(registered);
      throw error;
    }
  }

  #forget(registered: Undo): void {
    this.#undos = this.#undos.filter((one) => one !== registered);
    this.#release(registered.held);
  }

  record(changes: Change[]): void {
    for (const change of changes) {
      this.say(change.what);
      this.#notes.add({ kind: 'change', change });
    }
    this.story.changes.push(...changes);
  }

  /** What was held has been given back, or is gone: nothing is left to undo. */
  released(): void {
    this.#undos = [];
    this.#release(this.story.held);
  }

  #release(released: readonly Held[]): void {
    for (const { object, field } of released) this.#notes.add({ kind: 'released', object, field });
    this.story.held = this.story.held.filter((held) => !released.includes(held));
  }

  end(outcome: Outcome, reason: string, plan?: string[]): Ending {
    return { outcome, reason, changes: this.story.changes, ...(plan && { plan }) };
  }

  /** The alert is resolved: a reason to look again at once. */
  hint(): void {
    this.#hints += 1;
  }

  /** How often it was told so. */
  get hints(): number {
    return this.#hints;
  }

  /** A person asks for its end: the cancel itself follows. */
  cancelledBy(request: CancelRequest): void {
    this.#cancelledBy = request;
    this.#notes.add({ kind: 'cancel', ...request });
  }

  get whoCancelled(): string {
    const { by, reason } = this.#cancelledBy ?? { by: 'a person', reason: '' };
    return `cancelled by ${by}${reason ? `: ${reason}` : ''}`;
  }

  /** Awaits `wait`; looks again, beside it, whenever the alert was resolved. */
  async looking<T>(wait: Promise<T>, look: () => Promise<string>): Promise<T> {
    let seen = this.#hints;
    const over = wait.then(
      () => true,
      () => true,
    );
    // Not cancellable: a cancelled wait has to be over before anything is undone, or the two would work against each other.
    const hinted = () => CancellationScope.nonCancellable(() => condition(() => this.#hints > seen)).then(() => false);
    while (!(await Promise.race([over, hinted()]))) {
      seen = this.#hints;
      this.say(`the alert is resolved; a fresh look says: ${await look().catch(explain)}`);
    }
    return await wait;
  }

  /** Undoes, newest first, whatever happens; an undo that fails is named in the reason. */
  async giveUp(ending: Ending): Promise<Ending> {
    if (this.#undos.length > 0) this.phase('undo', ending.reason, { what: 'undo what was done' });
    let { outcome, reason } = ending;
    await CancellationScope.nonCancellable(async () => {
      for (let undo = this.#undos.pop(); undo; undo = this.#undos.pop()) {
        try {
          const back = await undo.undo();
          this.record([...unreported(undo, back), ...back]);
          this.#release(undo.held);
        } catch (error) {
          outcome = 'failed';
          reason = `${reason}; and could not undo "${undo.what}": ${explain(error)}. A person must undo it`;
        }
      }
    });
    return this.end(outcome, reason);
  }

  /** Ends the silence, tells responder and people, and puts all on record; the workflow does not end before. */
  async settle(ending: Ending): Promise<void> {
    const { input, story } = this;
    await this.#hush?.end();
    const order = this.#lastOrder(ending);
    story.ending = ending;
    this.phase(ending.outcome, `${ending.outcome}: ${ending.reason}`);
    log.info('remediation ends', { target: input.target, outcome: ending.outcome, reason: ending.reason });
    if (input.searchAttributes)
      upsertSearchAttributes([attribute('SalvorOutcome', ending.outcome), attribute('SalvorReason', ending.reason)]);
    const { outcome, reason, plan } = ending;
    const planDigest = input.rule.mode === 'act' ? undefined : story.plan?.digest;
    const planned = { ...(plan && { plan }), ...(planDigest && { planDigest }) };
    this.#notes.add({ kind: 'ended', outcome, reason, ...planned, lines: story.lines });
    let toTell = { ...this.#toTell(ending), ...(order && { herald: order }) };
    // Again for what is noted while it is under way, which may be long: a person may still ask for the end.
    for (let noted = 0; noted < this.#notes.count; toTell = {}) {
      noted = this.#notes.count;
      await settling().settle({ ending, page: this.#notes.page(), ...toTell });
    }
  }

  /** Its own alerts are over; where a person is needed there is a new one. */
  #lastOrder({ outcome, reason }: Ending): HeraldOrder | undefined {
    const { rule, scope, target, alert } = this.input;
    const clear = this.#raised.length > 0 ? { clear: this.#raised } : undefined;
    if (!rule.onFailure.escalate || (outcome !== 'failed' && !this.#needsAPerson)) return clear;
    const { workflowId, runId } = workflowInfo();
    const at = new Date().toISOString();
    const tried = this.story.lines.slice(-MOST_TOLD).map((line) => `${line.at} ${line.text}`);
    const about = { rule: rule.name, scope, target, alert, run: { workflowId, runId }, at };
    // The request for an approval has the name of the run, and is over.
    const id = clear ? `${runId}-unanswered` : runId;
    const raised = escalation({ ...about, id, reason, tried });
    this.#notes.add({ kind: 'escalated', id: raised.id, why: reason });
    this.say(`people are told by the alert ${raised.alertname}`);
    return { ...clear, raise: [raised] };
  }

  #toTell({ outcome, reason }: Ending): Pick<SettleRequest, 'tell' | 'budget'> {
    const { responder, episode, target, rule, ruleDigest, scope, alert } = this.input;
    const { runId } = workflowInfo();
    const budget = this.#workload === undefined ? {} : { budget: { workload: this.#workload, runId } };
    if (!responder) return budget;
    const { fingerprint, startsAt, alertname, digest, by, labels } = alert;
    const at = new Date().toISOString();
    const about = { episode, target, runId, rule, ruleDigest, scope, alert: { fingerprint, startsAt } };
    const request: QueuedRequest = { fingerprint, startsAt, alertname, digest, by, ...(labels && { labels }) };
    // Where its undo failed, or a person cancelled it, that is what it came to.
    const again = outcome === 'refused' && this.#again && { again: { ...this.#again, request } };
    return { ...budget, tell: { responder, report: { ...about, outcome, reason, at, ...again } } };
  }
}

const attribute = (name: SearchAttribute, value: string) => ({
  key: defineSearchAttributeKey(name, SearchAttributeType.KEYWORD),
  value: searchValue(value),
});

/**
 * A change that was not cleared, and of which nothing can have been made: by no earlier attempt, and by no run of which this
 * one is a reset.
 */
function isUntouched(error: unknown): boolean {
  const { runId, firstExecutionRunId } = workflowInfo();
  return objectionOf(error)?.attempt === 1 && runId === firstExecutionRunId;
}
