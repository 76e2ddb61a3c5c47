import { setTimeout as delay } from 'node:timers/promises';
import { UnavailableError } from '../errors.ts';
import type { Cluster, WatchEvent } from './cluster.ts';
import { isStatus } from './errors.ts';
import { type KubeObject, pathOf, type Ref } from './objects.ts';

/** What is watched, and what is kept of each object: a namespace may hold thousands. */
export interface Watched<V> {
  ref: Ref;
  view(object: KubeObject): V;
  /** The keys whose listeners a change of one object concerns. */
  concerns(name: string, before: V | undefined, after: V | undefined): Iterable<string>;
}

/** The server ends a watch after this long (and up to half as much again), so that a dead connection is found out. */
const WATCH_SECONDS = 120;
const BACKOFF_MS = { first: 250, most: 15_000 };
/** A watch that ends sooner without having told anything has failed, however politely: some proxies end them so. */
const TOO_SHORT_MS = 1_000;

/**
 * The state of all objects of one resource in one namespace, followed by one list and one watch, whoever asks. It starts
 * with its first user and ends with its last. What it knows may lag behind the server: a verdict that cannot be taken
 * back is confirmed by a read.
 */
class SharedWatch<V> {
  readonly #cluster: Cluster;
  readonly #watched: Watched<V>;
  readonly #objects = new Map<string, V>();
  readonly #listeners = new Map<string, Set<() => void>>();
  readonly #stop = new AbortController();
  #version: string | undefined;
  #synced = unwatched();
  #listed = false;
  /** Counted by {@link Watches}. */
  users = 0;

  constructor(cluster: Cluster, watched: Watched<V>) {
    this.#cluster = cluster;
    this.#watched = watched;
    this.#run().catch(() => undefined); // it handles all that the API does, and ends by stop() only
  }

  get(name: string): V | undefined {
    return this.#objects.get(name);
  }

  values(): Iterable<V> {
    return this.#objects.values();
  }

  /** Resolves once the first list is in; rejects with what keeps it from coming. */
  ready(): Promise<void> {
    return this.#synced.promise;
  }

  listen(key: string, listener: () => void): () => void {
    const listeners = this.#listeners.get(key) ?? new Set();
    this.#listeners.set(key, listeners.add(listener));
    return () => {
      listeners.delete(listener);
      if (listeners.size === 0 && this.#listeners.get(key) === listeners) this.#listeners.delete(key);
    };
  }

  stop(): void {
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop;
    let failures = 0;
    while (!signal.aborted) {
      try {
        this.#version ??= await this.#list();
        await this.#follow(this.#version, () => {
          failures = 0;
        });
      } catch (error) {
        if (signal.aborted) return;
        // 410: the version is too old to go on from.
        if (isStatus(error, 410)) this.#version = undefined;
        this.#fail(error);
        failures += 1;
        const wait = Math.min(BACKOFF_MS.most, BACKOFF_MS.first * 2 ** (failures - 1));
        await delay(wait * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined); // stopped
      }
    }
  }

  async #list(): Promise<string> {
    const { items, resourceVersion } = await this.#cluster.list(this.#watched.ref, this.#stop.signal);
    const present = new Set(items.map(({ metadata }) => metadata.name));
    for (const name of [...this.#objects.keys()]) if (!present.has(name)) this.#put(name, undefined);
    for (const item of items) this.#put(item.metadata.name, this.#watched.view(item));
    this.#listed = true;
    this.#synced.resolve();
    return resourceVersion;
  }

  async #follow(from: string, onAlive: () => void): Promise<void> {
    const seconds = Math.round(WATCH_SECONDS * (1 + Math.random() / 2));
    const begun = performance.now();
    let events = 0;
    for await (const event of this.#cluster.watch(this.#watched.ref, from, seconds, this.#stop.signal)) {
      onAlive();
      events += 1;
      this.#apply(event);
    }
    if (events === 0 && performance.now() - begun < TOO_SHORT_MS)
      throw new UnavailableError(`the watch of ${pathOf(this.#watched.ref)} ended at once`);
  }

  #apply({ type, object }: WatchEvent): void {
    if (type === 'ERROR') {
      // Mostly 410, as an event: begin anew with a list.
      this.#version = undefined;
      throw new Error(`the watch ended: ${JSON.stringify(object)}`);
    }
    this.#version = object.metadata.resourceVersion;
    if (type === 'BOOKMARK') return;
    this.#put(object.metadata.name, type === 'DELETED' ? undefined : this.#watched.view(object));
  }

  #put(name: string, after: V | undefined): void {
    const before = this.#objects.get(name);
    if (after === undefined) this.#objects.delete(name);
    else this.#objects.set(name, after);
    for (const key of this.#watched.concerns(name, before, after))
      for (const listener of this.#listeners.get(key) ?? []) listener();
  }

  /** Tells those who wait for the first list; who comes later waits for the next try. */
  #fail(error: unknown): void {
    if (this.#listed) return;
    this.#synced.reject(error);
    this.#synced = unwatched();
  }
}

/** A promise that may reject with nobody waiting for it. */
function unwatched(): PromiseWithResolvers<void> {
  const deferred = Promise.withResolvers<void>();
  deferred.promise.catch(() => undefined); // whoever waits is told
  return deferred;
}

/** A use of a shared watch; to be released. */
export interface Following<V> {
  get(name: string): V | undefined;
  values(): Iterable<V>;
  /** Calls `listener` on every change that concerns the key, until the returned function is called. */
  listen(key: string, listener: () => void): () => void;
  release(): void;
}

/** The shared watches of one cluster: at most one for a resource in a namespace. */
export class Watches {
  readonly #cluster: Cluster;
  readonly #open = new Map<string, SharedWatch<unknown>>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** Watches that are open now. */
  get size(): number {
    return this.#open.size;
  }

  /** Follows a resource; answers when its state is known. */
  async follow<V>(watched: Watched<V>, signal: AbortSignal): Promise<Following<V>> {
    const path = pathOf(watched.ref);
    // Of one path there is one kind of view: each resource is watched for one purpose only.
    const watch = (this.#open.get(path) ?? new SharedWatch<V>(this.#cluster, watched)) as SharedWatch<V>;
    this.#open.set(path, watch);
    watch.users += 1;
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      watch.users -= 1;
      if (watch.users > 0) return;
      watch.stop();
      this.#open.delete(path);
    };
    try {
      await abortable(watch.ready(), signal);
    } catch (error) {
      release();
      throw error;
    }
    return {
      get: (name) => watch.get(name),
      values: () => watch.values(),
      listen: (key, listener) => watch.listen(key, listener),
      release,
    };
  }

  close(): void {
    for (const watch of this.#open.values()) watch.stop();
    this.#open.clear();
  }
}

/** The promise, or the signal's reason where that comes first. */
async function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason);
  signal.addEventListener('abort', abort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', abort);
  }
}
