import { randomUUID } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import {
  context,
  isSpanContextValid,
  propagation,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';

/** Makes no spans until a process that traces has installed something that does. */
const tracer = trace.getTracer('salvor-gateway');

/** Runs the work for a request in a span of its own, which continues the caller's trace (`traceparent`) where it has one. */
export function traced<T>(headers: IncomingHttpHeaders, work: (span: Span) => Promise<T>): Promise<T> {
  const attributes = { 'http.request.method': 'POST', 'http.route': '/webhook/alertmanager' };
  const parent = propagation.extract(context.active(), headers);
  const name = 'POST /webhook/alertmanager';
  return tracer.startActiveSpan(name, { kind: SpanKind.SERVER, attributes }, parent, async (span) => {
    try {
      return await work(span);
    } catch (error) {
      span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
      throw error;
    } finally {
      span.end();
    }
  });
}

/**
 * A name for the delivery that is under way, unique. Where it is traced, the name is its `traceparent`: it stays with
 * each request for as long as that waits, so that the remediation goes on in the trace of its alert, whenever it starts.
 */
export function deliveryName(): string {
  const span = trace.getActiveSpan()?.spanContext();
  if (span === undefined || !isSpanContextValid(span)) return randomUUID();
  return `00-${span.traceId}-${span.spanId}-${span.traceFlags.toString(16).padStart(2, '0')}`;
}
