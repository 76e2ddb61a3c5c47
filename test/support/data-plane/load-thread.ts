/** Sends the load of load.ts; tells what came of it every now and then. */
import { parentPort, workerData } from 'node:worker_threads';
import { Agent, request } from 'undici';
import { UPSTREAM_HEADER } from '../../../sandbox/envoy.ts';
import type { Answer } from './answers.ts';
import type { FromLoad, LoadOptions } from './load.ts';

const TELL_EVERY_MS = 100;
/** Longer than the proxy takes to give up: the answer of the proxy is what callers get. */
const TIMEOUT_MS = 120_000;

const { url, perSecond } = workerData as LoadOptions;
// As many connections as there are requests under way.
const dispatcher = new Agent({
  headersTimeout: TIMEOUT_MS,
  bodyTimeout: TIMEOUT_MS,
  connect: { timeout: TIMEOUT_MS },
});
const underWay = new Set<Promise<void>>();
const began = performance.now();
let answers: Answer[] = [];
let sent = 0;

async function send(): Promise<void> {
  const start = Date.now();
  const from = performance.now();
  const [status, upstream] = await ask();
  answers.push({ start, latency: performance.now() - from, status, ...(upstream && { upstream }) });
}

async function ask(): Promise<[status: number, upstream?: string]> {
  try {
    const { statusCode, headers, body } = await request(url, { dispatcher });
    const upstream = headers[UPSTREAM_HEADER];
    await body.dump();
    return [statusCode, typeof upstream === 'string' ? upstream : undefined];
  } catch {
    return [0]; // No answer: a figure of its own.
  }
}

const sending = setInterval(() => {
  for (const due = ((performance.now() - began) * perSecond) / 1000; sent < due; sent++) {
    const one = send();
    underWay.add(one);
    void one.then(() => underWay.delete(one));
  }
}, 1000 / perSecond);

const tell = (done: boolean): void => {
  parentPort?.postMessage({ answers, done } satisfies FromLoad);
  answers = [];
};
const telling = setInterval(() => tell(false), TELL_EVERY_MS);

async function stop(): Promise<void> {
  clearInterval(sending);
  await Promise.all(underWay);
  clearInterval(telling);
  tell(true);
  await dispatcher.close();
}

// Nothing more is heard: with the last connection closed the thread ends.
parentPort?.once('message', () => void stop());
