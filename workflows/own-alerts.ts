import { isCancellation, proxyLocalActivities } from '@temporalio/workflow';
import type { AuditEntry } from '../model/audit.ts';
import type { HeraldActivities, HeraldOrder, OwnAlert } from '../model/herald.ts';
import type { RemediationInput, Story } from '../model/remediation.ts';
import { explain } from './failures.ts';
import { unhealed } from './telling.ts';

const { herald } = proxyLocalActivities<HeraldActivities>({
  summary: 'tell people by an alert',
  startToCloseTimeout: '10 seconds',
  localRetryThreshold: '2 seconds',
  scheduleToCloseTimeout: '5 minutes',
  retry: { initialInterval: '500 milliseconds', maximumInterval: '20 seconds' },
});

/** What tells an escalation of an end from the request for an approval before it, which has the name of the run. */
const UNANSWERED = 'unanswered';

/** Of a life, what its alerts need. */
interface Teller {
  readonly input: Pick<RemediationInput, 'rule' | 'scope' | 'target' | 'alert'>;
  readonly runId: string;
  readonly story: Story;
  say(text: string): void;
  note(entry: AuditEntry): void;
}

/** The alerts of Salvor's own that a remediation has open. They end with it. */
export class OwnAlerts {
  readonly #life: Teller;
  #open: string[];

  constructor(life: Teller, open: readonly string[] = []) {
    this.#life = life;
    this.#open = [...open];
  }

  /** IDs. */
  get open(): string[] {
    return this.#open;
  }

  /** Where people cannot be told so, it goes on. */
  async raise(alert: OwnAlert): Promise<void> {
    this.#open = [...this.#open.filter((id) => id !== alert.id), alert.id];
    await this.#tell({ raise: [alert] }, `could not raise the alert ${alert.alertname}`);
  }

  /** A person is needed while it goes on, until {@link calm}. @param what tells it from others of this remediation */
  async escalate(what: string, reason: string): Promise<void> {
    if (this.#life.input.rule.onFailure.escalate) await this.raise(this.#escalated(reason, what));
  }

  /** What was escalated as `what` is over. */
  async calm(what: string): Promise<void> {
    const id = this.#idOf(what);
    if (!this.#open.includes(id)) return;
    this.#open = this.#open.filter((one) => one !== id);
    await this.#tell({ clear: [id] }, 'could not end its alert SalvorEscalation');
  }

  /** What earlier remediations escalated with their ends is over with the end of this one. @param runIds theirs */
  takeOver(runIds: readonly string[]): void {
    this.#open.push(...runIds.flatMap((id) => [id, `${id}-${UNANSWERED}`]));
  }

  /** With its end they are over; where a person is needed there is a new one. @param need why he is; undefined: he is not */
  lastOrder(need: string | undefined): HeraldOrder | undefined {
    const clear = this.#open.length > 0 ? { clear: this.#open } : undefined;
    if (need === undefined || !this.#life.input.rule.onFailure.escalate) return clear;
    // The request for an approval has the name of the run, and is over.
    const raised = this.#escalated(need, this.#open.includes(this.#life.runId) ? UNANSWERED : undefined);
    return { ...clear, raise: [raised] };
  }

  #escalated(reason: string, what: string | undefined): OwnAlert {
    const { input, story, runId } = this.#life;
    const raised = unhealed(input, story, reason, { id: this.#idOf(what), runId });
    this.#life.note({ kind: 'escalated', id: raised.id, why: reason });
    this.#life.say(`people are told by the alert ${raised.alertname}`);
    return raised;
  }

  #idOf(what: string | undefined): string {
    const { runId } = this.#life;
    return what === undefined ? runId : `${runId}-${what}`;
  }

  async #tell(order: HeraldOrder, failed: string): Promise<void> {
    await herald(order).catch((error: unknown) => {
      if (isCancellation(error)) throw error;
      this.#life.say(`${failed}: ${explain(error)}`);
    });
  }
}
