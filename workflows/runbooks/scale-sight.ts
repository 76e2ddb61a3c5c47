import type { BacklogResult } from '../../model/ports/scalable.ts';
import type { ScaleLife } from './scale-steps.ts';

/** By this its escalation is told from others of the remediation. */
const BLIND = 'blind';

/** Whether a watch has answered only about what can be seen. */
export const isAboutSight = (result: BacklogResult): result is Extract<BacklogResult, { verdict: 'blind' | 'seen' }> =>
  result.verdict === 'blind' || result.verdict === 'seen';

/** What it follows cannot be seen, or can be again. Missing data change nothing, so a person is told for as long as they miss. */
export async function sighted(
  life: ScaleLife,
  { verdict, why }: Extract<BacklogResult, { verdict: 'blind' | 'seen' }>,
): Promise<void> {
  if (verdict === 'seen') {
    life.phase('seen', `what it follows can be seen again: ${why}`, { what: 'follow the signals' });
    await life.alerts.calm(BLIND);
    return;
  }
  const reason = `blind: ${why}; until it can be seen again nothing is changed`;
  life.phase('blind', reason, { what: 'go on when the signals can be read again' });
  await life.alerts.escalate(BLIND, reason);
}
