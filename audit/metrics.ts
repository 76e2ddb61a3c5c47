import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const OPERATIONS = ['append', 'seal', 'read', 'history', 'keeper'] as const;
export type Operation = (typeof OPERATIONS)[number];

/** What the store counts, in the registry of the process that opens it. */
export class AuditMetrics {
  readonly records;
  readonly errors;
  readonly up;
  readonly unsealed;
  readonly appendSeconds;
  readonly sealSeconds;

  constructor(registry: Registry) {
    const registers = [registry];
    this.records = new Counter({
      name: 'salvor_audit_records_total',
      help: 'Records added to the audit store.',
      registers,
    });
    this.errors = new Counter({
      name: 'salvor_audit_errors_total',
      help: 'Operations of the audit store that failed, by operation.',
      labelNames: ['operation'] as const,
      registers,
    });
    this.up = new Gauge({
      name: 'salvor_audit_up',
      help: 'Whether the audit store answers, and took what was last written to it: 1 or 0.',
      registers,
    });
    this.unsealed = new Gauge({
      name: 'salvor_audit_unsealed',
      help: 'Records that the log of heads does not cover yet.',
      registers,
    });
    this.appendSeconds = new Histogram({
      name: 'salvor_audit_append_seconds',
      help: 'Time from the call until a page was durable, or failed.',
      buckets: SECONDS,
      registers,
    });
    this.sealSeconds = new Histogram({
      name: 'salvor_audit_seal_seconds',
      help: 'Time of one transaction that chains heads into the log.',
      buckets: SECONDS,
      registers,
    });
    // `increase()` does not see a series begin.
    for (const operation of OPERATIONS) this.errors.inc({ operation }, 0);
    this.records.inc(0);
  }
}
