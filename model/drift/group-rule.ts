import { canonicalCidr, overlap } from './cidr.ts';

/** Rules of security groups in one form: one source each, as DescribeSecurityGroupRules has them. */

export type Direction = 'ingress' | 'egress';

export interface GroupRule {
  direction: Direction;
  /** `tcp`, `udp`, `icmp`, `icmpv6`, the number of another, or `-1` for all. */
  protocol: string;
  /** tcp and udp: ports. icmp and icmpv6: type and code, -1 for all. Others: absent. */
  from?: number;
  to?: number;
  source: RuleSource;
  /** Tells no rule from another. */
  description?: string;
}

/** Where it comes from, or with egress where it goes to. */
export type RuleSource =
  /** Canonical. */
  | { cidr: string }
  | { cidr6: string }
  /** `account`: of another than the group that the rule is of. */
  | { group: string; account?: string }
  | { prefixList: string };

/** A rule that there is. */
export interface LiveRule extends GroupRule {
  /** `sgr-…`, of this rule alone: a successor has another. */
  id: string;
}

/** The names that EC2 gives protocols whose numbers it was told. */
export const PROTOCOL_NAMES: Readonly<Record<string, string>> = {
  '1': 'icmp',
  '6': 'tcp',
  '17': 'udp',
  '58': 'icmpv6',
};

export const hasPorts = (protocol: string): boolean => protocol === 'tcp' || protocol === 'udp';
export const isIcmp = (protocol: string): boolean => protocol === 'icmp' || protocol === 'icmpv6';

/** As EC2 tells of a rule. */
export interface TellsRule {
  protocol: string;
  from?: number | undefined;
  to?: number | undefined;
  cidr?: string | undefined;
  cidr6?: string | undefined;
  group?: string | undefined;
  account?: string | undefined;
  prefixList?: string | undefined;
}

/**
 * The one form of what EC2 tells of. Ports of a protocol that has none mean nothing, whatever they are.
 *
 * @param owner account of the group that the rule is of
 * @returns undefined where it has no source that is known here
 */
export function normalRule(direction: Direction, told: TellsRule, owner: string): GroupRule | undefined {
  const source = sourceOf(told, owner);
  if (!source) return undefined;
  const protocol = PROTOCOL_NAMES[told.protocol] ?? told.protocol.toLowerCase();
  if (!hasPorts(protocol) && !isIcmp(protocol)) return { direction, protocol, source };
  const { from = -1, to = -1 } = told;
  // All types have all codes.
  return { direction, protocol, from, to: isIcmp(protocol) && from === -1 ? -1 : to, source };
}

function sourceOf({ cidr, cidr6, group, account, prefixList }: TellsRule, owner: string): RuleSource | undefined {
  if (cidr !== undefined) return { cidr: canonicalCidr(cidr, 4) ?? cidr };
  if (cidr6 !== undefined) return { cidr6: canonicalCidr(cidr6, 6) ?? cidr6 };
  if (group !== undefined)
    return { group, ...(account !== undefined && account !== '' && account !== owner && { account }) };
  return prefixList === undefined ? undefined : { prefixList };
}

/** What tells it from any other of its group: `ingress[tcp 22 0.0.0.0/0]`. */
export const ruleKey = (rule: GroupRule): string =>
  `${rule.direction}[${rule.protocol}${portsOf(rule)} ${sourceText(rule.source)}]`;

function portsOf({ protocol, from, to }: GroupRule): string {
  if (from === undefined) return '';
  if (isIcmp(protocol)) return from === -1 ? ' all' : ` ${from}${to === -1 ? '' : `/${to}`}`;
  return from === to ? ` ${from}` : ` ${from}-${to}`;
}

function sourceText(source: RuleSource): string {
  if ('cidr' in source) return source.cidr;
  if ('cidr6' in source) return source.cidr6;
  if ('prefixList' in source) return source.prefixList;
  return source.account === undefined ? source.group : `${source.account}/${source.group}`;
}

/**
 * Whether something that the one lets through may be let through by the other as well: then closing the other before the one is open may
 * cut what is meant to be open. Who is in a group, or on a prefix list, is not known here.
 */
export function mayReplace(opens: GroupRule, closes: GroupRule): boolean {
  if (opens.direction !== closes.direction || !meets(opens.source, closes.source)) return false;
  if (opens.protocol === '-1' || closes.protocol === '-1') return true;
  if (opens.protocol !== closes.protocol) return false;
  if (!hasPorts(opens.protocol)) return true;
  const [{ from = 0, to = MOST_PORT }, { from: first = 0, to: last = MOST_PORT }] = [opens, closes];
  return from <= last && first <= to;
}

const MOST_PORT = 65_535;

function meets(a: RuleSource, b: RuleSource): boolean {
  if ('cidr' in a && 'cidr' in b) return overlap(a.cidr, b.cidr, 4);
  if ('cidr6' in a && 'cidr6' in b) return overlap(a.cidr6, b.cidr6, 6);
  return !(('cidr' in a && 'cidr6' in b) || ('cidr6' in a && 'cidr' in b));
}
