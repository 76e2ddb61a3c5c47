import type { Evidence, LookRequest } from '../../model/evidence.ts';

/** Nothing is paused, excluded, held or unhealthy; there is room in every limit and budget. */
export const allIsWell = ({ targets, leases }: LookRequest, at = Date.now()): Evidence => ({
  at,
  targets: Object.fromEntries(targets.map((target) => [target, {}])),
  workloads: {},
  population: { live: 1_000, unhealthy: 0 },
  pauses: [],
  window: { open: true },
  leases: Object.fromEntries(Object.entries(leases).map(([key, { want }]) => [key, { granted: want }])),
});
