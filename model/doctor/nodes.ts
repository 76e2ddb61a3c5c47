import { HELD_ANNOTATION, TRAFFIC_LABEL } from '../names.ts';
import { formatTarget } from '../target.ts';
import { type Finding, findingOf, manifest, type Seen } from './findings.ts';
import type { Metadata, Pod, Snapshot } from './objects.ts';
import { isOfNodes, listed, patch, patchPods, type Subject } from './subject.ts';

const HOSTNAME = 'kubernetes.io/hostname';
const SKIP = 'salvor.dev/skip';
const MIRROR = 'kubernetes.io/config.mirror';

/** @param inUse on how many nodes any pods run; undefined where that is not known */
export function nodes(subject: Subject, inUse: number | undefined): Seen[] {
  if (isOfNodes(subject)) return [];
  return [...local(subject), ...(inUse !== undefined && inUse > 1 ? together(subject) : []), ...pinned(subject)];
}

function local(subject: Subject): Seen[] {
  const volumes = (subject.spec.volumes ?? []).filter(({ emptyDir }) => emptyDir);
  if (volumes.length === 0) return [];
  return [
    {
      id: 'local-data',
      severity: 'advice',
      seen: `its pods have emptyDir: ${listed(volumes.map(({ name }) => name))}`,
      mend: [
        {
          notes: [
            'Where what is in it may be lost, nothing needs to change here: let the rule for its nodes in salvor.yaml say so,',
            'with: { node: { emptyDir: true } }. Else a volume that follows no node:',
          ],
          document: patchPods(subject, {
            volumes: volumes.map(({ name, emptyDir }) => ({
              name,
              emptyDir: null,
              ephemeral: {
                volumeClaimTemplate: {
                  spec: {
                    accessModes: ['ReadWriteOnce'],
                    resources: { requests: { storage: emptyDir?.sizeLimit ?? '1Gi' } },
                  },
                },
              },
            })),
          }),
        },
      ],
    },
  ];
}

/** Two or more that run on one node, with nothing that would spread them. */
function together(subject: Subject): Seen[] {
  const { spec, workload } = subject;
  const running = (subject.pods ?? []).filter(isAlive).flatMap(({ spec }) => spec.nodeName ?? []);
  const spread = (spec.topologySpreadConstraints ?? []).length > 0 || spec.affinity?.podAntiAffinity !== undefined;
  if (running.length < 2 || new Set(running).size > 1 || spread) return [];
  return [
    {
      id: 'all-on-one-node',
      severity: 'problem',
      seen: `all ${running.length} pods are on node ${running[0]}, and nothing asks for them to be spread`,
      mend: [
        {
          document: patchPods(subject, {
            topologySpreadConstraints: [
              {
                maxSkew: 1,
                topologyKey: HOSTNAME,
                whenUnsatisfiable: 'ScheduleAnyway',
                labelSelector: workload.spec.selector,
              },
            ],
          }),
        },
      ],
    },
  ];
}

function pinned(subject: Subject): Seen[] {
  const { nodeName, nodeSelector } = subject.spec;
  const host = nodeSelector?.[HOSTNAME];
  if (nodeName === undefined && host === undefined) return [];
  return [
    {
      id: 'pinned-to-node',
      severity: 'problem',
      seen: nodeName === undefined ? `its nodeSelector names node ${host}` : `its pods name node ${nodeName}`,
      mend: [
        {
          document: patchPods(subject, {
            ...(nodeName !== undefined && { nodeName: null }),
            ...(host !== undefined && { nodeSelector: { [HOSTNAME]: null } }),
          }),
        },
      ],
    },
  ];
}

export const isAlive = ({ status }: Pod): boolean => status?.phase !== 'Succeeded' && status?.phase !== 'Failed';

