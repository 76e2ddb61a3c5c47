import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { GroupsWorld, tcp } from './security-groups-support.ts';

const world = new GroupsWorld();
beforeAll(async () => {
  await world.start();
  world.moto.proxy.trail.know('AKIAADA', { user: 'ada' });
  world.moto.proxy.trail.know('ASIAGRACE', { role: 'operations', session: 'grace@example.com' });
}, 300_000);
afterAll(() => world.stop());

const ADA = 'arn:aws:iam::123456789012:user/ada';
const WEB = '{ protocol: tcp, port: 443, cidr: 0.0.0.0/0 }';
const declared = (id: string, rules: string[], more = '') =>
  `groups:\n  - id: ${id}\n    ingress: [${rules.join(', ')}]\n${more}`;

describe('a rule that was opened by hand', () => {
  test('is found with who, and closed alone', async () => {
    const id = await world.group();
    await world.open(id, [tcp(443, '0.0.0.0/0')], 'test');
    await world.open(id, [tcp(22, '0.0.0.0/0')]);
    const stack = await world.stack(declared(id, [WEB]));
    const found = await stack.found();
    expect(found).toMatchObject({
      verdict: 'differs',
      why: '1 of one security group differ',
      differences: [
        {
          ...{ address: id, kind: 'aws_security_group', class: 'reversible', action: 'update' },
          why: expect.stringMatching(/^web-\d+ of vpc-\w+: 1 rule is open and not declared$/),
          fields: [{ path: 'ingress[tcp 22 0.0.0.0/0]', live: 'open', source: null }],
          who: { by: ADA, at: expect.stringMatching(/^\d{4}-/), told: 'CloudTrail' },
        },
      ],
    });
    expect(stack.mutations(id)).toEqual([]);
    const rule = (await world.rules(id)).find(({ FromPort }) => FromPort === 22)?.SecurityGroupRuleId;
    const result = await stack.revert(found.differences);
    expect(result).toMatchObject({ verdict: 'reverted', why: 'one rule was opened or closed' });
    expect(result.changes).toEqual([
      {
        step: 'revert',
        what: `${id}: close ingress[tcp 22 0.0.0.0/0] (${rule})`,
        object: { key: 'stack/edge', uid: id },
        ...{ field: 'ingress[tcp 22 0.0.0.0/0]', before: 'open', after: null },
        ...{ at: expect.any(String), requestId: expect.any(String) },
      },
    ]);
    expect(await world.openIn(id)).toEqual(['443 0.0.0.0/0']);
    expect(stack.mutations(id)).toEqual([`RevokeSecurityGroupIngress ${rule}`]);
    expect(await stack.found()).toMatchObject({
      verdict: 'same',
      why: 'one security group, all as declared',
      differences: [],
    });
  });

  test('and one that was closed by hand is opened, with who closed it last', async () => {
    const id = await world.group();
    await world.open(id, [tcp(443, '0.0.0.0/0')], 'test');
    await world.open(id, [tcp(22, '0.0.0.0/0')]);
    await world.close(id, [tcp(443, '0.0.0.0/0')], 'ASIAGRACE');
    const stack = await world.stack(
      declared(id, ['{ protocol: tcp, port: 443, cidr: 0.0.0.0/0, description: the web }']),
    );
    const { differences } = await stack.found();
    expect(differences).toMatchObject([
      {
        class: 'reversible',
        fields: [
          { path: 'ingress[tcp 443 0.0.0.0/0]', live: null, source: 'open' },
          { path: 'ingress[tcp 22 0.0.0.0/0]', live: 'open', source: null },
        ],
        who: { by: 'arn:aws:sts::123456789012:assumed-role/operations/grace@example.com' },
      },
    ]);
    const result = await stack.revert(differences);
    expect(result.changes.map(({ field, before, after }) => [field, before, after])).toEqual([
      ['ingress[tcp 22 0.0.0.0/0]', 'open', null],
      ['ingress[tcp 443 0.0.0.0/0]', null, 'open'],
    ]);
    expect(stack.mutations(id)).toEqual([
      expect.stringMatching(/^RevokeSecurityGroupIngress sgr-/),
      'AuthorizeSecurityGroupIngress tcp 443-443 0.0.0.0/0',
    ]);
    expect(await world.rules(id)).toMatchObject([{ FromPort: 443, Description: 'the web' }]);
    expect((await stack.found()).verdict).toBe('same');
  });

  test('is told without who where CloudTrail may not be asked, or does not know yet', async () => {
    const id = await world.group();
    const { trail } = world.moto.proxy;
    const held = trail.hold();
    await world.open(id, [tcp(22, '0.0.0.0/0')]);
    const stack = await world.stack(declared(id, []));
    const late = await stack.found();
    expect(late.why).toBe('1 of one security group differ');
    expect(late.differences[0]).not.toHaveProperty('who');
    held.release();
    world.moto.proxy.throttle(1, { action: 'LookupEvents', code: 'AccessDeniedException', status: 400 });
    const refused = await stack.found();
    expect(refused.why).toMatch(
      /differ; who changed them is not known: cannot LookupEvents sg-.*Allow cloudtrail:LookupEvents to Salvor/,
    );
    expect(refused.differences[0]).not.toHaveProperty('who');
    expect((await stack.found()).differences[0]).toMatchObject({ who: { by: ADA } });
  });

  test('by many of another time is told after CloudTrail has taken its time', async () => {
    const ids = [await world.group(), await world.group(), await world.group()];
    for (const id of ids) await world.open(id, [tcp(22, '0.0.0.0/0')]);
    const stack = await world.stack(`groups:\n${ids.map((id) => `  - { id: ${id}, ingress: [] }\n`).join('')}`);
    world.moto.proxy.trail.limit(2);
    const { differences } = await stack.found().finally(() => world.moto.proxy.trail.limit(Number.POSITIVE_INFINITY));
    expect(differences.map(({ address }) => address)).toEqual([...ids].sort());
    expect(differences.map(({ who }) => who?.by)).toEqual([ADA, ADA, ADA]);
  });

  test('by Salvor itself, or in vain, is nobody’s', async () => {
    const id = await world.group();
    await world.open(id, [tcp(22, '0.0.0.0/0')], 'salvor');
    await expect(world.open(id, [tcp(22, '0.0.0.0/0')])).rejects.toMatchObject({ name: 'InvalidPermission.Duplicate' });
    const { differences } = await (await world.stack(declared(id, []))).found();
    expect(differences).toHaveLength(1);
    expect(differences[0]).not.toHaveProperty('who');
  });
});

