import type { NodeOptions } from '../../../model/rule.ts';
import type { Cluster } from '../cluster.ts';
import { holdsOn } from '../fields.ts';
import { carriesProtected, controllerOf, exclusion, isDaemonSet, isStatic, isTrue } from '../health.ts';
import { type KubeObject, type Metadata, NAMESPACES, NODES, type Node, PODS, type Pod } from '../objects.ts';
import { readController, selectorText } from '../owner.ts';
import { isQuarantine, staysInQuarantine } from '../quarantine.ts';

/** All pods that the API knows on a node. */
export async function podsOn(cluster: Cluster, node: string, signal?: AbortSignal): Promise<Pod[]> {
  const { items } = await cluster.list<Pod>(PODS, signal, undefined, `spec.nodeName=${node}`);
  return items;
}

/** `shop/web-0` */
export const shortName = ({ metadata }: Pod): string => `${metadata.namespace}/${metadata.name}`;

/**
 * What is no matter of a drain: pods of DaemonSets, which would be back at once, static ones, which only their node can
 * end, and those that have ended.
 */
export function stays({ metadata, status }: Pod): boolean {
  const owner = controllerOf(metadata);
  if (isStatic(metadata) || (owner && isDaemonSet(owner))) return true;
  return status?.phase === 'Succeeded' || status?.phase === 'Failed';
}

export const isGoing = ({ metadata }: Pod): boolean => metadata.deletionTimestamp !== undefined;

/** Why a pod is not evicted, for people, and what a person can do; as in `kubectl drain`. */
export interface Obstacle {
  what: string;
  remedy: string;
}

/** What keeps a pod from being evicted by these options; undefined where nothing does. */
export function obstacle(pod: Pod, options: NodeOptions): Obstacle | undefined {
  const excluded = exclusion(pod.metadata, undefined);
  if (excluded) return { what: excluded, remedy: REMOVE };
  if (!controllerOf(pod.metadata) && !options.bare)
    return (
      kept(pod) ?? {
        what: 'it has no controller: nothing would start it again',
        remedy: 'node.bare: true in the rule evicts such pods too',
      }
    );
  const volume = pod.spec?.volumes?.find(({ emptyDir }) => emptyDir !== undefined);
  if (volume && !options.emptyDir)
    return {
      what: 'it has an emptyDir volume: what is in it would be lost',
      remedy: 'node.emptyDir: true in the rule evicts such pods too',
    };
  return undefined;
}

/** Salvor itself has taken it from its controller, which has another one by now: the pod is kept for whoever looks into it. */
function kept(pod: Pod): Obstacle | undefined {
  const notes = holdsOn(pod.metadata) ?? [];
  if (!staysInQuarantine(pod, notes)) return undefined;
  const { remediation, until } = notes.find((note) => isQuarantine(note, pod.metadata.uid)) ?? {};
  return {
    what: `remediation ${remediation} keeps it in quarantine until ${until}`,
    remedy: `salvor cancel or salvor release ${remediation} gives it back, and node.bare: true in the rule evicts it`,
  };
}

/** The same, and of its namespace, as it is this moment. */
export async function obstacleNow(cluster: Cluster, pod: Pod, options: NodeOptions): Promise<Obstacle | undefined> {
  const own = obstacle(pod, options);
  if (own) return own;
  const excluded = (await excludedNamespaces(cluster, [pod])).get(pod.metadata.namespace ?? '');
  return excluded ? { what: excluded, remedy: REMOVE } : undefined;
}

const REMOVE = 'remove the annotation';

const NAMED = 3;

/** "shop/a, shop/b, shop/c and 4 more" */
export function someOf(names: readonly string[]): string {
  const more = names.length - NAMED;
  return names.slice(0, NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}

/** What keeps the node of these pods from being drained, for people; undefined where nothing does. */
export async function obstacles(
  cluster: Cluster,
  pods: readonly Pod[],
  options: NodeOptions,
): Promise<string | undefined> {
  const concerned = pods.filter((pod) => !stays(pod) && !isGoing(pod));
  const found = concerned.flatMap((pod) => {
    const one = obstacle(pod, options);
    return one ? [{ pod, text: `${one.what} (${one.remedy})` }] : [];
  });
  const excluded = await excludedNamespaces(cluster, concerned);
  for (const pod of concerned) {
    const text = excluded.get(pod.metadata.namespace ?? '');
    if (text) found.push({ pod, text: `${text} (${REMOVE})` });
  }
  if (found.length === 0) return undefined;
  const reasons = Map.groupBy(found, ({ text }) => text);
  const parts = [...reasons].map(([text, those]) => `${someOf(those.map(({ pod }) => shortName(pod)))}: ${text}`);
  return `it cannot be drained. ${parts.join('; ')}`;
}

async function excludedNamespaces(cluster: Cluster, pods: readonly Pod[]): Promise<Map<string, string>> {
  const names = [...new Set(pods.map(({ metadata }) => metadata.namespace ?? ''))];
  const found = await Promise.all(names.map((name) => cluster.get<KubeObject>({ ...NAMESPACES, name })));
  return new Map(
    found.flatMap((namespace): [string, string][] => {
      const why = exclusion(undefined, namespace?.metadata);
      return namespace && why ? [[namespace.metadata.name, why]] : [];
    }),
  );
}

/**
 * Why a pod that Salvor or Temporal may run on must stay for now: no other one of its owner is Ready on another node that is not
 * cordoned. What runs on a cordoned one may be about to go too: another drain counts with this pod as this one does with that.
 * Undefined where it may go.
 */
export async function lastOfItsKind(
  cluster: Cluster,
  pod: Pod,
  protectedLabels: readonly string[],
): Promise<string | undefined> {
  const { metadata, spec } = pod;
  const label = carriesProtected(metadata, protectedLabels);
  if (!label) return undefined;
  const owner = controllerOf(metadata);
  const others = owner ? await podsOf(cluster, metadata) : [];
  const elsewhere = others.flatMap((one) => {
    const counts = controllerOf(one.metadata)?.uid === owner?.uid && !isGoing(one) && isTrue(one, 'Ready');
    return counts && one.spec?.nodeName !== undefined && one.spec.nodeName !== spec?.nodeName ? one.spec.nodeName : [];
  });
  for (const name of new Set(elsewhere)) {
    const node = await cluster.get<Node>({ ...NODES, name });
    if (node && node.spec?.unschedulable !== true) return undefined;
  }
  const cordoned = elsewhere.length > 0 ? ' that is not cordoned' : '';
  return `${shortName(pod)} carries the protected label ${label}, and no other pod of its owner is Ready on another node${cordoned}`;
}

/** The pods that the controller of this one selects. */
async function podsOf(cluster: Cluster, { namespace = '', ownerReferences }: Metadata): Promise<Pod[]> {
  const reference = ownerReferences?.find(({ controller }) => controller);
  const controller = reference && (await readController(cluster, namespace, reference));
  const selector = controller && selectorText(controller);
  if (!selector) return [];
  return (await cluster.list<Pod>({ ...PODS, namespace }, undefined, selector)).items;
}
