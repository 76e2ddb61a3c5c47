import type { FieldValue } from '../change.ts';
import { digest } from '../digest.ts';
import { type Difference, type DriftClass, type FieldDrift, MOST_FIELDS, MOST_VALUE, SENSITIVE } from './difference.ts';
import { GoneAtOnce } from './gone.ts';
import { ignoredBy } from './ignore.ts';
import { Configuration, isSet, referencesAt } from './plan-configuration.ts';
import { isObject, type Json, type PlanJson, type ResourceChange } from './plan-json.ts';
import { isOf, objectOf } from './plan-objects.ts';
import { dependenciesOf } from './plan-state.ts';
import { diffValues, type Marks, pathText, type ValueDiff } from './plan-values.ts';
import { maybeItsSize, sizesIn } from './sizes.ts';

/** What is known beside the plan. */
export interface PlanContext {
  /** Patterns, as of {@link ignoredBy}. */
  ignore: readonly string[];
  /** What Salvor holds now: the key of the object, and which remediation holds it; or why that cannot be told. */
  held: readonly { key: string; by: string }[];
  /**
   * Makes of a value that is secret something that differs when it does, and from which nobody gets it back, also not by
   * trying all short ones.
   */
  seal: (value: unknown) => string;
}

/**
 * Sorts everything that differs in a plan. Two things are told apart, by what the state had before it was refreshed (then),
 * what there is (now), and what an apply would make of it (planned):
 *
 * - the world has changed where the plan says so in `resource_drift`: then ≠ now;
 * - the source has changed where an apply would write something that was not so before either: now ≠ planned ≠ then.
 *
 * So what is reverted goes to where it was, and nowhere else. What an apply of OpenTofu's has written into the state is "then":
 * who has run `tofu refresh` has accepted what there is, and from then on it is the source that differs.
 */
export function classifyPlan(plan: PlanJson, context: PlanContext): Difference[] {
  const scene = new Scene(plan, context);
  const addresses = new Set([...scene.drift.keys(), ...scene.changes.keys()]);
  const differences = [...addresses].flatMap((address) => scene.look(address) ?? []);
  return gravestFirst(differences);
}

/** In an order that does not depend on that of the plan. */
export const gravestFirst = (differences: readonly Difference[]): Difference[] =>
  differences.toSorted((a, b) => GRAVITY[a.class] - GRAVITY[b.class] || (a.address < b.address ? -1 : 1));

/** The gravest first. */
const GRAVITY: Record<DriftClass, number> = {
  ...{ destructive: 0, mixed: 1, reversible: 2, extra: 3, held: 4, unapplied: 5, ignored: 6, computed: 7 },
};

/** Addresses that an apply of this plan would change. A plan whose addresses are not all reviewed must not be applied. */
export const changedAddresses = (plan: PlanJson): string[] => [
  ...new Set(plan.resource_changes.filter(isReal).map(({ address }) => address)),
];

type Differ = (from: unknown, to: unknown, marks: Marks) => ValueDiff[];

/**
 * Compares values of one resource. Where anything of it is secret, everything that its source does not set counts as secret
 * too: a provider that computes one attribute of another does not mark it (kubectl_manifest has the text of `yaml_body` in
 * `yaml_body_parsed`).
 */
function differing(changes: readonly (ResourceChange | undefined)[], expressions: Json | undefined): Differ {
  const hasSecret = changes.some((one) => one && hasSecretIn(one));
  return (from, to, marks) => {
    const found = diffValues(from, to, marks);
    return hasSecret ? found.map((one) => (isSet(expressions, one.path) ? one : { ...one, sensitive: true })) : found;
  };
}

const hasSecretIn = ({ change: { before, after, before_sensitive, after_sensitive } }: ResourceChange): boolean =>
  isSecret(before, before_sensitive) || isSecret(after, after_sensitive);

const isSecret = (value: unknown, mark: unknown): boolean =>
  diffValues(undefined, value, { toSensitive: mark }).some(({ sensitive }) => sensitive);

const BY_WHOM = 'by hand, or by something that the source does not know';

type Verdict = { class: DriftClass; why: string };

interface Look {
  address: string;
  drift?: ResourceChange;
  change?: ResourceChange;
  /** Of the change where there is one, else of the drift. */
  resource: ResourceChange;
  expressions?: Json;
  /** What an apply would write: now → planned. */
  writes: ValueDiff[];
  /** What has changed in the world: then → now. */
  drifted: ValueDiff[];
  /** then → planned, of what an apply would write. */
  moved: ValueDiff[];
  differ: Differ;
}

