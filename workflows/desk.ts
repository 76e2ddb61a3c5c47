import type { AuditEntry } from '../model/audit.ts';
import type { DispatchRequest } from '../model/dispatch.ts';
import type { Decision, Request } from '../model/request.ts';
import type { Queued, ResponderInput, ResponderState } from '../model/responder.ts';
import type { ResolvedRule } from '../model/rule.ts';
import { Escalations } from './escalations.ts';
import { Memory } from './memory.ts';
import { completed } from './older.ts';
import { Queue } from './queue.ts';
import { Running } from './running.ts';
import { Slots } from './slots.ts';
import { StormWatch } from './storm.ts';

/** Of the workflow's own execution. */
export interface Execution {
  workflowId: string;
  runId: string;
  firstExecutionRunId: string;
  startTime: Date;
}

export type Wait = Decision & { answer: 'wait' };
export type Refusal = Decision & { answer: 'refuse' };
/** A request, and the delivery that brought it. */
export type Delivered = Omit<Request, 'status'> & { delivery: string };

/** A request that is to be decided. */
export interface Undecided {
  request: Delivered;
  /** Milliseconds since the epoch at which it was asked for. */
  since: number;
  /** It waits, and is decided anew. */
  queued?: Queued;
}

/** What the parts of one responder's admission share: the state, and those who keep its parts. */
export class Desk {
  readonly state: ResponderState;
  readonly queue: Queue;
  readonly memory: Memory;
  readonly running: Running;
  readonly slots: Slots;
  readonly storm: StormWatch;
  readonly escalations: Escalations;
  readonly execution: Execution;
  readonly scope: string;
  readonly note: (entry: AuditEntry) => void;

  constructor(input: ResponderInput, execution: Execution, note: (entry: AuditEntry) => void) {
    this.execution = execution;
    this.scope = input.scope;
    this.note = note;
    const nothing = { open: {}, queue: {}, settled: {}, cooling: {}, attempts: {} };
    this.state = input.state ?? { ...nothing, tally: { admit: 0, wait: 0, refuse: 0, coalesce: 0 } };
    if (this.state.rule) this.state.rule = completed(this.state.rule);
    this.queue = new Queue(this.state);
    this.memory = new Memory(this.state);
    this.running = new Running(this.state, execution.startTime.getTime());
    this.slots = new Slots(this.state);
    this.storm = new StormWatch(this.state);
    this.escalations = new Escalations(this.state, { ...execution, scope: input.scope }, note);
  }

  get rule(): ResolvedRule {
    // Set by the first news, and nothing is decided before it.
    return this.state.rule as ResolvedRule;
  }

  /** So many more may be open. */
  get room(): number {
    return this.rule.gates.maxInFlight - Object.keys(this.state.open).length;
  }

  /** What is to be asked of the server now, if anything. */
  work(now: number): DispatchRequest | undefined {
    const { escalations, execution, queue, running, scope, slots } = this;
    const { rule, ruleDigest } = this.state;
    if (!rule || ruleDigest === undefined) return undefined;
    const { starts, resolved, check } = running.take(queue.length > 0, now);
    const [give, herald] = [slots.give(), escalations.take()];
    if (starts.length + resolved.length + check.length === 0 && !give && !herald) return undefined;
    const about = { responder: execution.workflowId, scope, rule, ruleDigest, starts, resolved, check };
    return { ...about, ...(give && { give }), ...(herald && { herald }) };
  }
}
