import { type LabelSelector, selects as meets } from '../selectors.ts';

/**
 * The parts of Kubernetes' objects that the doctor reads, as the API's JSON (and a manifest's YAML) has them: all of it
 * optional but names, for an object may be older or newer than the code.
 */
export interface Metadata {
  name: string;
  namespace?: string;
  labels?: Labels;
  annotations?: Labels;
  deletionTimestamp?: string;
  ownerReferences?: { apiVersion: string; kind: string; name: string; controller?: boolean }[];
}

export type Labels = Record<string, string>;
/** A number, or the name of one. */
export type Port = number | string;

export interface Probe {
  httpGet?: { path?: string; port: Port; scheme?: string; host?: string };
  tcpSocket?: { port: Port; host?: string };
  grpc?: { port: number; service?: string | null };
  exec?: { command?: string[] };
  periodSeconds?: number;
  failureThreshold?: number;
}

export interface Container {
  name: string;
  image?: string;
  ports?: { name?: string; containerPort: number }[];
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  lifecycle?: { preStop?: { sleep?: { seconds: number }; exec?: { command?: string[] }; httpGet?: object } };
  resources?: { requests?: Labels; limits?: Labels };
}

export interface PodSpec {
  containers: Container[];
  readinessGates?: { conditionType: string }[];
  terminationGracePeriodSeconds?: number;
  volumes?: { name: string; emptyDir?: { medium?: string; sizeLimit?: string } | null }[];
  nodeName?: string;
  nodeSelector?: Labels;
  affinity?: { podAntiAffinity?: object };
  topologySpreadConstraints?: object[];
}

export interface PodTemplate {
  metadata?: { labels?: Labels; annotations?: Labels };
  spec: PodSpec;
}

export const KINDS = ['Deployment', 'StatefulSet', 'DaemonSet'] as const;
export type Kind = (typeof KINDS)[number];

export interface Workload {
  kind: Kind;
  metadata: Metadata;
  spec: { replicas?: number; selector: LabelSelector; template: PodTemplate };
}

export interface Pod {
  metadata: Metadata;
  spec: PodSpec;
  status?: { phase?: string; conditions?: { type: string; status: string }[] };
}

export interface Service {
  metadata: Metadata;
  spec?: {
    selector?: Labels | null;
    clusterIP?: string;
    publishNotReadyAddresses?: boolean;
    ports?: { port: number; targetPort?: Port }[];
  };
}

/** A PodDisruptionBudget. */
export interface Budget {
  metadata: Metadata;
  spec?: {
    selector?: LabelSelector | null;
    minAvailable?: number | string;
    maxUnavailable?: number | string;
    unhealthyPodEvictionPolicy?: string;
  };
}

export interface Metric {
  type: string;
  resource?: ResourceMetric;
  containerResource?: ResourceMetric;
}
interface ResourceMetric {
  name: string;
  target?: { type?: string };
}

/** A HorizontalPodAutoscaler, `autoscaling/v2`. */
export interface Autoscaler {
  metadata: Metadata;
  spec: {
    scaleTargetRef: { apiVersion?: string; kind: string; name: string };
    minReplicas?: number;
    maxReplicas: number;
    metrics?: Metric[];
  };
}

/** What was read of a cluster; what could not be read is undefined, and nothing is concluded from it. */
export interface Snapshot {
  /** As targets name it. */
  cluster: string;
  workloads: Workload[];
  pods?: Pod[];
  services?: Service[];
  budgets?: Budget[];
  autoscalers?: Autoscaler[];
  /** Their metadata; of no more than those that were looked at. */
  namespaces?: { metadata: Metadata }[];
}

/** A Service without a selector has its endpoints from elsewhere: it selects nothing. */
export function serviceSelects({ spec }: Service, labels: Labels): boolean {
  const wanted = Object.entries(spec?.selector ?? {});
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

/** As `policy/v1` has it: an empty selector selects everything, an absent one nothing. */
export const selects = (selector: LabelSelector | null | undefined, labels: Labels): boolean =>
  selector ? meets(selector, labels, false) : false;

export const labelsOf = ({ metadata }: PodTemplate): Labels => metadata?.labels ?? {};
