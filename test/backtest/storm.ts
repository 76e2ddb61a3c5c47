import type { AuditPage } from '../../model/audit.ts';
import { alert, config, podKey, record, type Written } from './recorder.ts';

export const MINUTE = 60_000;
/** Pods of the storm, all named by one webhook. */
export const PODS = 320;

/** `web-007` */
export const podName = (i: number): string => `web-${String(i).padStart(3, '0')}`;
export const indexOf = (target: string): number => Number(target.slice(-3));

/** At most 10 at once and 20 minutes of waiting. */
export const STORM_GATES = 'maxInFlight: 10, waitAtMost: 20m, cooldown: 10m';

/** A storm: every pod of a namespace at once, each remediated in a minute. Ten start each minute, for twenty minutes. */
export const storm = (at: number, written: Written = { gates: STORM_GATES }): AuditPage[] =>
  record({
    config: config(written),
    deliveries: [{ at, alerts: Array.from({ length: PODS }, (_, i) => alert(podName(i), at - MINUTE)) }],
    goes: () => ({ takes: MINUTE, outcome: 'remediated' }),
    latency: 40,
  });

export const stormTarget = (i: number): string => podKey(podName(i));
