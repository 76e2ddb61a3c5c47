import { IN_SERVICE_GATE, TRAFFIC_LABEL } from '../names.ts';
import type { LabelSelector } from '../selectors.ts';
import { type Mend, manifest, type Seen } from './findings.ts';
import { labelsOf, type Pod, type Service, serviceSelects } from './objects.ts';
import { isOfNodes, isServed, listed, patch, patchPods, type Subject, theServices } from './subject.ts';

/** What would be done to cut the traffic of a pod, by the provider that would do it; undefined or `none`: nothing. */
export type CutOf = (
  pod: Pod,
  selector: LabelSelector,
  services: Service[],
) => { way: string | undefined; why: string };

/** The label's value that lets traffic in. */
const ON = 'on';

export function traffic(subject: Subject, cutOf: CutOf): Seen[] {
  return [...gates(subject), ...unready(subject), ...(isOfNodes(subject) ? [] : cut(subject, cutOf))];
}

function cut(subject: Subject, cutOf: CutOf): Seen[] {
  const { workload, labels, services, namespace } = subject;
  const lost = missing(subject);
  if (lost.length > 0) return lost;
  const { selector } = workload.spec;
  if (holdsLabel(selector)) return [owned(subject)];
  if (!services || !isServed(subject)) return [];
  const { way, why } = cutOf(ready(subject), selector, services);
  if (way !== undefined && way !== 'none') return [];
  const value = labels[TRAFFIC_LABEL] ?? ON;
  const blind = services.filter(({ spec }) => spec?.selector?.[TRAFFIC_LABEL] === undefined);
  return [
    {
      id: 'no-traffic-cut',
      severity: 'problem',
      seen: `${theServices(services, { one: 'sends', more: 'send' })} it traffic; ${why}`,
      mend: [
        ...(labels[TRAFFIC_LABEL] === undefined ? [labelPods(subject, value)] : []),
        ...alongside(subject, blind, value),
        ...blind.map(({ metadata }, i) => ({
          notes: i === 0 ? ['Once every pod carries the label, and not before: a pod without it gets no traffic.'] : [],
          document: manifest('v1', 'Service', metadata.name, namespace, {
            spec: { selector: { [TRAFFIC_LABEL]: value } },
          }),
        })),
      ],
    },
  ];
}

const labelPods = (subject: Subject, value: string): Mend => ({
  notes: ['First this, and wait for its rollout.'],
  document: patch(subject, { template: { metadata: { labels: { [TRAFFIC_LABEL]: value } } } }),
});

/** What else the Services select would get no traffic any more, if it had no label either. */
const alongside = ({ workload, neighbours, namespace }: Subject, services: Service[], value: string): Mend[] =>
  neighbours
    .filter(({ spec: { template } }) => labelsOf(template)[TRAFFIC_LABEL] === undefined)
    .filter(
      (one) => one !== workload && services.some((service) => serviceSelects(service, labelsOf(one.spec.template))),
    )
    .map(({ kind, metadata }) => ({
      notes: ['Likewise, for it is behind the same Service.'],
      document: manifest('apps/v1', kind, metadata.name, namespace, {
        spec: { template: { metadata: { labels: { [TRAFFIC_LABEL]: value } } } },
      }),
    }));

/** Services that would select the pods if these carried the label. */
function missing(subject: Subject): Seen[] {
  const { labels, allServices = [] } = subject;
  const waiting = allServices.filter((service) => {
    const value = service.spec?.selector?.[TRAFFIC_LABEL];
    return value !== undefined && !serviceSelects(service, labels) && selectsWith(service, labels, value);
  });
  const [first] = waiting;
  const value = first?.spec?.selector?.[TRAFFIC_LABEL];
  if (value === undefined) return [];
  const has = labels[TRAFFIC_LABEL];
  return [
    {
      id: 'traffic-label-missing',
      severity: 'problem',
      seen: `${theServices(waiting, { one: 'selects', more: 'select' })} on ${TRAFFIC_LABEL}=${value}, and its pods ${has === undefined ? 'have no such label' : `have "${has}" there`}`,
      mend: [{ document: patch(subject, { template: { metadata: { labels: { [TRAFFIC_LABEL]: value } } } }) }],
    },
  ];
}

