import type { Ending, EndReport } from './remediation.ts';

/** The last step of every remediation: a local activity, so that none ends before its end is told. */
export interface SettleActivities {
  /** Tells the responder (starting it again if it is gone). Answers the ending, so that the history holds it. */
  settle(responder: string, report: EndReport, ending: Ending): Promise<Ending>;
}
