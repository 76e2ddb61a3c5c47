import type { ConnectionOptions } from 'node:tls';
import type { KubeConfig } from '@kubernetes/client-node';
import { Agent, type Dispatcher, ProxyAgent, request, Socks5ProxyAgent } from 'undici';
import { isLoopback } from '../address.ts';
import { FinalError, UnavailableError } from '../errors.ts';
import { ApiError, type Asked, describeAsked, type Status, type Verb } from './errors.ts';
import { type KubeObject, type List, pathOf, type Ref } from './objects.ts';
import { traced } from './trace.ts';

/** A cluster of `salvor.yaml`. Without kubeconfig and context: in-cluster, else the default kubeconfig. */
export interface ClusterConfig {
  name: string;
  context?: string;
  /** Path of a kubeconfig file. */
  kubeconfig?: string;
}

/** What the API answered. */
export interface Answer<T> {
  body: T;
  /** The server's own id of the request, as its audit log has it. */
  auditId?: string;
}

export interface WatchEvent {
  type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';
  object: KubeObject;
}

const TYPES = {
  json: 'application/json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  operations: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

const METHODS: Record<Verb, Dispatcher.HttpMethod> = {
  ...{ get: 'GET', list: 'GET', watch: 'GET' },
  ...{ create: 'POST', patch: 'PATCH', delete: 'DELETE' },
};

interface Options {
  query?: Record<string, string>;
  body?: unknown;
  type?: keyof typeof TYPES;
  signal?: AbortSignal;
}

/** Credentials may rotate: they are read anew after this time, and at once when the server refuses them. */
const CREDENTIALS_MS = 30_000;
const REQUEST_MS = 8_000;
const CONNECT_MS = 5_000;
/** Connections for short calls: a burst queues rather than shaking hands a thousand times. Watches have their own. */
const CALL_CONNECTIONS = 64;
/** The server closes idle connections after 90 s. */
const IDLE_MS = 75_000;
const PAGE = 500;

interface Connection {
  server: string;
  headers: Record<string, string>;
  calls: Dispatcher;
  watches: Dispatcher;
  /** What the dispatchers were made of: another certificate or proxy needs others. */
  made: string;
  readAt: number;
}

/**
 * One cluster's API. Credentials come from the official client's KubeConfig, with all its ways to log in. The requests
 * are made here, because that client (2.0.1) opens a new TLS connection for each one and hides the response headers from
 * its patches; here connections are kept, and the JSON is read as it is.
 */
export class Cluster {
  readonly name: string;
  readonly #config: ClusterConfig;
  #kubeconfig: KubeConfig | undefined;
  /** The server refused what was read of it: read it anew. */
  #stale = false;
  #connection: Connection | undefined;
  #connecting: Promise<Connection> | undefined;

  constructor(config: ClusterConfig) {
    this.name = config.name;
    this.#config = config;
  }

  /** Its API is on this very machine, as that of a sandbox is. */
  get isLocal(): boolean {
    const { server } = this.#connection ?? {};
    return server !== undefined && isLoopback(new URL(server).hostname.replace(/^\[(.*)\]$/, '$1'));
  }

  /**
   * Logs in and opens a connection, so that the first alert does not wait for either. What goes wrong is left to the
   * first call that needs it, which says so.
   */
  async warm(): Promise<void> {
    const version: Ref = { group: '', version: '', resource: '(version)' };
    await this.read(version, '/version').catch(() => undefined); // see above
  }

  /** One object, or undefined where there is none of that name. */
  async get<T extends KubeObject>(ref: Ref, signal?: AbortSignal): Promise<T | undefined> {
    try {
      return (await this.#call<T>('get', ref, { signal })).body;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /** Any document of the API by its path, such as a discovery document; undefined where there is none. */
  async read<T>(ref: Ref, path: string): Promise<T | undefined> {
    try {
      return (await this.#call<T>('get', ref, {}, path)).body;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return undefined;
      throw error;
    }
  }

  /**
   * All objects of a resource, and the version of the whole from which to watch on. Consistent: what was written before
   * the call is in it.
   *
   * @param labelSelector only those whose labels it selects, in the form of kubectl's `-l`
   * @param fieldSelector only those whose fields it selects, such as `spec.nodeName=node-1`
   */
  async list<T extends KubeObject>(
    ref: Ref,
    signal?: AbortSignal,
    labelSelector?: string,
    fieldSelector?: string,
  ): Promise<{ items: T[]; resourceVersion: string }> {
    const items: T[] = [];
    for (let next: string | undefined; ; ) {
      const selectors = { ...(labelSelector && { labelSelector }), ...(fieldSelector && { fieldSelector }) };
      const query = { limit: String(PAGE), ...selectors, ...(next && { continue: next }) };
      const { body } = await this.#call<List<T>>('list', ref, { query, signal });
      items.push(...(body.items ?? []));
      next = body.metadata.continue;
      if (!next) return { items, resourceVersion: body.metadata.resourceVersion };
    }
  }

  async patch<T extends KubeObject>(
    ref: Ref,
    type: 'merge' | 'strategic' | 'operations',
    fieldManager: string,
    body: unknown,
    dryRun = false,
  ) {
    return this.#call<T>('patch', ref, { query: { fieldManager, ...(dryRun && { dryRun: 'All' }) }, type, body });
  }

  /**
   * What the API would make of an object where this manager applied it, and all other managers gave way: with the API's defaults, and
   * in `managedFields` what of it the manager declares. A dry run: nothing is written.
   */
  async tryApply<T extends KubeObject>(
    ref: Ref,
    fieldManager: string,
    body: unknown,
    signal?: AbortSignal,
  ): Promise<T> {
    const query = { fieldManager, force: 'true', dryRun: 'All' };
    return (await this.#call<T>('patch', ref, { query, type: 'apply', body, signal })).body;
  }

  async create(ref: Ref, body: unknown, signal?: AbortSignal, fieldManager?: string): Promise<Answer<unknown>> {
    return this.#call('create', ref, { type: 'json', body, signal, ...(fieldManager && { query: { fieldManager } }) });
  }

  /** Whether it would be created, as far as the API tells by a dry run: rights, quotas and admission are asked. */
  async tryCreate(ref: Ref, body: unknown, signal?: AbortSignal): Promise<void> {
    await this.#call('create', ref, { type: 'json', body, signal, query: { dryRun: 'All' } });
  }

  /** Begins its end, after its own grace period. @param preconditions of the object as it was read */
  async delete(ref: Ref, preconditions: { uid: string; resourceVersion: string }): Promise<Answer<unknown>> {
    return this.#call('delete', ref, {
      type: 'json',
      body: { apiVersion: 'v1', kind: 'DeleteOptions', preconditions },
    });
  }

  /**
   * The changes of a resource since a version, until the server or the signal ends it.
   *
   * @param seconds after which the server ends it
   */
  async *watch(ref: Ref, resourceVersion: string, seconds: number, signal: AbortSignal): AsyncGenerator<WatchEvent> {
    const query = { watch: 'true', allowWatchBookmarks: 'true', resourceVersion, timeoutSeconds: String(seconds) };
    const asked: Asked = { cluster: this.name, verb: 'watch', ref };
    const { body } = await this.#send(asked, pathOf(ref), { query, signal }, (seconds + 10) * 1000);
    const decoder = new TextDecoder();
    let rest = '';
    try {
      for await (const chunk of body) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') yield JSON.parse(line);
      }
    } catch (error) {
      throw this.#unreachable(asked, error, signal);
    }
  }

  async close(): Promise<void> {
    const open = this.#connection;
    this.#connection = undefined;
    await Promise.all([open?.calls.destroy(), open?.watches.destroy()]);
  }

  async #call<T>(verb: Verb, ref: Ref, options: Options, path = pathOf(ref)): Promise<Answer<T>> {
    const timeout = AbortSignal.timeout(REQUEST_MS);
    const signal = options.signal ? AbortSignal.any([options.signal, timeout]) : timeout;
    const asked: Asked = { cluster: this.name, verb, ref };
    const response = await traced(asked, () =>
      this.#send(asked, path, { ...options, signal }, REQUEST_MS, options.signal),
    );
    try {
      const body = (await response.body.json()) as T;
      const auditId = response.headers['audit-id'];
      return { body, ...(typeof auditId === 'string' && { auditId }) };
    } catch (error) {
      throw this.#unreachable(asked, error, options.signal);
    }
  }

  async #send(asked: Asked, path: string, options: Options, bodyTimeout: number, caller = options.signal) {
    for (let fresh = false; ; fresh = true) {
      const { server, headers, calls, watches } = await this.#connect(fresh);
      const url = new URL(server + path);
      for (const [key, value] of Object.entries(options.query ?? {})) url.searchParams.set(key, value);
      const response = await request(url, {
        method: METHODS[asked.verb],
        headers: { ...headers, accept: TYPES.json, ...(options.type && { 'content-type': TYPES[options.type] }) },
        body: options.body === undefined ? null : JSON.stringify(options.body),
        dispatcher: asked.verb === 'watch' ? watches : calls,
        signal: options.signal,
        headersTimeout: REQUEST_MS,
        bodyTimeout,
      }).catch((error: unknown) => {
        throw this.#unreachable(asked, error, caller);
      });
      if (response.statusCode < 400) return response;
      const text = await response.body.text();
      // The token may have been renewed since it was read; nothing was done yet, so asking once more is safe.
      if (response.statusCode === 401 && !fresh) continue;
      const retryAfter = Number(response.headers['retry-after']);
      throw new ApiError(asked, response.statusCode, parseStatus(text), retryAfter > 0 ? retryAfter : undefined);
    }
  }

  /** The caller's own wish to stop is thrown on as it is. */
  #unreachable(asked: Asked, error: unknown, caller: AbortSignal | undefined): unknown {
    if (caller?.aborted) return caller.reason;
    const { code, message } = error as NodeJS.ErrnoException;
    return new UnavailableError(
      `cannot ${describeAsked(asked)}: no answer from ${this.#connection?.server}: ${code ?? message}`,
      { cause: error },
    );
  }

  async #connect(fresh: boolean): Promise<Connection> {
    const age = Date.now() - (this.#connection?.readAt ?? 0);
    if (this.#connection && !fresh && age < CREDENTIALS_MS) return this.#connection;
    if (fresh) this.#stale = true;
    this.#connecting ??= this.#login().finally(() => {
      this.#connecting = undefined;
    });
    return this.#connecting;
  }

  async #login(): Promise<Connection> {
    const config = await this.#readKubeconfig();
    const cluster = config.getCurrentCluster();
    if (!cluster)
      throw new FinalError(`cluster ${this.name}: its kubeconfig context names no cluster`, { type: 'UnknownTarget' });
    const login: Parameters<KubeConfig['applyToHTTPSOptions']>[0] = {};
    await config.applyToHTTPSOptions(login);
    const { ca, cert, key, rejectUnauthorized, servername } = login;
    const tls = { ca, cert, key, rejectUnauthorized, servername } as ConnectionOptions;
    const headers: Record<string, string> = { 'user-agent': 'salvor' };
    for (const [name, value] of Object.entries(login.headers ?? {})) headers[name] = String(value);
    if (login.auth) headers.authorization = `Basic ${Buffer.from(login.auth).toString('base64')}`;
    const old = this.#connection;
    const options = config.createDispatcherOptions(cluster, tls);
    const made = JSON.stringify(options);
    const same = old?.made === made;
    const calls = same ? old.calls : dispatcherOf(options, CALL_CONNECTIONS);
    const watches = same ? old.watches : dispatcherOf(options, null);
    this.#connection = { server: cluster.server.replace(/\/$/, ''), headers, calls, watches, made, readAt: Date.now() };
    // Graceful: what runs on the old connections, ends on them.
    if (old && !same) for (const dispatcher of [old.calls, old.watches]) dispatcher.close(() => undefined);
    return this.#connection;
  }

  /** Once, and again when the server has refused the credentials: a rotated token or certificate may stand in it. */
  async #readKubeconfig(): Promise<KubeConfig> {
    if (this.#kubeconfig && !this.#stale) return this.#kubeconfig;
    try {
      this.#kubeconfig = await loadKubeconfig(this.#config);
      this.#stale = false;
    } catch (error) {
      // It may be half written just now: then the old one, which the server may refuse, and the next try reads again.
      if (!this.#kubeconfig) throw error;
    }
    return this.#kubeconfig;
  }
}

