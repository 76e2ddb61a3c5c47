import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { Config } from '../../model/config.ts';
import { DRIFT_MEMO, type DriftStanding } from '../../model/drift/standing.ts';
import { proposalId, remediationId } from '../../model/names.ts';
import { formatTarget, parseTarget } from '../../model/target.ts';

/** How a stack stood when it was last compared; undefined: nobody remembers that it was. */
export interface StackStanding {
  stack: string;
  standing?: DriftStanding;
}

/** Runs of one workflow that are looked at, the latest first: one that has begun just now has not compared yet. */
const MOST = 5;

/** Reads it from what the latest runs have left in their memos: no worker need answer. */
export const readDrift = (client: Client, config: Pick<Config, 'stacks' | 'rules'>): Promise<StackStanding[]> =>
  Promise.all(
    config.stacks.map(async ({ name }) => {
      const standing = await driftOn(client, config, formatTarget({ type: 'stack', name }));
      return { stack: name, ...(standing && { standing }) };
    }),
  );

/** Of one stack, by its target. */
export async function driftOn(
  client: Client,
  { rules }: Pick<Config, 'rules'>,
  target: string,
): Promise<DriftStanding | undefined> {
  const parsed = parseTarget(target);
  if (parsed.type !== 'stack') return undefined;
  const proposing = rules.flatMap(({ rule }) =>
    rule.runbook === 'revert-drift' && Object.hasOwn(rule.with.stacks, parsed.name)
      ? [proposalId(rule.name, target)]
      : [],
  );
  const found = await Promise.all([remediationId(target), ...proposing].map((id) => latestOf(client, id)));
  return found.filter((one) => one !== undefined).sort((a, b) => b.at.localeCompare(a.at))[0];
}

async function latestOf(client: Client, workflowId: string): Promise<DriftStanding | undefined> {
  try {
    const { memo } = await client.workflow.getHandle(workflowId).describe();
    const standing = standingIn(memo);
    if (standing) return standing;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
  let looked = 0;
  const query = `WorkflowId = '${workflowId}'`;
  for await (const { memo } of client.workflow.list({ query, pageSize: MOST })) {
    const standing = standingIn(memo);
    looked += 1;
    if (standing || looked === MOST) return standing;
  }
  return undefined;
}

const standingIn = (memo: Record<string, unknown> | undefined): DriftStanding | undefined =>
  (memo?.[DRIFT_MEMO] as DriftStanding | null | undefined) ?? undefined;
