import type { Client } from '@temporalio/client';
import { code } from '../../model/markdown.ts';
import { responderId, WORKFLOW } from '../../model/names.ts';
import type { ResponderInput } from '../../model/responder.ts';
import type { ResolvedRule } from '../../model/rule.ts';

/** Which responder. */
export interface Addressee {
  rule: Pick<ResolvedRule, 'name'>;
  scope: string;
  /** Its Workflow ID, where the one who is to tell it was given it. */
  workflowId?: string;
}

/** How a responder is started where none runs. */
export function responderStart({ rule, scope, workflowId }: Addressee, taskQueue: string) {
  const input: ResponderInput = { rule: rule.name, scope };
  return {
    workflowId: workflowId ?? responderId(rule.name, scope),
    taskQueue,
    args: [input] as [ResponderInput],
    staticSummary: `${rule.name} in ${code(scope)}`,
  };
}

/** Signals a responder, which is started where it does not run. */
export async function signalResponder(
  { client, taskQueue }: { client: Client; taskQueue: string },
  to: Addressee,
  { signal, argument }: { signal: string; argument: unknown },
): Promise<void> {
  const start = responderStart(to, taskQueue);
  await client.workflow.signalWithStart(WORKFLOW.responder, { ...start, signal, signalArgs: [argument] });
}
