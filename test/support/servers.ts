import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo, Server } from 'node:net';
import { onTestFinished } from 'vitest';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';

/** On a port of its own. @returns host:port */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A server of HTTP until the end of the test. @returns its origin */
export async function serve(answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://${await listen(server)}`;
}

export interface Scraped {
  /** Of the Prometheus. */
  url: string;
  stop(): Promise<void>;
}

/** A real Prometheus that scrapes, as the job `app`, whatever this says at the time. */
export async function startScraped(exposition: () => string): Promise<Scraped> {
  const exporter = createServer((_, response) => response.end(exposition()));
  const scrape = [{ job: 'app', targets: [await listen(exporter)] }];
  const sandbox: Sandbox<'prometheus'> = await startSandbox({ parts: ['prometheus'], prometheus: { scrape } });
  return {
    url: sandbox.prometheus.url,
    async stop() {
      await sandbox.stop();
      exporter.close();
      exporter.closeAllConnections();
    },
  };
}

/** What it is rejected with. */
export const failureOf = async (asked: Promise<unknown>): Promise<unknown> =>
  asked.then(
    (answer) => {
      throw new Error(`answered ${JSON.stringify(answer)}`);
    },
    (error: unknown) => error,
  );
