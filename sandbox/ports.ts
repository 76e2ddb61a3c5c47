import { createServer } from 'node:net';
import { threadId } from 'node:worker_threads';

/** Below the range from which systems take ports for outgoing connections, so that none is taken while we start. */
const LOWEST = 20_000;
/**
 * Each process goes round in ports of its own, by its process id. Between the look and the moment at which a component
 * listens another process could take the same port, and would then be taken for the component.
 */
const OWN = 16;
const PROCESSES = 750;

const first = LOWEST + ((process.pid + threadId) % PROCESSES) * OWN;
let next = 0;

/** A TCP port of loopback on which nothing listens. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < OWN; tries++) {
    const port = first + (next++ % OWN);
    if (await isFree(port)) return port;
  }
  // More than so many at once: the system's own choice is the second best.
  return listenOnce(0);
}

/** Whether nothing listens on this port of loopback. */
export const isFree = (port: number): Promise<boolean> =>
  listenOnce(port).then(
    () => true,
    () => false,
  );

function listenOnce(port: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const server = createServer().once('error', reject);
  server.listen({ port, host: '127.0.0.1', exclusive: true }, () => {
    const address = server.address();
    const chosen = typeof address === 'object' && address !== null ? address.port : port;
    server.close(() => resolve(chosen));
  });
  return promise;
}
