import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll } from 'vitest';
import type { Fence } from '../../activities/attempt.ts';
import { instanceActivities } from '../../activities/instance.ts';
import type { Actor, Assessment, AssessRequest, CutRequest, InstancePort } from '../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import { createRegistry, type HoldingRegistry } from '../../providers/registry.ts';
import type { AuditEvent, AuditFilter } from '../../sandbox/audit-log.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { TestCluster } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';

export type Sick = Extract<Assessment, { verdict: 'sick' }>;

export const OPTIONS: DrainInstanceOptions = {
  traffic: 'auto',
  recoverWithin: 60_000,
  stableFor: 500,
  replace: true,
  quietFor: 0,
  evictWithin: 60_000,
  verifyWithin: 60_000,
};

export const actor = (remediation = 'remediation-1'): Actor => ({ runbook: 'drain-instance', remediation });

export const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();

/** How Temporal runs an attempt. */
export interface Attempted {
  /** 1 by default, which begins now. */
  attempt?: number;
  /** What Temporal answers when the attempt asks whether it still counts; a success by default. */
  fence?: Fence;
  /** When the first attempt was asked for, and so this one, if it is the first. */
  since?: number;
}

/** An activity that runs: its result, the heartbeats that it sent, and how to cancel it. */
export interface Running<T> {
  result: Promise<T>;
  beats: unknown[];
  /** How often it asked whether it still counts. */
  asked(): number;
  cancel(): void;
}

/**
 * The activities against a real API server, as the user `salvor`, who has the documented rights and no more. So what
 * the audit log has of this user is what Salvor did.
 */
export class Bench {
  sandbox!: Sandbox<'kubernetes'>;
  registry!: HoldingRegistry;
  cluster!: TestCluster;

  async start(): Promise<void> {
    this.sandbox = await startSandbox({
      parts: ['kubernetes'],
      kubernetes: { users: [{ name: 'salvor' }, { name: 'stranger' }] },
    });
    const { kubernetes } = this.sandbox;
    this.cluster = new TestCluster(kubernetes);
    await this.cluster.allow('salvor');
    this.registry = createRegistry({
      clusters: [{ name: 'sandbox', kubeconfig: kubernetes.users.salvor?.kubeconfig ?? '' }],
    });
    // The API server learns of new rights by a watch of its own.
    await eventually('the rights are in force', () => this.assess('default', 'nobody'));
  }

  async stop(): Promise<void> {
    await this.registry?.close();
    await this.sandbox?.stop();
  }

  /** Runs an activity; `last`: what the attempt before it said in its last heartbeat. */
  run<K extends keyof InstancePort>(
    name: K,
    request: Parameters<InstancePort[K]>[0],
    last?: unknown,
    how: Attempted = {},
  ): Running<Awaited<ReturnType<InstancePort[K]>>> {
    const info = {
      heartbeatDetails: last,
      attempt: how.attempt ?? 1,
      scheduledTimestampMs: how.since ?? Date.now(),
      startToCloseTimeoutMs: 20_000,
    };
    let asked = 0;
    const fence: Fence = async (...given) => {
      asked += 1;
      await how.fence?.(...given);
    };
    const environment = new MockActivityEnvironment(info, { logger: new DefaultLogger('ERROR') });
    const beats: unknown[] = [];
    environment.on('heartbeat', (details) => beats.push(structuredClone(details)));
    const activities = instanceActivities(this.registry, fence);
    const activity = activities[name] as (r: typeof request) => Promise<Awaited<ReturnType<InstancePort[K]>>>;
    return {
      result: environment.run(activity, request),
      beats,
      asked: () => asked,
      cancel: () => environment.cancel(),
    };
  }

  async assess(namespace: string, name: string, change: Partial<AssessRequest> = {}): Promise<Assessment> {
    const target = this.cluster.target(namespace, name);
    return this.run('assess', { target, options: OPTIONS, actor: actor(), ...change }).result;
  }

  /**
   * Assesses a pod that is expected to be sick, and makes of it what the workflow hands to the later steps.
   *
   * @param options those of the rule; the requests of older versions have none
   */
  async sick(
    namespace: string,
    name: string,
    who = actor(),
    options?: DrainInstanceOptions,
  ): Promise<{ found: Sick; request: CutRequest }> {
    const found = await this.assess(namespace, name, { actor: who, ...(options && { options }) });
    if (found.verdict !== 'sick') throw new Error(`not sick but ${found.verdict}: ${found.why}`);
    const object = found.instance;
    const held = found.held.map((field) => ({ ...field, object, ...who, until: inMs(600_000) }));
    return { found, request: { step: 'cut', actor: who, instance: object, held, ...(options && { options }) } };
  }

  /** What Salvor changed in a namespace, or tried to. */
  async mutations(namespace: string, filter: AuditFilter = {}): Promise<AuditEvent[]> {
    return this.sandbox.kubernetes.readAudit({ user: 'salvor', namespace, ...filter });
  }
}

/** A bench for the tests of a file. */
export function useBench(): Bench {
  const bench = new Bench();
  beforeAll(() => bench.start(), 120_000);
  afterAll(() => bench.stop());
  return bench;
}
