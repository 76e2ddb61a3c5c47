import type { EvidenceProvider } from './evidence.ts';

/**
 * A dependency or a stack is one, and no object that could say anything of itself: it is of no workload and of no population,
 * and what keeps Salvor's hands off it is a pause, or that a person has closed its breaker.
 */
export const nameEvidence: EvidenceProvider = {
  look: async (targets) => ({ targets: Object.fromEntries(targets.map((key) => [key, {}])), workloads: {} }),
  workload: async () => ({ desired: 1, unready: [] }),
  excluded: async () => undefined,
};