class Scene {
  readonly drift: ReadonlyMap<string, ResourceChange>;
  readonly changes: ReadonlyMap<string, ResourceChange>;
  readonly #context: PlanContext;
  readonly #deposed: ReadonlySet<string>;
  readonly #configuration: Configuration;
  readonly #gone: GoneAtOnce;
  readonly #dependencies: ReadonlyMap<string, readonly string[]>;

  constructor(plan: PlanJson, context: PlanContext) {
    this.drift = byAddress(plan.resource_drift.filter(isReal));
    this.changes = byAddress(plan.resource_changes.filter(isReal));
    this.#context = context;
    const deposed = plan.resource_changes.filter((one) => one.deposed !== undefined && isReal(one));
    this.#deposed = new Set(deposed.map(({ address }) => address));
    this.#configuration = new Configuration(plan);
    this.#gone = new GoneAtOnce(plan, this.#configuration);
    this.#dependencies = dependenciesOf(plan);
  }

  look(address: string): Difference | undefined {
    const drift = this.drift.get(address);
    const change = this.changes.get(address);
    const resource = change ?? drift;
    if (!resource) return undefined;
    const expressions = this.#configuration.expressions(resource);
    const differ = differing([drift, change], expressions);
    const then = drift ? drift.change.before : change?.change.before;
    const writes = change ? differ(change.change.before, change.change.after, marksOf(change)) : [];
    const tops = new Set(writes.map(topOf));
    const marks: Marks = { ...(change && marksOf(change)), fromSensitive: drift?.change.before_sensitive };
    const moved = change ? differ(then, change.change.after, marks).filter((one) => tops.has(topOf(one))) : [];
    const drifted = drift ? differ(drift.change.before, drift.change.after, marksOf(drift)) : [];
    const look: Look = { address, drift, change, resource, expressions, writes, drifted, moved, differ };
    return this.#told(look, this.#verdict(look));
  }

