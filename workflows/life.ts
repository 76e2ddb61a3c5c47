import { defineSearchAttributeKey, SearchAttributeType } from '@temporalio/common';
import {
  ActivityFailure,
  ApplicationFailure,
  CancellationScope,
  condition,
  log,
  proxyLocalActivities,
  rootCause,
  setCurrentDetails,
  upsertSearchAttributes,
  workflowInfo,
} from '@temporalio/workflow';
import type { Change, Held } from '../model/change.ts';
import { type SearchAttribute, searchValue } from '../model/names.ts';
import type { Outcome } from '../model/outcome.ts';
import type { Actor } from '../model/ports/instance.ts';
import type { Ending, RemediationInput, Story } from '../model/remediation.ts';
import type { SettleActivities } from '../model/settle.ts';

const { settle } = proxyLocalActivities<SettleActivities>({
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '2 seconds',
  retry: { initialInterval: '200 milliseconds', maximumInterval: '30 seconds' },
});

/** What a runbook has at hand: who it is, its story, and the undos of what it did. */
export class Life {
  readonly input: RemediationInput;
  readonly actor: Actor;
  readonly story: Story;
  readonly #undos: { what: string; undo: () => Promise<Change[]> }[] = [];
  #hints = 0;

  constructor(input: RemediationInput) {
    this.input = input;
    const { rule, target } = input;
    this.actor = { runbook: rule.runbook, remediation: workflowInfo().firstExecutionRunId };
    this.story = {
      target,
      rule: rule.name,
      runbook: rule.runbook,
      phase: 'diagnose',
      lines: [],
      changes: [],
      held: [],
    };
    this.say(`${input.alert.alertname} of ${input.alert.startsAt}, rule ${rule.name}, mode ${rule.mode}`);
  }

  /** A phase begins; shown in Temporal's UI and by `salvor show`. */
  phase(phase: string, text?: string): void {
    this.story.phase = phase;
    if (text) this.say(text);
  }

  say(text: string): void {
    this.story.lines.push({ at: new Date().toISOString(), text });
    setCurrentDetails(this.story.lines.map((line) => `- \`${line.at.slice(11, 19)}\` ${line.text}`).join('\n'));
  }

  /** ISO time, `ms` milliseconds from now. */
  in(ms: number): string {
    return new Date(Date.now() + ms).toISOString();
  }

  /**
   * Makes a change that is to be undone if the remediation does not come to a good end. The undo is registered before
   * the change is made, for a step that timed out may have been applied.
   */
  async change(what: string, make: () => Promise<Change[]>, undo?: { held: Held[]; undo: () => Promise<Change[]> }) {
    if (undo) {
      this.#undos.push({ what, undo: undo.undo });
      this.story.held.push(...undo.held);
    }
    this.record(await make());
  }

  record(changes: Change[]): void {
    for (const change of changes) this.say(change.what);
    this.story.changes.push(...changes);
  }

  /** What was held has been given back, or is gone: nothing is left to undo. */
  released(): void {
    this.#undos.length = 0;
    this.story.held = [];
  }

  end(outcome: Outcome, reason: string, plan?: string[]): Ending {
    return { outcome, reason, changes: this.story.changes, ...(plan && { plan }) };
  }

  /** The alert is resolved: a reason to look again at once. */
  hint(): void {
    this.#hints += 1;
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
    this.phase('undo', ending.reason);
    let { outcome, reason } = ending;
    await CancellationScope.nonCancellable(async () => {
      for (let undo = this.#undos.pop(); undo; undo = this.#undos.pop()) {
        try {
          this.record(await undo.undo());
          this.story.held = [];
        } catch (error) {
          outcome = 'failed';
          reason = `${reason}; and could not undo "${undo.what}": ${explain(error)}. A person must undo it`;
        }
      }
    });
    return this.end(outcome, reason);
  }

  /** Puts the end on record and tells the responder; the workflow does not end before. */
  async settle(ending: Ending): Promise<void> {
    const { input } = this;
    this.story.ending = ending;
    this.phase(ending.outcome, `${ending.outcome}: ${ending.reason}`);
    log.info('remediation ends', { target: input.target, outcome: ending.outcome, reason: ending.reason });
    if (input.searchAttributes)
      upsertSearchAttributes([attribute('SalvorOutcome', ending.outcome), attribute('SalvorReason', ending.reason)]);
    if (!input.responder) return;
    const { episode, target, rule, ruleDigest, scope, alert } = input;
    const { outcome, reason } = ending;
    const at = new Date().toISOString();
    const { fingerprint, startsAt } = alert;
    const { runId } = workflowInfo();
    await settle(
      input.responder,
      { episode, target, runId, outcome, reason, at, alert: { fingerprint, startsAt }, rule, ruleDigest, scope },
      ending,
    );
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
