import { z } from 'zod';
import { messageFor, named, section } from '../config-fields.ts';
import { ConfigFile, type ConfigProblem } from '../config-file.ts';
import { shown } from '../input-error.ts';
import { canonicalCidr, type Family, isWhole } from './cidr.ts';
import {
  type Direction,
  type GroupRule,
  hasPorts,
  isIcmp,
  PROTOCOL_NAMES,
  type RuleSource,
  ruleKey,
} from './group-rule.ts';

/** Rules of security groups as they are declared: one or more files of YAML, each with a list `groups`. */

export interface DeclaredGroup {
  /** `sg-…`; absent where it is named. */
  id?: string;
  name?: string;
  vpc?: string;
  /** All that it is to have. */
  ingress: GroupRule[];
  /** Absent: what goes out is not managed. */
  egress?: GroupRule[];
  /** For messages: `groups.yaml:12`. */
  where: string;
}

const GROUP = /^sg-(?:[0-9a-f]{8}|[0-9a-f]{17})$/;
const expectedGroup = 'the id of a security group such as sg-0123456789abcdef0';

/** -1 is written as a number, as a person would. */
const protocol = z.preprocess(
  (given) => (typeof given === 'number' ? String(given) : given),
  named(
    'Protocol: tcp, udp, icmp, icmpv6, the number of another, or -1 for all.',
    /^(?:tcp|udp|icmp|icmpv6|-1|\d{1,2}|1\d\d|2[0-4]\d|25[0-5])$/,
    'tcp, udp, icmp, icmpv6, the number of another protocol, or -1 for all',
  ),
);

const port = (description: string) => z.int().min(0).max(65_535).optional().meta({ description });
const icmp = (description: string) => z.int().min(-1).max(255).optional().meta({ description });

