import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SEARCH_ATTRIBUTES } from '../model/names.ts';
import { type Alertmanager, type AlertmanagerOptions, startAlertmanager } from './alertmanager.ts';
import { type Kubernetes, type KubernetesOptions, startKubernetes } from './kubernetes.ts';
import { removeAtDeath } from './processes.ts';
import { consoleProgress, type OnProgress } from './progress.ts';
import { type Prometheus, type PrometheusOptions, startPrometheus } from './prometheus.ts';
import { startTemporal, type TemporalOptions, type TemporalServer } from './temporal.ts';

export const PARTS = ['temporal', 'kubernetes', 'prometheus', 'alertmanager'] as const;
export type Part = (typeof PARTS)[number];

interface Handles {
  temporal: TemporalServer;
  kubernetes: Kubernetes;
  prometheus: Prometheus;
  alertmanager: Alertmanager;
}

/** Real components of one process, with all their data in one temporary folder. */
export type Sandbox<P extends Part = Part> = Pick<Handles, P> & {
  readonly folder: string;
  /** Ends every process and removes the folder. */
  stop(): Promise<void>;
};

export interface SandboxOptions<P extends Part> {
  parts: readonly P[];
  /** Has a database file, the UI and Salvor's search attributes, where nothing else is said. */
  temporal?: Partial<TemporalOptions>;
  kubernetes?: Partial<KubernetesOptions>;
  /** Sends its alerts to the sandbox's Alertmanager, where nothing else is said. */
  prometheus?: Partial<PrometheusOptions>;
  alertmanager?: Partial<AlertmanagerOptions>;
  /** Of components that have to be got first; default: the console. */
  onProgress?: OnProgress;
}

/**
 * Starts the parts, side by side where they do not need one another. Nothing is left of it when it fails, when it is
 * stopped, or when this process dies.
 * @throws MissingComponentError, ComponentStartError
 */
export async function startSandbox<const P extends Part>(options: SandboxOptions<P>): Promise<Sandbox<P>> {
  const { onProgress = consoleProgress() } = options;
  const wanted: ReadonlySet<Part> = new Set(options.parts);
  const folder = await mkdtemp(join(tmpdir(), 'salvor-sandbox-'));
  const keep = removeAtDeath(folder);
  const handles: Partial<Handles> = {};

  const stop = async (): Promise<void> => {
    await Promise.all(Object.values(handles).map((handle) => handle.stop()));
    await rm(folder, { recursive: true, force: true });
    keep();
  };
  const start = async <Q extends Part>(
    part: Q,
    starter: (given: { folder: string; onProgress: OnProgress }) => Promise<Handles[Q]>,
  ): Promise<void> => {
    if (!wanted.has(part)) return;
    const own = join(folder, part);
    await mkdir(own);
    handles[part] = await starter({ folder: own, onProgress });
  };

  const started = await Promise.allSettled([
    start('temporal', (given) =>
      startTemporal({
        onProgress,
        dbFile: join(given.folder, 'temporal.db'),
        logFile: join(given.folder, 'temporal.log'),
        searchAttributes: SEARCH_ATTRIBUTES,
        ...options.temporal,
      }),
    ),
    start('kubernetes', (given) => startKubernetes({ ...given, ...options.kubernetes })),
    start('alertmanager', (given) => startAlertmanager({ ...given, ...options.alertmanager })).then(() => {
      const alertmanagers = handles.alertmanager === undefined ? [] : [handles.alertmanager.address];
      return start('prometheus', (given) => startPrometheus({ ...given, alertmanagers, ...options.prometheus }));
    }),
  ]);
  const failure = started.find((result) => result.status === 'rejected');
  if (failure !== undefined) {
    // All have come to an end, so whatever did start is known here and is ended.
    await stop();
    throw failure.reason;
  }
  // Every part asked for is among the handles: a missing one is a rejection above.
  return { ...(handles as Pick<Handles, P>), folder, stop };
}
