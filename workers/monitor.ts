import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { HostAndPort } from '../model/config-fields.ts';
import type { Logger } from './logging.ts';

/** How a worker is: what `/readyz` says. */
export interface Health {
  /** It takes tasks. */
  polls: boolean;
  /** Temporal answers for its namespace. */
  temporal: boolean;
  /** Whether the audit store answers; else since when (ISO time) it does not, and why. */
  audit?: { up: boolean; since?: string; error?: string };
}

export interface MonitorOptions {
  listen: HostAndPort;
  logger: Logger;
  /** Prometheus' text format. */
  metrics: () => Promise<string>;
  health: () => Promise<Health>;
}

export interface Monitor {
  /** Where it listens: `http://127.0.0.1:9096`. */
  url: string;
  close(): Promise<void>;
}

const TEXT = 'text/plain; version=0.0.4; charset=utf-8';

/**
 * Serves `/metrics`, `/healthz` and `/readyz` of a worker, and nothing else: nobody who reads them can do anything by it,
 * so they need no authentication beyond loopback either.
 *
 * A worker is ready when it polls and Temporal answers. While only the audit store is down it stays ready, for
 * remediation goes on and the record follows; the body says that it is down.
 *
 * @throws where it cannot listen
 */
export async function startMonitor({ listen, logger, metrics, health }: MonitorOptions): Promise<Monitor> {
  const server = createServer((request, response) => {
    const answer = answerTo(request.method, request.url, { metrics, health });
    answer.then(
      (given) => send(response, given),
      (error: unknown) => {
        logger.error({ err: error, path: request.url }, 'the monitor could not answer');
        send(response, { status: 500, body: { error: 'This is a fault of Salvor: see its log.' } });
      },
    );
  });
  await bind(server, listen);
  const { address, family, port } = server.address() as AddressInfo;
  const url = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  logger.info({ url }, 'monitor listens');
  return {
    url,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    },
  };
}

interface Answer {
  status: number;
  /** A text, or what is sent as JSON. */
  body: string | object;
}

async function answerTo(
  method: string | undefined,
  url: string | undefined,
  { metrics, health }: Pick<MonitorOptions, 'metrics' | 'health'>,
): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') return { status: 405, body: { error: 'Only GET is served here.' } };
  switch (url?.split('?', 1)[0]) {
    case '/metrics':
      return { status: 200, body: await metrics() };
    case '/healthz':
      return { status: 200, body: { status: 'ok' } };
    case '/readyz': {
      const now = await health();
      const ready = now.polls && now.temporal;
      return { status: ready ? 200 : 503, body: { status: ready ? 'ready' : 'not ready', ...now } };
    }
    default:
      return { status: 404, body: { error: 'Nothing is served here.' } };
  }
}

function send(response: ServerResponse, { status, body }: Answer): void {
  const text = typeof body === 'string';
  response.writeHead(status, { 'content-type': text ? TEXT : 'application/json' });
  response.end(text ? body : JSON.stringify(body));
}

async function bind(server: Server, { host, port }: HostAndPort): Promise<void> {
  try {
    const { address } = await lookup(host, { order: 'ipv4first' });
    server.listen({ host: address, port });
    await once(server, 'listening');
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new Error(
      `worker.listen: cannot listen on ${host}:${port} (${code}). Choose another address, or stop what listens there; each worker of a machine needs its own.`,
      { cause },
    );
  }
}
