import { equal, type Json } from '../breaker/patch.ts';
import type { DriftClass } from './difference.ts';
import { controllerAmong, type Manager, OWN_MANAGER, runbookAmong } from './managers.ts';

/**
 * What a difference between an object of Kubernetes and its manifest is.
 *
 * The question is whether somebody changed the world or somebody changed the source. What was applied last answers it, field by
 * field:
 *
 *     applied = source ≠ live      drift: the world moved
 *     applied = live   ≠ source    unapplied: the source moved, and that is somebody's deploy
 *     all three differ             mixed: both moved
 *
 * What was applied last is told by kubectl's annotation. Where there is none, the owner of the field as it is live tells: its
 * deployer wrote it, so the source moved; somebody else did, so the world moved. Of a field that is gone nobody is the owner any
 * more, and nothing tells a removed one from one that is new in the source: it is taken for unapplied, for what nobody has ever
 * applied must not be applied by Salvor.
 *
 * An object is as its fields are; both drift and unapplied source in one object make it mixed.
 */
export type FieldClass = 'ignored' | 'held' | 'unapplied' | 'mixed' | 'reversible';

/** What is known of one field that differs; undefined: absent. */
export interface FieldFacts {
  source: Json | undefined;
  live: Json | undefined;
  /** What was applied last; absent: there is no record of it. */
  applied?: { value: Json | undefined };
  /** Of the field as it is live, the newest first. */
  owners: readonly Manager[];
  /** Name of the manager that has applied the object. */
  applier: string | undefined;
  /** Why it is left alone, for people: a pattern of the stack, or an autoscaler. */
  ignored?: string | undefined;
  /** Who holds it, for people. */
  held?: string | undefined;
}

export interface FieldVerdict {
  class: FieldClass;
  why: string;
}

export function classifyField(facts: FieldFacts): FieldVerdict {
  const { source, live, applied, owners, applier, ignored, held } = facts;
  if (ignored !== undefined) return { class: 'ignored', why: ignored };
  if (held !== undefined) return { class: 'held', why: held };
  const runbook = runbookAmong(owners);
  if (runbook !== undefined) return { class: 'held', why: `last set by ${runbook}` };
  const controller = controllerAmong(owners, applier);
  if (controller !== undefined) return { class: 'ignored', why: controller };
  if (applied) {
    if (equal(applied.value, source)) return { class: 'reversible', why: 'it was applied as the source has it' };
    if (equal(applied.value, live)) return { class: 'unapplied', why: 'it is as it was applied last' };
    return { class: 'mixed', why: 'neither the source nor the live object has what was applied last' };
  }
  const [owner] = owners;
  if (!owner) {
    return {
      class: 'unapplied',
      why:
        live === undefined
          ? 'it is not there, and nothing tells whether it was ever applied'
          : 'nothing tells who has set it, or what was applied',
    };
  }
  const deployer = owners.find(({ manager }) => manager === applier || manager === OWN_MANAGER);
  if (deployer) return { class: 'unapplied', why: `it is as ${deployer.manager} has applied it` };
  return { class: 'reversible', why: `set by ${owner.manager}, and ${applier ?? 'nobody known'} applies the object` };
}

/** What the fields of one object make of it. None: `computed`. */
export function classifyObject(fields: readonly Pick<FieldVerdict, 'class'>[]): DriftClass {
  const has = (one: FieldClass) => fields.some((field) => field.class === one);
  if (has('mixed') || (has('reversible') && has('unapplied'))) return 'mixed';
  return (['reversible', 'unapplied', 'held', 'ignored'] as const).find(has) ?? 'computed';
}