describe('what is left alone', () => {
  test('egress that is not declared; declared, it is managed', async () => {
    const id = await world.group();
    await world.openEgress(id, [tcp(25, '0.0.0.0/0')]);
    const stack = await world.stack(declared(id, []));
    expect((await stack.found()).verdict).toBe('same');
    await stack.write(declared(id, [], '    egress: [{ protocol: -1, cidr: 0.0.0.0/0 }]\n'));
    const { differences } = await stack.found();
    expect(differences).toMatchObject([{ fields: [{ path: 'egress[tcp 25 0.0.0.0/0]', live: 'open' }] }]);
    await stack.revert(differences);
    expect(await world.openIn(id, true)).toEqual(['-1 0.0.0.0/0']);
    expect(stack.mutations(id)).toEqual([expect.stringMatching(/^RevokeSecurityGroupEgress sgr-/)]);
  });

  test('a group with the tag, and what a pattern names', async () => {
    const [skipped, whole, part] = [await world.group(), await world.group(), await world.group()];
    for (const id of [skipped, whole, part]) await world.open(id, [tcp(22, '0.0.0.0/0'), tcp(80, '10.0.0.0/8')]);
    await world.tag(skipped, 'salvor.dev/skip');
    const text = `groups:\n${[skipped, whole, part].map((id) => `  - { id: ${id}, ingress: [] }\n`).join('')}`;
    const stack = await world.stack(text, { ignore: [whole, `${part}#ingress[tcp 80 *`] });
    const { differences } = await stack.found();
    const of = (id: string) => differences.find(({ address }) => address === id);
    expect(of(skipped)).toMatchObject({ class: 'ignored', why: expect.stringContaining('the tag salvor.dev/skip') });
    expect(of(whole)).toMatchObject({ class: 'ignored', why: expect.stringContaining(`the pattern ${whole}`) });
    expect(of(part)).toMatchObject({ class: 'reversible', fields: [{ path: 'ingress[tcp 22 0.0.0.0/0]' }] });
    expect(differences.map((one) => one.class)).toEqual(['reversible', 'ignored', 'ignored']);
    const result = await stack.revert(differences);
    expect(result, 'what is left alone cannot be reverted').toMatchObject({ verdict: 'changed', changes: [] });
    await stack.revert([of(part)!]);
    expect(await world.openIn(part)).toEqual(['80 10.0.0.0/8']);
    expect(await world.openIn(whole)).toHaveLength(2);
  });

  test('the default group, descriptions, and a group that is not there', async () => {
    const id = await world.group();
    await world.open(id, [tcp(443, '0.0.0.0/0')]);
    const described = '{ protocol: tcp, port: 443, cidr: 0.0.0.0/0, description: the web }';
    const stack = await world.stack({
      'a.yaml': declared(id, [described]),
      'b.yml': `groups:\n  - { name: default, vpc: ${world.vpc}, ingress: [${WEB}] }\n`,
      'c.yaml': `groups:\n  - id: sg-0123456789abcdef0\n    ingress: [${WEB}]\n`,
      'notes.txt': 'no YAML: {',
    });
    const { differences, why } = await stack.found();
    expect(why).toBe('3 of 3 security groups differ');
    expect(differences).toMatchObject([
      {
        ...{ address: 'sg-0123456789abcdef0', class: 'mixed', action: 'create' },
        why: expect.stringMatching(/^c.yaml:2: there is no such security group/),
      },
      { class: 'ignored' },
      { class: 'ignored' },
    ]);
    expect(differences.map((one) => one.why).join('\n')).toMatch(/it is the default group of its VPC/);
    expect(differences.find(({ address }) => address === id)).toMatchObject({
      why: expect.stringContaining('only descriptions differ'),
      fields: [{ path: 'ingress[tcp 443 0.0.0.0/0].description', live: null, source: 'the web' }],
    });
    expect(await stack.revert(differences)).toMatchObject({ verdict: 'changed', changes: [] });
  });
});

