import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** What an alert says of a pod: the labels of its series. */
export interface Complaint {
  namespace: string;
  pod: string;
  /** Name of the rule of Salvor's configuration that shall take the alert. */
  rule: string;
}

/**
 * The test's own little application: its metric says which pods are not able to work, and its webhook keeps what
 * Alertmanager sends, byte by byte, so that a test can deliver it once more.
 */
export class Exporter {
  /** Bodies that Alertmanager has sent, oldest first. */
  readonly webhooks: string[] = [];
  /** What else is told: each gives lines. */
  readonly others: (() => string[])[] = [];
  readonly #server: Server;
  /** 1 while the pod is not able to work, by its labels. A pod that was well again keeps its series. */
  readonly #unable = new Map<string, 0 | 1>();

  constructor() {
    this.#server = createServer((request, response) => {
      if (request.method === 'POST') {
        // Where the sender goes away there is nothing to keep; Alertmanager sends again.
        this.#keep(request).then(
          () => response.end(),
          () => response.destroy(),
        );
        return;
      }
      response.setHeader('content-type', 'text/plain; version=0.0.4').end(this.#exposition());
    });
  }

  async listen(): Promise<void> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
  }

  /** host:port */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  set(complaint: Complaint, unable: boolean): void {
    const { namespace, pod, rule } = complaint;
    this.#unable.set(`namespace="${namespace}",pod="${pod}",rule="${rule}"`, unable ? 1 : 0);
  }

  async close(): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, 'close');
  }

  async #keep(request: IncomingMessage): Promise<void> {
    this.webhooks.push(await text(request));
  }

  #exposition(): string {
    const lines = [...this.#unable].map(([labels, value]) => `app_unable{${labels}} ${value}`);
    return ['# TYPE app_unable gauge', ...lines, ...this.others.flatMap((other) => other()), ''].join('\n');
  }
}
