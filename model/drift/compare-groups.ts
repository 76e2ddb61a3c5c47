import { digest } from '../digest.ts';
import { type Difference, MOST_FIELDS, MOST_VALUE } from './difference.ts';
import { type Direction, type GroupRule, type LiveRule, ruleKey } from './group-rule.ts';
import { ignoredBy } from './ignore.ts';
import { type DeclaredGroup, nameOfDeclared } from './security-groups.ts';

/** A security group as it is. */
export interface LiveGroup {
  /** `sg-…` */
  id: string;
  name: string;
  vpc: string;
  /** Account that it is of. */
  owner: string;
  /** Carries the tag `salvor.dev/skip`. */
  skipped: boolean;
  rules: LiveRule[];
}

/** What would be written to one group. */
export interface GroupPlan {
  group: string;
  authorize: GroupRule[];
  revoke: LiveRule[];
}

export interface GroupDifference {
  difference: Difference;
  /** Absent where nothing is reverted. */
  plan?: GroupPlan;
}

export const KIND = 'aws_security_group';
/** How a rule that there is, or is to be, is shown. */
export const OPEN = 'open';
const DIRECTIONS = ['ingress', 'egress'] as const;

/**
 * How one group differs from what is declared of it; undefined where it does not.
 *
 * The declaration is the source, and nobody but Salvor applies it: so what differs is drift. A rule that is missing may be one
 * that was never there, for nothing on AWS tells; to open it is what the declaration asks for either way.
 */
export function compareGroup(
  declared: DeclaredGroup,
  live: LiveGroup | undefined,
  ignore: readonly string[],
): GroupDifference | undefined {
  if (!live) return missing(declared);
  const all = changesOf(declared, live);
  const left = isLeft(live, ignore);
  if (left !== undefined) return all.length === 0 ? undefined : reported(live, all, left);
  const writable = all.filter(({ path }) => ignoredBy(ignore, live.id, path) === undefined);
  const [first] = all;
  if (first && writable.length === 0)
    return reported(live, all, `left alone by the pattern ${ignoredBy(ignore, live.id, first.path)} of the stack`);
  if (!first) return describedOtherwise(declared, live);
  const plan = {
    group: live.id,
    authorize: writable.flatMap(({ opens }) => opens ?? []),
    revoke: writable.flatMap(({ closes }) => closes ?? []),
  };
  const why = `${labelOf(live)}: ${[
    plan.revoke.length > 0 && `${counted(plan.revoke, 'is', 'are')} open and not declared`,
    plan.authorize.length > 0 && `${counted(plan.authorize, 'is', 'are')} declared and not open`,
  ]
    .filter(Boolean)
    .join(', ')}`;
  return { difference: { ...differenceOf(live, writable, plan), class: 'reversible', why }, plan };
}

/** One rule that differs. */
interface RuleChange {
  path: string;
  opens?: GroupRule;
  closes?: LiveRule;
}

function changesOf(declared: DeclaredGroup, live: LiveGroup): RuleChange[] {
  return DIRECTIONS.flatMap((direction) => {
    // What is not declared at all is not managed.
    if (!declared[direction]) return [];
    const wanted = keysOf(declared[direction].map((rule) => within(rule, live)));
    const there = rulesOf(live, direction);
    const isThere = keysOf(there);
    return [
      ...[...wanted].flatMap(([path, opens]) => (isThere.has(path) ? [] : [{ path, opens }])),
      // Each by itself: of two that look the same each has an id.
      ...there.flatMap((closes) => {
        const path = ruleKey(closes);
        return wanted.has(path) ? [] : [{ path, closes }];
      }),
    ];
  });
}

/** As it is told of in the group's own account: a group of that may be named with the account, or without. */
function within(rule: GroupRule, { owner }: LiveGroup): GroupRule {
  const { source } = rule;
  return 'group' in source && source.account === owner ? { ...rule, source: { group: source.group } } : rule;
}

const keysOf = <R extends GroupRule>(rules: readonly R[]): Map<string, R> =>
  new Map(rules.map((rule) => [ruleKey(rule), rule]));

