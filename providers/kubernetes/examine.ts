import type { HealthChecks } from '../../model/rule.ts';
import type { Check, Subject } from '../checks.ts';
import type { Cluster } from './cluster.ts';
import { type Health, healthOf, transitionsOf } from './health.ts';
import type { Pod } from './objects.ts';

/** The cluster, as far as a check must know it. */
export type Place = Pick<Cluster, 'name' | 'isLocal'>;

/** How to look at what may be sick. */
export interface Kind {
  what: 'pod' | 'node';
  /** As the platform says. */
  health(object: Pod): Health;
  /** When what makes up its health changed last: see {@link transitionsOf}. */
  transitions(object: Pod): string;
  /** As the checks of a rule ask for it. */
  subject(cluster: Place, object: Pod): Subject;
}

export const POD: Kind = { what: 'pod', health: healthOf, transitions: transitionsOf, subject: subjectOf };

export function subjectOf({ name: cluster, isLocal: local }: Place, { metadata, spec, status }: Pod): Subject {
  return {
    values: {
      ...{ cluster, namespace: metadata.namespace, pod: metadata.name },
      ...(spec?.nodeName !== undefined && { node: spec.nodeName }),
    },
    ...(status?.podIP !== undefined && { address: status.podIP, local }),
  };
}

export const hasChecks = (checks: HealthChecks | undefined): checks is HealthChecks =>
  checks?.promql !== undefined || checks?.http !== undefined;

/**
 * Whether the pod (or node) is able to work: as the platform says, and the checks of the rule. These are asked only where the
 * platform finds it healthy.
 *
 * @throws UnavailableError where a check cannot be asked: then nobody knows
 */
export async function examine(
  cluster: Place,
  pod: Pod,
  checks: HealthChecks | undefined,
  check: Check,
  kind = POD,
): Promise<Health> {
  const seen = kind.health(pod);
  if (!seen.healthy || !hasChecks(checks)) return seen;
  const { healthy, why } = await check(checks, kind.subject(cluster, pod));
  return { healthy, why: `${seen.why}${healthy ? ', and' : ', but'} ${why}` };
}
