import type { Client } from '@temporalio/client';
import type { Plan } from '../model/plan.ts';
import type { Story } from '../model/remediation.ts';
import { shownValue } from './audit-text.ts';
import { paint } from './output.ts';
import { printable } from './report/text.ts';
import { findProposed, type Run, shortId } from './runs.ts';
import { CliError, EXIT } from './status.ts';
import { fetchStory } from './story.ts';
import { dateAndTime, localized } from './times.ts';

/** What a run waits for a person's word about. */
export interface Proposal {
  run: Run;
  plan: Plan;
  why: string;
  /** Names, and `group:<name>`; empty: everybody who is known. */
  approvers: string[];
  /** ISO time after which it is refused. */
  until: string;
}

/** @throws CliError where nothing waits */
export async function readProposal(client: Client, meant: string): Promise<Proposal> {
  const run = await findProposed(client, meant);
  const { story } = run.outcome === 'running' ? await fetchStory(client, run) : {};
  const proposal = story && proposalOf(run, story);
  if (proposal) return proposal;
  const why = run.outcome === 'running' ? `it is in the phase ${story?.phase ?? '?'}` : `it has ended: ${run.outcome}`;
  throw new CliError(`nothing waits for an approval in this run of ${run.target}: ${why}`, {
    status: EXIT.refused,
    advice: '`salvor list` shows what waits.',
  });
}

/** @returns undefined where it waits for nobody */
export function proposalOf(run: Run, { plan, waits, why = '' }: Story): Proposal | undefined {
  return plan && waits && run.outcome === 'running' ? { run, plan, why, ...waits } : undefined;
}

/** For people: what it would do, exactly, and how to answer. */
export function proposalLines(proposal: Proposal): string[] {
  const { run, plan, why, until } = proposal;
  const changes = plan.changes.map(({ what, object, field, before, after }) => {
    // An eviction alters no field: what it does is said already.
    const values = before === after ? '' : `  ${field}: ${shownValue(before)} → ${shownValue(after)}`;
    const exactly = `${object.key}${values}`;
    return [`  ${printable(what)}`, paint('dim', `    ${printable(exactly)}`)];
  });
  return [
    paint('bold', `${run.target} waits for an approval, until ${dateAndTime(until)}`),
    localized(printable(why)),
    'It would',
    ...plan.steps.map((step, at) => `  ${at + 1}. ${printable(step)}`),
    ...(changes.length > 0 ? ['and change', ...changes.flat()] : []),
    `Who may: ${whoMay(proposal)}`,
    `  ${commandOf('approve', proposal)}`,
    `  ${commandOf('deny', proposal)}`,
  ];
}

export const proposalJson = (proposal: Proposal) => ({
  id: proposal.run.id,
  target: proposal.run.target,
  rule: proposal.run.rule,
  why: proposal.why,
  plan: proposal.plan,
  approvers: proposal.approvers,
  until: proposal.until,
  command: commandOf('approve', proposal),
});

const whoMay = ({ approvers }: Proposal): string =>
  approvers.length === 0 ? 'everybody whom the gateway knows' : approvers.join(', ');

const commandOf = (answer: 'approve' | 'deny', { run, plan }: Proposal): string =>
  `salvor ${answer} ${shortId(run.id)} --digest ${plan.digest}`;
