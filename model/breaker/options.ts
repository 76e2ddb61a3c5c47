/** Options of circuit-breaker (`with:`). */
export interface CircuitBreakerOptions {
  /** The alert alone opens it. */
  trustAlert: boolean;
  /** By name, those that the rule's target may be: they travel with the rule, for workflows read no file. */
  dependencies: Record<string, Dependency>;
  /** A person has ordered it, and it is started for that. */
  order?: BreakerOrder;
}

/** A person's word about a breaker. */
export interface BreakerOrder {
  order: 'open' | 'close';
  /** `person:<name>`, or `unverified:<name>` */
  by: string;
  /** ISO time until which it stays open; absent: until somebody closes it. Of `open` only. */
  until?: string;
  /** Empty where none was given. */
  reason: string;
}

/** A dependency under `dependencies:`, durations in milliseconds. It is the target `dependency/<name>`. */
export interface Dependency {
  /** A name as of {@link import('../target.ts').CONFIGURED_NAME}. */
  name: string;
  /** What keeps callers from it. */
  switch: SwitchOptions;
  /** What must be seen before it is opened; absent: the probe alone. One of the two is given. */
  confirm?: Confirm;
  /** How long is looked for what confirms its failure before the alert is put off. */
  confirmWithin: number;
  /** What is tried while it is half-open, and, where there is no `confirm`, before it is opened. Absent: a share is let through, and judged by `confirm`. */
  probe?: Probe;
  /** How long it is open the first time; each relapse doubles it, up to `maxOpen`. */
  openFor: number;
  maxOpen: number;
  /** How long it must have been healthy until the relapses are forgotten. */
  healthyFor: number;
  halfOpen: {
    /** Trials that must succeed, one after the other. */
    successes: number;
    /** Failures that open it again. */
    failures: number;
    /** At most so many trials in one half-open period. */
    trials: number;
    /** Between two trials. */
    every: number;
    /** After so long without enough successes it opens again. */
    within: number;
    /** Percent of the traffic that is let through meanwhile; 0: none, the trials are Salvor's own. */
    share: number;
  };
  /** How often the switch is read while it is open, and set again where it is not. */
  assertEvery: number;
  /** How long a person's close is respected. */
  respectClose: number;
}

/** Exactly one of them. */
export interface SwitchOptions {
  envoy?: EnvoySwitch;
  kubernetes?: PatchSwitch;
  flag?: FlagSwitch;
  http?: HttpSwitch;
}

/**
 * A cluster of Envoy by its circuit breaker: `max_requests` (and `max_connections`, `max_pending_requests`) of 0 answers 503 at
 * once. https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_runtime
 */
export interface EnvoySwitch {
  /** Addresses of admin endpoints, such as `http://127.0.0.1:9901`; or the pods that have one. Exactly one of the two. */
  admin?: string[];
  pods?: { cluster: string; namespace: string; selector: string; port: number };
  /** Name of the Envoy cluster of the dependency. */
  envoyCluster: string;
  /** Runtime key of a fraction (0 to 100) of the traffic that is let through, where the routes have one; needed for a share. */
  shareKey?: string;
  /** So many must take it: `all`, or percent of them. */
  quorum: 'all' | number;
}

/** Any object of a cluster that a JSON merge patch opens; what it was is kept, and put back exactly. */
export interface PatchSwitch {
  cluster: string;
  apiVersion: string;
  kind: string;
  namespace: string;
  name: string;
  /** JSON merge patch (RFC 7386). */
  open: Record<string, unknown>;
  /** The same while a share is let through; a value that is exactly `"${share}"` or `"${rest}"` becomes the number (percent, and 100 less it). */
  share?: Record<string, unknown>;
}

/** A flag in a ConfigMap in the format of flagd: https://flagd.dev/reference/flag-definitions/ */
export interface FlagSwitch {
  cluster: string;
  namespace: string;
  configMap: string;
  /** Key of its data that has the JSON. */
  key: string;
  flag: string;
  /** Variants of the flag. */
  open: string;
  closed: string;
}

/** A call by HTTP; `${state}` (open, closed, share), `${share}` and `${dependency}` may stand in the body's text values. */
export interface HttpSwitch {
  url: string;
  method: 'POST' | 'PUT' | 'PATCH';
  body?: unknown;
  headers?: Record<string, string>;
  /** File with one `name: value` a line, for secrets. */
  headersFile?: string;
  /** GET; the value at `pointer` (RFC 6901) of its JSON tells how it stands. */
  read: { url: string; pointer: string; open: string; closed: string };
}

/** An alert alone opens nothing: of the calls in the window so many must have failed or been slow. */
export interface Confirm {
  /** PromQL, each a number: calls, failed calls and slow calls over the window that it says. */
  calls: string;
  failed?: string;
  slow?: string;
  /** Over which they count: numbers of so long ago are not held against it. Absent in runs of older versions. */
  window?: number;
  /** Below so many calls nothing is opened. */
  minCalls: number;
  /** Share (0 to 1) from which it is opened. */
  failureRatio: number;
  slowRatio: number;
}

/** Exactly one of them; `within`: an answer that takes longer is a failure. */
export interface Probe {
  http?: { url: string; status: number; headersFile?: string };
  tcp?: { host: string; port: number };
  /** `grpc.health.v1.Health/Check`; `service` empty: the whole server. */
  grpc?: { host: string; port: number; service: string; tls: boolean };
  /** A number that is at most so much. */
  promql?: { query: string; atMost: number };
  within: number;
  /** So many in a row must fail before it is opened on the word of the probe alone. */
  failures: number;
}
