import { findComponent } from './components.ts';
import { freePort, isFree } from './ports.ts';
import { type Component, ComponentStartError, startComponent, untilReady } from './processes.ts';
import type { OnProgress } from './progress.ts';

export interface TemporalOptions {
  /** SQLite file that outlives the server; without it all is kept in memory. */
  dbFile?: string;
  /** Port of the gRPC frontend; a free one by default. */
  port?: number;
  /** Port of the UI; a free one by default. */
  uiPort?: number;
  /** No UI. */
  headless?: boolean;
  logFile: string;
  /** Created beside `default`, and the one that readiness is checked on. Default: `default`. */
  namespace?: string;
  /** Names of search attributes of type Keyword, registered at the start (model/names.ts: SEARCH_ATTRIBUTES). */
  searchAttributes?: readonly string[];
  /** With the settings that make the embedded server up to ten times faster (docs/operations.md). Default true. */
  tuned?: boolean;
  /** Further settings of the server, by their name in Temporal's dynamic configuration. */
  dynamicConfig?: Record<string, string | number | boolean>;
  onProgress?: OnProgress;
}

/** Temporal's development server: a real server, one process, loopback only. */
export interface TemporalServer {
  /** host:port of the gRPC frontend. */
  readonly address: string;
  readonly uiUrl: string | undefined;
  readonly namespace: string;
  readonly logFile: string;
  /** undefined while it is down. */
  readonly pid: number | undefined;
  /** SIGTERM, then SIGKILL after 10 s. */
  stop(): Promise<void>;
  /** SIGKILL. */
  kill(): Promise<void>;
  /** Again on the same ports and the same database file; resolves when it answers. */
  start(): Promise<void>;
}

/** A killed process loses nothing with these; a power cut may lose the last commits. */
const PRAGMAS = ['journal_mode=WAL', 'synchronous=NORMAL'];
/** The defaults suit many shards; here is one, which they slow to 20 tasks a second. */
const DYNAMIC = [
  'history.transferProcessorMaxPollRPS=2000',
  'history.timerProcessorMaxPollRPS=2000',
  'matching.numTaskqueueReadPartitions=1',
  'matching.numTaskqueueWritePartitions=1',
  'system.enableActivityEagerExecution=true',
];

/**
 * Starts Temporal and resolves when its namespace answers and has the search attributes.
 * @throws MissingComponentError, ComponentStartError
 */
export async function startTemporal(options: TemporalOptions): Promise<TemporalServer> {
  const { headless = false, logFile, namespace = 'default', searchAttributes = [] } = options;
  const file = await findComponent('temporal', { onProgress: options.onProgress });
  const port = options.port ?? (await freePort());
  const uiPort = headless ? undefined : (options.uiPort ?? (await freePort()));
  const address = `127.0.0.1:${port}`;
  const args = argumentsOf(options, port, uiPort);
  let component: Component | undefined;

  const start = async (): Promise<void> => {
    if (component !== undefined) return;
    for (const each of [port, uiPort]) {
      // Whoever listens there would answer in its place.
      if (each !== undefined && !(await isFree(each))) {
        throw new ComponentStartError('temporal', `was not started: another process listens on 127.0.0.1:${each}`);
      }
    }
    const started = await startComponent({ name: 'temporal', file, args, logFile });
    component = started;
    void started.exited.then(() => {
      if (component === started) component = undefined;
    });
    await untilReady(started, () => isServing(address, namespace, searchAttributes));
  };
  await start();
  return {
    address,
    uiUrl: uiPort === undefined ? undefined : `http://127.0.0.1:${uiPort}`,
    namespace,
    logFile,
    get pid() {
      return component?.pid;
    },
    start,
    stop: async () => {
      await component?.stop();
    },
    kill: async () => {
      await component?.kill();
    },
  };
}

function argumentsOf(options: TemporalOptions, port: number, uiPort: number | undefined): string[] {
  const { dbFile, namespace = 'default', searchAttributes = [], tuned = true, dynamicConfig = {} } = options;
  const args = ['server', 'start-dev', '--ip', '127.0.0.1', '--port', `${port}`];
  args.push(...(uiPort === undefined ? ['--headless'] : ['--ui-port', `${uiPort}`]));
  if (dbFile !== undefined) args.push('--db-filename', dbFile);
  if (namespace !== 'default') args.push('--namespace', namespace);
  for (const name of searchAttributes) args.push('--search-attribute', `${name}=Keyword`);
  if (tuned) {
    for (const pragma of PRAGMAS) args.push('--sqlite-pragma', pragma);
    for (const value of DYNAMIC) args.push('--dynamic-config-value', value);
  }
  for (const [name, value] of Object.entries(dynamicConfig))
    args.push('--dynamic-config-value', `${name}=${JSON.stringify(value)}`);
  return args;
}

async function isServing(address: string, namespace: string, attributes: readonly string[]): Promise<boolean> {
  // Loaded while the server starts: it takes a third of a second.
  const { Connection } = await import('@temporalio/client');
  const connection = await Connection.connect({ address, connectTimeout: 1_000, interceptors: [] });
  try {
    await connection.workflowService.describeNamespace({ namespace });
    if (attributes.length === 0) return true;
    const { customAttributes } = await connection.operatorService.listSearchAttributes({ namespace });
    const missing = attributes.filter((name) => customAttributes?.[name] === undefined);
    if (missing.length > 0) throw new Error(`search attributes not there yet: ${missing.join(', ')}`);
    return true;
  } finally {
    await connection.close();
  }
}
