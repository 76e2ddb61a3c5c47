import type { AuditNote } from './audit.ts';
import { formatDuration } from './duration.ts';
import { nearest } from './nearest.ts';

/** A standing order to change nothing. Kept by the workflow `salvor/control`. */
export interface Pause {
  /** Prefix of target keys, of whole segments (`k8s/prod/payments`); `rule/<name>`; or empty: everything. */
  prefix: string;
  /** `person:<name>`, or `unverified:<name>`. */
  by: string;
  /** Empty where none was given. */
  reason: string;
  /** ISO times. Without `until` it holds until it is resumed. */
  since: string;
  until?: string;
}

/** The pauses that stand: the memo of `salvor/control` under this key, so that it is read without a worker. */
export const PAUSES_MEMO = 'pauses';

export const isUnder = (target: string, prefix: string): boolean =>
  prefix === '' || target === prefix || target.startsWith(`${prefix}/`);

/** Those that hold at `now` (milliseconds since the epoch): one whose time is over may still be in the memo. */
export const standing = (pauses: readonly Pause[], now: number): Pause[] =>
  pauses.filter(({ until }) => until === undefined || Date.parse(until) > now);

/** The first pause that holds a target of a rule back, at `now` (milliseconds since the epoch). */
export function pauseOf(
  pauses: readonly Pause[],
  { target, rule, now }: { target: string; rule: string; now: number },
): Pause | undefined {
  return standing(pauses, now).find(({ prefix }) => prefix === `rule/${rule}` || isUnder(target, prefix));
}

/** For people. */
export const prefixName = (prefix: string): string => (prefix === '' ? 'everything' : prefix);

/** For people. */
export const describePause = ({ prefix, by, reason, until }: Pause): string =>
  `${prefixName(prefix)} is paused by ${by}${reason ? ` (${reason})` : ''}${until ? ` until ${until}` : ''}`;

/** Update `pause` of `salvor/control`; answers the pause as it stands. One of the same prefix is replaced. */
export interface PauseOrder {
  prefix: string;
  by: string;
  reason: string;
  /** Milliseconds. */
  for?: number;
  /** Also cancel, and so undo, what runs under the prefix. */
  undo?: boolean;
}

/** Update `resume` of `salvor/control`: ends every pause at or under the prefix, and storms of scopes under it. */
export interface ResumeOrder {
  prefix: string;
  by: string;
  reason: string;
}

/** Type of the error with which the validators of both refuse an order; nothing was done. */
export const INVALID_ORDER = 'InvalidOrder';

/** What stands longer than this belongs into the configuration (mode observe). Milliseconds. */
const LONGEST = 30 * 86_400_000;
/** Pauses at once: each mutation reads them all. */
const MOST = 100;
/** Characters. */
const LONGEST_PREFIX = 600;
const LONGEST_REASON = 300;

/** Types of target keys, and how many segments such a key has at most. */
const SEGMENTS = new Map([
  ['k8s', 5],
  ['asg', 4],
  ['dependency', 2],
  ['stack', 2],
]);
const SEGMENT = /^(?:[A-Za-z0-9._~-]|%[0-9A-F]{2})+$/;
/** Of the configuration, or of `salvor run`. */
const RULE = /^(?:run:)?[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** What is wrong with a prefix, and what would be right; for people. */
export function prefixFault(prefix: string): string | undefined {
  if (prefix === '') return undefined;
  if (prefix.length > LONGEST_PREFIX) return `a prefix has at most ${LONGEST_PREFIX} characters`;
  const [type = '', ...rest] = prefix.split('/');
  if (type === 'rule') {
    const [name = ''] = rest;
    if (rest.length === 1 && RULE.test(name)) return undefined;
    return `"${prefix}" names no rule: write rule/<name>`;
  }
  const most = SEGMENTS.get(type);
  if (most === undefined || rest.length >= most || !rest.every((segment) => SEGMENT.test(segment))) {
    return `"${prefix}" is no prefix of target keys: write whole segments of one, such as k8s/prod or k8s/prod/payments (everything but letters, digits and -._~ percent-encoded); or rule/<name>`;
  }
  return undefined;
}

/** What is wrong with an order to pause while these pauses stand; for people. */
export function pauseFault(order: PauseOrder, pauses: readonly Pause[] = []): string | undefined {
  const { for: ms } = order;
  if (ms !== undefined && !(Number.isSafeInteger(ms) && ms > 0 && ms <= LONGEST))
    return `a pause lasts from 1ms to ${formatDuration(LONGEST)}, or until it is resumed`;
  if (pauses.length >= MOST && !pauses.some(({ prefix }) => prefix === order.prefix))
    return `${MOST} pauses stand already: resume some, or pause what they have in common`;
  return resumeFault(order);
}

export function resumeFault({ prefix, by, reason }: ResumeOrder): string | undefined {
  if (by === '') return 'nobody is named who orders it';
  if (reason.length > LONGEST_REASON) return `a reason has at most ${LONGEST_REASON} characters`;
  return prefixFault(prefix);
}

/** Says so where nothing that is configured is under a prefix: it may be a slip of the pen. */
export function unknownPrefix(
  prefix: string,
  { clusters, rules }: { clusters: readonly string[]; rules: readonly string[] },
): string | undefined {
  const [type, name = ''] = prefix.split('/');
  const known = type === 'rule' ? rules : type === 'k8s' ? clusters : undefined;
  if (known === undefined || name === '' || name.startsWith('run:') || known.includes(name)) return undefined;
  const meant = nearest(name, known);
  const hint = meant === undefined ? '' : `; was ${type}/${meant} meant?`;
  return `the configuration has no ${type === 'rule' ? 'rule' : 'cluster'} ${name}${hint}`;
}

export interface ResumeAnswer {
  ended: Pause[];
}

/** Input of `salvor/control`, carried over continue-as-new. */
export interface ControlInput {
  pauses?: Pause[];
  /** How many notes were made so far, and those that the audit store has not taken yet. */
  notes?: { count: number; pending: AuditNote[] };
}

/** The activities of `salvor/control`, each a regular one that may run twice. */
export interface ControlActivities {
  /** Tells the open responders to decide anew what waits; `resume`: their storms under the prefix are over, too. */
  wake(request: { prefix: string; resume?: { by: string; reason: string } }): Promise<void>;
  /** Cancels every open remediation under the prefix, so that it undoes what it did; answers how many. */
  undo(request: { prefix: string; by: string; reason: string }): Promise<number>;
}
