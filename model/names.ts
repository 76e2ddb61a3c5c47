/**
 * The names that processes agree on: task queues, workflow types and IDs, signals, search attributes.
 * A name here is part of running workflows; changing one strands what is open.
 */

/** Workflow types, as registered by the worker. */
export const WORKFLOW = {
  responder: 'responder',
  remediation: 'remediation',
  /** `salvor/control`: who has paused what. */
  control: 'control',
  /** `salvor/herald`: Salvor's own alerts that are open. */
  herald: 'herald',
  /** `limits/<key>`: what all rules together may do in a cluster or account. */
  limits: 'limits',
  /** `budget/<workload>`: who has taken a place in the unavailable budget of a workload. */
  budget: 'budget',
  /** `tick/<rule>-<time>`: one time of the schedule of a rule. */
  tick: 'tick',
} as const;

/** Signals and updates of the responder and the remediation. */
export const MESSAGE = {
  /** To a responder: a {@link import('./request.ts').Batch}. */
  alerts: 'alerts',
  /** To a responder: a {@link import('./remediation.ts').EndReport}. */
  ended: 'ended',
  /** Update of a responder: a Batch of one request; answers a {@link import('./request.ts').Decision}. */
  run: 'run',
  /** To a remediation: its alert is resolved; a hint to look again, never an action by itself. */
  resolved: 'resolved',
  /** To a remediation, before it is cancelled: {@link import('./remediation.ts').CancelRequest}. */
  cancel: 'cancel',
  /** To a responder: decide anew what waits; with {@link import('./responder.ts').LookAgain}. */
  look: 'look',
  /** Update of a proposal: a {@link import('./approval.ts').Verdict}. */
  decide: 'decide',
  /** Update of a remediation by circuit-breaker: a {@link import('./breaker/options.ts').BreakerOrder}; answers a {@link import('./breaker/standing.ts').BreakerStanding}. */
  breaker: 'breaker',
  /** Updates of `salvor/control`. */
  pause: 'pause',
  resume: 'resume',
  /** Signal of `salvor/herald`. */
  herald: 'herald',
  /** Update and signal of `limits/<key>`. */
  lease: 'lease',
  give: 'give',
  /** Update and signal (the run ID of the holder) of `budget/<workload>`. */
  reserve: 'reserve',
  free: 'free',
  /** Query of a responder: its {@link import('./responder.ts').ResponderState}. */
  state: 'state',
  /** Query of a remediation: its {@link import('./remediation.ts').Story}. */
  story: 'story',
} as const;

/** Search attributes, all of type Keyword. */
export const SEARCH_ATTRIBUTES = [
  'SalvorRule',
  'SalvorRunbook',
  'SalvorTarget',
  'SalvorOutcome',
  'SalvorReason',
  'SalvorAlert',
] as const;
export type SearchAttribute = (typeof SEARCH_ATTRIBUTES)[number];

/** The task queue on which waits are watched; waits never take slots from cuts and undos. */
export const watchQueue = (taskQueue: string): string => `${taskQueue}-watch`;

export const responderId = (rule: string, scope: string): string => `responder/${rule}/${encodeURIComponent(scope)}`;
export const remediationId = (target: string): string => `remediation/${target}`;
export const CONTROL_ID = 'salvor/control';
export const HERALD_ID = 'salvor/herald';
export const limitsId = (key: string): string => `limits/${key}`;
export const budgetId = (workload: string): string => `budget/${workload}`;
/** Of the schedule, and the beginning of the IDs of what it starts. */
export const tickId = (rule: string): string => `${TICK_PREFIX}${rule}`;
export const TICK_PREFIX = 'tick/';
export const proposalId = (rule: string, target: string): string => `proposal/${rule}/${target}`;

/** The rule name that `salvor run RUNBOOK` uses; a configured rule cannot take it, for its names hold no colon. */
export const runRule = (runbook: string): string => `run:${runbook}`;
export const isRunRule = (rule: string): boolean => rule.startsWith(runRule(''));

/** Annotation on an object whose field Salvor holds; its value is JSON of {@link import('./change.ts').Held}[]. */
export const HELD_ANNOTATION = 'salvor.dev/held';
/** Label that a pod's Services select on and its owner does not: "on" lets traffic in. */
export const TRAFFIC_LABEL = 'salvor.dev/traffic';
/** Readiness gate that takes a pod out of service without killing it. */
export const IN_SERVICE_GATE = 'salvor.dev/in-service';
/** The field manager of a runbook's writes. */
export const fieldManager = (runbook: string): string => `salvor-${runbook}`;

/** Memo of a run that goes on with another one's remediation: the {@link FirstRun} of all of them. */
export const FIRST_RUN_MEMO = 'first';
export interface FirstRun {
  /** What the remediation is known by. */
  id: string;
  /** ISO time. */
  startedAt: string;
}

/** Memo of a proposal of a rule that acts, about which a person has decided: another one may follow as soon as it has ended. */
export const DECIDED_MEMO = 'decided';

/** What is shown of a run's ID. Temporal's begin with the time (UUID v7): the first 8 are those of a whole minute. */
export const shortId = (id: string): string => id.slice(0, 18);

/** A search attribute holds at most 255 characters: a longer value is cut, and a hash (FNV-1a) keeps it distinct. */
export function searchValue(value: string): string {
  if (value.length <= 255) return value;
  let hash = 0x811c9dc5;
  for (const character of value) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return `${value.slice(0, 246)}#${hash.toString(16).padStart(8, '0')}`;
}
