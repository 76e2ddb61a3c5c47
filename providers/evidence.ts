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

/**
 * What was seen in several places, as one. A part of the population would look calmer, or worse, than the whole: where one place
 * could not be read there is none.
 */
export function together(looks: readonly Looked[]): Looked {
  const errors = new Set(looks.flatMap(({ error }) => error ?? []));
  const populations = looks.flatMap(({ population }) => population ?? []);
  const sum = (what: 'live' | 'unhealthy') => populations.reduce((n, population) => n + population[what], 0);
  return {
    targets: Object.assign({}, ...looks.map(({ targets }) => targets)),
    workloads: Object.assign({}, ...looks.map(({ workloads }) => workloads)),
    ...(errors.size > 0
      ? { error: [...errors].join('; ') }
      : populations.length > 0 && { population: { live: sum('live'), unhealthy: sum('unhealthy') } }),
  };
}

/** {@link EvidenceProvider.look} of a provider that reads its targets by place: a namespace, a group. */
export async function lookByPlace(
  targets: readonly string[],
  suspects: readonly string[],
  placeOf: (key: string) => string,
  lookAt: (place: string, targets: readonly string[], suspects: ReadonlySet<string>) => Promise<Looked>,
): Promise<Looked> {
  const places = Map.groupBy(new Set([...targets, ...suspects]), placeOf);
  const wanted = new Set(targets);
  const suspected = new Set(suspects);
  const looks = [...places].map(([place, keys]) =>
    lookAt(
      place,
      keys.filter((key) => wanted.has(key)),
      suspected,
    ),
  );
  return together(await Promise.all(looks));
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
