import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { AuditEntry, AuditNote, AuditPage, AuditWriter } from '../model/audit.ts';
import { WORKFLOW } from '../model/names.ts';
import { OUTCOMES } from '../model/outcome.ts';
import type { ResolvedRule } from '../model/rule.ts';

/** What is remembered as counted, for a page may be written twice. */
const MOST_REMEMBERED = 1_000;
/** Milliseconds after which an open remediation is stale: those of the built-in options are over before. */
const STALE = 3_600_000;

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

  readonly #counted = new Set<string>();

  /**
   * @param rules what alert rules look for is 0 from the start, for `increase()` does not see a series begin
   * @param count asks Temporal how many workflows a query finds
   */
  constructor(rules: readonly ResolvedRule[], count: (query: string) => Promise<number>) {
    collectDefaultMetrics({ register: this.registry });
    const open = `WorkflowType = '${WORKFLOW.remediation}' AND ExecutionStatus = 'Running'`;
    this.#gauge(
      'salvor_remediations_open',
      'Remediations and proposals that are open in Temporal, of all workers.',
      () => count(open),
    );
    this.#gauge('salvor_remediations_stale', 'Those of them that have been open for more than an hour.', () =>
      count(`${open} AND StartTime < '${new Date(Date.now() - STALE).toISOString()}'`),
    );
    for (const { name: rule } of rules) for (const outcome of OUTCOMES) this.#remediations.inc({ rule, outcome }, 0);
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

  #count({ stream: { id, kind, rule }, notes }: AuditPage): void {
    for (const { key, entry } of notes) {
      if (entry.kind === 'decision' && this.#isNew(`${id}/${key}`))
        this.#decisions.inc({ rule, answer: entry.decision.answer, gate: entry.decision.gate });
    }
    const ended = find(notes, 'ended');
    // A remediation's last page has all that came before.
    if (kind !== 'remediation' || ended === undefined || !this.#isNew(id)) return;
    this.#remediations.inc({ rule, outcome: ended.entry.outcome });
    const changes = notes.flatMap(({ entry }) => (entry.kind === 'change' ? [entry.change] : []));
    for (const { step } of changes) this.#changes.inc({ rule, step });
    const [first, begun] = [changes[0], find(notes, 'begun')];
    if (first && begun)
      this.#firstChange.observe({ rule }, Math.max(0, Date.parse(first.at) - Date.parse(begun.at)) / 1000);
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
