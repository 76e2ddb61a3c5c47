import {
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  proxyActivities,
  upsertMemo,
  workflowInfo,
} from '@temporalio/workflow';
import { mayApprove, type SubmitActivities, VERDICT_ERRORS, type Verdict } from '../model/approval.ts';
import { formatDuration } from '../model/duration.ts';
import { approvalRequest } from '../model/escalation.ts';
import { DECIDED_MEMO, responderId, shortId } from '../model/names.ts';
import type { Plan } from '../model/plan.ts';
import type { Ending } from '../model/remediation.ts';
import { explain } from './failures.ts';
import type { Life } from './life.ts';

const { submit } = proxyActivities<SubmitActivities>({
  summary: 'send what was approved through the gates',
  startToCloseTimeout: '10 seconds',
  retry: { initialInterval: '500 milliseconds', maximumInterval: '1 minute' },
});

/** A plan that waits for a person's verdict. However long that takes, it is one timer. */
export class Proposal {
  readonly #life: Life;
  #verdict: (Verdict & { at: string }) | undefined;

  constructor(life: Life) {
    this.#life = life;
  }

  /** Validates an Update. @throws ApplicationFailure of a type of VERDICT_ERRORS, for the person who gave the verdict */
  validate({ digest, by, groups }: Verdict): void {
    const { waits, plan } = this.#life.story;
    if (!waits || !plan || this.#verdict) throw refusal('nothingWaits', this.#whyNothingWaits());
    if (digest !== plan.digest)
      throw refusal(
        'stale',
        `the plan that waits now is ${plan.digest}, not ${digest}: look at it, and answer about that one`,
      );
    if (!mayApprove(waits.approvers, { by, groups }))
      throw refusal(
        'notAllowed',
        `${by} may not decide about it. The rule ${this.#life.input.rule.name} lists who may: ${waits.approvers.join(', ')}, by a token of the gateway`,
      );
  }

  decide(verdict: Verdict): void {
    this.#verdict = { ...verdict, at: new Date().toISOString() };
    const { answer, by, groups, digest, comment } = verdict;
    this.#life.note({ kind: 'verdict', answer, by, groups, digest, comment });
    this.#life.say(described(verdict));
  }

  /** Asks for an approval; answers what came of it. `look` is how it ends where nothing is to be healed any more. */
  async settled(plan: Plan, why: string, look: () => Promise<Ending | undefined>): Promise<Ending> {
    const life = this.#life;
    let seen = life.hints;
    try {
      const until = await this.#ask(plan, why);
      for (;;) {
        const verdict = this.#verdict;
        if (verdict)
          return await (verdict.answer === 'approve' ? this.#approved(plan, verdict) : this.#denied(plan, verdict));
        const left = Math.max(1, Date.parse(until) - Date.now());
        const heard = () => this.#verdict !== undefined || life.hints > seen;
        const inTime = await condition(heard, left, { summary: 'wait for an approval' });
        // A verdict that was taken counts, also where the time was over in the same moment.
        if (!inTime && this.#verdict === undefined) return this.#expired(plan);
        if (life.hints === seen) continue;
        seen = life.hints;
        life.say('the alert is resolved: looking again');
        const over = await look().catch(ignored(life));
        if (over) return over;
      }
    } finally {
      life.story.waits = undefined;
    }
  }

  async #ask(plan: Plan, why: string): Promise<string> {
    const life = this.#life;
    const { rule, scope, target, alert } = life.input;
    const { workflowId, runId } = workflowInfo();
    const until = life.in(rule.approveWithin);
    life.story.waits = { until, approvers: rule.approvers };
    const what = `wait for an approval of plan ${plan.digest}`;
    const how = `salvor approve ${shortId(runId)} --digest ${plan.digest}`;
    life.phase('propose', `asking for an approval of plan ${plan.digest}`, { what: `${what}: ${how}`, until });
    life.attribute('SalvorReason', `${what}, until ${until}`);
    const about = { rule: rule.name, scope, target, alert, run: { workflowId, runId }, at: new Date().toISOString() };
    await life.alerts.raise(approvalRequest({ ...about, plan, why, until, approvers: rule.approvers }));
    return until;
  }

  async #approved(plan: Plan, { by, at, digest, comment }: Verdict & { at: string }): Promise<Ending> {
    const life = this.#life;
    const { rule, scope, responder = responderId(rule.name, scope) } = life.input;
    const { runId: proposal } = workflowInfo();
    const needed = life.input.proposes && { needed: true as const };
    const approval = { by, at, digest, comment, proposal, ...needed };
    const batch = life.batch(proposal, { status: 'firing', approval });
    if (needed) upsertMemo({ [DECIDED_MEMO]: true });
    // Not cancellable: it is approved, and that is what comes of it.
    await CancellationScope.nonCancellable(() => submit({ responder, batch }));
    return life.end(
      'observed',
      `approved by ${by}${said(comment)}; it acts on this very plan, once its gates and a fresh look allow it`,
      plan.steps,
    );
  }

  #denied({ steps }: Plan, verdict: Verdict): Ending {
    return this.#life.end('refused', described(verdict), steps);
  }

  #expired({ digest, steps }: Plan): Ending {
    const { approveWithin } = this.#life.input.rule;
    this.#life.needsAPerson();
    return this.#life.end(
      'refused',
      `nobody decided about plan ${digest} within ${formatDuration(approveWithin)}`,
      steps,
    );
  }

  #whyNothingWaits(): string {
    const { ending, phase, rule } = this.#life.story;
    if (this.#verdict) return `it is decided already: ${described(this.#verdict)}, at ${this.#verdict.at}`;
    if (ending) return `it has ended already, ${ending.outcome}: ${ending.reason}`;
    return `nothing waits for an approval: the remediation (rule ${rule}) is in the phase "${phase}"`;
  }
}

const refusal = (type: keyof typeof VERDICT_ERRORS, message: string): ApplicationFailure =>
  ApplicationFailure.nonRetryable(message, VERDICT_ERRORS[type]);

const described = ({ answer, by, comment }: Verdict): string =>
  `${answer === 'approve' ? 'approved' : 'denied'} by ${by}${said(comment)}`;

const said = (comment: string): string => (comment ? ` ("${comment}")` : '');

/** A look that cannot be had tells nothing: it goes on waiting. */
const ignored =
  (life: Life) =>
  (error: unknown): undefined => {
    if (isCancellation(error)) throw error;
    life.say(`could not look: ${explain(error)}`);
  };
