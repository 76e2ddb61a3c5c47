import type { Held } from '../../model/change.ts';
import type { AwsConfig } from '../../model/config.ts';
import { type AsgTarget, parseTarget } from '../../model/target.ts';
import type { Check } from '../checks.ts';
import { FinalError } from '../errors.ts';
import type { EvidenceProvider } from '../evidence.ts';
import type { HeldOn, InstanceProvider, Release } from '../instance.ts';
import type { Machines } from '../machines.ts';
import type { ScalableProvider } from '../scalable.ts';
import { Account } from './account.ts';
import { assess } from './assess.ts';
import { cut } from './cut.ts';
import { GroupEvidence } from './evidence.ts';
import { restore } from './give-back.ts';
import { hold } from './hold.ts';
import { machinesOf } from './machines.ts';
import { Metrics } from './metrics.ts';
import { findHeld, release } from './release.ts';
import { replace } from './replace.ts';
import { read } from './scale/read.ts';
import { findHeldSizes, releaseSize } from './scale/release.ts';
import { type GroupScene, recentPolicies } from './scale/scene.ts';
import { whoSet } from './scale/who.ts';
import { giveBack, scaleTo } from './scale/write.ts';
import type { Scene } from './scene.ts';
import { SecurityGroups } from './security-groups/api.ts';
import { Trail } from './trail.ts';
import { verify } from './verify.ts';

/** Milliseconds between two looks of a wait, to twice that: the API takes a few requests a second for a whole account. */
const EVERY_MS = 5_000;

/** What else it needs. */
export interface AwsMeans {
  /** The checks of rules; absent where there is no Prometheus. */
  check?: Check;
  /** Milliseconds between two looks of a wait, at least. Default: 5 s. */
  every?: number;
}

/** What acts on the Auto Scaling groups of one account and region, and on their instances. */
export class Aws {
  /** What the gates need to know of them. */
  readonly evidence: EvidenceProvider;
  readonly machines: Machines;
  /** What CloudWatch knows of the account and region. */
  readonly metrics: Metrics;
  readonly securityGroups: SecurityGroups;
  /** What CloudTrail knows of them. */
  readonly trail: Trail;
  readonly #account: Account;
  readonly #means: AwsMeans;
  readonly #policies = recentPolicies();

  constructor(config: AwsConfig, means: AwsMeans = {}) {
    this.#account = new Account(config);
    this.#means = means;
    this.evidence = new GroupEvidence(this.#account);
    this.machines = machinesOf(this.#account);
    this.metrics = new Metrics(config);
    this.securityGroups = new SecurityGroups(config);
    this.trail = new Trail(config);
  }

  /** The Instance port for one instance. @throws FinalError `UnknownTarget` for a group */
  instance(target: AsgTarget): InstanceProvider {
    const scene = this.#scene(target);
    return {
      assess: (request) => assess(scene, request),
      cut: (request, attempt) => cut(scene, request, attempt),
      restore: (request) => restore(scene, request),
      hold: (request, pulse) => hold(scene, request, pulse),
      replace: (request, pulse) => replace(scene, request, pulse),
      verify: (request, pulse) => verify(scene, request, pulse),
    };
  }

  /** The Scalable port for one group. @throws FinalError `UnknownTarget` for an instance */
  scalable(target: AsgTarget): ScalableProvider {
    const scene = this.#groupScene(target);
    return {
      read: (remediation, uid) => read(scene, remediation, uid),
      scaleTo: (request, attempt) => scaleTo(scene, request, attempt),
      giveBack: (request, attempt) => giveBack(scene, request, attempt),
      whoSet: () => whoSet(scene),
    };
  }

  /** Name of the Auto Scaling group that the instance is in; undefined where it is in none. */
  async groupOf(instanceId: string): Promise<string | undefined> {
    return (await this.#account.find(instanceId))?.group;
  }

  /** Gives back what is held of one instance, or of the size of a group, without its remediation. */
  async release(held: Held, dryRun: boolean): Promise<Release> {
    const target = parseTarget(held.object.key);
    if (target.type !== 'asg')
      throw new FinalError(`${held.object.key} is no Auto Scaling group, nor an instance in one`, {
        type: 'UnknownTarget',
      });
    if (target.instance === undefined) return releaseSize(this.#groupScene(target), held, dryRun);
    return release(this.#scene(target), held, dryRun);
  }

  /** What the groups of the account say is held of them and of their instances. */
  async find(): Promise<HeldOn[]> {
    const groups = await this.#account.groups();
    return [...findHeldSizes(this.#account, groups), ...findHeld(this.#account, groups)];
  }

  async close(): Promise<void> {
    await Promise.all([this.#account, this.metrics, this.securityGroups, this.trail].map((it) => it.close()));
  }

  #groupScene({ aws, group, instance }: AsgTarget): GroupScene {
    if (instance !== undefined)
      throw new FinalError(`asg/${aws}/${group}/${instance} is an instance, and only a group has a size`, {
        type: 'UnknownTarget',
      });
    return { account: this.#account, group, policies: this.#policies };
  }

  #scene({ aws, group, instance }: AsgTarget): Scene {
    if (instance === undefined)
      throw new FinalError(`asg/${aws}/${group} is a group, and only an instance in it can be drained`, {
        type: 'UnknownTarget',
      });
    const { check, every = EVERY_MS } = this.#means;
    return { account: this.#account, group, id: instance, check, every };
  }
}
