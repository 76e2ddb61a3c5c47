import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { Worker } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleWorkflows } from '../../workers/bundle.ts';
import { startTelemetry, type Telemetry } from '../../workers/telemetry.ts';
import { Collector, type ReceivedSpan } from '../support/otlp.ts';
import { SALVOR, Salvor } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';

const RULES = {
  drain: {
    with: { recoverWithin: '5m', stableFor: '500ms' },
    gates: { maxInFlight: 1, cooldown: '0s', maxUnavailable: '100%', storm: { above: '100%' } },
  },
};
const HEADER = '_tracer-data';

const salvor = new Salvor();
const collector = new Collector();
let telemetry: Telemetry | undefined;

beforeAll(async () => {
  await collector.listen();
  await salvor.startSandbox();
});
afterAll(async () => {
  await salvor.stop();
  await telemetry?.close();
  await salvor.stopSandbox();
  await collector.close();
});

/** A trace of a caller, and the header in which it is told. */
function caller() {
  const [traceId, spanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, spanId, headers: { traceparent: `00-${traceId}-${spanId}-01` } };
}

/** Has a sick pod cut and given back; answers its history. */
async function heal(sick: { namespace: string; pod: string }, headers: Record<string, string>) {
  expect(await salvor.alert({ ...sick, rule: 'drain' }, headers)).toBe(200);
  await cut(sick);
  return mend(sick);
}

const cut = ({ namespace, pod }: { namespace: string; pod: string }) =>
  eventually('the traffic is cut', async () => (await salvor.cluster.trafficLabel(namespace, pod)) === 'off', 60_000);

async function mend({ namespace, pod }: { namespace: string; pod: string }) {
  await salvor.cluster.setUnready(namespace, pod, false);
  expect(await salvor.ending(namespace, pod)).toMatchObject({ outcome: 'recovered' });
  return salvor.remediation(namespace, pod).fetchHistory();
}

/** Spans of a trace, once it has so many of that name. */
const spansOf = (traceId: string, name: string, count = 1): Promise<ReceivedSpan[]> =>
  eventually(`${count} spans ${name} in the trace ${traceId}`, () => {
    const spans = collector.spans.filter((span) => span.traceId === traceId);
    return spans.filter((span) => span.name === name).length >= count && spans;
  });

const one = (spans: ReceivedSpan[], name: string): ReceivedSpan => {
  const [first] = spans.filter((span) => span.name === name);
  if (first === undefined) throw new Error(`no span ${name} among ${spans.map((span) => span.name).join(', ')}`);
  return first;
};

type History = Awaited<ReturnType<WorkflowHandle['fetchHistory']>>;
const traced = (history: History): boolean => JSON.stringify(history).includes(HEADER);

describe('without telemetry:', () => {
  it('nothing of it is loaded, nothing is sent, and histories hold nothing of it', async () => {
    await salvor.start(RULES);
    const history = await heal(await salvor.sickPod(), caller().headers);
    expect(traced(history)).toBe(false);
    expect(collector.requests).toEqual([]);
    await salvor.stop();

    const rooms = ['workers/worker.ts', 'gateway/server.ts', 'cli/processes.ts'].map((file) =>
      JSON.stringify(join(import.meta.dirname, '..', '..', file)),
    );
    const script = `await Promise.all([${rooms}].map((file) => import(file)));
      const { _cache } = (await import('node:module')).default;
      console.log(Object.keys(_cache).filter((file) => /@opentelemetry.(?!api)|interceptors-opentelemetry/.test(file)).length);`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });
    expect(child).toMatchObject({ status: 0, stdout: '0\n' });
  });
});