  #verdict(look: Look): Verdict {
    return this.#ignored(look) ?? this.#held(look) ?? this.#sorted(look);
  }

  #ignored({ address, drift, writes, drifted }: Look): Verdict | undefined {
    const { ignore } = this.#context;
    const whole = ignoredBy(ignore, address);
    if (whole !== undefined) return { class: 'ignored', why: `by the pattern ${whole}` };
    const paths = (writes.length > 0 ? writes : drifted).map(({ path }) => pathText(path));
    const patterns = paths.flatMap((path) => ignoredBy(ignore, address, path) ?? []);
    const [first] = patterns;
    if (first === undefined) return undefined;
    if (patterns.length === paths.length) return { class: 'ignored', why: `by the pattern ${first}` };
    return (
      drift && {
        class: 'mixed',
        why: `a part of it is ignored by the pattern ${first}, and only all of an address can be reverted`,
      }
    );
  }

  #held({ drift, resource }: Look): Verdict | undefined {
    const object = drift && objectOf(resource.change.before ? resource : drift);
    if (!object) return undefined;
    const held = this.#context.held.find(({ key }) => isOf(object, key));
    return held && { class: 'held', why: `held by ${held.by} on ${held.key}` };
  }

  #sorted(look: Look): Verdict {
    const { drift, change } = look;
    if (!change) return drift ? leftAsItIs(drift) : { class: 'computed', why: 'nothing differs' };
    const source = this.#sourceChange(look);
    if (!drift) return source ? { class: 'unapplied', why: source } : this.#consequence(look);
    if (source) return { class: 'mixed', why: `it was changed by hand, and ${source}` };
    const open = this.#openDependency(look);
    if (open !== undefined) {
      return {
        class: 'mixed',
        why: `it was changed by hand, and depends on ${open}, of which the source is not yet applied`,
      };
    }
    const sized = resized(look);
    if (sized) return sized;
    // What of it the source has only now nobody can tell: a state has no provisioners.
    const runs = this.#configuration.hasProvisioners(change) ? ', and that runs its provisioners' : '';
    if (actionOf(change) === 'replace')
      return { class: 'destructive', why: `it was changed by hand; to revert it replaces it${runs}` };
    if (!isDelete(drift)) return { class: 'reversible', why: `it was changed ${BY_WHOM}` };
    const atOnce = this.#gone.why(change);
    if (atOnce === undefined)
      return {
        class: runs === '' ? 'reversible' : 'destructive',
        why: `it was deleted ${BY_WHOM}${runs && `; to revert it makes it${runs}`}`,
      };
    return {
      class: 'destructive',
      why: `it is gone, and so much else at once that it may be the wrong place: ${atOnce}`,
    };
  }

  /** What of the source an apply would bring into the world for the first time; undefined: nothing. */
  #sourceChange({ change, drift, moved, expressions }: Look): string | undefined {
    if (!change) return undefined;
    if (change.previous_address !== undefined) return `the source has moved it from ${change.previous_address}`;
    if (isObject(change.change.importing)) return 'the source imports it';
    if (this.#deposed.has(change.address)) return 'an earlier apply has left an old object of it';
    const action = actionOf(change);
    if (action === 'delete') return 'the source does not have it any more';
    if (action === 'create' && !drift) return 'the source has it, and it was not yet applied';
    const known = moved.find(({ unknown }) => !unknown);
    if (known) return `the source has another ${pathText(known.path)}, not yet applied`;
    const open = moved.find(
      (one) => one.unknown && isUncertain(one, expressions) && !this.#follows(change, one, expressions),
    );
    if (open) return `what the source wants of ${pathText(open.path)} is known after an apply only`;
    // It needs no drift to be replaced: tainted, triggered, or somebody asked for it.
    const isFollowing = moved.some((one) => this.#follows(change, one, expressions));
    if (action === 'replace' && !drift && !isFollowing) return 'it is to be replaced, and was not yet';
    const own = drift && moved.find((one) => one.unknown && isUncertain(one, expressions));
    return own && `what the source wants of ${pathText(own.path)} is known only when what it depends on is reverted`;
  }

  /** Nobody has changed it, nor its source. */
  #consequence({ change, moved, expressions }: Look): Verdict {
    const followed = change && moved.flatMap((one) => this.#follows(change, one, expressions) ?? [])[0];
    if (followed === undefined) return { class: 'computed', why: 'only what the provider computes' };
    return { class: 'computed', why: `follows from ${followed}, which was changed by hand` };
  }

  /** The drifted resource that a value, not yet known, comes from. */
  #follows({ module_address: module }: ResourceChange, { path }: ValueDiff, expressions?: Json): string | undefined {
    const prefix = module === undefined ? '' : `${module}.`;
    const references = referencesAt(expressions, path).map((reference) => prefix + reference);
    return [...this.drift.keys()].find(
      (address) => references.includes(withoutIndex(address)) || references.includes(address),
    );
  }

  /** What is not yet applied, among what it depends on: a targeted apply would bring that too. */
  #openDependency({ address }: Look): string | undefined {
    const dependencies = this.#dependencies.get(address) ?? this.#dependencies.get(withoutIndex(address)) ?? [];
    const among = new Set(dependencies);
    for (const [other, change] of this.changes) {
      const isNeeded = other !== address && (among.has(other) || among.has(withoutIndex(other)));
      if (isNeeded && !(this.drift.has(other) && actionOf(change) !== 'delete')) return other;
    }
    return undefined;
  }

  #told(look: Look, verdict: Verdict): Difference {
    const { address, resource, change, drift, writes, drifted } = look;
    const shown = writes.length > 0 ? writes : drifted.map(({ from, to, ...one }) => ({ ...one, from: to, to: from }));
    const fields = shown.map(fieldOf);
    const more = fields.length - MOST_FIELDS;
    const object = objectOf(resource.change.before || !drift ? resource : drift);
    return {
      address,
      kind: (object?.of === 'kubernetes' && object.shownKind) || resource.type,
      ...verdict,
      action: actionOf(change ?? resource),
      fields: fields.slice(0, MOST_FIELDS),
      ...(more > 0 && { more }),
      digest: this.#digest(look),
    };
  }

  /**
   * Of what an apply would write and of what is there, not of what the state had: an apply that was cut short has written what
   * there is into the state, and the rest of it is still the same.
   */
  #digest({ address, change, drift, writes, drifted, differ }: Look): string {
    const { seal } = this.#context;
    const safe = ({ path, from, to, unknown, sensitive }: ValueDiff) => ({
      ...{ path, unknown },
      from: sensitive ? seal(from) : from,
      to: sensitive ? seal(to) : to,
    });
    // Where nothing that is known would be written, what is there is in no write: then all of it counts.
    const isBlind = writes.every(({ unknown }) => unknown);
    const now = change?.change.before;
    const there = isBlind && now ? differ(undefined, now, { toSensitive: change.change.before_sensitive }) : [];
    return digest({
      address,
      actions: change?.change.actions,
      replaces: change?.change.replace_paths,
      writes: writes.map(safe),
      there: there.map(safe),
      drifted: change ? undefined : drifted.map(safe),
      drift: change ? undefined : drift?.change.actions,
    });
  }
}