/** A selector of nothing but the traffic label is about every workload that has one, and about no particular one. */
const selectsWith = (service: Service, labels: Record<string, string>, value: string): boolean =>
  Object.keys(service.spec?.selector ?? {}).length > 1 &&
  serviceSelects(service, { ...labels, [TRAFFIC_LABEL]: value });

function owned(subject: Subject): Seen {
  const { workload } = subject;
  const { matchLabels = {}, matchExpressions } = workload.spec.selector;
  const { [TRAFFIC_LABEL]: _, ...others } = matchLabels;
  const expressions = matchExpressions?.filter(({ key }) => key !== TRAFFIC_LABEL);
  return {
    id: 'traffic-label-in-selector',
    severity: 'problem',
    seen: `the selector of the ${workload.kind} holds ${TRAFFIC_LABEL}`,
    mend: [
      {
        notes: [
          'A selector cannot be changed. Delete the object with `--cascade=orphan`, which leaves its pods running, and create',
          'it again with this selector; its pods are adopted.',
        ],
        document: patch(subject, {
          selector: { matchLabels: others, ...(expressions?.length && { matchExpressions: expressions }) },
        }),
      },
    ],
  };
}

const holdsLabel = ({ matchLabels, matchExpressions }: LabelSelector): boolean =>
  matchLabels?.[TRAFFIC_LABEL] !== undefined || (matchExpressions ?? []).some(({ key }) => key === TRAFFIC_LABEL);

/** A pod of the workload as it is while all is well, with the gates True that somebody sets. */
function ready({ workload, namespace, labels, spec, pods = [] }: Subject): Pod {
  const gated = (spec.readinessGates ?? []).filter(({ conditionType }) => isSet(pods, conditionType));
  const types = ['Ready', 'ContainersReady', ...gated.map(({ conditionType }) => conditionType)];
  return {
    metadata: { name: workload.metadata.name, namespace, labels },
    spec,
    status: { phase: 'Running', conditions: types.map((type) => ({ type, status: 'True' })) },
  };
}

const isSet = (pods: Pod[], type: string): boolean =>
  pods.some(({ status }) => status?.conditions?.some((condition) => condition.type === type));

/** Gates that no pod has a condition for although its containers are ready. */
function gates(subject: Subject): Seen[] {
  const { pods, spec } = subject;
  const up = (pods ?? []).filter(({ status }) =>
    status?.conditions?.some(({ type, status }) => type === 'ContainersReady' && status === 'True'),
  );
  const unset = (spec.readinessGates ?? []).filter(
    ({ conditionType }) => up.length > 0 && !isSet(pods ?? [], conditionType),
  );
  if (unset.length === 0) return [];
  const names = unset.map(({ conditionType }) => conditionType);
  const readinessGates = (spec.readinessGates ?? []).filter((gate) => !unset.includes(gate));
  return [
    {
      id: 'gate-nobody-sets',
      severity: 'problem',
      seen: `the containers of ${up.length} of its pods are ready, and none has a condition ${listed(names)}`,
      mend: [
        {
          notes: [
            'Or run the controller that sets it True on every new pod.',
            ...(names.includes(IN_SERVICE_GATE) ? ['Salvor sets it False and back, never True on a new pod.'] : []),
          ],
          document: patchPods(subject, { readinessGates }),
        },
      ],
    },
  ];
}

/** Not of headless ones: there it is how the members of a StatefulSet find each other before they are ready. */
function unready({ services = [], namespace }: Subject): Seen[] {
  const careless = services.filter(({ spec }) => spec?.publishNotReadyAddresses && spec.clusterIP !== 'None');
  if (careless.length === 0) return [];
  return [
    {
      id: 'service-sends-to-unready',
      severity: 'problem',
      seen: `${theServices(careless, { one: 'has', more: 'have' })} publishNotReadyAddresses`,
      mend: careless.map(({ metadata }) => ({
        document: manifest('v1', 'Service', metadata.name, namespace, { spec: { publishNotReadyAddresses: false } }),
      })),
    },
  ];
}