describe('with telemetry:', () => {
  beforeAll(async () => {
    const headersFile = join(salvor.sandbox.folder, 'otlp-headers');
    writeFileSync(headersFile, '# of the collector\nAuthorization: Bearer c0113c7\n');
    await salvor.start(
      RULES,
      { telemetry: { otlp: { url: collector.url, headersFile } } },
      {
        telemetry: ({ telemetry: wanted }) => {
          telemetry = startTelemetry(wanted!, 'salvor');
          return telemetry;
        },
      },
    );
  });

  it('one trace goes from the webhook to the request that changes the pod, and continues the caller', async () => {
    const { traceId, spanId, headers } = caller();
    const sick = await salvor.sickPod();
    await heal(sick, headers);
    const spans = await spansOf(traceId, 'RunActivity:hold');

    const webhook = one(spans, 'POST /webhook/alertmanager');
    expect(webhook).toMatchObject({ parentSpanId: spanId, kind: 2, service: 'salvor' });
    expect(webhook.attributes).toMatchObject({ 'http.response.status_code': 200, 'salvor.alerts': 1 });
    expect(one(spans, 'SignalWithStartWorkflow:responder').parentSpanId).toBe(webhook.spanId);
    const start = one(spans, 'StartWorkflow:remediation');
    expect(start.parentSpanId).toBe(webhook.spanId);
    const activity = one(spans, 'RunActivity:cut');
    expect(activity.parentSpanId).toBe(start.spanId);

    const patch = spans.find((span) => span.name === 'patch pods' && span.parentSpanId === activity.spanId);
    expect(patch).toMatchObject({
      kind: 3,
      attributes: { 'http.response.status_code': 200, 'k8s.namespace.name': sick.namespace },
    });
    const [change] = await salvor.sandbox.kubernetes.readAudit({ user: SALVOR, namespace: sick.namespace });
    expect(change, 'what the API server has on record').toMatchObject({
      auditID: patch?.attributes['salvor.kubernetes.audit_id'],
    });
    expect(collector.requests[0]).toMatchObject({
      path: '/v1/traces',
      headers: { authorization: 'Bearer c0113c7', 'content-type': 'application/x-protobuf' },
    });
  });

  it('an alert that had to wait goes on in its own trace, not in that of the one before it', async () => {
    const [first, second] = [caller(), caller()];
    const { namespace, pod, others } = await salvor.sickPod();
    const [other = ''] = others;
    await salvor.cluster.setUnready(namespace, other, true);
    await salvor.alert({ namespace, pod, rule: 'drain' }, first.headers);
    await cut({ namespace, pod });
    await salvor.alert({ namespace, pod: other, rule: 'drain' }, second.headers);
    expect(await salvor.cluster.trafficLabel(namespace, other), 'one at a time').toBe('on');

    await mend({ namespace, pod });
    await cut({ namespace, pod: other });
    const history = await mend({ namespace, pod: other });
    const spans = await spansOf(second.traceId, 'RunActivity:hold');
    expect(one(spans, 'StartWorkflow:remediation').parentSpanId).toBe(one(spans, 'POST /webhook/alertmanager').spanId);
    expect(one(await spansOf(first.traceId, 'RunActivity:hold'), 'RunActivity:cut')).toBeDefined();

    // What is traced replays like what is not, for the workflows read it from the history alone.
    expect(traced(history)).toBe(true);
    const replayed = Worker.runReplayHistories({ workflowBundle: await bundleWorkflows() }, [
      { workflowId: 'traced', history },
    ]);
    for await (const { error } of replayed) expect(error).toBeUndefined();
  });

  it('a collector that is down keeps nothing from its end', async () => {
    const healed = await salvor.sickPod();
    await collector.close();
    await heal(healed, caller().headers);
    await collector.listen();
  });
});

describe('the file of headers', () => {
  it('that is no such file, or has a line that is no header, is an error that shows no secret', () => {
    const otlp = (headersFile: string) => ({ otlp: { url: 'http://127.0.0.1:9', headersFile } });
    expect(() => startTelemetry(otlp('/none'), 'salvor')).toThrow(
      /telemetry\.otlp\.headersFile: \/none cannot be read/,
    );
    const file = join(salvor.sandbox.folder, 'bad-headers');
    writeFileSync(file, 'Authorization: Bearer x\n5ec2e7\n');
    expect(() => startTelemetry(otlp(file), 'salvor')).toThrow(/line 2 of .* is no header: expected `name: value`/);
    expect(() => startTelemetry(otlp(file), 'salvor')).not.toThrow(/5ec2e7/);
  });
});
