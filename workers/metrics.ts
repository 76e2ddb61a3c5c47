import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { AuditEntry, AuditNote, AuditPage, AuditWriter } from '../model/audit.ts';
import { BREAKER_PHASES } from '../model/breaker/machine.ts';
import type { BreakerStanding } from '../model/breaker/standing.ts';
import { remediationId, WORKFLOW } from '../model/names.ts';
import { OUTCOMES } from '../model/outcome.ts';
import type { ResolvedRule } from '../model/rule.ts';
import type { StackStanding } from '../providers/temporal/drift.ts';
import { driftGauges } from './drift.ts';
import type { Standing, Waiting } from './standing.ts';

/** What is remembered as counted, for a page may be written twice. */
const MOST_REMEMBERED = 1_000;
/** Those that are to end within hours. */
const QUICK = `SalvorRunbook = 'drain-instance'`;
/** Milliseconds after which an open remediation is stale: those of the built-in options are over before. */
const STALE = 7_200_000;

/**
 * What a worker counts, as it is put on record. Labels hold names of the configuration and words of this code: never a
 * label value of an alert.
 */
export class WorkerMetrics {
  readonly registry = new Registry();

  readonly #remediations = new Counter({
    name: 'salvor_remediations_total',
    help: 'Remediations and proposals that ended, by rule and outcome.',
    labelNames: ['rule', 'outcome'] as const,
    registers: [this.registry],
  });

  readonly #changes = new Counter({
    name: 'salvor_changes_total',
    help: 'Changes made by remediations that ended, by rule and step of the runbook.',
    labelNames: ['rule', 'step'] as const,
    registers: [this.registry],
  });

  readonly #firstChange = new Histogram({
    name: 'salvor_first_change_seconds',
    help: 'Time from the begin of a remediation to its first change.',
    labelNames: ['rule'] as const,
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
    registers: [this.registry],
  });

  readonly #decisions = new Counter({
    name: 'salvor_decisions_total',
    help: 'Requests that had to wait or were refused, by rule, answer (wait, refuse) and gate.',
    labelNames: ['rule', 'answer', 'gate'] as const,
    registers: [this.registry],
  });

  readonly #duration = new Histogram({
    name: 'salvor_remediation_duration_seconds',
    help: 'Time from the begin to the end of remediations and proposals, by rule, runbook and outcome.',
    labelNames: ['rule', 'runbook', 'outcome'] as const,
    buckets: [1, 5, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400],
    registers: [this.registry],
  });

  readonly #escalations = new Counter({
    name: 'salvor_escalations_total',
    help: 'Escalations: people were told that they are needed, by rule.',
    labelNames: ['rule'] as const,
    registers: [this.registry],
  });

  readonly #counted = new Set<string>();

  /**
   * @param rules what alert rules look for is 0 from the start, for `increase()` does not see a series begin
   * @param count asks Temporal how many workflows a query finds
   * @param standing what stands in Temporal now
   */
  constructor(
    rules: readonly ResolvedRule[],
    count: (query: string) => Promise<number>,
    standing: () => Promise<Standing>,
  ) {
    collectDefaultMetrics({ register: this.registry });
    const open = `WorkflowType = '${WORKFLOW.remediation}' AND ExecutionStatus = 'Running'`;
    this.#gauge(
      'salvor_remediations_open',
      'Remediations and proposals that are open in Temporal, of all workers.',
      () => count(open),
    );
    // A proposal may wait for its person for as long as its rule says.
    const holding = `${open} AND WorkflowId STARTS_WITH '${remediationId('')}'`;
    this.#gauge(
      'salvor_remediations_stale',
      'Remediations of drain-instance that have been open for more than two hours.',
      () => {
        const old = `${holding} AND StartTime < '${new Date(Date.now() - STALE).toISOString()}'`;
        // A backlog is followed, and a breaker is open, for as long as it takes. Without the attribute nobody can tell them apart.
        return count(`${old} AND ${QUICK}`).catch(() => count(old));
      },
    );
    this.#standing(
      rules.map(({ name }) => name),
      standing,
    );
    for (const { name: rule, limits } of rules) {
      for (const outcome of OUTCOMES) this.#remediations.inc({ rule, outcome }, 0);
      this.#escalations.inc({ rule }, 0);
      if (limits) this.#decisions.inc({ rule, answer: 'wait', gate: 'limits' }, 0);
    }
  }

  /** What stands in Temporal now: every worker tells the same. */
  #standing(rules: string[], standing: () => Promise<Standing>): void {
    const byRule = (name: string, help: string, read: (now: Standing) => Record<string, number>): void =>
      this.#gaugeByRule(name, help, async () => {
        const none = Object.fromEntries(rules.map((rule) => [rule, 0]));
        return { ...none, ...read(await standing()) };
      });
    byRule('salvor_in_flight', 'Open remediations, by rule.', ({ inFlight }) => inFlight);
    byRule('salvor_queue_length', 'Requests that wait for a gate, by rule.', ({ queues }) => counts(queues));
    byRule('salvor_queue_oldest_seconds', 'For how long the oldest of them has waited, by rule.', ({ queues }) =>
      ages(queues),
    );
    byRule('salvor_approvals_waiting', 'Proposals that wait for a person, by rule.', ({ approvals }) =>
      counts(approvals),
    );
    byRule('salvor_approval_oldest_seconds', 'For how long the oldest of them has waited, by rule.', ({ approvals }) =>
      ages(approvals),
    );
    byRule('salvor_storms', 'Scopes that are held because of a storm, by rule.', ({ storms }) => storms);
    this.#gauge(
      'salvor_limits_storms',
      'Clusters and accounts that are held because of a storm over all rules.',
      async () => (await standing()).limitsStorms,
    );
    this.#gauge('salvor_pauses', 'Pauses that stand.', async () => (await standing()).pauses?.count ?? 0);
    this.#gauge('salvor_pause_oldest_seconds', 'For how long the oldest of them has stood.', async () =>
      age((await standing()).pauses),
    );
    this.#gauge(
      'salvor_escalations_open',
      'Escalations that are open: what they are about is not healthy yet.',
      async () => (await standing()).escalations,
    );
  }

  /** How the breakers of all dependencies stand, one series for each state: 1 for that in which it is. */
  breakers(read: () => Promise<BreakerStanding[]>): void {
    new Gauge({
      name: 'salvor_breaker_state',
      help: 'Whether the breaker of a dependency is in a state.',
      labelNames: ['dependency', 'state'] as const,
      registers: [this.registry],
      async collect() {
        // As above: no value at all.
        const standings = await read().catch(() => []);
        this.reset();
        for (const { dependency, state: now } of standings)
          for (const state of BREAKER_PHASES) this.set({ dependency, state }, state === now ? 1 : 0);
      },
    });
  }

  /** How the stacks stood when they were last compared. @param intervals seconds between two checks of a stack, by its name */
  drift(read: () => Promise<StackStanding[]>, intervals: Record<string, number>): void {
    driftGauges(this.registry, read, intervals);
  }

  /** The same writer; what it has taken is counted. */
  counting(writer: AuditWriter): AuditWriter {
    return {
      append: async (page) => {
        await writer.append(page);
        this.#count(page);
      },
    };
  }

  #gauge(name: string, help: string, read: () => Promise<number>): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      async collect() {
        try {
          this.set(await read());
        } catch {
          // Temporal does not answer, which other metrics tell: no value is better than an old one.
          this.remove();
        }
      },
    });
  }

  #gaugeByRule(name: string, help: string, read: () => Promise<Record<string, number>>): void {
    new Gauge({
      name,
      help,
      labelNames: ['rule'] as const,
      registers: [this.registry],
      async collect() {
        // As above: no value at all.
        const values: Record<string, number> = await read().catch(() => ({}));
        this.reset();
        for (const [rule, value] of Object.entries(values)) this.set({ rule }, value);
      },
    });
  }

  #count({ stream: { id, kind, rule, runbook }, notes }: AuditPage): void {
    for (const { key, entry } of notes) {
      if ((entry.kind !== 'decision' && entry.kind !== 'escalated') || !this.#isNew(`${id}/${key}`)) continue;
      if (entry.kind === 'escalated') this.#escalations.inc({ rule });
      else this.#decisions.inc({ rule, answer: entry.decision.answer, gate: entry.decision.gate });
    }
    const ended = find(notes, 'ended');
    // A remediation's last page has all that came before.
    if (kind !== 'remediation' || ended === undefined || !this.#isNew(id)) return;
    this.#remediations.inc({ rule, outcome: ended.entry.outcome });
    const changes = notes.flatMap(({ entry }) => (entry.kind === 'change' ? [entry.change] : []));
    for (const { step } of changes) this.#changes.inc({ rule, step });
    const [first, begun] = [changes[0], find(notes, 'begun')];
    if (!begun) return;
    this.#duration.observe(
      { rule, runbook: runbook ?? '', outcome: ended.entry.outcome },
      secondsBetween(begun, ended),
    );
    if (first) this.#firstChange.observe({ rule }, secondsBetween(begun, first));
  }

  #isNew(name: string): boolean {
    if (this.#counted.has(name)) return false;
    this.#counted.add(name);
    const [oldest] = this.#counted;
    if (this.#counted.size > MOST_REMEMBERED && oldest !== undefined) this.#counted.delete(oldest);
    return true;
  }
}

type NoteOf<K extends AuditEntry['kind']> = AuditNote & { entry: Extract<AuditEntry, { kind: K }> };

const find = <K extends AuditEntry['kind']>(notes: AuditNote[], kind: K): NoteOf<K> | undefined =>
  notes.find((note): note is NoteOf<K> => note.entry.kind === kind);

const secondsBetween = (from: { at: string }, to: { at: string }): number =>
  Math.max(0, Date.parse(to.at) - Date.parse(from.at)) / 1000;

const mapped = <T, U>(record: Record<string, T>, to: (value: T) => U): Record<string, U> =>
  Object.fromEntries(Object.entries(record).map(([key, value]) => [key, to(value)]));

const counts = (record: Record<string, Waiting>): Record<string, number> => mapped(record, ({ count }) => count);

/** Seconds; 0 where nothing waits. */
const age = (waiting: Waiting | undefined): number =>
  waiting === undefined ? 0 : Math.max(0, Date.now() - waiting.oldest) / 1000;

const ages = (record: Record<string, Waiting>): Record<string, number> => mapped(record, age);
