import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { findComponent } from './components.ts';
import { answers, startComponent, untilReady } from './processes.ts';
import type { OnProgress } from './progress.ts';

export interface EnvoyOptions {
  /** Folder for configuration, endpoints and log. */
  folder: string;
  /** Milliseconds until the last byte of an answer; then the caller is answered 504. Default 5 s. */
  timeout?: number;
  /** Of its administration, for one that is started again at the same address; by default the system chooses one. */
  adminPort?: number;
  /** A loopback address for its administration; default 127.0.0.1. */
  adminHost?: string;
  /** Runtime key of the percent of requests that are let through; all of them where it is not set. The others are answered 503. */
  shareKey?: string;
  onProgress?: OnProgress;
}

/** A proxy of one listener before one cluster, whose endpoints are read from a file. */
export interface Envoy {
  /** Where callers send their requests. */
  readonly url: string;
  /** Of its administration; what is set by `POST /runtime_modify` overrides everything else. */
  readonly adminUrl: string;
  /** Sends traffic to these (`host:port`) from now on. Resolves when the file is written; Envoy reads it moments later. */
  setEndpoints(endpoints: readonly string[]): Promise<void>;
  /** Where it sends traffic now, as it tells itself: `host:port`, sorted. */
  endpoints(): Promise<string[]>;
  stop(): Promise<void>;
}

/** Name of the cluster, as its statistics and runtime keys have it: `circuit_breakers.app.default.max_requests`. */
export const ENVOY_CLUSTER = 'app';

/** Header of each answer with the endpoint that the request was given to; absent where it was given to none. */
export const UPSTREAM_HEADER = 'x-upstream';

/**
 * Envoy as a plain ingress has it: round robin over the endpoints, one timeout, and nothing that would hide a sick one: no
 * retries, no outlier detection, no health checks.
 *
 * @throws MissingComponentError, ComponentStartError
 */
export async function startEnvoy(options: EnvoyOptions): Promise<Envoy> {
  const { folder, onProgress } = options;
  const executable = await findComponent('envoy', { onProgress });
  const files = {
    bootstrap: join(folder, 'envoy.json'),
    // Alone in its folder: whatever is moved into that makes Envoy read the file anew.
    endpoints: join(folder, 'endpoints', 'endpoints.json'),
    adminAddress: join(folder, 'admin-address'),
  };
  await mkdir(join(folder, 'endpoints'), { recursive: true });
  let written = 0;
  const setEndpoints = async (endpoints: readonly string[]): Promise<void> => {
    const next = join(folder, `endpoints-${written++}.json`);
    await writeFile(next, JSON.stringify(assignment(endpoints)));
    await rename(next, files.endpoints);
  };
  await setEndpoints([]);
  await writeFile(files.bootstrap, JSON.stringify(bootstrap(files.endpoints, join(folder, 'endpoints'), options)));
  const component = await startComponent({
    name: 'envoy',
    file: executable,
    args: [
      '--config-path',
      files.bootstrap,
      '--admin-address-path',
      files.adminAddress,
      // No shared memory, so that several of one machine do not meet.
      '--disable-hot-restart',
      // Round robin is each worker's own: with one of them it is exact.
      '--concurrency',
      '1',
      '--log-level',
      'warning',
    ],
    cwd: folder,
    logFile: join(folder, 'envoy.log'),
  });
  let adminUrl = '';
  await untilReady(component, async (signal) => {
    adminUrl = `http://${(await readFile(files.adminAddress, 'utf8')).trim()}`;
    return answers(`${adminUrl}/ready`)(signal);
  });
  return {
    url: `http://${await listenerOf(adminUrl)}`,
    adminUrl,
    setEndpoints,
    endpoints: () => endpointsOf(adminUrl),
    stop: async () => {
      await component.stop(3_000);
    },
  };
}

const UNLIMITED = 1_000_000;

interface SocketAddress {
  socket_address: { address: string; port_value: number };
}

/** Port 0: the system chooses one, and Envoy has it at once. */
const address = (host: string, port: number): { address: SocketAddress } => ({
  address: { socket_address: { address: host, port_value: port } },
});

const text = ({ socket_address: { address, port_value } }: SocketAddress): string => `${address}:${port_value}`;

