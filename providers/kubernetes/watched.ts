import { HELD_ANNOTATION } from '../../model/names.ts';
import { controllerOf } from './health.ts';
import {
  type Controller,
  ENDPOINT_SLICES,
  type EndpointSlice,
  type KubeObject,
  PODS,
  type Pod,
  type Ref,
} from './objects.ts';
import type { Following, Watched } from './watch.ts';

const byName = (name: string): string[] => [name];

/** The concern of all pods of a controller; never the name of a pod. */
export const controlledBy = (uid: string): string => `controller:${uid}`;

/** The pods of a namespace, without what no wait looks at. Concern: the pod's name, and its controller. */
export const podsOf = (namespace: string): Watched<Pod> => ({
  ref: { ...PODS, namespace },
  concerns: (name, before, after) => {
    const controllers = [before, after].flatMap((pod) => (pod && controllerOf(pod.metadata)?.uid) ?? []);
    return [name, ...new Set(controllers.map(controlledBy))];
  },
  view: (object) => {
    const { metadata, spec, status } = object as Pod;
    const { name, uid, resourceVersion, deletionTimestamp, labels } = metadata;
    const controller = controllerOf(metadata);
    const held = metadata.annotations?.[HELD_ANNOTATION];
    return {
      metadata: {
        ...{ name, namespace, uid, resourceVersion, deletionTimestamp, labels },
        ...(held !== undefined && { annotations: { [HELD_ANNOTATION]: held } }),
        ...(controller && { ownerReferences: [controller] }),
      },
      spec: { readinessGates: spec?.readinessGates, nodeName: spec?.nodeName },
      status: {
        ...{ phase: status?.phase, reason: status?.reason, conditions: status?.conditions },
        ...(status?.podIP !== undefined && { podIP: status.podIP }),
      },
    };
  },
});

/** UIDs of the pods to which one EndpointSlice sends traffic. */
type InTraffic = ReadonlySet<string>;
const NOBODY: InTraffic = new Set();

/** The EndpointSlices of a namespace. Concern: the UID of a pod that comes into traffic or leaves it. */
export const slicesOf = (namespace: string): Watched<InTraffic> => ({
  ref: { ...ENDPOINT_SLICES, namespace },
  concerns: (_name, before = NOBODY, after = NOBODY) => [
    ...[...before].filter((uid) => !after.has(uid)),
    ...[...after].filter((uid) => !before.has(uid)),
  ],
  view: (object) => {
    const { endpoints } = object as EndpointSlice;
    // An unknown readiness counts as ready, as the API says.
    const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready !== false);
    return new Set(ready.flatMap(({ targetRef }) => targetRef?.uid ?? []));
  },
});

export function isInTraffic(slices: Following<InTraffic>, uid: string): boolean {
  for (const slice of slices.values()) if (slice.has(uid)) return true;
  return false;
}

/** The controllers of one resource in a namespace. Concern: the controller's name. */
export const controllersOf = (ref: Ref, namespace: string): Watched<Controller> => ({
  ref: { ...ref, namespace, name: undefined },
  concerns: byName,
  view: (object: KubeObject) => {
    const { metadata, spec, status } = object as Controller;
    const { name, uid, resourceVersion } = metadata;
    return {
      metadata: { name, namespace, uid, resourceVersion },
      spec: { replicas: spec?.replicas, ordinals: spec?.ordinals },
      status: { readyReplicas: status?.readyReplicas },
    };
  },
});
