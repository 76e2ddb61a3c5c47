import type { AuditPage } from './audit.ts';
import type { HeraldOrder } from './herald.ts';
import type { Ending, EndReport } from './remediation.ts';

/** Who is told that it is over, so that slot and place are free. */
export interface ToTell {
  /** Workflow ID of the responder that is to be told, and what; none where nobody waits for it. */
  tell?: { responder: string; report: EndReport };
  /** The place in the budget of this workload is given back. */
  budget?: { workload: string; runId: string };
}

export interface SettleRequest extends ToTell {
  ending: Ending;
  /** All that was noted, and what happened meanwhile. */
  page: AuditPage;
  /** Alerts of Salvor's own that it raises or clears with its end. */
  herald?: HeraldOrder;
}

/** The last step of every remediation: none ends before its end is told and all of it is on record. */
export interface SettleActivities {
  /**
   * Tells the responder of the outcome of one that is done but for what it keeps for a while, so that slot and place are free
   * meanwhile. Puts the page on record where the store takes it at once; else that follows with the end.
   */
  handOver(request: ToTell & { page: AuditPage }): Promise<void>;
  /**
   * Tells the responder (starting it again if it is gone), then puts the page on record: a slot is free at once, also while
   * the audit store is down. Answers the ending, so that the history holds it.
   */
  settle(request: SettleRequest): Promise<Ending>;
}