const typed = (name: string, fields: object = {}): object => ({ '@type': `type.googleapis.com/${name}`, ...fields });

type Config = Pick<EnvoyOptions, 'timeout' | 'adminPort' | 'adminHost' | 'shareKey'>;

function bootstrap(
  endpointsFile: string,
  endpointsFolder: string,
  { timeout = 5_000, adminPort = 0, adminHost = '127.0.0.1', shareKey }: Config,
): object {
  return {
    node: { id: 'sandbox', cluster: 'sandbox' },
    admin: address(adminHost, adminPort),
    layered_runtime: { layers: [{ name: 'admin', admin_layer: {} }] },
    static_resources: {
      listeners: [
        {
          name: 'callers',
          ...address('127.0.0.1', 0),
          filter_chains: [{ filters: [connectionManager(timeout, shareKey)] }],
        },
      ],
      clusters: [
        {
          name: ENVOY_CLUSTER,
          type: 'EDS',
          eds_cluster_config: {
            eds_config: {
              resource_api_version: 'V3',
              path_config_source: { path: endpointsFile, watched_directory: { path: endpointsFolder } },
            },
          },
          connect_timeout: `${timeout / 1000}s`,
          // As good as none: the burst that follows a stall of the machine is not to be refused by the proxy itself.
          circuit_breakers: {
            thresholds: [{ max_connections: UNLIMITED, max_pending_requests: UNLIMITED, max_requests: UNLIMITED }],
          },
          lb_policy: 'ROUND_ROBIN',
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': typed(
              'envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
              {
                explicit_http_config: { http_protocol_options: {} },
                // Less than servers keep theirs open: a request must not be sent on a connection that is just being closed.
                common_http_protocol_options: { idle_timeout: '30s' },
              },
            ),
          },
        },
      ],
    },
  };
}

function connectionManager(timeout: number, shareKey: string | undefined): object {
  const router = { name: 'router', typed_config: typed('envoy.extensions.filters.http.router.v3.Router') };
  const fraction = shareKey && {
    runtime_fraction: { default_value: { numerator: 100, denominator: 'HUNDRED' }, runtime_key: shareKey },
  };
  const route = {
    match: { prefix: '/', ...fraction },
    route: { cluster: ENVOY_CLUSTER, timeout: `${timeout / 1000}s` },
  };
  const refusal = { match: { prefix: '/' }, direct_response: { status: 503 } };
  return {
    name: 'envoy.filters.network.http_connection_manager',
    typed_config: typed('envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager', {
      stat_prefix: 'callers',
      route_config: {
        name: 'all',
        virtual_hosts: [{ name: 'all', domains: ['*'], routes: [route, refusal] }],
        response_headers_to_add: [{ header: { key: UPSTREAM_HEADER, value: '%UPSTREAM_REMOTE_ADDRESS%' } }],
      },
      http_filters: [router],
    }),
  };
}

function assignment(endpoints: readonly string[]): object {
  const lb_endpoints = endpoints.map((endpoint) => {
    const [host = '', port] = endpoint.split(':');
    return { endpoint: address(host, Number(port)) };
  });
  const resource = typed('envoy.config.endpoint.v3.ClusterLoadAssignment', {
    cluster_name: ENVOY_CLUSTER,
    endpoints: [{ lb_endpoints }],
  });
  return { resources: [resource] };
}

async function admin<T>(url: string): Promise<T> {
  const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}

async function listenerOf(adminUrl: string): Promise<string> {
  interface Listeners {
    listener_statuses: { local_address: SocketAddress }[];
  }
  const { listener_statuses } = await admin<Listeners>(`${adminUrl}/listeners?format=json`);
  const [listener] = listener_statuses;
  if (listener === undefined) throw new Error(`Envoy at ${adminUrl} listens nowhere`);
  return text(listener.local_address);
}

async function endpointsOf(adminUrl: string): Promise<string[]> {
  interface Clusters {
    cluster_statuses?: { name: string; host_statuses?: { address: SocketAddress }[] }[];
  }
  const { cluster_statuses = [] } = await admin<Clusters>(`${adminUrl}/clusters?format=json`);
  const hosts = cluster_statuses.find(({ name }) => name === ENVOY_CLUSTER)?.host_statuses ?? [];
  return hosts.map(({ address }) => text(address)).sort();
}
