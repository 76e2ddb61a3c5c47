import { mkdir } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import type { Config } from '../model/config.ts';
import { isLoopback, parseHostAndPort } from '../model/config-fields.ts';
import { SEARCH_ATTRIBUTES } from '../model/names.ts';
import { lock } from '../sandbox/locks.ts';
import { dataFolder } from '../sandbox/paths.ts';
import { startTemporal, type TemporalServer } from '../sandbox/temporal.ts';
import { createLogger, type Logger } from '../workers/logging.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { CUT_SHORT, type Stop } from './lifetime.ts';
import { note, paint, print } from './output.ts';
import { monitorOf, telemetryOf, tracedClient } from './processes.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { auditOptions } from './store.ts';

export interface UpOptions {
  data?: string;
  port?: number;
  uiPort?: number;
}

/** Temporal's own default for the UI of its development server. */
const UI_PORT = 8233;
/** Milliseconds between two looks at whether Temporal still runs. */
const LOOK_EVERY = 1_000;

/** `salvor up`: Temporal, worker and gateway in one process tree, until it is to stop. */
export async function everything(context: Context, options: UpOptions, stopped: Promise<Stop>): Promise<ExitStatus> {
  const began = performance.now();
  const { config: written, found } = await loadConfig(context);
  const data = resolve(options.data ?? dataFolder());
  const port = portOf(written, options.port);
  // What is there already takes no time to find; what is missing is got while Ctrl-C still works.
  const starting = start(written, data, port, options.uiPort);
  const first = await Promise.race([starting, stopped]);
  if ('why' in first) {
    // Whatever has been started so far ends with this process.
    process.exit(first.status);
  }
  const running = first;
  tell(context, { ...running, found, data, uiPort: options.uiPort, seconds: (performance.now() - began) / 1000 });

  const stop = await Promise.race([stopped, running.failed]);
  if (!context.json) note('stopping: what is under way goes on at the next start');
  await running.stop();
  if ('why' in stop) return stop.status;
  throw stop.error;
}

interface Running {
  config: Config;
  temporal: TemporalServer;
  webhook: string;
  /** Resolves where a part of it died and could not be started again. */
  failed: Promise<{ error: unknown }>;
  stop(): Promise<void>;
}

async function start(written: Config, data: string, port: number, uiPort: number | undefined): Promise<Running> {
  await mkdir(data, { recursive: true });
  const held = await lock(data, ['up'], () => {
    throw new CliError(`another \`salvor up\` runs on ${data}`, {
      status: EXIT.failed,
      advice: 'Use that one, or stop it, or keep the state elsewhere with --data DIR.',
    });
  });
  if (!(await isFree(port))) throw taken(port);
  // Loaded while Temporal starts.
  const parts = Promise.all([import('../workers/worker.ts'), import('../gateway/server.ts')]);
  const temporal = await startTemporal({
    dbFile: join(data, 'temporal.db'),
    logFile: join(data, 'temporal.log'),
    port,
    uiPort: uiPort ?? (await preferred(UI_PORT)),
    namespace: written.temporal.namespace,
    searchAttributes: SEARCH_ATTRIBUTES,
  }).catch((error: Error) => {
    // It is not to be had on this machine, or does not start; the message says what was tried, or quotes its log.
    throw new CliError(`the embedded Temporal: ${error.message}`, { status: EXIT.unknown, cause: error });
  });
  try {
    const config = { ...written, temporal: { ...written.temporal, address: temporal.address } };
    const logger = createLogger('warn');
    const [{ startWorker }, { startGateway }] = await parts;
    const telemetry = await telemetryOf(config, 'salvor');
    const client = telemetry && tracedClient(config, telemetry);
    // Beside Temporal's own state, unless the configuration has a place for it.
    const audit = auditOptions(config, config.audit?.url ?? `file:${join(data, 'audit.db')}`);
    const worker = await startWorker({ config, audit, logger, telemetry, measured: true });
    const own = { config, logger, moreMetrics: worker.metrics, ...(client && { client }) };
    const gateway = await startGateway(own).catch(async (error: unknown) => {
      await worker.stop();
      throw new CliError(error instanceof Error ? error.message : String(error), { status: EXIT.usage, cause: error });
    });
    const monitor = config.worker.listen && (await monitorOf(worker, config.worker.listen, logger));
    const keeper = keepUp(temporal, logger);
    const failed = Promise.race([keeper.failed, worker.done.then(() => ended('the worker'), failure)]);
    const stop = async (): Promise<void> => {
      keeper.stop();
      await gateway.close();
      await worker.stop().catch((error: unknown) => logger.warn({ err: error }, CUT_SHORT));
      await Promise.all([monitor?.close(), client?.connection.close(), telemetry?.close()]);
      await temporal.stop();
      held.free();
    };
    return { config, temporal, webhook: `${gateway.url}/webhook/alertmanager`, failed, stop };
  } catch (error) {
    await temporal.stop();
    throw error;
  }
}

