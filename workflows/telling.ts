import { proxyActivities, workflowInfo } from '@temporalio/workflow';
import { escalation } from '../model/escalation.ts';
import type { OwnAlert } from '../model/herald.ts';
import type { Ending, EndReport, QueuedRequest, RemediationInput, Story } from '../model/remediation.ts';
import type { SettleActivities, ToTell } from '../model/settle.ts';
import { ownWatchQueue } from './waits.ts';

/** As `record` (see record.ts), and for its reasons no local activity, on the queue of the waits. */
export const telling = (summary: string): SettleActivities =>
  proxyActivities<SettleActivities>({
    summary,
    taskQueue: ownWatchQueue(),
    startToCloseTimeout: '20 seconds',
    retry: { initialInterval: '500 milliseconds', maximumInterval: '1 minute' },
  });

/** What its responder is told; nothing where it has none. @param again where its request is to wait and be decided anew */
export function endOf(
  { responder, episode, target, rule, ruleDigest, scope, alert }: RemediationInput,
  { outcome, reason }: Ending,
  {
    runId,
    again,
    memory = {},
  }: {
    runId: string;
    again: Pick<NonNullable<EndReport['again']>, 'gate' | 'reason'> | undefined;
    memory?: EndReport['memory'];
  },
): Pick<ToTell, 'tell'> {
  if (!responder) return {};
  const { fingerprint, startsAt, alertname, digest, by, labels } = alert;
  const at = new Date().toISOString();
  const about = { episode, target, runId, rule, ruleDigest, scope, alert: { fingerprint, startsAt } };
  const request: QueuedRequest = { fingerprint, startsAt, alertname, digest, by, ...(labels && { labels }) };
  // Where its undo failed, or a person cancelled it, that is what it came to.
  const decidedAnew = outcome === 'refused' && again && { again: { ...again, request } };
  const remembered = Object.keys(memory).length > 0 && { memory };
  return { tell: { responder, report: { ...about, outcome, reason, at, ...decidedAnew, ...remembered } } };
}

/** Lines of the story that an escalation tells, the latest. */
const MOST_TOLD = 20;

/** What people are told where a person is needed. @param runId of its first run, by which people know it */
export function unhealed(
  { rule, scope, target, alert }: Pick<RemediationInput, 'rule' | 'scope' | 'target' | 'alert'>,
  { lines }: Story,
  reason: string,
  { id, runId }: { id: string; runId: string },
): OwnAlert {
  const { workflowId } = workflowInfo();
  const at = new Date().toISOString();
  const tried = lines.slice(-MOST_TOLD).map((line) => `${line.at} ${line.text}`);
  const about = { rule: rule.name, scope, target, alert, run: { workflowId, runId }, at };
  return escalation({ ...about, id, reason, tried });
}
