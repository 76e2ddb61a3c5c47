import type { Socket } from 'node:net';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import type { GatewayMetrics } from './metrics.ts';
import { rejectionOf } from './reject.ts';

export interface Failed {
  error: unknown;
  request: FastifyRequest;
  reply: FastifyReply;
  metrics: GatewayMetrics;
  log: Logger;
}

/**
 * Answers a request that failed. The answer tells the sender what is wrong with the request; what is wrong with the
 * gateway only its log tells.
 */
export async function refuse({ error, request, reply, metrics, log }: Failed): Promise<FastifyReply> {
  const rejection = rejectionOf(error);
  if (rejection === undefined) {
    log.error({ err: error, url: request.url }, 'request failed; this is a bug of Salvor');
    return reply.code(500).send({ error: 'Salvor failed to handle the request; its log says why.' });
  }
  const { status, reason, message } = rejection;
  if (!ended.has(request.raw.socket)) {
    metrics.rejections.inc({ reason });
    log.warn({ status, reason, from: request.ip, ms: Math.round(reply.elapsedTime) }, `request rejected: ${message}`);
  }
  // Closing the connection on a body that is still arriving resets it, and the sender would not read the answer.
  return reply.removeHeader('connection').code(status).send({ error: message });
}

/** Connections on which {@link endBroken} has had its say: the body that broke off with them is no second rejection. */
const ended = new WeakSet<Socket>();

/** What breaks before, or apart from, a request that could be answered: no HTTP, or too slow. */
export function endBroken(error: NodeJS.ErrnoException, socket: Socket, metrics: GatewayMetrics, log: Logger): void {
  // The other side is gone; where it left a request behind, that one tells.
  if (error.code === 'ECONNRESET' || socket.destroyed || ended.has(socket)) return;
  const [status, reason] = BROKEN[error.code ?? ''] ?? ['400 Bad Request', 'not-http'];
  ended.add(socket);
  metrics.rejections.inc({ reason });
  log.warn({ status, reason, from: socket.remoteAddress }, 'connection ended: what it sent is no complete request');
  if (socket.writable) socket.write(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
  socket.destroySoon();
}

const BROKEN: Record<string, [status: string, reason: string]> = {
  ERR_HTTP_REQUEST_TIMEOUT: ['408 Request Timeout', 'too-slow'],
  HPE_INVALID_EOF_STATE: ['400 Bad Request', 'broken'],
  HPE_HEADER_OVERFLOW: ['431 Request Header Fields Too Large', 'headers-too-large'],
};