test('groups by name and VPC; each source and protocol in its one form', async () => {
  const name = `named-${crypto.randomUUID().slice(0, 8)}`;
  const [id, lb] = [await world.group(name), await world.group()];
  const text = (rules: string[]) =>
    `groups:\n  - name: ${name}\n    vpc: ${world.vpc}\n    ingress:\n${rules.map((rule) => `      - ${rule}\n`).join('')}`;
  const rules = [
    '{ protocol: tcp, fromPort: 8000, toPort: 8100, cidr: 10.0.0.0/8 }',
    '{ protocol: udp, port: 53, cidr6: "2001:DB8:0::/48" }',
    `{ protocol: tcp, port: 8080, group: ${lb} }`,
    `{ protocol: tcp, port: 8081, group: 123456789012/${lb} }`,
    '{ protocol: tcp, port: 9090, prefixList: pl-0123456789abcdef0 }',
    '{ protocol: -1, cidr: 10.9.0.0/16 }',
    '{ protocol: icmp, type: 8, cidr: 0.0.0.0/0 }',
  ];
  const stack = await world.stack(text(rules));
  const { differences } = await stack.found();
  expect(differences).toMatchObject([{ address: id }]);
  expect(differences[0]?.fields.map(({ path }) => path)).toEqual([
    'ingress[tcp 8000-8100 10.0.0.0/8]',
    'ingress[udp 53 2001:db8::/48]',
    `ingress[tcp 8080 ${lb}]`,
    `ingress[tcp 8081 ${lb}]`,
    'ingress[tcp 9090 pl-0123456789abcdef0]',
    'ingress[-1 10.9.0.0/16]',
    'ingress[icmp 8 0.0.0.0/0]',
  ]);
  expect(await stack.revert(differences)).toMatchObject({ verdict: 'reverted' });
  expect(await world.rules(id)).toHaveLength(7);
  expect(await stack.found(), 'all of it is what was declared').toMatchObject({ verdict: 'same' });
  await stack.write(text(['{ protocol: tcp, port: 1, cidr: 10.0.0.0/8 }']));
  const back = await stack.found();
  expect(back.differences[0]?.fields).toHaveLength(8);
  await stack.revert(back.differences);
  expect(await world.openIn(id)).toEqual(['1 10.0.0.0/8']);
});

