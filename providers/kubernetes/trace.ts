import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { Dispatcher } from 'undici';
import { ApiError, type Asked } from './errors.ts';

/** Makes no spans until a process that traces has installed something that does. */
const tracer = trace.getTracer('salvor-kubernetes');

/**
 * One request to the API in a span of its own, which ends with the headers of the answer. Watches have none: they are
 * shared, and outlive what opened them.
 */
export async function traced(
  { cluster, verb, ref }: Asked,
  send: () => Promise<Dispatcher.ResponseData>,
): Promise<Dispatcher.ResponseData> {
  const resource = ref.subresource ? `${ref.resource}/${ref.subresource}` : ref.resource;
  const span = tracer.startSpan(`${verb} ${resource}`, {
    kind: SpanKind.CLIENT,
    attributes: {
      'salvor.cluster': cluster,
      'salvor.kubernetes.verb': verb,
      'k8s.namespace.name': ref.namespace,
      'salvor.kubernetes.name': ref.name,
    },
  });
  try {
    const response = await send();
    span.setAttribute('http.response.status_code', response.statusCode);
    const auditId = response.headers['audit-id'];
    if (typeof auditId === 'string') span.setAttribute('salvor.kubernetes.audit_id', auditId);
    return response;
  } catch (error) {
    if (error instanceof ApiError) span.setAttribute('http.response.status_code', error.status);
    span.setStatus({ code: SpanStatusCode.ERROR, message: error instanceof Error ? error.message : String(error) });
    throw error;
  } finally {
    span.end();
  }
}
