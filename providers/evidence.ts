import type { TargetEvidence, WorkloadEvidence } from '../model/evidence.ts';

/** What the gates need to know of the world, by one cluster or account. */
export interface EvidenceProvider {
  /**
   * Of `targets`, all of this cluster or account, at most about a second old; `suspects` count as unhealthy whatever they
   * look like (only those that exist). Each read is tried again for a few seconds. Never throws for what the API answers
   * or does not: that is in the evidence.
   */
  look(targets: readonly string[], suspects: readonly string[]): Promise<Looked>;
  /** The workload of a target as it is this moment, never from a cache. @throws the provider's own errors */
  workload(target: string, workload: string): Promise<WorkloadEvidence>;
  /** Why the target is not to be touched (`salvor.dev/skip` on it or its namespace), this moment. */
  excluded(target: string): Promise<string | undefined>;
}

export interface Looked {
  targets: Record<string, TargetEvidence>;
  /** All that is not Ready, up to thousands of keys: whoever passes it on cuts it to what the gates need. */
  workloads: Record<string, WorkloadEvidence>;
  /** Live objects of the targets' kind in the namespaces of targets and suspects; absent where it could not be read. */
  population?: { live: number; unhealthy: number };
  /** What could not be read of the population, for people. */
  error?: string;
}
