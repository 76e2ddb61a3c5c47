import { arch, cpus, loadavg, release, totalmem, type } from 'node:os';

export interface Conditions {
  /** Load average of the last minute before the run. */
  load: number;
  at: Date;
}

export const conditions = (): Conditions => ({ load: loadavg()[0] ?? 0, at: new Date() });

/** One line about where and when the figures were taken, and how busy the machine was with other things. */
export function describeMachine(before: Conditions): string {
  const [cpu] = cpus();
  const memory = Math.round(totalmem() / 1024 ** 3);
  return (
    `${before.at.toISOString().slice(0, 10)}, ${cpus().length} shared cores (${cpu?.model.trim()}, ${arch()}), ${memory} GiB, ` +
    `${type()} ${release().split('-')[0]}, Node ${process.versions.node}; load before the run ${before.load.toFixed(1)}`
  );
}
