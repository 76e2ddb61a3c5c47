import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** How the process in a pod is doing. */
export interface Behaviour {
  /** Milliseconds until a request is answered. */
  delay: number;
  /** Of its answers: how many are 500, 0 to 1. */
  errors: number;
  /** Whether its liveness endpoint says so. */
  alive: boolean;
}

export const WELL: Behaviour = { delay: 0, errors: 0, alive: true };
/** It takes requests and does not come to answer them; its liveness endpoint, which does nothing, is as quick as ever. */
export const STALLS: Behaviour = { ...WELL, delay: 600_000 };

export const LIVENESS = '/livez';
/** Requests with this header are no callers'. */
export const PROBE_HEADER = 'x-probe';

/** Longer than a proxy keeps idle connections, so that it is the proxy that closes them. */
const KEEP_ALIVE_MS = 75_000;

/** Connections that wait while the machine stalls: more than come in meanwhile, for those beyond are lost. */
const BACKLOG = 4_096;

/** 127.x.y.z, x by the process: the tests of one file after another, and of several at once, do not meet. */
let last = 0;
const nextAddress = (): string => {
  last += 1;
  return `127.${16 + (process.pid % 200)}.${(last >> 8) & 255}.${last & 255}`;
};

/** The process of one pod: a real HTTP server on a loopback address of its own. */
export class PodServer {
  /** Requests of callers that it was given. */
  received = 0;
  /** How often the kubelet started it again. */
  restarts = 0;
  /** Milliseconds since the epoch at which it stopped taking connections; undefined while it takes them. */
  closedAt: number | undefined;
  #address = '';
  #behaviour = WELL;
  #owed = 0;
  #server: Server;
  readonly #waiting = new Map<ServerResponse, NodeJS.Timeout>();

  constructor() {
    this.#server = this.#create();
  }

  /** host:port */
  get address(): string {
    return this.#address;
  }

  async listen(): Promise<void> {
    const [host, port] = this.#address === '' ? [nextAddress(), 0] : this.#address.split(':');
    this.#server.listen(Number(port), host, BACKLOG);
    await once(this.#server, 'listening');
    this.#address = `${host}:${(this.#server.address() as AddressInfo).port}`;
  }

  /** From now on. What waits for an answer is answered where it does not stall any more. */
  behave(behaviour: Behaviour): void {
    const sooner = behaviour.delay < this.#behaviour.delay;
    this.#behaviour = behaviour;
    if (!sooner) return;
    for (const [response, timer] of this.#waiting) {
      clearTimeout(timer);
      this.#answer(response);
    }
  }

  /** As the kubelet does when the liveness probe has failed: at once, whatever is under way. */
  async restart(): Promise<void> {
    await this.#end();
    this.#behaviour = WELL;
    this.#server = this.#create();
    await this.listen();
    this.restarts += 1;
  }

  /**
   * As a pod that is deleted: its preStop hook waits until nobody sends it anything new, then it takes no more connections
   * and answers what is under way, for as long as its grace period lasts.
   */
  async shutDown(preStop: number, grace: number): Promise<void> {
    await sleep(preStop);
    this.closedAt = Date.now();
    const closed = once(this.#server, 'close');
    this.#server.close();
    const killed = setTimeout(() => this.#server.closeAllConnections(), grace);
    await closed;
    clearTimeout(killed);
    this.#forget();
  }

  /** At once. */
  async kill(): Promise<void> {
    this.closedAt ??= Date.now();
    if (this.#server.listening) await this.#end();
    else this.#server.closeAllConnections();
    this.#forget();
  }

  async #end(): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
    this.#forget();
  }

  #create(): Server {
    const server = createServer((request, response) => this.#take(request, response));
    server.keepAliveTimeout = KEEP_ALIVE_MS;
    return server;
  }

  #take({ url, headers }: IncomingMessage, response: ServerResponse): void {
    if (url === LIVENESS) {
      response.writeHead(this.#behaviour.alive ? 200 : 500).end();
      return;
    }
    if (headers[PROBE_HEADER] === undefined) this.received += 1;
    if (this.#behaviour.delay === 0) {
      this.#answer(response);
      return;
    }
    this.#waiting.set(
      response,
      setTimeout(() => this.#answer(response), this.#behaviour.delay),
    );
    response.once('close', () => {
      clearTimeout(this.#waiting.get(response));
      this.#waiting.delete(response);
    });
  }

  /** Every so manieth answer is an error: no chance, so that a test sees the same each time. */
  #answer(response: ServerResponse): void {
    this.#waiting.delete(response);
    this.#owed += this.#behaviour.errors;
    const isError = this.#owed >= 1;
    if (isError) this.#owed -= 1;
    response.writeHead(isError ? 500 : 200).end();
  }

  #forget(): void {
    for (const timer of this.#waiting.values()) clearTimeout(timer);
    this.#waiting.clear();
  }
}
