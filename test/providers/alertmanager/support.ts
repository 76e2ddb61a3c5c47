import { readFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { onTestFinished } from 'vitest';
import { parse } from 'yaml';

/** examples/alertmanager.yml */
export const EXAMPLE = readFileSync(join(import.meta.dirname, '../../../examples/alertmanager.yml'), 'utf8');

interface Route {
  receiver: string;
  group_wait?: string;
  group_interval?: string;
  routes?: Route[];
}
export interface Receiver {
  name: string;
  webhook_configs: object[];
}

/**
 * Its routes with other times.
 *
 * @param times those of the example, and what they are here
 * @param to what each of its receivers is here
 */
export function example(times: Record<string, string>, to: (receiver: Receiver) => object): object {
  const scaled = (route: Route): Route => {
    const time = (text: string | undefined) => {
      const here = text === undefined ? undefined : times[text];
      if (text !== undefined && here === undefined) throw new Error(`examples/alertmanager.yml has the time ${text}`);
      return here;
    };
    const { group_wait: wait, group_interval: interval, routes } = route;
    return {
      ...route,
      group_wait: time(wait),
      group_interval: time(interval),
      ...(routes && { routes: routes.map(scaled) }),
    };
  };
  const { route, receivers, ...rest } = parse(EXAMPLE) as { route: Route; receivers: Receiver[] };
  return { ...rest, route: scaled(route), receivers: receivers.map(to) };
}

type Labels = Record<string, string>;

export interface Seen {
  labels: Labels;
  annotations: Labels;
  startsAt: string;
  endsAt: string;
  generatorURL: string;
  fingerprint: string;
  status: { state: 'active' | 'suppressed' | 'unprocessed'; silencedBy: string[] };
}

export interface SeenSilence {
  id: string;
  status: { state: 'active' | 'pending' | 'expired' };
  matchers: { name: string; value: string; isRegex: boolean; isEqual: boolean }[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
}

async function call<T>(url: string, init?: RequestInit): Promise<T> {
  const response = await fetch(url, init);
  const text = await response.text();
  if (!response.ok) throw new Error(`${response.status} ${text}`);
  return (text === '' ? undefined : JSON.parse(text)) as T;
}

/** What Prometheus does. */
export const fire = (url: string, labels: Labels, more: { startsAt?: string; endsAt?: string } = {}): Promise<void> =>
  call(`${url}/api/v2/alerts`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify([{ labels, endsAt: new Date(Date.now() + 3_600_000).toISOString(), ...more }]),
  });

export const resolve = (url: string, labels: Labels): Promise<void> =>
  fire(url, labels, { endsAt: new Date().toISOString() });

/** Of those that are not resolved, the ones with these labels among theirs. */
export async function alertsOf(url: string, labels: Labels): Promise<Seen[]> {
  const all = await call<Seen[]>(`${url}/api/v2/alerts`);
  return all.filter((alert) => Object.entries(labels).every(([name, value]) => alert.labels[name] === value));
}

/** Labels whose names are not those of old: of UTF-8, where this version (0.27 or later) takes them. */
export async function utf8Names(url: string): Promise<Labels> {
  const { versionInfo } = await call<{ versionInfo: { version: string } }>(`${url}/api/v2/status`);
  const [major = 0, minor = 0] = versionInfo.version.split('.').map(Number);
  return major > 0 || minor >= 27 ? { 'k8s.pod/name': '{a="b"}', größe: '1' } : {};
}

export const silenceOf = (url: string, id: string): Promise<SeenSilence> => call(`${url}/api/v2/silence/${id}`);

export const endSilence = (url: string, id: string): Promise<void> =>
  call(`${url}/api/v2/silence/${id}`, { method: 'DELETE' });

/** With this text in their comments, whatever their state. */
export async function silencesOf(url: string, comment: string): Promise<SeenSilence[]> {
  return (await call<SeenSilence[]>(`${url}/api/v2/silences`)).filter((one) => one.comment.includes(comment));
}

/** An activity that runs: its result, its heartbeats, and what ends it. */
export interface RunningActivity<T> {
  result: Promise<T>;
  beats: unknown[];
  environment: MockActivityEnvironment;
  cancel: MockActivityEnvironment['cancel'];
}

/** @param last what the attempt before it said in its last heartbeat */
export function runActivity<A, T>(activity: (given: A) => Promise<T>, given: A, last?: unknown): RunningActivity<T> {
  const environment = new MockActivityEnvironment(
    { heartbeatDetails: last, attempt: last === undefined ? 1 : 2 },
    { logger: new DefaultLogger('ERROR') },
  );
  const beats: unknown[] = [];
  environment.on('heartbeat', (details) => beats.push(structuredClone(details)));
  const result: Promise<T> = environment.run(activity, given);
  result.catch(() => undefined); // Whoever awaits it hears of it.
  return { result, beats, environment, cancel: (...how) => environment.cancel(...how) };
}

const listen = async (server: Server, port = 0): Promise<number> => {
  await new Promise<void>((done, fail) => server.once('error', fail).listen(port, '127.0.0.1', done));
  return (server.address() as AddressInfo).port;
};

/** What stands between Salvor and an Alertmanager: it can be down, or hang. */
export interface Gate {
  url: string;
  /** Connections that were made to it. */
  connections(): number;
  set(state: 'open' | 'hangs' | 'down'): void;
}

export async function gateTo(target: string, state: 'open' | 'hangs' | 'down'): Promise<Gate> {
  const { port } = new URL(target);
  let now = state;
  let connections = 0;
  const open = new Set<Socket>();
  const keep = (socket: Socket): void => {
    open.add(socket);
    // An end that is cut off is what this is for.
    socket.on('error', () => undefined).on('close', () => open.delete(socket));
  };
  const server = createServer((socket) => {
    connections += 1;
    keep(socket);
    if (now === 'down') socket.destroy();
    if (now !== 'open') return;
    const other = connect(Number(port), '127.0.0.1');
    keep(other);
    socket.pipe(other).pipe(socket);
    socket.on('close', () => other.destroy());
    other.on('close', () => socket.destroy());
  });
  const own = await listen(server);
  const cut = (): void => {
    for (const socket of open) socket.destroy();
  };
  onTestFinished(() => {
    server.close();
    cut();
  });
  return {
    url: `http://127.0.0.1:${own}`,
    connections: () => connections,
    set: (state) => {
      now = state;
      cut();
    },
  };
}

export interface Notification {
  status: 'firing' | 'resolved';
  alerts: { status: 'firing' | 'resolved'; labels: Labels; annotations: Labels }[];
}

/** A webhook of the test. */
export async function inbox(): Promise<{ url: string; heard: Notification[]; of(labels: Labels): Notification[] }> {
  const heard: Notification[] = [];
  const server = createHttpServer((request, response) => {
    json(request).then(
      (body) => {
        heard.push(body as Notification);
        response.end();
      },
      (error) => response.writeHead(400).end(String(error)),
    );
  });
  const port = await listen(server);
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  const has = (labels: Labels) => (alert: { labels: Labels }) =>
    Object.entries(labels).every(([name, value]) => alert.labels[name] === value);
  return {
    url: `http://127.0.0.1:${port}`,
    heard,
    of: (labels) => heard.filter(({ alerts }) => alerts.some(has(labels))),
  };
}
