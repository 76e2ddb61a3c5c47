import { connect } from 'node:net';
import type { Probe } from '../../model/breaker/options.ts';
import type { Finding } from '../../model/ports/switch.ts';
import { headersOf } from '../headers-file.ts';
import { oneRequest, placeOf, silence } from '../one-request.ts';
import type { Prometheus } from '../prometheus/client.ts';
import { readNumber } from './confirm.ts';
import { checkHealth, describeGrpc } from './grpc.ts';

interface World {
  prometheus: Prometheus | undefined;
  signal: AbortSignal;
}

type Kind = keyof Omit<Probe, 'within' | 'failures'>;
type Try<K extends Kind> = (options: NonNullable<Probe[K]>, within: number, world: World) => Promise<Finding>;

const TRIES: { [K in Kind]: Try<K> } = {
  http: async ({ url, status, headersFile }, within, { signal }) => {
    const asked = `GET ${placeOf(url)}`;
    const headers = await headersOf(headersFile);
    const { status: found, took } = await oneRequest({ url, method: 'GET', headers, within, signal });
    const facts = { status: found, tookMs: took };
    if (took > within) return failing(`${asked} took ${took} ms, and at most ${within} is in time`, facts);
    if (found !== status) return failing(`${asked} answered ${found}, expected ${status}`, facts);
    return { verdict: 'healthy', why: `${asked} answered ${found} in ${took} ms`, facts };
  },
  tcp: async ({ host, port }, within, { signal }) => {
    const began = performance.now();
    await openConnection(host, port, within, signal);
    const tookMs = Math.round(performance.now() - began);
    return { verdict: 'healthy', why: `${host}:${port} took a connection in ${tookMs} ms`, facts: { tookMs } };
  },
  grpc: async (options, within, { signal }) => {
    const name = `${options.host}:${options.port}${options.service && ` ${options.service}`}`;
    const status = await checkHealth(options, within, signal).catch((error: unknown) => {
      if (signal.aborted) throw error;
      throw new Error(`the health of ${name}: ${describeGrpc(error, within)}`, { cause: error });
    });
    const why = `${name} says of itself ${status}`;
    return status === 'SERVING' ? { verdict: 'healthy', why, facts: { status } } : failing(why, { status });
  },
  promql: async ({ query, atMost }, within, { prometheus, signal }) => {
    const timeout = AbortSignal.timeout(within);
    const { value, problem } = await readNumber(prometheus, query, AbortSignal.any([signal, timeout])).catch(
      (error) => {
        if (signal.aborted) throw error;
        return { problem: `${query}: ${silence(error, within)}`, value: undefined };
      },
    );
    // That Prometheus is silent says nothing of the dependency.
    if (value === undefined) return { verdict: 'unknown', why: problem ?? query };
    const why = `${query} is ${value}, and healthy is at most ${atMost}`;
    return value <= atMost ? { verdict: 'healthy', why, facts: { value } } : failing(why, { value });
  },
};

const failing = (why: string, facts: Record<string, number | string>): Finding => ({ verdict: 'failing', why, facts });

/** One trial, on a connection of its own. What the dependency does is its finding. @throws the signal's reason */
export async function probe(options: Probe, world: World): Promise<Finding> {
  const { within } = options;
  try {
    for (const kind of Object.keys(TRIES) as Kind[]) {
      const found = await attempt(kind, options, world);
      if (found) return found;
    }
    return { verdict: 'unknown', why: 'the probe asks for nothing' };
  } catch (error) {
    if (world.signal.aborted) throw world.signal.reason;
    // What Salvor itself lacks (a file of headers) says nothing of the dependency.
    if (error instanceof Error && error.name === 'FinalError') return { verdict: 'unknown', why: error.message };
    return failing(error instanceof Error ? error.message : String(error), { withinMs: within });
  }
}

async function attempt<K extends Kind>(kind: K, options: Probe, world: World): Promise<Finding | undefined> {
  const own = options[kind];
  return own && TRIES[kind](own as NonNullable<Probe[K]>, options.within, world);
}

async function openConnection(host: string, port: number, within: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timeout = AbortSignal.timeout(within);
  const socket = connect({ host, port, signal: AbortSignal.any([signal, timeout]) });
  socket.once('connect', () => resolve());
  socket.once('error', reject);
  try {
    await promise;
  } catch (error) {
    const why = timeout.aborted
      ? `nothing within ${within} ms`
      : ((error as NodeJS.ErrnoException).code ?? String(error));
    throw new Error(`${host}:${port} took no connection: ${why}`, { cause: error });
  } finally {
    socket.destroy();
  }
}