function dispatcherOf(
  options: ReturnType<KubeConfig['createDispatcherOptions']>,
  connections: number | null,
): Dispatcher {
  const common = { connectTimeout: CONNECT_MS, keepAliveTimeout: IDLE_MS, connections, allowH2: false };
  switch (options.type) {
    case 'proxy':
      return new ProxyAgent({ ...common, uri: options.uri, requestTls: { ...options.requestTls } });
    case 'socks':
      return new Socks5ProxyAgent(options.uri, { ...common, requestTls: { ...options.requestTls } });
    case 'agent':
      return new Agent({ ...common, connect: { ...options.connect, timeout: CONNECT_MS } });
    case 'none':
      return new Agent({ ...common, connect: { timeout: CONNECT_MS } });
  }
}

async function loadKubeconfig({ name, context, kubeconfig }: ClusterConfig): Promise<KubeConfig> {
  // Half a second to load: only where there is a cluster.
  const { KubeConfig } = await import('@kubernetes/client-node');
  const config = new KubeConfig();
  try {
    if (kubeconfig) config.loadFromFile(kubeconfig);
    else if (!context && process.env.KUBERNETES_SERVICE_HOST) config.loadFromCluster();
    else config.loadFromDefault();
  } catch (error) {
    throw new FinalError(`cluster ${name}: cannot read its kubeconfig: ${(error as Error).message}`, {
      type: 'UnknownTarget',
      cause: error,
    });
  }
  if (context) {
    if (!config.getContextObject(context)) {
      const known = config.getContexts().map((one) => one.name);
      throw new FinalError(
        `cluster ${name}: the kubeconfig has no context "${context}"; it has ${known.join(', ') || 'none'}`,
        { type: 'UnknownTarget' },
      );
    }
    config.setCurrentContext(context);
  }
  return config;
}

function parseStatus(text: string): Status {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null) return body as Status;
  } catch {
    // Not JSON: a proxy, or the rate limit, answers in plain text.
  }
  return { message: text.slice(0, 200).trim() };
}
