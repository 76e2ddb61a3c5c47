import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  CancellationScope,
  CancelledFailure,
  condition,
  log,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { AuditEntry, AuditPage } from '../model/audit.ts';
import type { BreakerOrder } from '../model/breaker/options.ts';
import type { BreakerStanding } from '../model/breaker/standing.ts';
import type { Change } from '../model/change.ts';
import type { ClearanceRequest } from '../model/clearance.ts';
import { limitsKey } from '../model/limits.ts';
import { type SearchAttribute, searchValue, shortId } from '../model/names.ts';
import type { Outcome } from '../model/outcome.ts';
import type { Plan } from '../model/plan.ts';
import type { Actor } from '../model/ports/instance.ts';
import type { CancelRequest, Ending, RemediationInput, Remembered, Story } from '../model/remediation.ts';
import type { Batch, Request } from '../model/request.ts';
import type { ResolvedRule, Runbook } from '../model/rule.ts';
import type { ToTell } from '../model/settle.ts';
import { isTick } from '../model/tick.ts';
import { remediationDetails } from './details.ts';
import { explain } from './failures.ts';
import { Holding } from './holding.ts';
import { Hush } from './hush.ts';
import { OwnAlerts } from './own-alerts.ts';
import { Proposal } from './proposal.ts';
import { Notes } from './record.ts';
import { goOnAsNew, newStory } from './runs.ts';
import { endOf, telling } from './telling.ts';

/** What a runbook has at hand: who it is, its story, and the undos of what it did. */
export class Life<R extends Runbook = Runbook> {
  readonly input: RemediationInput<R>;
  readonly actor: Actor;
  readonly story: Story;
  readonly proposal: Proposal;
  /** What it holds, and how that is taken back. */
  readonly holding: Holding;
  readonly alerts: OwnAlerts;
  /** Run ID of its first run: what responder, record and people know it by. */
  readonly runId: string;
  /** Takes a person's order about its breaker; of runbooks that have one, from when they do. */
  onOrder: ((order: BreakerOrder) => Promise<BreakerStanding>) | undefined;
  /** Nothing more is done but to tell of the end. */
  over = false;
  /** What was done is being taken back, which may take long; nothing else is done. */
  givesUp = false;
  readonly #notes: Notes;
  #hints = 0;
  #cancelledBy: CancelRequest | undefined;
  #hush: Hush | undefined;
  #needsAPerson = false;
  /** Workload in whose budget it may have a place. */
  #workload: string | undefined;
  #again: { gate: string; reason: string } | undefined;
  #handedOver = false;
  #remembers: Record<string, Remembered | null> = {};

