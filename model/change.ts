/** A value as an API holds it; null where the field is absent. */
export type FieldValue = string | number | boolean | null;

/** One object of an API, fixed by its identity: a successor of the same name is another object. */
export interface ObjectRef {
  /** Target key of the object, e.g. `k8s/prod/shop/pod/web-0`. */
  key: string;
  /** `metadata.uid`, instance id, …: carried by every mutation as a precondition. */
  uid: string;
}

/** One mutation that was made: the unit of the audit. */
export interface Change {
  /** Step of the runbook that made it, e.g. `cut`. */
  step: string;
  /** What was done, for people: "label salvor.dev/traffic: on → off". */
  what: string;
  object: ObjectRef;
  /** Path of the field, e.g. `metadata.labels[salvor.dev/traffic]`; or the verb of an action (`eviction`). */
  field: string;
  before: FieldValue;
  after: FieldValue;
  /** ISO time at which the API answered. */
  at: string;
  /** The API's own id of the request (Kubernetes: the `Audit-Id` response header), where it gives one. */
  requestId?: string;
}

/** A change that is meant to be undone later; written down before the mutation, released by its restore. */
export interface Held {
  object: ObjectRef;
  field: string;
  before: FieldValue;
  set: FieldValue;
  /** First run ID of the remediation that holds it. */
  remediation: string;
  runbook: string;
  /** ISO time after which nobody should still hold it. */
  until: string;
}
