/** Options of scale-on-backlog (`with:`), durations in milliseconds. At least one of `backlog` and `latency` is given. */
export interface ScaleOnBacklogOptions {
  /** What waits to be served. */
  backlog?: {
    /** Items that wait now. */
    items: SignalQuery;
    /** Items that have arrived, a counter; absent: arrivals are told from backlog and what was served. */
    arrivals?: SignalQuery;
    /** Items that were served, a counter; absent: told from backlog and arrivals, as far as they can be. */
    served?: SignalQuery;
    /** Within so long what waits is to be served. */
    drainWithin: number;
  };
  /** How long callers wait. */
  latency?: {
    /** In seconds. */
    seconds: SignalQuery;
    /** The most that is good, in seconds. */
    objective: number;
  };
  /** Items a second that one ready replica serves; absent: it is measured. Where it is given, what is measured corrects it. */
  perReplica?: number;
  /** How long a new replica takes until it serves; what is seen corrects it. */
  startUp: number;
  /** Replicas, whatever the signals ask for; within what the target's own limits allow. */
  min: number;
  max: number;
  /** Less change than this share of what there is, is none: 0.1 as in HorizontalPodAutoscaler. */
  tolerance: number;
  behavior: ScalingBehavior;
  /** Between two looks at signals and replicas. */
  every: number;
  /** How long added replicas may take to become ready before a person is told. */
  readyWithin: number;
  /** More replicas are ready, and for so long neither backlog nor latency has fallen: more of the same will not help. */
  stalledAfter: number;
  /** How long the signals must be good, with the capacity back where it was, until it is over. */
  goodFor: number;
}

/** Where a signal is read. */
export type SignalQuery = { promql: string } | { cloudwatch: CloudWatchQuery };

export interface CloudWatchQuery {
  /** Such as `AWS/SQS`. */
  namespace: string;
  /** Such as `ApproximateNumberOfMessagesVisible`. */
  metric: string;
  dimensions: Record<string, string>;
  statistic: 'Average' | 'Sum' | 'Minimum' | 'Maximum' | `p${number}`;
  /** Milliseconds of one data point: 60 s, or 10 and 30 s for high-resolution metrics. */
  period: number;
  /** Name under `aws` of the account and region; absent: the target's own. */
  aws?: string;
}

/**
 * How fast, in either direction: `behavior` of HorizontalPodAutoscaler v2.
 * https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#configurable-scaling-behavior
 */
export interface ScalingBehavior {
  scaleUp: ScalingRules;
  scaleDown: ScalingRules;
}

export interface ScalingRules {
  /** Milliseconds over which the most cautious recommendation counts. */
  stabilizationWindow: number;
  /** Each allows so many replicas (`Pods`), or so much of what there was (`Percent`), within its period; none: no limit. */
  policies: { type: 'Pods' | 'Percent'; value: number; period: number }[];
  /** Which policy counts: that of the largest change, of the smallest, or none: no change in this direction. */
  select: 'Max' | 'Min' | 'Disabled';
}
