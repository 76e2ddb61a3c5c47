import { manifest, type Seen } from './findings.ts';
import type { Autoscaler, Metric } from './objects.ts';
import { isOfNodes, isServed, listed, patch, patchPods, replicasOf, type Subject } from './subject.ts';

export function capacity(subject: Subject): Seen[] {
  if (isOfNodes(subject)) return [];
  const { autoscaler } = subject;
  return [
    ...single(subject),
    ...(autoscaler ? [...blind(subject, autoscaler), ...unmeasured(subject, autoscaler)] : []),
  ];
}

/** One replica, or an autoscaler that may go down to one. */
function single(subject: Subject): Seen[] {
  const { workload, autoscaler } = subject;
  const least = autoscaler ? (autoscaler.spec.minReplicas ?? 1) : replicasOf(workload);
  if (least > 1) return [];
  const seen = autoscaler
    ? `its HorizontalPodAutoscaler ${autoscaler.metadata.name} may go down to ${least} replica${least === 1 ? '' : 's'}`
    : 'it has one replica';
  return [
    {
      id: 'one-replica',
      severity: isServed(subject) ? 'problem' : 'advice',
      seen,
      mend: [
        {
          notes: [
            'Where it cannot run twice: let its rule in salvor.yaml take the only one, with gates: { maxUnavailable: 1 }.',
          ],
          document: autoscaler ? raised(subject, autoscaler) : patch(subject, { replicas: 2 }),
        },
      ],
    },
  ];
}

/** KEDA writes its own autoscalers anew: the minimum is in what it makes them of. */
function raised({ namespace }: Subject, { metadata, spec }: Autoscaler): object {
  const keda = metadata.ownerReferences?.find(({ kind }) => kind === 'ScaledObject');
  return keda
    ? manifest(keda.apiVersion, keda.kind, keda.name, namespace, { spec: { minReplicaCount: 2 } })
    : manifest('autoscaling/v2', 'HorizontalPodAutoscaler', metadata.name, namespace, {
        spec: { minReplicas: 2, ...(spec.maxReplicas < 2 && { maxReplicas: 2 }) },
      });
}

/** What the API assumes of an autoscaler without metrics. */
const DEFAULT: Metric[] = [{ type: 'Resource', resource: { name: 'cpu', target: { type: 'Utilization' } } }];

const metricsOf = ({ spec }: Autoscaler): Metric[] => (spec.metrics?.length ? spec.metrics : DEFAULT);

const resourceOf = ({ resource, containerResource }: Metric) => resource ?? containerResource;

function blind({ workload, namespace }: Subject, autoscaler: Autoscaler): Seen[] {
  const metrics = metricsOf(autoscaler);
  if (metrics.some((metric) => !resourceOf(metric))) return [];
  const names = [...new Set(metrics.map((metric) => resourceOf(metric)?.name ?? ''))];
  const { name } = workload.metadata;
  return [
    {
      id: 'hpa-resource-only',
      severity: 'advice',
      seen: `its HorizontalPodAutoscaler ${autoscaler.metadata.name} scales on ${listed(names)} only`,
      mend: [
        {
          notes: [
            'Name a metric of the demand that your metrics adapter serves (queue length, requests in flight), and what one',
            'replica takes of it. While the metric is missing it is not scaled down.',
          ],
          document: manifest('autoscaling/v2', 'HorizontalPodAutoscaler', autoscaler.metadata.name, namespace, {
            spec: {
              metrics: [
                ...metrics,
                {
                  type: 'External',
                  external: {
                    metric: { name: `${name.replaceAll(/[^a-z0-9]/g, '_')}_backlog` },
                    target: { type: 'AverageValue', averageValue: '30' },
                  },
                },
              ],
            },
          }),
        },
      ],
    },
  ];
}

/** Utilization of what no container requests. */
function unmeasured(subject: Subject, autoscaler: Autoscaler): Seen[] {
  const measured = metricsOf(autoscaler).flatMap(({ resource }) =>
    resource?.target?.type === 'Utilization' ? [resource.name] : [],
  );
  const lacking = subject.spec.containers.flatMap(({ name, resources }) => {
    const names = measured.filter((one) => (resources?.requests?.[one] ?? resources?.limits?.[one]) === undefined);
    return names.length > 0 ? [{ name, names }] : [];
  });
  if (lacking.length === 0) return [];
  const said = lacking.map(({ name, names }) => `container ${name} requests no ${listed(names)}`);
  return [
    {
      id: 'hpa-without-requests',
      severity: 'problem',
      seen: `its HorizontalPodAutoscaler ${autoscaler.metadata.name} scales on utilization, and ${listed(said)}`,
      mend: [
        {
          notes: ['Put in what it uses under usual load: `kubectl top pod --containers` shows it.'],
          document: patchPods(subject, {
            containers: lacking.map(({ name, names }) => ({
              name,
              resources: {
                requests: Object.fromEntries(names.map((one) => [one, one === 'memory' ? '128Mi' : '100m'])),
              },
            })),
          }),
        },
      ],
    },
  ];
}