/** The pods themselves, or all that is in their namespace, are to be left alone. */
export function excluded(subject: Subject, namespace: Metadata | undefined): Seen[] {
  const { workload } = subject;
  const own = workload.spec.template.metadata?.annotations?.[SKIP] !== undefined;
  if (!own && namespace?.annotations?.[SKIP] === undefined) return [];
  const annotations = { [SKIP]: null };
  const document = own
    ? patch(subject, { template: { metadata: { annotations } } })
    : { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace?.name, annotations } };
  return [
    {
      id: 'excluded',
      severity: 'advice',
      seen: `${own ? 'its pods carry' : `its namespace ${namespace?.name} carries`} the annotation ${SKIP}`,
      mend: [{ notes: own ? [] : ['For all that is in the namespace:'], document }],
    },
  ];
}

/** Pods that nothing would start again; apart from static ones, and from those that Salvor itself has put aside. */
export const barePods = ({ cluster, pods = [] }: Snapshot): Finding[] =>
  pods.filter((pod) => isAlive(pod) && isBare(pod.metadata)).map((pod) => bare(cluster, pod));

const isBare = ({ ownerReferences = [], annotations = {}, deletionTimestamp }: Metadata): boolean =>
  deletionTimestamp === undefined &&
  !ownerReferences.some(({ controller }) => controller) &&
  annotations[MIRROR] === undefined &&
  annotations[HELD_ANNOTATION] === undefined;

function bare(cluster: string, { metadata, spec }: Pod): Finding {
  const { name, namespace = '', labels = {} } = metadata;
  // The label that cuts its traffic must not be what its controller knows it by.
  const { [TRAFFIC_LABEL]: _, ...others } = labels;
  const own = Object.keys(others).length > 0 ? others : { app: name };
  return findingOf(formatTarget({ type: 'k8s', cluster, namespace, kind: 'pod', name }), {
    id: 'bare-pod',
    severity: 'problem',
    seen: 'the pod has no controller',
    mend: [
      {
        document: manifest('apps/v1', 'Deployment', name, namespace, {
          spec: {
            replicas: 2,
            selector: { matchLabels: own },
            template: { metadata: { labels: { ...own, ...labels } }, spec: asked(spec) },
          },
        }),
      },
      {
        notes: ['Once its successors are ready.'],
        document: manifest('v1', 'Pod', name, namespace, { $patch: 'delete' }),
      },
    ],
  });
}

/** The spec of a pod without what the cluster has put there: the rest of a manifest that somebody would write. */
function asked(spec: Pod['spec']): object {
  const {
    volumes = [],
    containers,
    tolerations = [],
    ...rest
  } = spec as Pod['spec'] & { tolerations?: { key?: string }[] };
  const kept = volumes.filter(({ name }) => !isToken(name));
  // Those of a dying node are added to every pod.
  const tolerated = tolerations.filter(({ key }) => !key?.startsWith('node.kubernetes.io/'));
  return {
    ...written(rest),
    ...(tolerated.length > 0 && { tolerations: tolerated }),
    ...(kept.length > 0 && { volumes: kept }),
    containers: containers.map((container) => {
      const { volumeMounts = [], ...more } = container as typeof container & { volumeMounts?: { name: string }[] };
      const mounts = volumeMounts.filter(({ name }) => !isToken(name));
      return { ...written(more), ...(mounts.length > 0 && { volumeMounts: mounts }) };
    }),
  };
}

/** The volume with the token of the pod's account. */
const isToken = (volume: string): boolean => volume.startsWith('kube-api-access-');

const written = (given: object): object =>
  Object.fromEntries(
    Object.entries(given).filter(([key, value]) => !ASSIGNED.has(key) && JSON.stringify(value) !== DEFAULTS[key]),
  );

/** Fields that the cluster fills in. */
const ASSIGNED = new Set(['nodeName', 'serviceAccount', 'priority']);
/** What the API writes where nothing is said, in JSON. */
const DEFAULTS: Record<string, string> = {
  restartPolicy: '"Always"',
  dnsPolicy: '"ClusterFirst"',
  schedulerName: '"default-scheduler"',
  serviceAccountName: '"default"',
  terminationGracePeriodSeconds: '30',
  enableServiceLinks: 'true',
  preemptionPolicy: '"PreemptLowerPriority"',
  securityContext: '{}',
  terminationMessagePath: '"/dev/termination-log"',
  terminationMessagePolicy: '"File"',
};
