import type { LabelSelector } from '../../model/selectors.ts';

/**
 * The parts of Kubernetes' objects that Salvor reads, as the API's JSON has them: all of it optional, for an object may
 * be older or newer than the code. Times are RFC 3339 text.
 */
export interface Metadata {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  generation?: number;
  creationTimestamp?: string;
  finalizers?: string[];
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  managedFields?: ManagedFields[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
}

export interface ManagedFields {
  manager?: string;
  operation?: string;
  subresource?: string;
  time?: string;
  fieldsV1?: FieldSet;
}
export interface FieldSet {
  [key: string]: FieldSet;
}

export interface KubeObject {
  metadata: Metadata;
}

export interface Condition {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/** What Salvor may hold a field of: a pod or a node. */
export interface Instance extends KubeObject {
  spec?: { readinessGates?: { conditionType: string }[]; unschedulable?: boolean };
  status?: { phase?: string; reason?: string; conditions?: Condition[] };
}

export interface Pod extends Instance {
  spec?: Instance['spec'] & { nodeName?: string; volumes?: { name: string; emptyDir?: object }[] };
  status?: Instance['status'] & { podIP?: string };
}

export interface Node extends Instance {
  /** `providerID`: the machine, `aws:///<zone>/<instance id>` on AWS. */
  spec?: Instance['spec'] & { providerID?: string };
  status?: Instance['status'] & { addresses?: { type: string; address: string }[] };
}

export interface Service extends KubeObject {
  spec?: { selector?: Record<string, string> };
}

export interface EndpointSlice extends KubeObject {
  endpoints?: { conditions?: { ready?: boolean }; targetRef?: { uid?: string } }[];
}

/** A controller of pods, or a controller of such controllers. */
export interface Controller extends KubeObject {
  spec?: {
    replicas?: number;
    /** A plain map in a ReplicationController. */
    selector?: LabelSelector | Record<string, string>;
    ordinals?: { start?: number };
  };
  status?: { readyReplicas?: number };
}

export interface List<T> {
  metadata: { resourceVersion: string; continue?: string };
  items: T[] | null;
}

/** A resource of the API, or one object of it. */
export interface Ref {
  /** Empty for the core group. */
  group: string;
  version: string;
  /** Plural, as in the path and in RBAC rules. */
  resource: string;
  namespace?: string;
  name?: string;
  subresource?: string;
}

export const PODS: Ref = { group: '', version: 'v1', resource: 'pods' };
export const NODES: Ref = { group: '', version: 'v1', resource: 'nodes' };
export const NAMESPACES: Ref = { group: '', version: 'v1', resource: 'namespaces' };
export const SERVICES: Ref = { group: '', version: 'v1', resource: 'services' };
export const ENDPOINT_SLICES: Ref = { group: 'discovery.k8s.io', version: 'v1', resource: 'endpointslices' };

export function pathOf(ref: Ref): string {
  const segments = ref.group === '' ? ['api', ref.version] : ['apis', ref.group, ref.version];
  if (ref.namespace !== undefined) segments.push('namespaces', ref.namespace);
  segments.push(ref.resource);
  if (ref.name !== undefined) segments.push(ref.name);
  if (ref.subresource !== undefined) segments.push(ref.subresource);
  return `/${segments.map(encodeURIComponent).join('/')}`;
}
