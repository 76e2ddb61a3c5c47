import { stringify } from 'yaml';

/** A `problem` keeps the workload from being healed, or hurts it while it is; an `advice` makes it heal better. */
export type Severity = 'problem' | 'advice';

/** Every finding that there is, in the order in which they are told, and why each matters at three in the morning. */
export const FINDINGS = {
  'no-readiness-probe':
    'Without it a pod counts as ready from its first second to its last, whatever state it is in: it gets requests before it can answer them, and goes on getting them when it no longer can. Nobody is told which pod is the sick one.',
  'no-liveness-probe':
    'A process that hangs for good is never restarted: it stays out of traffic, if it is even noticed, until something or somebody evicts it.',
  'same-probes':
    'Liveness restarts the pod in the moment in which readiness takes it out of traffic. So it never gets the time to recover alive, what it was doing and what one could have learnt from it is lost, and when all pods are slow under load all of them are restarted, which makes it worse.',
  'no-traffic-cut':
    'A pod that is alive, passes its readiness probe and answers badly cannot be taken out of traffic: it serves errors until it is killed.',
  'traffic-label-in-selector':
    'The label that would cut the traffic of one pod also says whose pod it is: changing it would orphan the pod, and its controller would start another one at once.',
  'traffic-label-missing':
    'A Service that selects on a label which the pods do not carry sends them nothing: it has no endpoints.',
  'gate-nobody-sets':
    'A pod with a readiness gate that stays unset never becomes Ready, so it never gets traffic, and whoever waits for a replacement waits in vain.',
  'service-sends-to-unready':
    'Such a Service ignores readiness: a pod that fails its probe, or is taken out by a readiness gate, still gets its share of the requests.',
  'no-disruption-budget':
    'Nothing tells a node drain, an upgrade or an autoscaler how many pods may be missing at once: they may evict all of them together.',
  'several-disruption-budgets':
    'The eviction API answers 500 for a pod that several budgets select: it can neither be evicted by Salvor nor drained from its node, and no amount of waiting helps.',
  'budget-never-allows':
    'No eviction is ever allowed: a sick pod cannot be replaced, and the drain of its node waits until somebody removes the budget by hand.',
  'sick-pods-not-evictable':
    'While fewer pods are healthy than the budget demands, the sick ones that cause it may not be evicted either: the budget protects what is broken.',
  'one-replica':
    'While its only pod is sick, cut off or being replaced, nothing serves. Salvor leaves a single replica alone unless a rule allows it by number.',
  'hpa-resource-only':
    'CPU and memory rise after requests have piled up, and a pod that waits for something slow uses neither: it scales late, or not at all, just when it must.',
  'hpa-without-requests':
    'Utilization is a share of the request. Without one the autoscaler cannot compute it, and does not scale.',
  'no-pre-stop':
    'A pod gets SIGTERM in the moment in which it is taken off the endpoints, and proxies learn of that later: for some seconds requests are sent to a process that has stopped listening. Every eviction, drain and rollout drops some.',
  'grace-too-short':
    'The grace period covers the preStop hook too. When it has run out the process is killed in the midst of its requests, without having been told to stop.',
  'local-data':
    'What is in an emptyDir is lost with the pod, so a node that has such a pod is not drained unless somebody says that it may be: `kubectl drain` and Salvor both refuse.',
  'bare-pod':
    'Nothing starts it again when it is gone, so Salvor never touches it, and the drain of its node stops at it.',
  'all-on-one-node': 'Its replicas share one fate: when this node fails, or is drained, all of them are gone at once.',
  'pinned-to-node':
    'Its pods can run on one node only: evicted from a sick node they come back to it, or stay Pending while it is cordoned.',
  excluded: 'Somebody has told Salvor to leave it alone: alerts about it are refused, and a person must heal it.',
} as const;
export type FindingId = keyof typeof FINDINGS;

/** What keeps one workload from healing itself. */
export interface Finding {
  id: FindingId;
  severity: Severity;
  /** Target key. */
  workload: string;
  /** The facts, with the names and numbers of this workload. */
  seen: string;
  why: string;
  /**
   * YAML that would mend it: one document for each object. Of an object that exists it is a strategic merge patch (with
   * `$patch: delete` in the root it is to be deleted), else the whole object. Comments say what a person must decide.
   */
  mend: string;
}

/** One document of a {@link Finding.mend}. */
export interface Mend {
  /** Lines above it. */
  notes?: string[];
  document: object;
}

/** What a check has seen; the rest of the {@link Finding} is known. */
export interface Seen {
  id: FindingId;
  severity: Severity;
  seen: string;
  mend: Mend[];
}

/** kubectl reads YAML 1.1, where a plain `on` is a boolean. */
const WRITTEN = { version: '1.1', lineWidth: 0, aliasDuplicateObjects: false } as const;

export const findingOf = (workload: string, { id, severity, seen, mend }: Seen): Finding => ({
  id,
  severity,
  workload,
  seen,
  why: FINDINGS[id],
  mend: mend
    .map(({ notes = [], document }) => {
      const comments = notes.map((line) => `# ${line}\n`).join('');
      return comments + stringify(document, WRITTEN);
    })
    .join('---\n'),
});

/** A patch (or the whole) of an object. */
export const manifest = (apiVersion: string, kind: string, name: string, namespace: string, rest: object): object => ({
  apiVersion,
  kind,
  metadata: { name, namespace },
  ...rest,
});
