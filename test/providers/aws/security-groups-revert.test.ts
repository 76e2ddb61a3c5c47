import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { HeldBack, LOST, type Pulse } from '../../../providers/instance.ts';
import { type GroupsStack, GroupsWorld, tcp } from './security-groups-support.ts';
import { pulse } from './support.ts';

const world = new GroupsWorld();
beforeAll(() => world.start(), 300_000);
afterAll(() => world.stop());

/** One rule is missing, two are open that are not declared. */
async function drifted(): Promise<{ id: string; stack: GroupsStack }> {
  const id = await world.group();
  await world.open(id, [tcp(22, '0.0.0.0/0')]);
  await world.open(id, [tcp(3389, '0.0.0.0/0')]);
  const stack = await world.stack(
    `groups:\n  - id: ${id}\n    ingress:\n      - { protocol: tcp, port: 443, cidr: 0.0.0.0/0 }\n`,
  );
  return { id, stack };
}

const OPENED = 'AuthorizeSecurityGroupIngress tcp 443-443 0.0.0.0/0';
const CLOSED = expect.stringMatching(/^RevokeSecurityGroupIngress sgr-\w+$/);
const WANTED = ['443 0.0.0.0/0'];
const summary = (changes: { field: string; after: unknown }[]) =>
  changes.map(({ field, after }) => `${field} ${after}`);
const ALL = ['ingress[tcp 22 0.0.0.0/0] null', 'ingress[tcp 3389 0.0.0.0/0] null', 'ingress[tcp 443 0.0.0.0/0] open'];

/** An attempt whose worker dies when it is asked the nth time whether it still counts. */
function mortal(nth: number, last?: unknown, death = new Error('the worker is dead')): Pulse & { said: unknown } {
  let asked = 0;
  return {
    ...pulse(last),
    stillMine: async () => {
      asked += 1;
      if (asked === nth) throw death;
    },
  };
}

describe('what was reviewed is reverted, or nothing is', () => {
  test.each<[string, (id: string, stack: GroupsStack) => Promise<unknown>]>([
    ['a rule more', (id) => world.open(id, [tcp(8080, '0.0.0.0/0')])],
    ['a rule less', (id) => world.close(id, [tcp(22, '0.0.0.0/0')])],
    [
      'another rule that lets the same through',
      async (id) => {
        await world.close(id, [tcp(22, '0.0.0.0/0')]);
        await world.open(id, [tcp(22, '0.0.0.0/0')]);
      },
    ],
    ['another source', (id, stack) => stack.write(`groups:\n  - { id: ${id}, ingress: [] }\n`)],
    ['no source', (_, stack) => stack.write('')],
    ['the tag', (id) => world.tag(id, 'salvor.dev/skip')],
  ])('%s since it was reviewed', async (_, change) => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    await change(id, stack);
    const before = await world.openIn(id);
    expect(await stack.revert(differences)).toMatchObject({
      verdict: 'changed',
      why: expect.stringContaining('nothing more was touched'),
      changes: [],
    });
    expect(await world.openIn(id)).toEqual(before);
    expect(stack.mutations(id)).toEqual([]);
  });

  test('of several groups, only those that were reviewed', async () => {
    const [one, other] = [await world.group(), await world.group()];
    for (const id of [one, other]) await world.open(id, [tcp(22, '0.0.0.0/0')]);
    const stack = await world.stack(`groups:\n  - { id: ${one}, ingress: [] }\n  - { id: ${other}, ingress: [] }\n`);
    const { differences } = await stack.found();
    await stack.revert(differences.filter(({ address }) => address === one));
    expect([await world.openIn(one), await world.openIn(other)]).toEqual([[], ['22 0.0.0.0/0']]);
    expect(await stack.revert(differences), 'one of them differs no more').toMatchObject({
      verdict: 'changed',
      why: expect.stringContaining(`${one} does not differ any more`),
    });
    expect(stack.mutations(other)).toEqual([]);
  });

  test('what somebody else does in between is done already', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    const before = world.moto.proxy.stall('RevokeSecurityGroupIngress', 'before');
    const reverting = stack.revert(differences);
    await before.reached;
    await world.close(id, [tcp(22, '0.0.0.0/0')]);
    before.release();
    const result = await reverting;
    expect(result.verdict).toBe('reverted');
    expect(summary(result.changes)).toEqual([ALL[1], ALL[2]]);
    expect(await world.openIn(id)).toEqual(WANTED);
  });
});