/** Nothing of the source is open, but what differs is how many there are of it, or may be that. */
function resized({ change, writes }: Look): Verdict | undefined {
  // What is gone has no size that anybody could own.
  if (!change || actionOf(change) === 'create') return undefined;
  const told = writes.filter(({ unknown }) => !unknown);
  const [size] = sizesIn(change, told);
  if (size) {
    const name = pathText(size.path);
    return sizesIn(change, told).length === told.length
      ? { class: 'ignored', why: `only its size differs (${name}), which an autoscaler may own` }
      : { class: 'mixed', why: `its size differs too (${name}), which an autoscaler may own` };
  }
  return maybeItsSize(change)
    ? { class: 'mixed', why: 'which field differs cannot be told, and it may be its size, which an autoscaler may own' }
    : undefined;
}

/** Whether the source sets a value that is not yet known; of nested blocks it may be `dynamic`, which a plan does not tell. */
function isUncertain({ path, from }: ValueDiff, expressions: Json | undefined): boolean {
  if (isSet(expressions, path)) return true;
  const isTold = isSet(expressions, path.slice(0, 1));
  return !isTold && (Array.isArray(from) ? from.some(isObject) : path.length > 1);
}

const leftAsItIs = (drift: ResourceChange): Verdict => ({
  class: 'computed',
  why: isDelete(drift) ? 'it is gone, and the source does not want it' : 'the source does not set what differs',
});

const marksOf = ({ change }: ResourceChange): Marks => ({
  unknown: change.after_unknown,
  fromSensitive: change.before_sensitive,
  toSensitive: change.after_sensitive,
});

const topOf = ({ path }: ValueDiff): string | number => path[0] ?? '';

/** Reading a data source is none, and an apply does it too. */
const isReal = ({ mode, previous_address: previous, change: { actions, importing } }: ResourceChange): boolean =>
  mode === 'managed' &&
  (previous !== undefined || isObject(importing) || actions.some((action) => action !== 'no-op' && action !== 'read'));

const isDelete = ({ change: { actions } }: ResourceChange): boolean => actions.length === 1 && actions[0] === 'delete';

function actionOf({ change: { actions } }: ResourceChange): Difference['action'] {
  const creates = actions.includes('create');
  if (actions.includes('delete') || actions.includes('forget')) return creates ? 'replace' : 'delete';
  return creates ? 'create' : 'update';
}

/** Of two objects of one address (one of them deposed) the one that is in use. */
function byAddress(all: readonly ResourceChange[]): Map<string, ResourceChange> {
  const found = new Map<string, ResourceChange>();
  for (const one of all) if (one.deposed === undefined || !found.has(one.address)) found.set(one.address, one);
  return found;
}

/** `module.a["x"].kind.name["y"]` as state and configuration name it: without the last index. */
const withoutIndex = (address: string): string => address.replace(/\[(?:"(?:[^"\\]|\\.)*"|[0-9]+)\]$/, '');

function fieldOf({ path, from, to, unknown, sensitive }: ValueDiff): FieldDrift {
  const name = pathText(path);
  if (sensitive) return { path: cut(name), live: SENSITIVE, source: SENSITIVE, sensitive: true };
  return { path: cut(name), live: shownValue(from), source: unknown ? UNKNOWN : shownValue(to) };
}

/** What stands for a value that the provider tells after the apply only. */
const UNKNOWN = '(known after apply)';

function shownValue(value: unknown): FieldValue {
  if (value === undefined || value === null) return null;
  if (typeof value === 'number' || typeof value === 'boolean') return value;
  return cut(typeof value === 'string' ? value : JSON.stringify(value));
}

const cut = (text: string): string => (text.length <= MOST_VALUE ? text : `${text.slice(0, MOST_VALUE - 1)}…`);
