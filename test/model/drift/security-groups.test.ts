import { readFileSync } from 'node:fs';
import { isIPv6 } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it, test } from 'vitest';
import { canonicalCidr, isWhole } from '../../../model/drift/cidr.ts';
import { compareGroup, type LiveGroup } from '../../../model/drift/compare-groups.ts';
import { type GroupRule, mayReplace, normalRule, ruleKey } from '../../../model/drift/group-rule.ts';
import { declaredGroups } from '../../../model/drift/security-groups.ts';

const OWNER = '123456789012';
const ID = 'sg-0123456789abcdef0';

test('the example declares what it says', () => {
  const file = new URL('../../../examples/drift/security-groups.yaml', import.meta.url);
  const { groups, problems } = declaredGroups(readFileSync(file, 'utf8'), 'security-groups.yaml');
  expect(problems).toEqual([]);
  expect(groups.map(({ id, name }) => id ?? name)).toEqual([ID, 'batch']);
  expect(groups.flatMap(({ ingress, egress = [] }) => [...ingress, ...egress].map(ruleKey))).toEqual([
    'ingress[tcp 443 0.0.0.0/0]',
    'ingress[tcp 443 ::/0]',
    'ingress[tcp 8000-8100 sg-0fedcba9876543210]',
    'ingress[icmp 8 10.0.0.0/8]',
    'egress[-1 10.0.0.0/8]',
    'egress[tcp 443 pl-0123456789abcdef0]',
  ]);
  expect(groups[1]).not.toHaveProperty('egress');
});

const rule = (text: string) => declaredGroups(`groups:\n  - id: ${ID}\n    ingress:\n      - ${text}\n`, 'g.yaml');

describe('a rule', () => {
  it.each<[string, string]>([
    ['{ protocol: tcp, port: 22, cidr: 10.0.0.1/8 }', 'has bits set beyond its length: expected 10.0.0.0/8'],
    ['{ protocol: tcp, port: 22, cidr: 10.0.0.1 }', 'expected a block of IPv4 addresses such as 10.0.0.0/8'],
    ['{ protocol: tcp, port: 22, cidr: "::/0" }', 'expected a block of IPv4 addresses'],
    ['{ protocol: tcp, port: 22, cidr6: 2001:db8::1/32 }', 'expected 2001:db8::/32'],
    ['{ protocol: tcp, port: 22 }', 'expected one of cidr, cidr6, group, prefixList, and one only'],
    ['{ protocol: tcp, port: 22, cidr: 10.0.0.0/8, cidr6: "::/0" }', 'and one only'],
    ['{ protocol: tcp, cidr: 10.0.0.0/8 }', 'expected the port of tcp, or fromPort and toPort'],
    ['{ protocol: tcp, port: 1, toPort: 2, cidr: 10.0.0.0/8 }', 'and not both'],
    ['{ protocol: tcp, fromPort: 2, toPort: 1, cidr: 10.0.0.0/8 }', 'expected fromPort to be at most toPort (1)'],
    ['{ protocol: tcp, port: 65536, cidr: 10.0.0.0/8 }', 'expected at most 65535'],
    ['{ protocol: tcp, port: 1, type: 8, cidr: 10.0.0.0/8 }', 'type is of icmp and icmpv6 only'],
    ['{ protocol: -1, port: 22, cidr: 10.0.0.0/8 }', 'it is all protocols with all their ports'],
    ['{ protocol: icmp, port: 8, cidr: 10.0.0.0/8 }', 'icmp has no ports: expected type and code'],
    ['{ protocol: icmp, code: 1, cidr: 10.0.0.0/8 }', 'expected a type, too'],
    ['{ protocol: 6, port: 22, cidr: 10.0.0.0/8 }', 'expected tcp, as EC2 names protocol 6'],
    ['{ protocol: http, port: 22, cidr: 10.0.0.0/8 }', 'expected tcp, udp, icmp'],
    ['{ protocol: tcp, port: 22, group: web }', 'expected the id of a security group'],
    ['{ protocol: tcp, port: 22, cidr: 10.0.0.0/8, descripton: x }', 'did you mean description?'],
  ])('%s is refused at its line', (text, message) => {
    const { groups, problems } = rule(text);
    expect([groups, problems]).toEqual([
      [],
      [expect.objectContaining({ file: 'g.yaml', line: 4, message: expect.stringContaining(message) })],
    ]);
  });

  it('stands there once', () => {
    const { problems } = rule(
      '{ protocol: udp, port: 53, cidr6: 2001:DB8:0::/48 }\n      - { protocol: udp, fromPort: 53, toPort: 53, cidr6: 2001:db8::/48, description: dns }',
    );
    expect(problems).toMatchObject([{ line: 5, message: expect.stringContaining('the same rule as ingress[0]') }]);
  });

  it('of a protocol without ports has none, whatever is told of them', () => {
    const told = { protocol: '50', from: 0, to: 65_535, cidr: '10.0.0.0/8' };
    expect(ruleKey(normalRule('ingress', told, OWNER)!)).toBe('ingress[50 10.0.0.0/8]');
    const [group] = rule('{ protocol: 50, cidr: 10.0.0.0/8 }').groups;
    expect(group?.ingress.map(ruleKey)).toEqual(['ingress[50 10.0.0.0/8]']);
  });
});

