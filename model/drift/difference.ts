import type { FieldValue } from '../change.ts';

/**
 * What a difference between the live state and its source is. Only the last two are drift that is reverted, and the last only
 * with a person's approval.
 */
export const DRIFT_CLASSES = [
  /** By a pattern of the stack, or another manager owns the field. */
  'ignored',
  /** A remediation of Salvor's holds the field. */
  'held',
  /** Only what the provider computes: no difference that anybody has made. */
  'computed',
  /** The source changed, and the world did not: not yet applied. That is somebody's deploy, not drift. */
  'unapplied',
  /** Drift and unapplied source in one address, or drift whose revert would need unapplied source: reported, never reverted. */
  'mixed',
  /** Live, and not in the source: reported, never deleted, unless the rule lists its kind. */
  'extra',
  'reversible',
  /** To revert it deletes or replaces something, creates what may never have been there, or may do more: its reason says what. */
  'destructive',
] as const;
export type DriftClass = (typeof DRIFT_CLASSES)[number];

/** One address that differs. Plain JSON, bounded: it travels in history. What is sensitive never gets into it. */
export interface Difference {
  /**
   * OpenTofu: the address of the resource (`module.web.kubectl_manifest.policy["a"]`). Manifests: the target key of the object
   * (`k8s/prod/shop/networkpolicy.networking.k8s.io/web`; without a namespace `k8s/prod/-/…`). Security groups: the id of the group.
   */
  address: string;
  /** Kind of Kubernetes, or type of the resource: what `urgent`, `prune` and `create` name. */
  kind: string;
  class: DriftClass;
  /** Why it is of this class, for people. */
  why: string;
  /** What reverting does to it. */
  action: 'create' | 'update' | 'replace' | 'delete';
  /** Which fields, at most {@link MOST_FIELDS}; values are cut to {@link MOST_VALUE} characters. */
  fields: FieldDrift[];
  /** Fields that were left out. */
  more?: number;
  /** Digest of all that reverting it would write, and of what is there now: two looks that agree in it see the same. */
  digest: string;
  /** Who has changed it, where the platform tells. */
  who?: Culprit;
}

export interface FieldDrift {
  /** `spec.ingress[0].ports[1].port` */
  path: string;
  /** As it is; null: absent. */
  live: FieldValue;
  /** As the source wants it; null: absent. */
  source: FieldValue;
  /** Its values are secret: both are {@link SENSITIVE}. */
  sensitive?: true;
}

export interface Culprit {
  /** Field manager, or principal. */
  by: string;
  /** ISO time. */
  at?: string;
  /** What tells it. */
  told: 'managedFields' | 'CloudTrail';
}

export const MOST_DIFFERENCES = 200;
export const MOST_FIELDS = 20;
export const MOST_VALUE = 200;
/** What stands for a value that is secret. */
export const SENSITIVE = '(sensitive)';

export type DriftCounts = Record<DriftClass, number>;

/** How many there are of each class. */
export function countsOf(differences: readonly Pick<Difference, 'class'>[]): DriftCounts {
  const counts = Object.fromEntries(DRIFT_CLASSES.map((one) => [one, 0])) as DriftCounts;
  for (const { class: one } of differences) counts[one] += 1;
  return counts;
}

/** Those that somebody made in the world: what a check finds, and `salvor drift check` ends with 1 for. */
export const isDrift = ({ class: one }: Pick<Difference, 'class'>): boolean =>
  one === 'reversible' || one === 'destructive' || one === 'mixed' || one === 'extra';