describe('an attempt that ends in the midst', () => {
  test.each([1, 2, 3])('before its write %i: the next does the rest, each call once', async (nth) => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    const first = mortal(nth);
    await expect(stack.revert(differences, first)).rejects.toThrow('the worker is dead');
    const result = await stack.revert(differences, pulse(first.said));
    expect(result.verdict).toBe('reverted');
    expect(summary(result.changes)).toEqual(ALL);
    expect(stack.mutations(id)).toEqual([CLOSED, CLOSED, OPENED]);
    expect(await world.openIn(id)).toEqual(WANTED);
  });

  test.each([
    ['AuthorizeSecurityGroupIngress', 2],
    ['RevokeSecurityGroupIngress', 0],
  ])('after a lost answer to %s: it is told, and not done again', async (action, at) => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    const first = pulse();
    world.moto.proxy.lose(action);
    await expect(stack.revert(differences, first)).rejects.toThrow(`cannot ${action}`);
    const result = await stack.revert(differences, pulse(first.said));
    expect(result.verdict).toBe('reverted');
    expect(summary(result.changes)).toEqual(ALL);
    expect(result.changes.map(({ what }) => what.endsWith(LOST))).toEqual([0, 1, 2].map((i) => i === at));
    expect(stack.mutations(id)).toEqual([CLOSED, CLOSED, OPENED]);
  });

  test('twice, before anything was said, and when all was done', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    const done = await stack.revert(differences, pulse());
    expect(done.changes).toHaveLength(3);
    expect(await stack.revert(differences, pulse(), true)).toEqual({
      ...{ verdict: 'reverted', why: 'nothing differs any more', changes: [] },
    });
    expect(stack.mutations(id)).toHaveLength(3);
  });

  test('and somebody opens more: the rest is not what was reviewed', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    const first = mortal(2);
    await expect(stack.revert(differences, first)).rejects.toThrow('the worker is dead');
    await world.open(id, [tcp(8080, '0.0.0.0/0')]);
    const result = await stack.revert(differences, pulse(first.said));
    expect(result.verdict).toBe('changed');
    expect(summary(result.changes)).toEqual([ALL[0]]);
    expect(stack.mutations(id)).toEqual([CLOSED]);
  });

  test('because it is not the time any more: what was done is told', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    const objection = { gate: 'paused', reason: 'paused by ada' } as const;
    await expect(stack.revert(differences, mortal(1, undefined, new HeldBack(objection)))).rejects.toThrow(HeldBack);
    expect(stack.mutations(id)).toEqual([]);
    const result = await stack.revert(differences, mortal(2, undefined, new HeldBack(objection)));
    expect(result).toMatchObject({ verdict: 'held-back', why: 'paused by ada', objection });
    expect(summary(result.changes)).toEqual([ALL[0]]);
    expect(stack.mutations(id)).toEqual([CLOSED]);
  });
});

describe('AWS', () => {
  test('throttles: the attempt ends, and the next goes on', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    const first = pulse();
    const action = 'RevokeSecurityGroupIngress';
    world.moto.proxy.throttle(1, { action, code: 'RequestLimitExceeded', status: 503 });
    await expect(stack.revert(differences, first)).rejects.toThrow(/AWS limits the rate of requests/);
    expect(summary((await stack.revert(differences, pulse(first.said))).changes)).toEqual(ALL);
    expect(stack.mutations(id)).toEqual([CLOSED, CLOSED, OPENED]);
  });

  const forbid = (action: string, count = 1) =>
    world.moto.proxy.throttle(count, { action, code: 'UnauthorizedOperation', status: 403 });

  test('does not allow it: the rest is done, and told with what is missing', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    forbid('AuthorizeSecurityGroupIngress');
    const first = await stack.revert(differences);
    expect(first).toMatchObject({
      verdict: 'failed',
      why: expect.stringMatching(/^left to be done: sg-\w+: open ingress\[tcp 443 0\.0\.0\.0\/0\]\. /),
    });
    expect(first.why).toContain('Allow ec2:AuthorizeSecurityGroupIngress to Salvor');
    expect(summary(first.changes)).toEqual(ALL.slice(0, 2));
    expect(stack.mutations(id)).toEqual([CLOSED, CLOSED]);
    expect(await world.openIn(id)).toEqual([]);
  });

  test('does not allow to close one rule: the others are closed, and what is missing is opened', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    forbid('RevokeSecurityGroupIngress');
    const result = await stack.revert(differences);
    expect(result).toMatchObject({ verdict: 'failed', why: expect.stringContaining('ec2:RevokeSecurityGroupIngress') });
    expect(summary(result.changes)).toEqual(ALL.slice(1));
    expect(await world.openIn(id)).toEqual(['22 0.0.0.0/0', '443 0.0.0.0/0']);
  });

  test('allows nothing of it: there is nothing to be told but that', async () => {
    const { id, stack } = await drifted();
    const { differences } = await stack.found();
    forbid('RevokeSecurityGroupIngress', 2);
    forbid('AuthorizeSecurityGroupIngress');
    await expect(stack.revert(differences)).rejects.toMatchObject({ type: 'Forbidden' });
    expect(stack.mutations(id)).toEqual([]);
  });

  test('has no room for a rule: what it does not replace is closed before, there and in the next group', async () => {
    const [one, other] = [await world.group(), await world.group()];
    // Somebody has opened to all what is to be open to some; nothing is to be cut.
    await world.open(one, [tcp(443, '0.0.0.0/0')]);
    for (const id of [one, other]) await world.open(id, [tcp(22, '0.0.0.0/0')]);
    const narrow = '{ protocol: tcp, port: 443, cidr: 10.0.0.0/8 }';
    const stack = await world.stack(
      `groups:\n  - { id: ${one}, ingress: [${narrow}] }\n  - { id: ${other}, ingress: [] }\n`,
    );
    const { differences } = await stack.found();
    world.moto.proxy.throttle(1, {
      ...{ action: 'AuthorizeSecurityGroupIngress', code: 'RulesPerSecurityGroupLimitExceeded', status: 400 },
    });
    const result = await stack.revert(differences);
    expect(result).toMatchObject({ verdict: 'failed' });
    expect(result.why).toContain('RulesPerSecurityGroupLimitExceeded');
    expect(result.why).toContain(`${one}: close ingress[tcp 443 0.0.0.0/0]`);
    expect([await world.openIn(one), await world.openIn(other)]).toEqual([['443 0.0.0.0/0'], []]);
    const { differences: rest } = await stack.found();
    expect(await stack.revert(rest)).toMatchObject({ verdict: 'reverted' });
    expect(stack.mutations(one)).toEqual([CLOSED, 'AuthorizeSecurityGroupIngress tcp 443-443 10.0.0.0/8', CLOSED]);
    expect(await world.openIn(one)).toEqual(['443 10.0.0.0/8']);
  });
});