test('rules that come in several pages are all seen', async () => {
  const id = await world.group();
  const ports = Array.from({ length: 13 }, (_, i) => 7000 + i);
  await world.open(
    id,
    ports.map((port) => tcp(port, '10.0.0.0/8')),
  );
  const stack = await world.stack(
    declared(
      id,
      ports.map((port) => `{ protocol: tcp, port: ${port}, cidr: 10.0.0.0/8 }`),
    ),
  );
  world.moto.proxy.pageRules(5);
  const all = await stack.found();
  await stack.write(declared(id, []));
  const none = await stack.found().finally(() => world.moto.proxy.pageRules(Number.POSITIVE_INFINITY));
  expect(all.verdict).toBe('same');
  expect(none.differences[0]?.fields).toHaveLength(13);
  const pages = world.moto.proxy.requests.filter(
    ({ by, action, parameters }) =>
      by === 'salvor' && action === 'DescribeSecurityGroupRules' && parameters['Filter.1.Value.1'] === id,
  );
  expect(pages.map(({ parameters }) => parameters['NextToken'])).toEqual([undefined, '5', '10', undefined, '5', '10']);
});

test.each<[string, string | Record<string, string>, RegExp]>([
  ['no file', { 'README.md': 'none' }, /declares no security group: nothing was compared/],
  ['an empty file', '', /declares no security group/],
  ['no group', 'groups: []\n', /declares no security group/],
  [
    'a fault',
    { 'a.yaml': 'groups: []', 'b.yaml': 'groups:\n  - id: sg-0123456789abcdef0\n    ingres: []\n' },
    /b\.yaml:3: groups\[0\]\.ingres: unknown key "ingres": did you mean ingress\?/,
  ],
  ['no YAML', 'groups: [', /^the source cannot be read: groups\.yaml:1: /],
  [
    'a group twice',
    { 'a.yaml': declared('sg-0123456789abcdef0', []), 'b.yaml': declared('sg-0123456789abcdef0', []) },
    /sg-0123456789abcdef0 is declared twice, at a\.yaml:2 and at b\.yaml:2/,
  ],
])('a source with %s is refused', async (_, files, why) => {
  const stack = await world.stack(files);
  expect(await stack.compare()).toEqual({ verdict: 'refused', why: expect.stringMatching(why) });
  const seen = world.moto.proxy.requests.filter(({ by, action }) => by === 'salvor' && /^(Auth|Revoke)/.test(action));
  const before = seen.length;
  expect(await stack.revert([])).toMatchObject({ verdict: 'changed', changes: [] });
  expect(
    world.moto.proxy.requests.filter(({ by, action }) => by === 'salvor' && /^(Auth|Revoke)/.test(action)),
  ).toHaveLength(before);
});
