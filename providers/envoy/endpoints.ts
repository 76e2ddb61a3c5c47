import { isIPv6 } from 'node:net';
import type { EnvoySwitch } from '../../model/breaker/options.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import type { Cluster } from '../kubernetes/cluster.ts';
import { PODS, type Pod } from '../kubernetes/objects.ts';
import { placeOf } from '../one-request.ts';
import type { Endpoint } from './admin.ts';

/**
 * The Envoys of a switch, as they are now: at least one.
 *
 * @param cluster that of its pods, where it names some
 * @throws UnavailableError where no pod has one
 */
export async function endpointsOf(
  options: EnvoySwitch,
  cluster: Cluster | undefined,
  signal?: AbortSignal,
): Promise<Endpoint[]> {
  const endpoints = await endpointsLeft(options, cluster, signal);
  if (endpoints.length > 0) return endpoints;
  const { namespace, selector } = options.pods ?? {};
  throw new UnavailableError(`no pod of ${namespace} that runs has the labels ${selector}: there is no Envoy to set`);
}

/** Those that there are, which may be none. */
export async function endpointsLeft(
  { admin, pods }: EnvoySwitch,
  cluster: Cluster | undefined,
  signal?: AbortSignal,
): Promise<Endpoint[]> {
  if (admin) return admin.map((url) => ({ name: placeOf(url).replace(/\/$/, ''), url }));
  if (!pods || !cluster)
    throw new FinalError('a switch by Envoy needs `admin` or `pods`: nothing was touched', { type: 'Invalid' });
  const { namespace, selector, port } = pods;
  const { items } = await cluster.list<Pod>({ ...PODS, namespace }, signal, selector);
  return items.flatMap(({ metadata, status }) => {
    // One that has ended has no Envoy any more, and its address may be another's by now.
    if (status?.phase !== 'Running' || !status.podIP || metadata.deletionTimestamp) return [];
    const host = isIPv6(status.podIP) ? `[${status.podIP}]` : status.podIP;
    return [{ name: `pod ${namespace}/${metadata.name}`, url: `http://${host}:${port}` }];
  });
}

/** Few at a time: a fleet has hundreds. */
export async function settleAll<T, R>(
  all: readonly T[],
  work: (one: T) => Promise<R>,
): Promise<PromiseSettledResult<R>[]> {
  const results: PromiseSettledResult<R>[] = [];
  for (let at = 0; at < all.length; at += AT_ONCE)
    results.push(...(await Promise.allSettled(all.slice(at, at + AT_ONCE).map(work))));
  return results;
}

const AT_ONCE = 32;
