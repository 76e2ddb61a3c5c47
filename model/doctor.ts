import { budgets } from './doctor/budgets.ts';
import { capacity } from './doctor/capacity.ts';
import { FINDINGS, type Finding, type FindingId, findingOf } from './doctor/findings.ts';
import { barePods, excluded, isAlive, nodes } from './doctor/nodes.ts';
import type { Snapshot } from './doctor/objects.ts';
import { probes } from './doctor/probes.ts';
import { shutdown } from './doctor/shutdown.ts';
import { subjectsOf } from './doctor/subject.ts';
import { type CutOf, traffic } from './doctor/traffic.ts';

export interface Diagnosis {
  /** Target keys of all that was looked at, sorted. */
  workloads: string[];
  /** Of one workload together, problems first. */
  findings: Finding[];
}

/** What keeps the workloads of a cluster from healing themselves. Of what could not be read nothing is said. */
export function diagnose(snapshot: Snapshot, cutOf: CutOf): Diagnosis {
  const subjects = subjectsOf(snapshot);
  const running = snapshot.pods?.filter(isAlive).flatMap(({ spec }) => spec.nodeName ?? []);
  const onNodes = running && new Set(running).size;
  const namespaces = new Map(snapshot.namespaces?.map(({ metadata }) => [metadata.name, metadata]));
  const found = subjects.flatMap((subject) =>
    [
      ...probes(subject),
      ...traffic(subject, cutOf),
      ...budgets(subject),
      ...capacity(subject),
      ...shutdown(subject),
      ...nodes(subject, onNodes),
      ...excluded(subject, namespaces.get(subject.namespace)),
    ].map((seen) => findingOf(subject.key, seen)),
  );
  const bare = barePods(snapshot);
  const workloads = [...new Set([...subjects.map(({ key }) => key), ...bare.map(({ workload }) => workload)])].sort();
  return { workloads, findings: [...found, ...bare].sort(inOrder) };
}

const ORDER = Object.keys(FINDINGS) as FindingId[];

function inOrder(a: Finding, b: Finding): number {
  if (a.workload !== b.workload) return a.workload < b.workload ? -1 : 1;
  if (a.severity !== b.severity) return a.severity === 'problem' ? -1 : 1;
  return ORDER.indexOf(a.id) - ORDER.indexOf(b.id);
}
