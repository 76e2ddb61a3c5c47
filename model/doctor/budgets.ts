import type { LabelSelector } from '../selectors.ts';
import { type Mend, manifest, type Seen } from './findings.ts';
import { type Budget, labelsOf, selects, type Workload } from './objects.ts';
import { isOfNodes, isServed, namesOf, replicasOf, type Subject } from './subject.ts';

const POLICY = 'policy/v1';
const KIND = 'PodDisruptionBudget';
const ALWAYS = 'AlwaysAllow';

export function budgets(subject: Subject): Seen[] {
  const { budgets: selecting } = subject;
  if (!selecting || isOfNodes(subject)) return [];
  if (selecting.length === 0) return replicasOf(subject.workload) < 2 ? [] : [none(subject)];
  return [
    ...(selecting.length > 1 ? [several(subject, selecting)] : []),
    ...selecting.flatMap((budget) => [...never(subject, budget), ...sick(subject, budget)]),
  ];
}

function none(subject: Subject): Seen {
  const { workload, namespace } = subject;
  return {
    id: 'no-disruption-budget',
    severity: isServed(subject) ? 'problem' : 'advice',
    seen: `${replicasOf(workload)} replicas, and no PodDisruptionBudget selects its pods`,
    mend: [
      {
        document: manifest(POLICY, KIND, workload.metadata.name, namespace, {
          spec: { maxUnavailable: 1, unhealthyPodEvictionPolicy: ALWAYS, selector: workload.spec.selector },
        }),
      },
    ],
  };
}

/** The one that selects the fewest workloads stays; the others let go of this one, or go where it is all they select. */
function several(subject: Subject, selecting: Budget[]): Seen {
  const breadth = ({ spec }: Budget): number => covered(subject, spec?.selector).length;
  const [stays, ...others] = [...selecting].sort((a, b) => breadth(a) - breadth(b));
  return {
    id: 'several-disruption-budgets',
    severity: 'problem',
    seen: `${selecting.length} PodDisruptionBudgets select its pods: ${namesOf(selecting)}`,
    mend: others.map((budget, i) => {
      const mend = withdrawn(subject, budget);
      const kept = i === 0 ? [`${stays?.metadata.name} stays: check that it says what you want.`] : [];
      return { ...mend, notes: [...kept, ...(mend.notes ?? [])] };
    }),
  };
}

function withdrawn(subject: Subject, { metadata, spec }: Budget): Mend {
  const { workload, namespace } = subject;
  const others = covered(subject, spec?.selector).filter((one) => one !== workload);
  if (others.length === 0) return { document: manifest(POLICY, KIND, metadata.name, namespace, { $patch: 'delete' }) };
  const own = Object.entries(workload.spec.selector.matchLabels ?? {}).find(([key, value]) =>
    others.every(({ spec: { template } }) => labelsOf(template)[key] !== value),
  );
  const also = `It also selects ${others.map(({ kind, metadata }) => `${kind} ${metadata.name}`).join(', ')}`;
  if (!own) {
    const document = manifest(POLICY, KIND, metadata.name, namespace, { $patch: 'delete' });
    return { notes: [`${also}, which need one of their own then.`], document };
  }
  const [key, value] = own;
  const { matchLabels, matchExpressions = [] } = spec?.selector ?? {};
  const selector: LabelSelector = {
    ...(matchLabels && { matchLabels }),
    matchExpressions: [...matchExpressions, { key, operator: 'NotIn', values: [value] }],
  };
  return {
    notes: [`${also}: it stays for them.`],
    document: manifest(POLICY, KIND, metadata.name, namespace, { spec: { selector } }),
  };
}

const covered = ({ neighbours }: Subject, selector: LabelSelector | null | undefined): Workload[] =>
  neighbours.filter(({ spec: { template } }) => selects(selector, labelsOf(template)));

function never(subject: Subject, { metadata, spec }: Budget): Seen[] {
  const { minAvailable, maxUnavailable } = spec ?? {};
  const replicas = covered(subject, spec?.selector).reduce((sum, workload) => sum + replicasOf(workload), 0);
  if (allowed(spec ?? {}, replicas) > 0) return [];
  const said = minAvailable === undefined ? `maxUnavailable ${maxUnavailable}` : `minAvailable ${minAvailable}`;
  return [
    {
      id: 'budget-never-allows',
      severity: 'problem',
      seen: `the PodDisruptionBudget ${metadata.name} has ${said}, of ${replicas} replica${replicas === 1 ? '' : 's'}`,
      mend: [
        {
          notes: minAvailable === undefined ? [] : ['The two exclude each other: take minAvailable away.'],
          document: manifest(POLICY, KIND, metadata.name, subject.namespace, {
            spec: { ...(minAvailable !== undefined && { minAvailable: null }), maxUnavailable: 1 },
          }),
        },
      ],
    },
  ];
}

/**
 * How many of so many healthy pods may be evicted at once. The disruption controller rounds percentages up, both of what
 * must stay and of what may go; a budget that says neither lets one stay away.
 */
function allowed({ minAvailable, maxUnavailable }: NonNullable<Budget['spec']>, replicas: number): number {
  if (minAvailable !== undefined) return replicas - scaled(minAvailable, replicas);
  return maxUnavailable === undefined ? 1 : scaled(maxUnavailable, replicas);
}

const scaled = (given: number | string, replicas: number): number =>
  typeof given === 'number' ? given : Math.ceil((Number.parseInt(given, 10) * replicas) / 100);

function sick(subject: Subject, { metadata, spec }: Budget): Seen[] {
  if (spec?.unhealthyPodEvictionPolicy === ALWAYS) return [];
  return [
    {
      id: 'sick-pods-not-evictable',
      severity: 'advice',
      seen: `the PodDisruptionBudget ${metadata.name} has no unhealthyPodEvictionPolicy ${ALWAYS}`,
      mend: [
        {
          document: manifest(POLICY, KIND, metadata.name, subject.namespace, {
            spec: { unhealthyPodEvictionPolicy: ALWAYS },
          }),
        },
      ],
    },
  ];
}