const writtenRule = section({
  protocol,
  port: port('Port of tcp and udp.'),
  fromPort: port('First of a range of ports.'),
  toPort: port('Last of a range of ports.'),
  type: icmp('Type of icmp and icmpv6. Default: all.'),
  code: icmp('Code of icmp and icmpv6. Default: all.'),
  cidr: z.string().optional().meta({ description: 'Block of IPv4 addresses.' }),
  cidr6: z.string().optional().meta({ description: 'Block of IPv6 addresses.' }),
  group: named(
    'Another security group; of another account: ACCOUNT/ID.',
    /^(?:\d{12}\/)?sg-(?:[0-9a-f]{8}|[0-9a-f]{17})$/,
    `${expectedGroup}, or of another account 123456789012/sg-0123456789abcdef0`,
  ).optional(),
  prefixList: named(
    'A prefix list.',
    /^pl-(?:[0-9a-f]{8}|[0-9a-f]{17})$/,
    'the id of a prefix list such as pl-0123456789abcdef0',
  ).optional(),
  description: named(
    'Description. One that differs is reported, not written.',
    /^[-A-Za-z0-9 ._:/()#,@[\]+=&;{}!$*]{1,255}$/,
    'a description as EC2 allows it: at most 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*',
  ).optional(),
});
type Written = z.output<typeof writtenRule>;

/** What is wrong, and at which key. */
type Fault = { key: keyof Written; message: string };

const ruleOf = (direction: Direction) =>
  writtenRule.transform((written, ctx): GroupRule => {
    const ports = portsOf(written);
    const source = sourceOf(written);
    for (const fault of [ports, source]) {
      if (!('message' in fault)) continue;
      ctx.addIssue({
        code: 'custom',
        path: written[fault.key] === undefined ? [] : [fault.key],
        message: fault.message,
      });
    }
    if ('message' in ports || 'message' in source) return z.NEVER;
    const { protocol: of, description } = written;
    return { direction, protocol: of, ...ports, source, ...(description !== undefined && { description }) };
  });

function portsOf(written: Written): Pick<GroupRule, 'from' | 'to'> | Fault {
  const { protocol: of, port: one, fromPort, toPort, type, code } = written;
  const first = (keys: readonly (keyof Written)[]) => keys.find((key) => written[key] !== undefined);
  const meant = PROTOCOL_NAMES[of];
  if (meant !== undefined) return { key: 'protocol', message: `expected ${meant}, as EC2 names protocol ${of}` };
  const ofPorts = first(['port', 'fromPort', 'toPort']);
  const ofIcmp = first(['type', 'code']);
  if (ofIcmp && !isIcmp(of)) return { key: ofIcmp, message: `${ofIcmp} is of icmp and icmpv6 only` };
  if (isIcmp(of)) {
    if (ofPorts) return { key: ofPorts, message: `${of} has no ports: expected type and code` };
    if ((type ?? -1) === -1 && (code ?? -1) !== -1)
      return { key: 'code', message: 'expected a type, too: all types have all codes' };
    return { from: type ?? -1, to: code ?? -1 };
  }
  if (!hasPorts(of)) {
    if (ofPorts === undefined) return {};
    const all = of === '-1' ? 'it is all protocols with all their ports' : `protocol ${of} has no ports`;
    return { key: ofPorts, message: `expected no ports: ${all}` };
  }
  if (one !== undefined) {
    if (fromPort === undefined && toPort === undefined) return { from: one, to: one };
    return { key: 'port', message: 'expected port, or fromPort and toPort, and not both' };
  }
  if (fromPort === undefined || toPort === undefined)
    return { key: 'protocol', message: `expected the port of ${of}, or fromPort and toPort (all are 0 and 65535)` };
  if (fromPort > toPort) return { key: 'fromPort', message: `expected fromPort to be at most toPort (${toPort})` };
  return { from: fromPort, to: toPort };
}

const SOURCES = ['cidr', 'cidr6', 'group', 'prefixList'] as const;

function sourceOf(written: Written): RuleSource | Fault {
  const given = SOURCES.filter((key) => written[key] !== undefined);
  const [key] = given;
  if (key === undefined || given.length > 1)
    return { key: given[1] ?? 'protocol', message: `expected one of ${SOURCES.join(', ')}, and one only` };
  const text = written[key] ?? '';
  if (key === 'prefixList') return { prefixList: text };
  if (key === 'group') {
    const [group = '', account] = text.split('/').reverse();
    return { group, ...(account !== undefined && { account }) };
  }
  const message = cidrFault(text, key === 'cidr' ? 4 : 6);
  if (message !== undefined) return { key, message };
  return key === 'cidr' ? { cidr: text } : { cidr6: canonicalCidr(text, 6) ?? text };
}

/** What would be right is said, and not silently meant: a block that is larger than it looks is nothing to guess. */
function cidrFault(text: string, family: Family): string | undefined {
  const right = canonicalCidr(text, family);
  const example =
    family === 4 ? '10.0.0.0/8, or 10.1.2.3/32 for one address' : '2001:db8::/32, or 2001:db8::1/128 for one address';
  if (right === undefined) return `expected a block of IPv${family} addresses such as ${example}, got ${shown(text)}`;
  if (isWhole(text, family)) return undefined;
  return `${shown(text)} has bits set beyond its length: expected ${right}`;
}

const group = section({
  id: named('Id of the group.', GROUP, expectedGroup).optional(),
  name: named('Name of the group, where it has no id here.', /^.{1,255}$/, 'the name of a security group').optional(),
  vpc: named(
    'VPC of a group that is named.',
    /^vpc-(?:[0-9a-f]{8}|[0-9a-f]{17})$/,
    'the id of a VPC such as vpc-0123456789abcdef0',
  ).optional(),
  ingress: z.array(ruleOf('ingress')).meta({ description: 'What may come in; an empty list: nothing.' }),
  egress: z.array(ruleOf('egress')).optional().meta({ description: 'What may go out. Default: it is not managed.' }),
}).refine(
  ({ id, name, vpc }) =>
    id === undefined ? name !== undefined && vpc !== undefined : name === undefined && vpc === undefined,
  {
    message: 'expected id, or name and vpc, and not both',
  },
);

const file = section({ groups: z.array(group).meta({ description: 'The security groups that are managed.' }) });

/**
 * What one file declares, and all that is wrong with it, each with its line. Without groups it declares nothing, which is no fault
 * of the file.
 *
 * @param name of the file, for messages
 */
export function declaredGroups(text: string, name: string): { groups: DeclaredGroup[]; problems: ConfigProblem[] } {
  const source = new ConfigFile(text, name);
  if (source.problems.length > 0) return { groups: [], problems: source.problems };
  if (isNothing(source.value)) return { groups: [], problems: [] };
  const parsed = file.safeParse(source.value, { error: messageFor });
  if (!parsed.success) return { groups: [], problems: source.locate(parsed.error) };
  const groups = parsed.data.groups.map((one, i) => ({ ...one, where: `${name}:${source.lineOf(['groups', i])}` }));
  const problems = groups.flatMap((one, i) =>
    (['ingress', 'egress'] as const).flatMap((direction) =>
      repeated((one[direction] ?? []).map(ruleKey)).map(([at, first]) =>
        source.problem(['groups', i, direction, at], `it is the same rule as ${direction}[${first}]: expected it once`),
      ),
    ),
  );
  return { groups, problems };
}

const isNothing = (value: unknown): boolean =>
  value === null || (typeof value === 'object' && Object.keys(value).length === 0);

/** Places of those that are there before, each with the place of the first. */
const repeated = (all: readonly string[]): [at: number, first: number][] =>
  all.flatMap((one, at): [number, number][] => {
    const first = all.indexOf(one);
    return first === at ? [] : [[at, first]];
  });

/** How it is named in the source, for people. */
export const nameOfDeclared = ({ id, name, vpc }: Pick<DeclaredGroup, 'id' | 'name' | 'vpc'>): string =>
  id ?? `${name} of ${vpc}`;
