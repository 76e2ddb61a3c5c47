import type { Held } from '../../../model/change.ts';
import type { GiveScaleBackRequest, Scale, ScaleToRequest } from '../../../model/ports/scalable.ts';
import { DESIRED_CAPACITY } from '../../../providers/aws/notes.ts';
import type { Attempt } from '../../../providers/instance.ts';
import type { ProviderReading, ScalableProvider } from '../../../providers/scalable.ts';
import { pulse, soon, type World } from './support.ts';

/** A group whose size one remediation sets. */
export class Scaled {
  readonly world: World;
  readonly group: string;
  readonly key: string;
  readonly actor = { runbook: 'scale-on-backlog', remediation: crypto.randomUUID() };
  readonly port: ScalableProvider;

  constructor(world: World, group: string) {
    this.world = world;
    this.group = group;
    this.key = `asg/main/${group}`;
    this.port = world.provider.scalable({ type: 'asg', aws: 'main', group });
  }

  static async of(world: World, sizes: { min: number; desired: number; max: number }): Promise<Scaled> {
    const { name } = await world.aws.group(sizes);
    return new Scaled(world, name);
  }

  read(uid?: string): Promise<ProviderReading> {
    return this.port.read(this.actor.remediation, uid);
  }

  async found(uid?: string): Promise<Scale> {
    const reading = await this.read(uid);
    if (reading.verdict !== 'found') throw new Error(`${reading.verdict}: ${reading.why}`);
    return reading.scale;
  }

  held(scale: Scale, set: number): Held[] {
    const { object, field, value: before } = scale.by;
    return [{ object, field, before, set, ...this.actor, until: soon(600_000) }];
  }

  request(scale: Scale, from: number, to: number): ScaleToRequest {
    return { step: 'scale', actor: this.actor, scale, from, to, held: this.held(scale, to) };
  }

  scale(scale: Scale, from: number, to: number, attempt: Attempt = pulse()) {
    return this.port.scaleTo(this.request(scale, from, to), attempt);
  }

  back(scale: Scale, set: number, attempt: Attempt = pulse()) {
    const request: GiveScaleBackRequest = { step: 'give-back', actor: this.actor, scale, held: this.held(scale, set) };
    return this.port.giveBack(request, attempt);
  }

  letGo(scale: Scale, set: number) {
    const request = { step: 'restore', actor: this.actor, scale, held: this.held(scale, set), letGo: true as const };
    return this.port.giveBack(request, pulse());
  }

  /** As a person would. */
  async set(desired: number): Promise<void> {
    await this.world.aws.setDesired(this.group, desired);
  }

  async desired(): Promise<number> {
    return (await this.world.aws.read(this.group)).desired;
  }

  /** What Salvor's own note says. */
  async note(): Promise<string | undefined> {
    return (await this.world.aws.notes(this.group))[NOTE];
  }

  /** What Salvor has changed, in order, as the proxy has it. */
  get mutations(): string[] {
    return this.world.moto.proxy.mutations('salvor', this.group);
  }
}

export const NOTE = `salvor.dev/held/${DESIRED_CAPACITY}`;
export const NOTED = `CreateOrUpdateTags ${NOTE}`;
export const UNNOTED = `DeleteTags ${NOTE}`;

/** What a remediation that goes on for so many milliseconds would have noted. */
export const noteOf = (remediation: string, forMs: number): string =>
  `runbook=scale-on-backlog remediation=${remediation} until=${new Date(Date.now() + forMs).toISOString()} before=2 from=2 set=3`;