  constructor(input: RemediationInput<R>) {
    this.input = input;
    const { rule, target, carried } = input;
    this.actor = { runbook: rule.runbook, remediation: workflowInfo().firstExecutionRunId };
    this.runId = carried?.runId ?? workflowInfo().runId;
    this.story = carried?.story ?? newStory(input as RemediationInput);
    const { scope, alert, episode, since, ruleDigest } = input;
    const { name, runbook } = rule;
    const { mode } = this.story;
    const stream = { kind: 'remediation', id: this.runId, rule: name, target, runbook, scope } as const;
    this.#notes = new Notes({ ...stream, mode: mode ?? rule.mode }, carried?.notes);
    this.#handedOver = carried?.handedOver === true;
    this.proposal = new Proposal(this);
    this.holding = new Holding(this);
    this.alerts = new OwnAlerts(this as Life, carried?.raised);
    if (carried) {
      // One that has not acted yet may never do.
      if (carried.course !== undefined) this.#hushAlert();
      return;
    }
    const begun = { target, rule: rule as ResolvedRule, ruleDigest, scope, alert, episode, ...(since && { since }) };
    this.#notes.add({ kind: 'begun', ...begun });
    this.say(`${input.alert.alertname} of ${input.alert.startsAt}, rule ${rule.name}, mode ${mode ?? rule.mode}`);
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
    if (this.needsApproval) {
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

  /** It acts only on a plan that a person has approved: by its mode, or because the rule does not do this by itself. */
  get needsApproval(): boolean {
    const { rule, proposes, approval } = this.input;
    return rule.mode === 'propose' || proposes === true || approval?.needed === true;
  }

  /** Silences the alert from here until it is handed over, or the end. */
  #hushAlert(): void {
    const { rule, target, alert, responder } = this.input;
    // A schedule has no alert that could be silenced.
    if (!rule.hush || isTick(alert) || this.#hush) return;
    const { runId } = this;
    const { labels, alertname, fingerprint } = alert;
    const about = { alertname, fingerprint, target, rule: rule.name, remediation: runId };
    const request = { ...about, ...(labels && { labels }) };
    const tell = responder && { responder, batch: this.batch(`hush-${runId}`, { status: 'resolved' }) };
    this.#hush = new Hush({ ...request, ...(tell && { tell }) }, (text) => this.say(text));
  }

  /** Its request, as it is handed to its responder. */
  batch(delivery: string, more: Pick<Request, 'status' | 'approval'>): Batch {
    const { rule, ruleDigest, scope, target, alert } = this.input as RemediationInput;
    return { delivery, rule, ruleDigest, scope, requests: [{ ...alert, target, ...more }] };
  }

  /**
   * For a mutation: what must not object right before it. The place that it may take in the workload's budget is given back
   * at the end.
   *
   * @param takes what it takes from the workload: a place in its budget, or nothing where it has a replacement already
   * @returns nothing in a run that an older version began: its rule says nothing of it
   */
  clearance(workload: string, takes: 'a place' | 'nothing' = 'a place'): ClearanceRequest | undefined {
    const { rule, target, responder } = this.input;
    const { maxUnavailable, failClosed } = rule.gates;
    if (workload === undefined || maxUnavailable === undefined) return undefined;
    if (takes === 'a place') this.#workload = workload;
    const { workflowId, runId } = workflowInfo();
    return {
      target,
      rule: rule.name,
      ...(responder && { responder }),
      ...(rule.limits && { limits: limitsKey(target) }),
      workload,
      bound: maxUnavailable,
      ...(takes === 'nothing' && { unbudgeted: true as const }),
      holder: { workflowId, runId },
      failClosed,
    };
  }

  /** It ends before it has acted: its request waits in its responder for that gate, and is decided anew. */
  again(gate: string, reason: string): Ending {
    this.#again = { gate, reason };
    return this.end('refused', reason);
  }

  /** What earlier remediations of the target, and this one, remember. */
  get memory(): Readonly<Record<string, Remembered>> {
    const all = Object.entries({ ...this.input.memory, ...this.#remembers });
    return Object.fromEntries(all.flatMap(([key, one]) => (one ? [[key, one]] : [])));
  }

  /** For the remediations of the target that come after this one; null of what is to be forgotten. */
  remember(news: Record<string, Remembered | null>): void {
    this.#remembers = { ...this.#remembers, ...news };
  }

  /** People are told of the end, where the rule says so, as they are of a failure. */
  needsAPerson(): void {
    this.#needsAPerson = true;
  }

  page(): AuditPage {
    return this.#notes.page();
  }

  /** As {@link Holding.change}. */
  change(...change: Parameters<Holding['change']>): Promise<void> {
    return this.holding.change(...change);
  }

  released(): void {
    this.holding.released();
  }

  keeps(): void {
    this.holding.keeps();
  }

  giveUp(ending: Ending): Promise<Ending> {
    this.givesUp = true;
    return this.holding.giveUp(ending);
  }

  record(changes: Change[]): void {
    for (const change of changes) {
      const { what, object } = change;
      this.say(object.key === this.story.target ? what : `${what} (${object.key})`);
      this.#notes.add({ kind: 'change', change });
    }
    this.story.changes.push(...changes);
  }

  /**
   * All is done but for what it keeps for a while: its responder is told the outcome now, so that slot and place are free. The
   * end itself is on record, and told to nobody but, where it fails, to people.
   */
  async handOver(outcome: Outcome, reason: string): Promise<void> {
    this.evidence('hand-over', outcome, reason);
    const toTell = this.#toTell(this.end(outcome, reason));
    // Not cancellable: a cancel that comes meanwhile must find it either told or not.
    await CancellationScope.nonCancellable(() =>
      telling('tell its responder that it is done but for what it keeps').handOver({
        ...toTell,
        page: this.#notes.page(),
      }),
    );
    this.#handedOver = true;
    this.#workload = undefined;
    await this.#hush?.handOver();
  }

  /** All that was noted and is not yet known to be on record, for an activity to write down. */
  notesSoFar(): AuditPage {
    return this.#notes.page('fitting');
  }

  end(outcome: Outcome, reason: string, plan?: string[]): Ending {
    return { outcome, reason, changes: this.story.changes, ...(plan && { plan }) };
  }

  /** Puts on record what was noted, where that has become much: a long remediation is to tell no page of all of it at last. */
  writeDown(): void {
    this.#notes.writeMany();
  }

  /**
   * Goes on in a new run, for the history of this one has become long; never returns. What is held stays held meanwhile.
   *
   * @param course where the runbook stands; undefined: it has not acted yet
   */
  async goOn(course: unknown): Promise<never> {
    const { story, runId } = this;
    this.say('its history has become long: it goes on in a new run');
    await this.#hush?.end();
    // A cancel is not passed on to the next run.
    if (CancellationScope.current().consideredCancelled) throw new CancelledFailure(this.whoCancelled);
    const handedOver = this.#handedOver && { handedOver: true as const };
    const carried = { runId, story, notes: this.#notes.carry(), raised: this.alerts.open, course, ...handedOver };
    return goOnAsNew(this.input as RemediationInput, carried);
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

  /** What becomes of what it leaves held, for people. */
  get staysHeld(): string {
    return `What is still held is left for a person to decide about (salvor release ${shortId(this.actor.remediation)})`;
  }

  /** Ends the silence, tells responder and people, and puts all on record; the workflow does not end before. */
  async settle(ending: Ending): Promise<void> {
    const { input, story } = this;
    this.over = true;
    await this.#hush?.end();
    const isNeeded = ending.outcome === 'failed' || this.#needsAPerson;
    const order = this.alerts.lastOrder(isNeeded ? ending.reason : undefined);
    story.ending = ending;
    this.phase(ending.outcome, `${ending.outcome}: ${ending.reason}`);
    log.info('remediation ends', { target: input.target, outcome: ending.outcome, reason: ending.reason });
    if (input.searchAttributes)
      upsertSearchAttributes([attribute('SalvorOutcome', ending.outcome), attribute('SalvorReason', ending.reason)]);
    const { outcome, reason, plan } = ending;
    const isPlanned = input.rule.mode !== 'act' || this.needsApproval;
    const planDigest = isPlanned ? story.plan?.digest : undefined;
    const planned = { ...(plan && { plan }), ...(planDigest && { planDigest }) };
    const { lines, chart, breaker } = story;
    const drawn = { ...(chart && { chart }), ...(breaker && { breaker }) };
    this.#notes.add({ kind: 'ended', outcome, reason, ...planned, lines, ...drawn });
    let toTell = { ...this.#toTell(ending), ...(order && { herald: order }) };
    // Again for what is noted while it is under way, which may be long: a person may still ask for the end.
    for (let noted = 0; noted < this.#notes.count; toTell = {}) {
      noted = this.#notes.count;
      await telling('tell its responder of the end, and put all on record').settle({
        ending,
        page: this.#notes.page(),
        ...toTell,
      });
    }
  }

  /** Nothing where it was told already, when it was handed over. */
  #toTell(ending: Ending): ToTell {
    if (this.#handedOver) return {};
    const { runId } = this;
    const budget = this.#workload === undefined ? {} : { budget: { workload: this.#workload, runId } };
    const about = { runId, again: this.#again, memory: this.#remembers };
    return { ...budget, ...endOf(this.input as RemediationInput, ending, about) };
  }
}

const attribute = (name: SearchAttribute, value: string) => ({
  key: defineSearchAttributeKey(name, SearchAttributeType.KEYWORD),
  value: searchValue(value),
});
