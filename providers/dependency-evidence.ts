import type { EvidenceProvider } from './evidence.ts';

/**
 * A dependency is one, and no object that could say anything of itself: it is of no workload and of no population, and what
 * keeps people's hands off it is a pause, or that a person has closed its breaker.
 */
export const dependencyEvidence: EvidenceProvider = {
  look: async (targets) => ({ targets: Object.fromEntries(targets.map((key) => [key, {}])), workloads: {} }),
  workload: async () => ({ desired: 1, unready: [] }),
  excluded: async () => undefined,
};
