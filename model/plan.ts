import type { FieldValue, ObjectRef } from './change.ts';

/** A change that a runbook would make. */
export interface PlannedChange {
  /** For people. */
  what: string;
  object: ObjectRef;
  /** Path of the field, or the verb of an action (`eviction`), as in {@link import('./change.ts').Change}. */
  field: string;
  before: FieldValue;
  after: FieldValue;
}

/** What a runbook would do: what every mode makes, observe records, a person approves, and act acts on. */
export interface Plan {
  /** In order, for people: waits and checks too. */
  steps: string[];
  /** Every change that it may make, in order. */
  changes: PlannedChange[];
  /** {@link import('./digest.ts').digest} of target, changes and options: what an approval is about. */
  digest: string;
}
