import { Context } from '@temporalio/activity';
import { WorkflowFailedError } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { MESSAGE, responderId } from '../../model/names.ts';
import type { InstancePort } from '../../model/ports/instance.ts';
import type { EndReport } from '../../model/remediation.ts';
import { type Bench, instance } from '../support/workflows.ts';

/** The last part of a target's key. */
export const nameIn = (target: string): string => target.split('/').at(-1) ?? '';

const usual = instance();

/** What the world does, by pod name; everything else is as in `instance()`. */
export function worldOf(worlds: ReadonlyMap<string, Partial<InstancePort>>): InstancePort {
  const asked = (request: { target?: string; instance?: { key: string } }) =>
    worlds.get(nameIn(request.target ?? request.instance?.key ?? ''));
  const calls = Object.entries(usual).map(([name, asUsual]) => [
    name,
    (request: never) =>
      ((asked(request)?.[name as keyof InstancePort] ?? asUsual) as (request: never) => unknown)(request),
  ]);
  return Object.fromEntries(calls) as InstancePort;
}

/** A wait that is over only when it is cancelled. */
export async function waitsForEver(): Promise<never> {
  const { cancelled } = Context.current();
  const beat = setInterval(() => Context.current().heartbeat(), 200);
  try {
    return await cancelled;
  } finally {
    clearInterval(beat);
  }
}

export const holdsForEver: InstancePort['hold'] = waitsForEver;
export const stillSick: InstancePort['hold'] = async () => ({
  verdict: 'sick',
  why: 'not Ready for 60 s',
  changes: [],
});

/** With what a workflow failed. */
export async function failureOf(result: Promise<unknown>): Promise<Error | undefined> {
  const error = await result.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof WorkflowFailedError)) throw new Error('it did not fail', { cause: error });
  return error.cause;
}

/** What the responder of the rule was told of a run, in order. */
export async function reportsOf({ client }: Bench, rule: string, runId: string): Promise<EndReport[]> {
  const { events } = await client.workflow.getHandle(responderId(rule, 'shop')).fetchHistory();
  const reports = (events ?? []).flatMap(({ workflowExecutionSignaledEventAttributes: signaled }) =>
    signaled?.signalName === MESSAGE.ended
      ? (signaled.input?.payloads ?? []).map((payload) => defaultPayloadConverter.fromPayload<EndReport>(payload))
      : [],
  );
  return reports.filter((one) => one.runId === runId);
}

/** What the responder of the rule was told of the end of a run. */
export async function reportOf(bench: Bench, rule: string, runId: string): Promise<EndReport> {
  const [report] = await reportsOf(bench, rule, runId);
  if (!report) throw new Error(`the responder of ${rule} was told nothing of ${runId}`);
  return report;
}
