import { type Context, context, createContextKey, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { Resource } from '@opentelemetry/resources';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type { WorkflowClientInterceptor } from '@temporalio/client';
import {
  OpenTelemetryActivityInboundInterceptor,
  OpenTelemetryWorkflowClientInterceptor,
} from '@temporalio/interceptors-opentelemetry';
import type { ActivityInboundCallsInterceptor, WorkerInterceptors } from '@temporalio/worker';
import type { Config } from '../model/config.ts';
import type { DispatchActivities, DispatchRequest } from '../model/dispatch.ts';
import { readSetting } from '../providers/temporal/secret.ts';

/** Milliseconds that the collector has for the last spans when the process ends. */
const FLUSH_WITHIN = 3_000;

/** The tracing of this process. */
export interface Telemetry {
  /** For the client of a gateway, and for the one with which a worker starts remediations. */
  client: WorkflowClientInterceptor[];
  worker: WorkerInterceptors;
  /** Sends what is left, for three seconds at most: a collector that is down keeps no process from its end. */
  close(): Promise<void>;
}

/**
 * Sends the spans of this process to a collector, by OTLP over HTTP. This file, and with it the OpenTelemetry SDK, is
 * loaded only where the configuration has `telemetry:`. One for each process.
 *
 * @param service name of this process in the traces, such as `salvor-worker`
 * @throws where the file of headers cannot be read, or a line of it is no header
 */
export function startTelemetry({ otlp }: NonNullable<Config['telemetry']>, service: string): Telemetry {
  const exporter = new OTLPTraceExporter({ url: tracesUrl(otlp.url), headers: headersOf(otlp.headersFile) });
  const provider = new NodeTracerProvider({
    resource: new Resource({ 'service.name': service }),
    spanProcessors: [new BatchSpanProcessor(exporter, { scheduledDelayMillis: 1_000 })],
  });
  // With this the API's no-ops in gateway/ and providers/ become real; W3C's headers carry the trace.
  provider.register();
  return {
    client: [clientInterceptor()],
    worker: { activity: [(ctx) => ({ inbound: activityInterceptor(ctx) })] },
    close: async () => {
      const timeout = new Promise<void>((done) => setTimeout(done, FLUSH_WITHIN).unref());
      // What a collector that is down has lost is no error: the record of decisions is the audit, not a trace.
      await Promise.race([provider.shutdown().catch(() => undefined), timeout]);
    },
  };
}

type ActivityContext = ConstructorParameters<typeof OpenTelemetryActivityInboundInterceptor>[0];

/** The header in which Temporal's interceptors carry a trace. */
const HEADER = '_tracer-data';
/** Of the dispatch that is under way: the names of the deliveries, by the episodes that it starts. */
const DELIVERIES = createContextKey('salvor.deliveries');

/**
 * A remediation goes on in the trace of its own alert: the name of a traced delivery is the `traceparent` of its webhook
 * (gateway/trace.ts), and the responder keeps it with each request for as long as that waits.
 */
function clientInterceptor(): WorkflowClientInterceptor {
  const traces = new OpenTelemetryWorkflowClientInterceptor();
  return {
    startWithDetails: (input, next) =>
      context.with(traceOf(input.options.memo?.['episode']), () => traces.startWithDetails(input, next)),
    // The last word of a remediation that is not traced begins no trace.
    signalWithStart: (input, next) =>
      trace.getActiveSpan() === undefined ? next(input) : traces.signalWithStart(input, next),
  };
}

function traceOf(episode: unknown): Context {
  const deliveries = context.active().getValue(DELIVERIES) as ReadonlyMap<unknown, string> | undefined;
  const traceparent = deliveries?.get(episode);
  return traceparent === undefined ? context.active() : propagation.extract(ROOT_CONTEXT, { traceparent });
}

function activityInterceptor(ctx: ActivityContext): ActivityInboundCallsInterceptor {
  if (ctx.info.activityType === ('dispatch' satisfies keyof DispatchActivities)) return { execute: ofDispatch };
  const traces = new OpenTelemetryActivityInboundInterceptor(ctx);
  // What is not traced begins no trace of its own.
  return { execute: (input, next) => (HEADER in input.headers ? traces.execute(input, next) : next(input)) };
}

const ofDispatch: NonNullable<ActivityInboundCallsInterceptor['execute']> = (input, next) => {
  const [{ starts }] = input.args as [DispatchRequest];
  const deliveries = new Map(starts.map(({ episode, request }) => [episode, request.delivery]));
  return context.with(context.active().setValue(DELIVERIES, deliveries), () => next(input));
};

/** A collector is named by its address, or by that of its traces. */
const tracesUrl = (url: string): string => (url.endsWith('/v1/traces') ? url : `${url.replace(/\/+$/, '')}/v1/traces`);

/** One header a line, as `Authorization: Bearer …`; lines that are empty or begin with # say nothing. */
function headersOf(file: string | undefined): Record<string, string> {
  if (file === undefined) return {};
  const lines = readSetting(file, 'telemetry.otlp.headersFile').toString('utf8').split('\n');
  return Object.fromEntries(
    lines.flatMap((line, at) => {
      if (/^\s*(#|$)/.test(line)) return [];
      const [, name, value] = /^([\w-]+):[ \t]*(.*\S)\s*$/.exec(line) ?? [];
      // The line is not shown: it may hold a secret.
      if (name === undefined || value === undefined)
        throw new Error(
          `telemetry.otlp.headersFile: line ${at + 1} of ${file} is no header: expected \`name: value\`.`,
        );
      return [[name, value]];
    }),
  );
}
