/**
 * Keys of `salvor.yaml` that are part of its design and have no effect in this version. They are refused, for nobody
 * may believe that a safety which he configured is in force when it is not. Whoever builds one deletes its line.
 */
export interface NotYet {
  /** Keys from the root, `*` for any item of a list. */
  at: string;
  /** Refused with this value only; otherwise with any. */
  value?: unknown;
  /** What to do meanwhile. */
  instead: string;
}

export const NOT_YET: readonly NotYet[] = [];
