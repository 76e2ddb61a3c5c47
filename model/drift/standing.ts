import type { DriftCounts } from './difference.ts';

/** How a stack stood when it was last compared, in the memo of its remediation. Bounded: it names no address. */
export interface DriftStanding {
  /** ISO time of the check. */
  at: string;
  verdict: 'same' | 'differs' | 'refused';
  /** The commit that was compared with; absent: a folder, or it was refused. */
  revision?: string;
  counts: DriftCounts;
  /** ISO time since when the oldest drift is known; absent: there is none. */
  oldest?: string;
}

/** Key of it in the memo. */
export const DRIFT_MEMO = 'drift';
