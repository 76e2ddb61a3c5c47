import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  log,
  proxyActivities,
  rootCause,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { AuditPage } from '../model/audit.ts';
import type { Change, Held } from '../model/change.ts';
import { type SearchAttribute, searchValue, watchQueue } from '../model/names.ts';
import type { Outcome } from '../model/outcome.ts';
import type { Actor } from '../model/ports/instance.ts';
import type { CancelRequest, Ending, RemediationInput, Story } from '../model/remediation.ts';
import type { SettleActivities, SettleRequest } from '../model/settle.ts';
import { remediationDetails } from './details.ts';
import { Notes } from './record.ts';

/** As `record` (see record.ts), and for its reasons no local activity, on the queue of the waits. */
const settling = (): SettleActivities =>
  proxyActivities<SettleActivities>({
    summary: 'tell its responder of the end, and put all on record',
    taskQueue: watchQueue(workflowInfo().taskQueue),
    startToCloseTimeout: '20 seconds',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '1 minute' },
  });

interface Undo {
  what: string;
  undo: () => Promise<Change[]>;
  held: Held[];
  /** What is to be undone has been recorded. */
  reported: boolean;
}

/** What must have been made before, for it was given back: by an attempt that died before it could report it. */
function unreported({ held, reported }: Undo, back: readonly Change[]): Change[] {
  if (reported) return [];
  return back.flatMap((change) => {
    const made = held.find(({ field, set }) => field === change.field && set === change.before);
    if (!made) return [];
    const { before, set } = made;
    const what = `${made.field}: ${before} → ${set}, by an attempt that could not report it`;
    return [{ step: 'cut', what, object: change.object, field: made.field, before, after: set, at: change.at }];
  });
}

/** What a runbook has at hand: who it is, its story, and the undos of what it did. */
export class Life {
  readonly input: RemediationInput;
  readonly actor: Actor;
  readonly story: Story;
  readonly #notes: Notes;
  readonly #undos: Undo[] = [];
  #hints = 0;
  #cancelledBy: CancelRequest | undefined;

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
    this.record(await make(this.#notes.page()));
    registered.reported = true;
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
    this.#undos.length = 0;
    this.#release();
  }

  #release(): void {
    for (const { object, field } of this.story.held) this.#notes.add({ kind: 'released', object, field });
    this.story.held = [];
  }

  end(outcome: Outcome, reason: string, plan?: string[]): Ending {
    return { outcome, reason, changes: this.story.changes, ...(plan && { plan }) };
  }

  /** The alert is resolved: a reason to look again at once. */
  hint(): void {
    this.#hints += 1;
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
    this.phase('undo', ending.reason, { what: 'undo what was done' });
    let { outcome, reason } = ending;
    await CancellationScope.nonCancellable(async () => {
      for (let undo = this.#undos.pop(); undo; undo = this.#undos.pop()) {
        try {
          const back = await undo.undo();
          this.record([...unreported(undo, back), ...back]);
          this.#release();
        } catch (error) {
          outcome = 'failed';
          reason = `${reason}; and could not undo "${undo.what}": ${explain(error)}. A person must undo it`;
        }
      }
    });
    return this.end(outcome, reason);
  }

  /** Tells the responder and puts all on record; the workflow does not end before. */
  async settle(ending: Ending): Promise<void> {
    const { input } = this;
    this.story.ending = ending;
    this.phase(ending.outcome, `${ending.outcome}: ${ending.reason}`);
    log.info('remediation ends', { target: input.target, outcome: ending.outcome, reason: ending.reason });
    if (input.searchAttributes)
      upsertSearchAttributes([attribute('SalvorOutcome', ending.outcome), attribute('SalvorReason', ending.reason)]);
    const { outcome, reason, plan } = ending;
    this.#notes.add({ kind: 'ended', outcome, reason, ...(plan && { plan }), lines: this.story.lines });
    let toTell = this.#toTell(ending);
    // Again for what is noted while it is under way, which may be long: a person may still ask for the end.
    for (let noted = 0; noted < this.#notes.count; toTell = {}) {
      noted = this.#notes.count;
      await settling().settle({ ending, page: this.#notes.page(), ...toTell });
    }
  }

  #toTell({ outcome, reason }: Ending): Pick<SettleRequest, 'tell'> {
    const { responder, episode, target, rule, ruleDigest, scope, alert } = this.input;
    if (!responder) return {};
    const { fingerprint, startsAt } = alert;
    const { runId } = workflowInfo();
    const at = new Date().toISOString();
    const about = { episode, target, runId, rule, ruleDigest, scope, alert: { fingerprint, startsAt } };
    return { tell: { responder, report: { ...about, outcome, reason, at } } };
  }
}

const attribute = (name: SearchAttribute, value: string) => ({
  key: defineSearchAttributeKey(name, SearchAttributeType.KEYWORD),
  value: searchValue(value),
});

/** The message of what really went wrong, without the layers around it. */
export function explain(error: unknown): string {
  return rootCause(error) ?? String(error);
}

/** The type that an activity gave to its error, if it is one. */
export function failureType(error: unknown): string | undefined {
  const cause = error instanceof ActivityFailure ? error.cause : error;
  return cause instanceof ApplicationFailure ? (cause.type ?? undefined) : undefined;
}
