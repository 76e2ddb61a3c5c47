import type { Headers, Payload } from '@temporalio/common';
import { type WorkflowInterceptorsFactory, workflowInfo } from '@temporalio/workflow';
import { WORKFLOW } from '../model/names.ts';

/** The header in which Temporal's OpenTelemetry interceptors carry a trace. */
const HEADER = '_tracer-data';

/**
 * Hands the trace under which a remediation was started on to its activities; without one it does nothing. It reads only
 * the history and adds no step of its own, so a run goes the same way whether its worker traces or not: tracing may be
 * turned on and off under open runs. (Temporal's own interceptors for workflows add steps, and put the whole
 * OpenTelemetry SDK into every workflow.) A responder works for the alerts of many webhooks: each remediation
 * that it starts has the trace of its own alert instead (workers/telemetry.ts).
 */
export const interceptors: WorkflowInterceptorsFactory = () => {
  if (workflowInfo().workflowType !== WORKFLOW.remediation) return {};
  let trace: Payload | undefined;
  const passOn = <I extends { readonly headers: Headers }>(input: I): I =>
    trace === undefined ? input : { ...input, headers: { ...input.headers, [HEADER]: trace } };
  return {
    inbound: [
      {
        execute: (input, next) => {
          trace = input.headers[HEADER];
          return next(input);
        },
      },
    ],
    outbound: [
      {
        scheduleActivity: (input, next) => next(passOn(input)),
        scheduleLocalActivity: (input, next) => next(passOn(input)),
      },
    ],
  };
};
