import type { GroupPlan } from './compare-groups.ts';
import type { Culprit } from './difference.ts';
import { type Direction, normalRule, ruleKey, type TellsRule } from './group-rule.ts';
import type { TrailEvent } from './trail-event.ts';

/** What an event says of rules. */
interface Told {
  event: TrailEvent;
  /** Ids of rules that are named anywhere in it. */
  ids: Set<string>;
  /** Rules, by {@link ruleKey}; an event that does not say its direction has both. */
  rules: Set<string>;
}

const EVENT = /^(Authorize|Revoke|Modify)SecurityGroup(Ingress|Egress|Rules)$/;
/** Far deeper than any of them is. */
const DEPTH = 12;

/**
 * Who made the latest of the changes that are to be reverted, as far as the events tell: that of a rule that is open by its id,
 * that of one that is gone by what it let through, or by the id that another event gives it. What Salvor did itself, and what AWS
 * refused, is nobody's.
 *
 * @param events the newest first
 * @param owner account of the group
 */
export function culpritOf(events: readonly TrailEvent[], plan: GroupPlan, owner: string): Culprit | undefined {
  const told = events.filter(({ isRefused }) => !isRefused).flatMap((event) => toldBy(event, owner) ?? []);
  const gone = new Set(plan.authorize.map(ruleKey));
  const goneIds = new Set(events.flatMap((event) => idsOf(event, gone, owner)));
  const found = told.find(
    ({ event, ids, rules }) =>
      !event.isOwn &&
      (event.name.startsWith('Revoke')
        ? has(rules, gone) || has(ids, goneIds)
        : plan.revoke.some((rule) => (ids.size > 0 ? ids.has(rule.id) : rules.has(ruleKey(rule)))) ||
          (event.name.startsWith('Modify') && has(ids, goneIds))),
  );
  return found && { by: found.event.by, at: found.event.at, told: 'CloudTrail' };
}

function toldBy(event: TrailEvent, owner: string): Told | undefined {
  if (!EVENT.test(event.name)) return undefined;
  const ids = new Set<string>();
  const rules = new Set<string>();
  for (const one of objectsIn([event.request, event.response])) {
    for (const value of Object.values(one)) if (typeof value === 'string' && /^sgr-\w+$/.test(value)) ids.add(value);
    for (const key of keysIn(one, event, owner)) rules.add(key);
  }
  return { event, ids, rules };
}

/** Ids that the event gives to these rules. */
function idsOf(event: TrailEvent, wanted: ReadonlySet<string>, owner: string): string[] {
  if (!EVENT.test(event.name)) return [];
  return objectsIn([event.response]).flatMap((one) => {
    const id = one['securityGroupRuleId'];
    return typeof id === 'string' && keysIn(one, event, owner).some((key) => wanted.has(key)) ? [id] : [];
  });
}

type Plain = Record<string, unknown>;

/** All objects in it, their keys as EC2 writes them in answers: requests of some actions begin them with capitals. */
function objectsIn(value: unknown, depth = 0): Plain[] {
  if (typeof value !== 'object' || value === null || depth > DEPTH) return [];
  if (Array.isArray(value)) return value.flatMap((one) => objectsIn(one, depth + 1));
  const own = Object.fromEntries(
    Object.entries(value).map(([key, one]) => [key.charAt(0).toLowerCase() + key.slice(1), one]),
  );
  return [own, ...Object.values(own).flatMap((one) => objectsIn(one, depth + 1))];
}

/** The rules that one object is: a permission of several sources, or a rule with one. */
function keysIn(one: Plain, { name }: TrailEvent, owner: string): string[] {
  const protocol = one['ipProtocol'];
  if (typeof protocol !== 'string' && typeof protocol !== 'number') return [];
  const [, , of] = EVENT.exec(name) ?? [];
  const directions: Direction[] = of === 'Ingress' ? ['ingress'] : of === 'Egress' ? ['egress'] : ['ingress', 'egress'];
  const common = { protocol: String(protocol), from: numberOf(one['fromPort']), to: numberOf(one['toPort']) };
  return sourcesIn(one).flatMap((source) =>
    directions.flatMap((direction) => {
      const rule = normalRule(direction, { ...common, ...source }, owner);
      return rule ? [ruleKey(rule)] : [];
    }),
  );
}

type Source = Pick<TellsRule, 'cidr' | 'cidr6' | 'group' | 'account' | 'prefixList'>;

function sourcesIn(one: Plain): Source[] {
  const referenced = plainOf(one['referencedGroupInfo']);
  return [
    { cidr: textOf(one['cidrIpv4'] ?? one['cidrIp']) },
    { cidr6: textOf(one['cidrIpv6']) },
    { prefixList: textOf(one['prefixListId']) },
    { group: textOf(referenced['groupId'] ?? one['referencedGroupId']), account: textOf(referenced['userId']) },
    ...itemsOf(one['ipRanges']).map(({ cidrIp }) => ({ cidr: textOf(cidrIp) })),
    ...itemsOf(one['ipv6Ranges']).map(({ cidrIpv6 }) => ({ cidr6: textOf(cidrIpv6) })),
    ...itemsOf(one['prefixListIds']).map(({ prefixListId }) => ({ prefixList: textOf(prefixListId) })),
    ...itemsOf(one['groups']).map(({ groupId, userId }) => ({ group: textOf(groupId), account: textOf(userId) })),
  ];
}

/** EC2 has lists as `{ items: […] }`. */
function itemsOf(value: unknown): Plain[] {
  const items = plainOf(value)['items'] ?? value;
  return Array.isArray(items) ? items.map(plainOf) : [];
}

const plainOf = (value: unknown): Plain => (typeof value === 'object' && value !== null ? (value as Plain) : {});
const textOf = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
const numberOf = (value: unknown): number | undefined => {
  const number = typeof value === 'string' ? Number(value) : value;
  return typeof number === 'number' && Number.isInteger(number) ? number : undefined;
};
const has = (some: ReadonlySet<string>, wanted: ReadonlySet<string>): boolean =>
  [...some].some((one) => wanted.has(one));
