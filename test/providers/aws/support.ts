import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TerminateInstanceInAutoScalingGroupCommand } from '@aws-sdk/client-auto-scaling';
import type { Change, Held } from '../../../model/change.ts';
import type { Assessment, CutRequest, ReplaceRequest } from '../../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../../model/rule.ts';
import { Aws, type AwsMeans } from '../../../providers/aws/provider.ts';
import type { Check } from '../../../providers/checks.ts';
import { UnavailableError } from '../../../providers/errors.ts';
import type { InstanceProvider, Pulse } from '../../../providers/instance.ts';
import { type Moto, startMoto } from '../../../sandbox/moto.ts';
import { REGION, TestAws } from '../../support/aws.ts';

export type Sick = Extract<Assessment, { verdict: 'sick' }>;

export const OPTIONS: DrainInstanceOptions = {
  traffic: 'auto',
  health: { promql: { query: 'errors{instance="${instance}"}', atMost: 0 } },
  flaps: 3,
  recoverWithin: 60_000,
  stableFor: 300,
  replace: true,
  quietFor: 0,
  evictWithin: 60_000,
  verifyWithin: 60_000,
};

export const soon = (ms: number): string => new Date(Date.now() + ms).toISOString();

/** moto, Salvor's provider on it (as the access key `salvor`), and a check whose answer the test chooses. */
export class World {
  moto!: Moto;
  aws!: TestAws;
  provider!: Aws;
  /** Instances that a check finds sick. */
  readonly sick = new Set<string>();
  /** Instances of which Prometheus does not answer. */
  readonly unknown = new Set<string>();
  /** How often each was checked. */
  readonly checks = new Map<string, number>();
  readonly check: Check = async (_health, { values: { instance = '' } }) => {
    this.checks.set(instance, (this.checks.get(instance) ?? 0) + 1);
    if (this.unknown.has(instance)) throw new UnavailableError('Prometheus does not answer');
    const sick = this.sick.has(instance);
    return { healthy: !sick, why: sick ? 'errors is 1, more than 0' : 'errors is 0' };
  };
  #folder = '';

  async start(): Promise<void> {
    // As whom it asks is what the proxy tells the tests' own requests by.
    process.env['AWS_ACCESS_KEY_ID'] = 'salvor';
    process.env['AWS_SECRET_ACCESS_KEY'] = 'salvor';
    this.#folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
    this.moto = await startMoto({ folder: this.#folder });
    this.aws = new TestAws(this.moto);
    this.provider = this.make({ check: this.check });
  }

  async stop(): Promise<void> {
    this.aws?.close();
    await this.provider?.close();
    await this.moto?.stop();
    await rm(this.#folder, { recursive: true, force: true });
  }

  make(means: AwsMeans = {}): Aws {
    return new Aws({ name: 'main', region: REGION, endpoint: this.moto.url }, { every: 50, ...means });
  }

  /** A group whose first instance a check finds sick, and what acts on that. */
  async patient(sizes: { min: number; desired: number; max: number }, options: Partial<DrainInstanceOptions> = {}) {
    const { name, ids } = await this.aws.group(sizes);
    this.sick.add(ids[0]!);
    return this.patientOf(name, ids[0]!, options);
  }

  patientOf(group: string, id: string, options: Partial<DrainInstanceOptions> = {}): Patient {
    return new Patient(this, group, id, { ...OPTIONS, ...options });
  }

  /** As a person would. */
  async terminate(InstanceId: string): Promise<void> {
    const command = new TerminateInstanceInAutoScalingGroupCommand({
      InstanceId,
      ShouldDecrementDesiredCapacity: false,
    });
    await this.aws.client.send(command);
  }
}

export class Patient {
  readonly world: World;
  readonly group: string;
  readonly id: string;
  readonly key: string;
  readonly options: DrainInstanceOptions;
  readonly actor = { runbook: 'drain-instance', remediation: crypto.randomUUID() };
  readonly port: InstanceProvider;

  constructor(world: World, group: string, id: string, options: DrainInstanceOptions) {
    this.world = world;
    this.group = group;
    this.id = id;
    this.options = options;
    this.key = `asg/main/${group}/${id}`;
    this.port = world.provider.instance({ type: 'asg', aws: 'main', group, instance: id });
  }

  assess(uid?: string): Promise<Assessment> {
    const { key: target, options, actor } = this;
    return this.port.assess({ target, options, actor, ...(uid !== undefined && { uid }) });
  }

  async sick(): Promise<Sick> {
    const found = await this.assess();
    if (found.verdict !== 'sick') throw new Error(`${found.verdict}: ${found.why}`);
    return found;
  }

  request(found: Sick, step = 'cut'): CutRequest & { held: Held[] } {
    const { actor, options } = this;
    const until = soon(600_000);
    const held = found.held.map((one) => ({ ...one, object: found.instance, ...actor, until }));
    return { step, actor, instance: found.instance, held, options };
  }

  /** Diagnosed and taken out of service. */
  async out(): Promise<{ found: Sick; request: CutRequest & { held: Held[] }; changes: Change[] }> {
    const found = await this.sick();
    const request = this.request(found);
    return { found, request, changes: await this.port.cut(request, pulse()) };
  }

  hold(request: CutRequest, { deadline = soon(30_000), by = pulse() } = {}) {
    const { stableFor } = this.options;
    return this.port.hold({ ...request, step: 'restore', deadline, stableFor }, by);
  }

  replace(found: Sick, request: CutRequest, { by = pulse(), deadline = soon(30_000) } = {}) {
    const { actor, options } = this;
    const { instance, owner } = found;
    const asked: ReplaceRequest = { step: 'replace', actor, instance, owner, notBefore: soon(0), deadline, options };
    return this.port.replace({ ...asked, held: request.held }, by);
  }

  verify(found: Sick, request: CutRequest, deadline = soon(30_000)) {
    const { actor, options } = this;
    const { instance, owner } = found;
    return this.port.verify({ actor, instance, owner, deadline, options, held: request.held }, pulse());
  }

  /** What Salvor has changed, in order, as the proxy has it. */
  get mutations(): string[] {
    return this.world.moto.proxy.mutations('salvor', this.group, this.id);
  }
}

/** An attempt, as an activity gives it; `said` is what its next one would be told. */
export function pulse(last?: unknown): Pulse & { said: unknown } {
  return {
    ...{ since: Date.now(), aloneUntil: Number.POSITIVE_INFINITY, signal: new AbortController().signal },
    ...{ last, said: undefined },
    stillMine: async () => undefined,
    beat(details: unknown) {
      // As it travels.
      this.said = details === undefined ? undefined : JSON.parse(JSON.stringify(details));
    },
  };
}