function isLeft({ id, name, skipped }: LiveGroup, ignore: readonly string[]): string | undefined {
  if (skipped) return 'it carries the tag salvor.dev/skip';
  if (name === 'default') return 'it is the default group of its VPC, which Salvor leaves alone';
  const pattern = ignoredBy(ignore, id);
  return pattern === undefined ? undefined : `left alone by the pattern ${pattern} of the stack`;
}

function reported(live: LiveGroup, changes: readonly RuleChange[], reason: string): GroupDifference {
  const plan = { group: live.id, authorize: [], revoke: [] };
  const why = `${labelOf(live)} differs in ${counted(changes)}: ${reason}`;
  return { difference: { ...differenceOf(live, changes, plan), class: 'ignored', why } };
}

function differenceOf(
  live: LiveGroup,
  changes: readonly RuleChange[],
  plan: GroupPlan,
): Omit<Difference, 'class' | 'why'> {
  const fields = changes.map(({ path, closes }) =>
    closes ? { path, live: OPEN, source: null } : { path, live: null, source: OPEN },
  );
  return {
    address: live.id,
    kind: KIND,
    action: 'update',
    fields: fields.slice(0, MOST_FIELDS),
    ...(fields.length > MOST_FIELDS && { more: fields.length - MOST_FIELDS }),
    digest: digestOf(plan),
  };
}

/** Of what would be opened, and of just those rules that would be closed: a successor of one is another. */
export const digestOf = ({ group, authorize, revoke }: GroupPlan): string =>
  digest({
    group,
    authorize: authorize
      .map((rule) => ({ rule: ruleKey(rule), description: rule.description }))
      .sort(by(({ rule }) => rule)),
    revoke: revoke.map((rule) => ({ rule: ruleKey(rule), id: rule.id })).sort(by(({ id }) => id)),
  });

function missing(declared: DeclaredGroup): GroupDifference {
  const address = nameOfDeclared(declared);
  const rules = DIRECTIONS.flatMap((direction) => declared[direction] ?? []);
  const why = `${declared.where}: there is no such security group in this account and region; Salvor makes none: what would be in it nobody has said`;
  const fields = rules.slice(0, MOST_FIELDS).map((rule) => ({ path: ruleKey(rule), live: null, source: OPEN }));
  return {
    difference: {
      ...{ address, kind: KIND, class: 'mixed', why, action: 'create', fields },
      ...(rules.length > MOST_FIELDS && { more: rules.length - MOST_FIELDS }),
      digest: digest({ missing: address, rules: rules.map(ruleKey) }),
    },
  };
}

/** They let the same through: nothing that is worth a write. */
function describedOtherwise(declared: DeclaredGroup, live: LiveGroup): GroupDifference | undefined {
  const fields = DIRECTIONS.flatMap((direction) => {
    const there = keysOf(rulesOf(live, direction));
    return (declared[direction] ?? []).flatMap((rule) => {
      const is = there.get(ruleKey(within(rule, live)))?.description;
      const { description } = rule;
      if (description === undefined || description === is) return [];
      return [{ path: `${ruleKey(rule)}.description`, live: cut(is), source: cut(description) }];
    });
  });
  if (fields.length === 0) return undefined;
  return {
    difference: {
      ...{ address: live.id, kind: KIND, class: 'ignored', action: 'update' },
      why: `${labelOf(live)}: only descriptions differ, which let the same through`,
      fields: fields.slice(0, MOST_FIELDS),
      ...(fields.length > MOST_FIELDS && { more: fields.length - MOST_FIELDS }),
      digest: digest({ group: live.id, fields }),
    },
  };
}

const cut = (text: string | undefined): string | null => text?.slice(0, MOST_VALUE) ?? null;

const rulesOf = ({ rules }: LiveGroup, direction: Direction): LiveRule[] =>
  rules.filter((rule) => rule.direction === direction);

const labelOf = ({ name, vpc }: LiveGroup): string => `${name} of ${vpc}`;

function counted(rules: readonly unknown[], one = '', many = ''): string {
  const verb = rules.length === 1 ? one : many;
  return `${rules.length} ${rules.length === 1 ? 'rule' : 'rules'}${verb && ` ${verb}`}`;
}

const by =
  <T>(text: (one: T) => string) =>
  (a: T, b: T): number =>
    text(a) < text(b) ? -1 : 1;