describe('a block of addresses', () => {
  const v4 = fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 }));
  const v6 = fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 }));

  it.each([
    [4 as const, v4],
    [6 as const, v6],
  ])('of IPv%i has one form', (family, blocks) => {
    fc.assert(
      fc.property(blocks, ([address, length]) => {
        const text = `${address}/${length}`;
        const once = canonicalCidr(text, family)!;
        expect(canonicalCidr(once, family)).toBe(once);
        expect(isWhole(once, family)).toBe(true);
        expect(canonicalCidr(text.toUpperCase(), family)).toBe(once);
        // The first of its addresses is of no block that is longer than it says.
        expect(once.endsWith(`/${length}`)).toBe(true);
        if (family === 6) expect(isIPv6(once.split('/')[0]!)).toBe(true);
      }),
    );
  });

  it('of IPv6 may be written out', () => {
    const pieces = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(pieces, (all) => {
        const long = all.map((piece) => piece.toString(16).padStart(4, '0').toUpperCase()).join(':');
        const short = all.map((piece) => piece.toString(16)).join(':');
        expect(canonicalCidr(`${long}/128`, 6)).toBe(canonicalCidr(`${short}/128`, 6));
      }),
    );
  });

  it.each(['', '10.0.0.0', '10.0.0.0/33', '10.0.0.0/08', '010.0.0.0/8', '256.0.0.0/8', '10.0.0/8', 'a.b.c.d/8'])(
    '%j is none',
    (text) => expect(canonicalCidr(text, 4)).toBeUndefined(),
  );
});

describe('a comparison', () => {
  const source = fc.oneof(
    fc.tuple(fc.ipV4(), fc.integer({ min: 0, max: 32 })).map(([ip, n]) => ({ cidr: `${ip}/${n}` })),
    fc.tuple(fc.ipV6(), fc.integer({ min: 0, max: 128 })).map(([ip, n]) => ({ cidr6: `${ip}/${n}` })),
    fc.constantFrom({ group: ID }, { group: ID, account: OWNER }, { prefixList: 'pl-0123456789abcdef0' }),
  );
  const told = fc.record({
    protocol: fc.constantFrom('tcp', 'udp', 'icmp', '-1', '6', '50'),
    from: fc.integer({ min: 0, max: 255 }),
    to: fc.integer({ min: 0, max: 255 }),
    source,
  });
  const rules = fc
    .array(fc.tuple(fc.constantFrom('ingress' as const, 'egress' as const), told), { maxLength: 12 })
    .map((all) => {
      const normal = all.map(
        ([direction, { source: from, ...one }]) => normalRule(direction, { ...one, ...from }, OWNER)!,
      );
      return [...new Map(normal.map((one) => [ruleKey(one), one])).values()];
    });
  const liveOf = (all: GroupRule[]): LiveGroup => ({
    ...{ id: ID, name: 'web', vpc: 'vpc-0123456789abcdef0', owner: OWNER, skipped: false },
    rules: all.map((one, i) => ({ ...one, id: `sgr-${i}` })),
  });
  const of = (all: GroupRule[], direction: string) => all.filter((one) => one.direction === direction);

  it('asks for just what makes the live rules those that are declared, and then for nothing', () => {
    fc.assert(
      fc.property(rules, rules, (wanted, there) => {
        const declared = { id: ID, where: 'g.yaml:2', ingress: of(wanted, 'ingress'), egress: of(wanted, 'egress') };
        const live = liveOf(there);
        const plan = compareGroup(declared, live, [])?.plan;
        const closed = new Set(plan?.revoke.map(({ id }) => id));
        const after = [...live.rules.filter(({ id }) => !closed.has(id)), ...(plan?.authorize ?? [])];
        expect(after.map(ruleKey).sort()).toEqual(wanted.map(ruleKey).sort());
        expect(compareGroup(declared, liveOf(after), [])).toBeUndefined();
      }),
    );
  });

  it('touches nothing that goes out where that is not declared, and agrees with itself', () => {
    fc.assert(
      fc.property(rules, rules, (wanted, there) => {
        const declared = { id: ID, where: 'g.yaml:2', ingress: of(wanted, 'ingress') };
        const found = compareGroup(declared, liveOf(there), []);
        const touched = [...(found?.plan?.authorize ?? []), ...(found?.plan?.revoke ?? [])];
        expect(touched.map(({ direction }) => direction)).not.toContain('egress');
        const turned = liveOf(there);
        turned.rules.reverse();
        const again = compareGroup({ ...declared, ingress: declared.ingress.toReversed() }, turned, []);
        expect(again?.difference.digest).toBe(found?.difference.digest);
      }),
    );
  });
});

describe('what may be a replacement of what', () => {
  const tcp = (from: number, to: number, source: GroupRule['source'], change: Partial<GroupRule> = {}): GroupRule => ({
    ...{ direction: 'ingress', protocol: 'tcp', from, to, source, ...change },
  });
  const all = { cidr: '0.0.0.0/0' };
  const wanted = tcp(443, 443, { cidr: '10.0.0.0/8' });
  it.each<[string, GroupRule, boolean]>([
    ['the same from more', tcp(443, 443, all), true],
    ['the same from fewer', tcp(443, 443, { cidr: '10.1.0.0/16' }), true],
    ['the same from elsewhere', tcp(443, 443, { cidr: '11.0.0.0/8' }), false],
    ['a range with it', tcp(400, 500, all), true],
    ['another port', tcp(22, 22, all), false],
    ['all protocols', { direction: 'ingress', protocol: '-1', source: all }, true],
    ['another protocol', tcp(443, 443, all, { protocol: 'udp' }), false],
    ['the other way', tcp(443, 443, all, { direction: 'egress' }), false],
    ['a group, whose addresses are not known', tcp(443, 443, { group: ID }), true],
    ['other addresses', tcp(443, 443, { cidr6: '::/0' }), false],
  ])('%s', (_, closes, is) => {
    expect(mayReplace(wanted, closes)).toBe(is);
    expect(mayReplace(closes, wanted)).toBe(is);
  });
});
