import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { freePort } from '../../sandbox/ports.ts';

/** How a dependency fares: all is well; nothing listens; it takes requests and never answers; 3 of 10 are answered 500. */
export type Health = 'well' | 'refuses' | 'hangs' | 'fails';

/** Where callers of the tests go, and where the probes go. */
export const PROBE_PATH = '/probe';

/** A real HTTP server that the fleet calls, and that a test breaks. */
export class RealDependency {
  /** Paths of the requests that have reached it, with the time (milliseconds since the epoch). */
  readonly requests: { at: number; path: string }[] = [];
  port = 0;
  #server: Server | undefined;
  #health: Health = 'well';
  #served = 0;

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    this.port = await freePort();
    await this.#listen();
  }

  async is(health: Health): Promise<void> {
    const listens = this.#health !== 'refuses';
    this.#health = health;
    if (health === 'refuses') await this.#close();
    else if (!listens) await this.#listen();
    // What hangs is let go.
    else this.#server?.closeAllConnections();
  }

  /** Requests of callers, since then. */
  calls(since: number): number {
    return this.requests.filter(({ at, path }) => at >= since && path !== PROBE_PATH).length;
  }

  stop = (): Promise<void> => this.#close();

  /** So many connections are open to it. */
  connections(): Promise<number> {
    return new Promise((resolve) => {
      if (!this.#server) resolve(0);
      else this.#server.getConnections((_error, count) => resolve(count));
    });
  }

  async #listen(): Promise<void> {
    const server = createServer((request, response) => this.#answer(request, response));
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(this.port, '127.0.0.1', resolve);
    });
    this.port = (server.address() as AddressInfo).port;
  }

  async #close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  #answer({ url = '' }: IncomingMessage, response: ServerResponse): void {
    this.requests.push({ at: Date.now(), path: url });
    if (this.#health === 'hangs') return;
    this.#served += 1;
    response.statusCode = this.#health === 'fails' && this.#served % 10 < 3 ? 500 : 200;
    response.end();
  }
}