const failure = (error: unknown): { error: unknown } => ({ error });
const ended = (part: string): { error: unknown } => failure(new Error(`${part} ended by itself`));

/** Starts Temporal again where it dies: its file has everything, and worker and gateway connect again by themselves. */
function keepUp(temporal: TemporalServer, logger: Logger): { failed: Promise<{ error: unknown }>; stop(): void } {
  const { promise: failed, resolve: fail } = Promise.withResolvers<{ error: unknown }>();
  let starting = false;
  const look = setInterval(() => {
    if (starting || temporal.pid !== undefined) return;
    starting = true;
    logger.error({ log: temporal.logFile }, 'Temporal ended by itself; it is started again');
    temporal
      .start()
      .catch((error: unknown) => fail({ error }))
      .finally(() => {
        starting = false;
      });
  }, LOOK_EVERY);
  return { failed, stop: () => clearInterval(look) };
}

/** The embedded Temporal takes the place of the configured one, so that all other commands find it. */
function portOf({ file, temporal }: Config, asked: number | undefined): number {
  const { host, port } = parseHostAndPort(temporal.address);
  if (isLoopback(host)) return asked ?? port;
  throw new CliError(`\`salvor up\` brings its own Temporal, but ${file} names the one at ${temporal.address}`, {
    status: EXIT.usage,
    advice: 'With that one run `salvor worker` and `salvor gateway`; or leave temporal.address out.',
  });
}

const taken = (port: number): CliError =>
  new CliError(`something listens on 127.0.0.1:${port} already, where the embedded Temporal belongs`, {
    status: EXIT.failed,
    advice:
      'If it is a Temporal of your own, run `salvor worker` and `salvor gateway` with it. ' +
      'Else stop it, or choose another port: --port N, and temporal.address in salvor.yaml for the other commands.',
  });

/** @returns undefined, which means any free one, where that port is taken */
const preferred = async (port: number): Promise<number | undefined> => ((await isFree(port)) ? port : undefined);

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.once('error', () => done(false));
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => done(true)));
  });
}

const whyThere = (ui: string, asked: number | undefined): string =>
  asked === undefined && new URL(ui).port !== `${UI_PORT}`
    ? paint('dim', ` (something else listens on ${UI_PORT}; --ui-port N chooses another port)`)
    : '';

interface Ready extends Pick<Running, 'config' | 'temporal' | 'webhook'> {
  found: boolean;
  data: string;
  seconds: number;
  /** Port that was asked for the UI, if any. */
  uiPort: number | undefined;
}

/** Says where everything is; with `--json` in one line. */
function tell(context: Context, { config, temporal, webhook, found, data, seconds, uiPort }: Ready): void {
  const ui = `${temporal.uiUrl}/namespaces/${temporal.namespace}/workflows`;
  const file = found ? resolve(config.file) : null;
  if (context.json) {
    print(JSON.stringify({ ready: true, seconds, ui, temporal: temporal.address, webhook, config: file, data }));
    return;
  }
  const inMode = (mode: string): number => config.rules.filter(({ rule }) => rule.mode === mode).length;
  const rules = `rules that act: ${inMode('act')}, that propose: ${inMode('propose')}, that observe: ${inMode('observe')}`;
  const rows: [string, string][] = [
    ['Temporal UI', ui + whyThere(ui, uiPort)],
    ['Temporal', temporal.address],
    ['webhook', webhook],
    ['configuration', file === null ? 'none, so there are no rules' : `${file} (${rules})`],
    ['data', data],
  ];
  print(paint('green', `Salvor is up, after ${seconds.toFixed(1)} s`));
  print(...rows.map(([name, value]) => `  ${paint('dim', name.padEnd(14))} ${value}`));
  if (file === null) {
    print(`Without rules alerts are taken, and nothing is done about them. To change that, write ${config.file}`);
    print('(examples/ has some, `salvor config schema` has every setting) and start again.');
  }
  print(paint('dim', 'Ctrl-C stops it.'));
}
