import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { Client, isGrpcServiceError } from '@temporalio/client';
import { defaultPayloadConverter } from '@temporalio/common';
import { pino } from 'pino';
import { type Gateway, startGateway } from '../../gateway/server.ts';
import { type Config, parseConfig } from '../../model/config.ts';
import { responderId } from '../../model/names.ts';
import type { Batch } from '../../model/request.ts';
import { lazyClient } from '../../providers/temporal/connect.ts';
import { connectTo } from '../support/connection.ts';

const pods = { runbook: 'drain-instance', target: `k8s/prod/\${labels.namespace}/pod/\${labels.pod}` };

/** The rules of these tests: by namespace, by a label, for a cluster that a label names, and two for one alert. */
const RULES = [
  { ...pods, name: 'pods', match: ['alertname="PodNotReady"'] },
  { ...pods, name: 'by-team', match: ['alertname="TeamPod"'], gates: { scope: `\${labels.team}` } },
  {
    ...pods,
    name: 'any-cluster',
    match: ['alertname="AnyCluster"'],
    target: `k8s/\${labels.cluster}/\${labels.namespace}/pod/\${labels.pod}`,
  },
  { ...pods, name: 'first', match: ['alertname="Twice"'], continue: true },
  { ...pods, name: 'second', match: ['alertname="Twice"'] },
];

/** Read as users' files are read, so that the gateway meets what the schema makes of them. */
export function testConfig(temporal: object, gateway: object = {}, dependencies: object[] = []): Config {
  const text = JSON.stringify({
    temporal: { taskQueue: `test-${randomUUID()}`, ...temporal },
    gateway: { listen: '127.0.0.1:0', ...gateway },
    clusters: [{ name: 'prod', context: 'prod' }],
    dependencies,
    rules: RULES,
  });
  const parsed = parseConfig(text, 'salvor.yaml');
  if (!parsed.ok) throw new Error(parsed.problems.map(({ message }) => message).join('\n'));
  return parsed.config;
}

export interface Answered {
  status: number;
  headers: Headers;
  body: {
    accepted: number;
    dropped: number;
    unmatched: number;
    truncated: number;
    undelivered?: number;
    problems: { index: number; fingerprint?: string; rule?: string; reason: string; problem: string }[];
    error?: string;
  };
}

export interface TestGateway extends Gateway {
  client: Client;
  taskQueue: string;
  /** What it logged, parsed, oldest first. */
  log: Record<string, unknown>[];
  post(body: string | Uint8Array | object, headers?: Record<string, string>): Promise<Answered>;
  get(path: string): Promise<Response>;
  /** The value of a counter, by the whole of what stands before it in /metrics; 0 where it has none yet. */
  counter(series: string): Promise<number>;
}

/** @param own client of the gateway, for one that watches what it asks; the caller closes it */
export async function startTestGateway(config: Config, own?: Client): Promise<TestGateway> {
  const log: Record<string, unknown>[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, done) {
      log.push(JSON.parse(chunk.toString('utf8')) as Record<string, unknown>);
      done();
    },
  });
  const gateway = await startGateway({ config, logger: pino(sink), ...(own && { client: own }) });
  // Looks at the server, not through the gateway's connection.
  const client = lazyClient(config.temporal);
  const get = (path: string): Promise<Response> => fetch(`${gateway.url}${path}`);
  return {
    url: gateway.url,
    client,
    taskQueue: config.temporal.taskQueue,
    log,
    get,
    async post(body, headers = {}) {
      const raw = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
      const response = await fetch(`${gateway.url}/webhook/alertmanager`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: raw as string | Uint8Array<ArrayBuffer>,
      });
      return {
        status: response.status,
        headers: response.headers,
        body: (await response.json()) as Answered['body'],
      };
    },
    async counter(series) {
      const lines = (await (await get('/metrics')).text()).split('\n');
      return Number(lines.find((line) => line.startsWith(`${series} `))?.slice(series.length + 1) ?? 0);
    },
    async close() {
      await gateway.close();
      await client.connection.close();
    },
  };
}

/** A namespace that no other test uses; with the default scope, its pods are one scope. */
export const uniqueNamespace = (): string => `ns-${randomUUID().slice(0, 8)}`;

export const scopeOf = (namespace: string): string => `prod/${namespace}`;

export function alert(labels: Record<string, unknown>, fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    status: 'firing',
    labels: { alertname: 'PodNotReady', ...labels },
    annotations: { summary: 'a pod is not ready' },
    startsAt: '2026-03-01T12:00:00.123456789Z',
    endsAt: '0001-01-01T00:00:00Z',
    generatorURL: 'http://prometheus.test/graph',
    ...fields,
  };
}

export function webhook(alerts: unknown[], fields: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    version: '4',
    groupKey: '{}:{alertname="PodNotReady"}',
    truncatedAlerts: 0,
    status: 'firing',
    receiver: 'salvor',
    groupLabels: {},
    commonLabels: {},
    commonAnnotations: {},
    externalURL: 'http://alertmanager.test',
    alerts,
    ...fields,
  };
}

const NOT_FOUND = 5;

/** What a responder was signalled, as the server recorded it; undefined where there is no such responder. */
export async function signalled(client: Client, rule: string, scope: string): Promise<Batch[] | undefined> {
  try {
    const { events } = await client.workflow.getHandle(responderId(rule, scope)).fetchHistory();
    return (events ?? []).flatMap(({ workflowExecutionSignaledEventAttributes: signal }) => {
      const [payload] = signal?.input?.payloads ?? [];
      return payload ? [defaultPayloadConverter.fromPayload<Batch>(payload)] : [];
    });
  } catch (error) {
    if (isGrpcServiceError(error) && error.code === NOT_FOUND) return undefined;
    throw error;
  }
}

export interface RawConnection {
  write(data: string): void;
  /** Everything that was received, once the other side has closed. */
  closed: Promise<string>;
  destroy(): void;
}

/** A socket on which a request can be as slow and as broken as it likes. */
export async function rawConnection(url: string): Promise<RawConnection> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  let received = '';
  socket.setEncoding('utf8').on('data', (data: string) => {
    received += data;
  });
  // A reset is an end too: what matters is what was received before it.
  socket.on('error', () => undefined);
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => resolve(received));
  });
  await new Promise((resolve) => socket.once('connect', resolve));
  return { write: (data) => socket.write(data), closed, destroy: () => socket.destroy() };
}

export const head = (length: number | string): string =>
  [
    'POST /webhook/alertmanager HTTP/1.1',
    'Host: salvor.test',
    'Content-Type: application/json',
    typeof length === 'number' ? `Content-Length: ${length}` : `Transfer-Encoding: ${length}`,
    '',
    '',
  ].join('\r\n');

/** A client, and how often it has asked Temporal for one workflow. */
export async function countingClient(address: string): Promise<{ client: Client; asked: () => number }> {
  let asked = 0;
  const counting = {
    describe: (input: never, next: (input: never) => Promise<never>) => {
      asked += 1;
      return next(input);
    },
  };
  const connection = await connectTo(address);
  const client = new Client({ connection, interceptors: { workflow: [counting as object] } });
  return { client, asked: () => asked };
}
