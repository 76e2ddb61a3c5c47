import { UnavailableError } from '../errors.ts';
import type { Ref } from './objects.ts';

/** The verbs of RBAC, as far as Salvor uses them. */
export type Verb = 'get' | 'list' | 'watch' | 'create' | 'patch' | 'delete';

/** What was asked of which cluster; for messages. */
export interface Asked {
  cluster: string;
  verb: Verb;
  ref: Ref;
}

export interface Cause {
  reason?: string;
  message?: string;
  /** Of what was sent, where it is about one: `spec.selector`. */
  field?: string;
}

/** The `Status` object with which the API refuses; absent where a proxy or the rate limit answers in plain text. */
export interface Status {
  reason?: string;
  message?: string;
  details?: { causes?: Cause[]; retryAfterSeconds?: number };
}

/** "patch pods/status shop/web-0 in cluster prod" */
export function describeAsked({ cluster, verb, ref }: Asked): string {
  const resource = ref.subresource ? `${ref.resource}/${ref.subresource}` : ref.resource;
  const object = [ref.namespace, ref.name].filter((part) => part !== undefined).join('/');
  return `${verb} ${resource}${object && ` ${object}`} in cluster ${cluster}`;
}

/** The API server answered, and refused. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly asked: Asked;
  readonly status: number;
  readonly reason: string | undefined;
  readonly causes: Cause[];
  /** Milliseconds, where the server asks to wait. */
  readonly retryAfter: number | undefined;

  constructor(asked: Asked, status: number, body: Status, retryAfterSeconds: number | undefined) {
    super(
      `cannot ${describeAsked(asked)}: ${status}${body.reason ? ` ${body.reason}` : ''}: ${body.message ?? 'no reason given'}`,
    );
    this.asked = asked;
    this.status = status;
    this.reason = body.reason;
    this.causes = body.details?.causes ?? [];
    const seconds = retryAfterSeconds ?? body.details?.retryAfterSeconds;
    this.retryAfter = seconds === undefined ? undefined : seconds * 1000;
  }
}

export const isStatus = (error: unknown, status: number): error is ApiError =>
  error instanceof ApiError && error.status === status;

/** The rule that a person must add to a role, for a message. */
export function rbacRule({ verb, ref }: Asked): string {
  const resource = ref.subresource ? `${ref.resource}/${ref.subresource}` : ref.resource;
  return `apiGroups: ["${ref.group}"], resources: ["${resource}"], verbs: ["${verb}"]`;
}

/** Whether trying again in a moment may mend it: no answer, too many requests, a server that starts, a list that changed. */
export const isPassing = (error: unknown): boolean =>
  error instanceof UnavailableError ||
  (error instanceof ApiError && (error.status >= 500 || error.status === 429 || error.status === 410));

/** So the API server says it of a right; by 403 it also answers for quotas and admission. */
const LACKS_RIGHT = / cannot \w+ (?:resource|path) /;

/** What could not be read, and why, for people; with the right that is missing, where that is it. */
export function explain(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return isStatus(error, 403) && LACKS_RIGHT.test(message)
    ? `${message}. Grant it to Salvor in a role with the rule { ${rbacRule(error.asked)} }`
    : message;
}
