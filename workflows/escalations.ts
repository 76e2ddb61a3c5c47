import type { AuditEntry } from '../model/audit.ts';
import { formatDuration } from '../model/duration.ts';
import { type About, escalation } from '../model/escalation.ts';
import { failures } from '../model/gates.ts';
import type { HeraldOrder, OwnAlert } from '../model/herald.ts';
import type { RecordedAlert } from '../model/request.ts';
import type { Queued, ResponderState } from '../model/responder.ts';

/** Lines of targets that one escalation names. */
const MOST_NAMED = 20;
/** How long an escalation about many targets stays open: it is about no one of them, so nothing tells that it is over. */
const OPEN_FOR = 24 * 60 * 60_000;

/** Who raises them. */
export interface Raiser {
  workflowId: string;
  runId: string;
  firstExecutionRunId: string;
  scope: string;
}

/**
 * What a responder itself must tell people, where the rule wants it. An escalation is named by its number, which is carried
 * on, and not by the time: a task that is run again raises the very same.
 */
export class Escalations {
  readonly #state: ResponderState;
  readonly #raiser: Raiser;
  readonly #note: (entry: AuditEntry) => void;
  #raise: OwnAlert[] = [];
  #clear: string[] = [];

  constructor(state: ResponderState, raiser: Raiser, note: (entry: AuditEntry) => void) {
    this.#state = state;
    this.#raiser = raiser;
    this.#note = note;
  }

  /** Once for as long as it lasts: what was counted, and what becomes of the scope. */
  stormBegins(now: number): void {
    const { storm, open, queue, rule } = this.#state;
    if (!storm || !rule) return;
    const settleFor = formatDuration(rule.gates.storm.settleFor);
    const tried = [
      storm.why,
      `remediations open: ${Object.keys(open).length}, of which those that have not acted yet will not; requests that wait: ${Object.keys(queue).length}; nothing new is started`,
      `it goes on by itself after ${settleFor} of calm, or at once with: salvor resume rule/${rule.name}`,
    ];
    storm.escalation = this.#escalate('storm', { reason: `storm in ${this.#raiser.scope}: ${storm.why}`, tried, now });
  }

  stormEnds({ escalation: id }: { escalation?: string | undefined }): void {
    if (id !== undefined) this.#clear.push(id);
  }

  /** Once for as long as the budget is spent. */
  budgetSpent(target: string, alert: RecordedAlert, reason: string, now: number): void {
    const { rule, spent, attempts } = this.#state;
    if (!rule) return;
    const { max, per } = rule.gates.retries;
    // It is free again when so many have aged that no more than `max` are left.
    this.#state.spent = (failures(this.#state, per, now)[max] ?? now) + per;
    if (spent !== undefined && spent > now) return;
    const failed = Object.entries(attempts).map(([of, times]) => `failed: ${of} (${times.map(({ at }) => iso(at))})`);
    const tried = [...first(failed), `refused: ${target}, and whatever else comes until ${iso(this.#state.spent)}`];
    this.#escalate('retries', { target, alert, reason, tried, now });
  }

  /** They have waited for as long as they may, and are refused: one escalation for all of one turn. */
  waited(expired: readonly Queued[], alertOf: (queued: Queued) => RecordedAlert, now: number): void {
    // What a storm holds, its own escalation tells of.
    const [one, ...others] = this.#state.storm ? [] : expired;
    if (!one) return;
    const tell = ({ target, since, gate, reason }: Queued) =>
      `refused: ${target}, asked for at ${iso(since)}, waited for ${gate}: ${reason}`;
    if (others.length === 0) {
      const reason = `waited too long: ${one.reason}`;
      this.#escalate('waited', { target: one.target, alert: alertOf(one), reason, tried: [tell(one)], now });
      return;
    }
    const reason = `${expired.length} requests waited too long, among them ${one.target}: ${one.reason}`;
    this.#escalate('waited', { reason, tried: first(expired.map(tell)), now, until: iso(now + OPEN_FOR) });
  }

  /** What the herald is to be told. */
  take(): HeraldOrder | undefined {
    const [raise, clear] = [this.#raise, this.#clear];
    this.#raise = [];
    this.#clear = [];
    if (raise.length + clear.length === 0) return undefined;
    return { ...(raise.length > 0 && { raise }), ...(clear.length > 0 && { clear }) };
  }

  #escalate(
    kind: string,
    about: Pick<About, 'target' | 'alert'> & { reason: string; tried: string[]; now: number; until?: string },
  ): string | undefined {
    const { rule } = this.#state;
    if (!rule?.onFailure.escalate) return undefined;
    const { now, until, ...rest } = about;
    const { scope, workflowId, runId, firstExecutionRunId } = this.#raiser;
    this.#state.escalations = (this.#state.escalations ?? 0) + 1;
    const id = `${kind}-${firstExecutionRunId}-${this.#state.escalations}`;
    const raised = escalation({ ...rest, id, rule: rule.name, scope, run: { workflowId, runId }, at: iso(now) });
    this.#raise.push(until === undefined ? raised : { ...raised, until });
    this.#note({ kind: 'escalated', id, why: about.reason });
    return id;
  }
}

const iso = (at: number): string => new Date(at).toISOString();

const first = (lines: string[]): string[] =>
  lines.length > MOST_NAMED ? [...lines.slice(0, MOST_NAMED), `… and ${lines.length - MOST_NAMED} more`] : lines;
