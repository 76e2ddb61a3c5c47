/** What workflows keep in their memos for metrics, so that what stands is read by a list, and no worker need answer. */

/** Memo of a responder, while requests wait in it: {@link WaitingMemo}; null when none does. */
export const WAITING_MEMO = 'waiting';
export interface WaitingMemo {
  count: number;
  /** ISO time since which the oldest waits. */
  oldest: string;
}

/** Memo of `salvor/herald`: {@link OpenMemo}. */
export const OPEN_MEMO = 'open';
/** How many of Salvor's own alerts are open. */
export interface OpenMemo {
  escalations: number;
  approvals: number;
}
