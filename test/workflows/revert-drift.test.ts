import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Verdict } from '../../model/approval.ts';
import type { Change } from '../../model/change.ts';
import type { Sighting } from '../../model/drift/memory.ts';
import { DRIFT_MEMO } from '../../model/drift/standing.ts';
import type { OwnAlert } from '../../model/herald.ts';
import { MESSAGE, proposalId, remediationId } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { door, eventually } from '../support/wait.ts';
import { type Bench, stateOf } from '../support/workflows.ts';
import {
  asked,
  begun,
  type DriftBench,
  Drifting,
  difference,
  type Given,
  type Handle,
  runAfter,
  startDrift,
  storyOf,
} from './drift-support.ts';

let sandbox: Sandbox<'temporal'>;
let drift: DriftBench;
let bench: Bench;
const all = new Map<string, Drifting>();
let one: Drifting;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  drift = await startDrift(sandbox.temporal.address, all);
  bench = drift.bench;
});
afterAll(async () => {
  await drift.stop();
  await sandbox.stop();
});
beforeEach(() => {
  one = new Drifting();
  all.set(one.name, one);
});

const endingOf = (handle: Handle) => handle.result() as Promise<Ending>;
const endOf = async (given: Given = {}, more = {}): Promise<Ending> => endingOf(await begun(bench, one, given, more));
const memoOf = async (handle: Handle) => (await handle.describe()).memo?.[DRIFT_MEMO];
const eventsOf = async (handle: Handle) => ((await handle.fetchHistory()).events ?? []).length;
const stateOfOne = () => stateOf(bench, one.name, one.name);
/** That its responder has heard of the end of all that it has started. */
const atRest = () =>
  eventually('its responder has heard', async () => {
    const { open, queue } = await stateOfOne();
    return Object.keys(open).length + Object.keys(queue).length === 0;
  });
const escalations = (): OwnAlert[] =>
  bench.heralded
    .flatMap(({ raise = [] }) => raise)
    .filter(({ alertname, target }) => alertname === 'SalvorEscalation' && target === one.key);
const isCleared = (alert: OwnAlert | undefined) =>
  eventually('its alert is over', () => bench.heralded.some(({ clear }) => clear?.includes(alert?.id ?? '')));
const proposalOf = (before?: string) => runAfter(bench, proposalId(one.name, one.key), before);
const waiting = async (handle: Handle) => {
  const { plan } = await eventually('it waits for a person', async () => {
    const story = await storyOf(handle);
    return story.waits && story;
  });
  return plan?.digest ?? '';
};
const decide = (handle: Handle, answer: Verdict['answer'], digest: string) =>
  handle.executeUpdate<void, [Verdict]>(MESSAGE.decide, {
    args: [{ answer, by: 'person:ada', groups: [], digest, comment: '' }],
  });
const escalating: Given = { rule: { onFailure: { escalate: true } } };
const destructive = (address: string) => difference(address, { class: 'destructive', action: 'replace' });
const remembered = async (address: string) =>
  (await stateOfOne()).memory?.[one.key]?.[`@${address}`]?.value as Sighting | undefined;
const changeOf = (uid: string): Change => ({
  ...{ step: 'revert', what: `update ${uid}`, object: { key: one.key, uid }, field: 'update' },
  ...{ before: null, after: null, at: '2026-01-01T00:00:00Z' },
});
const DAY = 86_400_000;

describe('a stack in which nothing has drifted', () => {
  it('is left alone, in few events, and its standing is told in the memo', async () => {
    const handle = await begun(bench, one);
    expect(await endingOf(handle)).toMatchObject({ outcome: 'not-needed', reason: 'nothing differs', changes: [] });
    expect(one.asked).toEqual([]);
    expect(one.compares).toBe(1);
    expect(await memoOf(handle)).toMatchObject({ verdict: 'same', revision: 'c1', counts: { reversible: 0 } });
    expect(await eventsOf(handle)).toBeLessThanOrEqual(20);
  });

  it.each(['unapplied', 'ignored', 'held', 'computed'] as const)(
    'is left alone where what differs is %s, and says how much',
    async (kind) => {
      one.differences = [difference('a', { class: kind }), difference('b', { class: kind })];
      const handle = await begun(bench, one);
      const { outcome, reason } = await endingOf(handle);
      expect(outcome).toBe('not-needed');
      expect(reason).toContain(kind === 'unapplied' ? 'not applied: 2; that is not drift' : '2 ');
      expect(one.asked).toEqual([]);
      expect(await memoOf(handle)).toMatchObject({ verdict: 'differs', counts: { [kind]: 2 } });
    },
  );

  it('starts no cooldown, so that the next look follows', async () => {
    await endOf({ gates: { cooldown: DAY } });
    await atRest();
    expect((await stateOfOne()).cooling).toEqual({});
  });
});

describe('a stack that must not be compared', () => {
  it('is refused, and people are told once', async () => {
    one.refused = 'its source is empty';
    expect(await endOf(escalating)).toMatchObject({ outcome: 'refused', reason: 'its source is empty' });
    await atRest();
    expect(await endOf(escalating)).toMatchObject({ outcome: 'refused' });
    expect(escalations()).toHaveLength(1);
    expect(one.asked).toEqual([]);
    await atRest();
    one.refused = undefined;
    expect(await endOf(escalating)).toMatchObject({ outcome: 'not-needed' });
    await isCleared(escalations()[0]);
  });

  it('waits where its state is locked by somebody else', async () => {
    one.locked = true;
    expect(await endOf()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('locked by ann') });
    await eventually('it waits', async () => Object.values((await stateOfOne()).queue)[0]?.gate === 'locked');
  });

  it('fails where it is not configured any more', async () => {
    const handle = await begun(bench, one, { options: { stacks: {} } });
    await expect(endingOf(handle)).rejects.toThrow();
    expect((await storyOf(handle)).ending?.reason).toContain('not among the stacks');
  });
});

describe('drift', () => {
  it('is reverted, just that, and seen to be gone', async () => {
    one.differences = [difference('a'), difference('b', { class: 'mixed' }), difference('c', { class: 'unapplied' })];
    const handle = await begun(bench, one);
    const ending = await endingOf(handle);
    expect(ending).toMatchObject({ outcome: 'remediated', changes: [{ what: 'update a' }] });
    expect(ending.reason).toContain('a (changed by kubectl-edit)');
    expect(one.asked).toEqual([['a']]);
    expect(one.differences.map(({ address }) => address)).toEqual(['b', 'c']);
    expect(one.compares).toBe(2);
    expect(await memoOf(handle)).toMatchObject({ counts: { reversible: 0, mixed: 1 }, oldest: expect.any(String) });
    expect(await eventsOf(handle)).toBeLessThanOrEqual(35);
    const story = await storyOf(handle);
    expect(story).toMatchObject({ why: expect.stringContaining('kubectl-edit'), plan: { steps: expect.any(Array) } });
  });

  it.each(['mixed', 'extra'] as const)('is only reported where it is %s', async (kind) => {
    one.differences = [difference('a', { class: kind })];
    expect(await endOf(escalating)).toMatchObject({ outcome: 'refused', changes: [] });
    expect(one.asked).toEqual([]);
    expect(escalations()).toEqual([]);
  });

  it('is only told of in mode observe, whatever its age', async () => {
    one.differences = [difference('a'), destructive('b')];
    const given: Given = { stack: { minAge: DAY }, rule: { mode: 'observe' } };
    const handle = await begun(bench, one, given, {}, proposalId(one.name, one.key));
    const { outcome, plan } = await endingOf(handle);
    expect(outcome).toBe('observed');
    expect(plan?.join(' ')).toMatch(/update a.*replace b/);
    expect(one.asked).toEqual([]);
    await eventually('what was seen is remembered', async () => {
      const { memory } = await stateOfOne();
      return Object.keys(memory?.[one.key] ?? {}).length === 2;
    });
  });

  it('that is young waits, and is looked at again', async () => {
    one.differences = [difference('a')];
    const handle = await begun(bench, one, { stack: { minAge: 1_500 } });
    await eventually('it waits', async () => (await storyOf(handle)).phase === 'wait');
    expect(one.asked).toEqual([]);
    expect(await endingOf(handle)).toMatchObject({ outcome: 'remediated' });
    expect(one.compares).toBe(3);
  });

  it('that is young and undone meanwhile is not needed, as soon as its alert is resolved', async () => {
    one.differences = [difference('a')];
    const handle = await begun(bench, one, { stack: { minAge: DAY } });
    await eventually('it waits', async () => (await storyOf(handle)).phase === 'wait');
    one.differences = [];
    await handle.signal(MESSAGE.resolved);
    expect(await endingOf(handle)).toMatchObject({ outcome: 'not-needed' });
    expect(one.asked).toEqual([]);
  });

  it('that is still being changed while it is young is not old', async () => {
    one.differences = [difference('a')];
    const it = one;
    it.beforeLook = async () => {
      it.differences = [difference('a', { digest: `${it.compares}` })];
    };
    const { outcome, reason } = await endOf({ stack: { minAge: 200 } });
    expect(outcome).toBe('refused');
    expect(reason).toContain('still being changed');
    expect(one.asked).toEqual([]);
  });

  it('of an urgent kind is reverted at once, and what is young beside it later', async () => {
    one.differences = [difference('a'), difference('b', { kind: 'Deployment' })];
    const given: Given = { stack: { minAge: 1_500 }, options: { urgent: ['NetworkPolicy'] } };
    expect(await endOf(given)).toMatchObject({ outcome: 'remediated' });
    expect(one.asked).toEqual([['a'], ['b']]);
  });

  it('is only reported while an alert fires that holds it, but for its own and those of Salvor', async () => {
    one.differences = [difference('a')];
    const labels = { severity: 'critical', stack: one.name };
    const startsAt = '2026-01-01T00:00:00Z';
    one.alerts = [
      { labels: { ...labels, alertname: 'NetDown' }, startsAt },
      { labels: { ...labels, alertname: 'SalvorEscalation', salvor_id: 'x' }, startsAt },
    ];
    expect(await endOf()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('NetDown since') });
    expect(one.asked).toEqual([]);
    one.alerts = one.alerts.slice(1);
    one.differences = [difference('a')];
    expect(await endOf({}, { fingerprint: `other ${one.name}` })).toMatchObject({ outcome: 'remediated' });
  });

  it('that changes while it is looked at is looked at anew, and left alone where that goes on', async () => {
    one.differences = [difference('a')];
    // It is looked at again later, when another test is under way.
    const it = one;
    it.beforeRevert = async () => {
      it.differences = [difference('a', { digest: `${it.asked.length}` })];
    };
    expect(await endOf()).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('keeps changing') });
    expect(one.reverted).toEqual([]);
    expect(one.asked).toHaveLength(3);
  });

  it('is not touched where a gate objects right before, and waits for it', async () => {
    one.differences = [difference('a')];
    one.objection = { gate: 'paused', reason: 'paused by ann' };
    expect(await endOf()).toMatchObject({ outcome: 'refused', changes: [] });
    expect(one.reverted).toEqual([]);
    await eventually('it waits', async () => Object.values((await stateOfOne()).queue)[0]?.gate === 'paused');
  });

  it('of which a part could not be reverted fails, with what was done', async () => {
    one.differences = [difference('a'), difference('b')];
    one.says = { verdict: 'failed', why: 'b: forbidden', changes: [changeOf('a')] };
    const handle = await begun(bench, one, escalating);
    await expect(endingOf(handle)).rejects.toThrow();
    expect(await storyOf(handle)).toMatchObject({
      ending: { outcome: 'failed', reason: 'b: forbidden; reverted by then: a (changed by kubectl-edit)' },
      changes: [{ what: 'update a' }],
    });
    expect(escalations()).toHaveLength(1);
    await atRest();
    expect((await remembered('a'))?.reverts).toHaveLength(1);
    expect((await remembered('b'))?.reverts).toEqual([]);
  });

  it('of which a part was reverted when it was found changed is not what was not needed, and that counts', async () => {
    one.differences = [difference('a'), difference('b')];
    one.says = { verdict: 'changed', why: 'b is not as it was reviewed', changes: [changeOf('a')] };
    const it = one;
    it.beforeRevert = async () => {
      it.differences = [];
    };
    const ending = await endOf();
    expect(ending).toMatchObject({ outcome: 'remediated', changes: [{ what: 'update a' }] });
    expect(ending.reason).toContain(`1 of stack ${one.name} reverted: a`);
    await atRest();
    expect((await remembered('a'))?.reverts).toHaveLength(1);
    expect(await remembered('b')).toBeUndefined();
  });

  it('of which a part was reverted when a gate objects says so, and that counts', async () => {
    one.differences = [difference('a'), difference('b')];
    const objection = { gate: 'observing' as const, reason: 'its rule only observes' };
    one.says = { verdict: 'held-back', why: objection.reason, objection, changes: [changeOf('a')] };
    const { outcome, reason } = await endOf();
    expect(outcome).toBe('refused');
    expect(reason).toBe(
      'stopped before it was done: its rule only observes; reverted by then: a (changed by kubectl-edit)',
    );
    await atRest();
    expect((await remembered('a'))?.reverts).toHaveLength(1);
  });

  it('that is there again at once fails: somebody else sets it', async () => {
    one.differences = [difference('a')];
    const it = one;
    it.afterRevert = () => {
      it.differences = [difference('a')];
    };
    const handle = await begun(bench, one);
    await expect(endingOf(handle)).rejects.toThrow();
    expect((await storyOf(handle)).ending?.reason).toContain('differs again or still: a (changed by kubectl-edit)');
  });

  it.each([
    ['has nothing of it', [], 'remediated', ['a']],
    ['differs elsewhere', [difference('b', { class: 'unapplied' })], 'remediated', ['a']],
    ['has other drift, which is reverted too', [difference('b')], 'remediated', ['a', 'b']],
  ] as const)('is judged by what is pushed while it is verified, which %s', async (_, then, outcome, reverted) => {
    one.differences = [difference('a')];
    const it = one;
    it.afterRevert = () => {
      if (it.gone.length > 0) return;
      it.gone.push('c1');
      it.revision = 'c2';
      it.differences = structuredClone([...then]);
    };
    const handle = await begun(bench, one, escalating);
    expect(await endingOf(handle)).toMatchObject({ outcome });
    expect(one.reverted).toEqual(reverted);
    expect(escalations()).toEqual([]);
    expect(await memoOf(handle)).toMatchObject({ revision: 'c2' });
  });

  it('fails where it was reverted, and nothing can be compared any more', async () => {
    one.differences = [difference('a')];
    const it = one;
    it.afterRevert = () => {
      it.refused = 'its source is empty';
    };
    const handle = await begun(bench, one, escalating);
    await expect(endingOf(handle)).rejects.toThrow();
    const { reason } = (await storyOf(handle)).ending ?? {};
    expect(reason).toBe(
      'it could not be compared after a revert: its source is empty; reverted by then: a (changed by kubectl-edit)',
    );
    expect(escalations()).toHaveLength(1);
  });

  it('is cancelled while it is reverted, and says what was done', async () => {
    one.differences = [difference('a')];
    const shut = door<void>();
    one.beforeRevert = () => shut.opened;
    const handle = await begun(bench, one);
    await eventually('it is asked for', () => one.asked.length === 1);
    await handle.cancel();
    await expect(endingOf(handle)).rejects.toThrow();
    expect((await storyOf(handle)).ending).toMatchObject({ outcome: 'cancelled', changes: [] });
    expect(one.reverted).toEqual([]);
  });
});

describe('an address that somebody keeps changing', () => {
  it('is not fought about: people are told once, with who it is, and others are reverted all the same', async () => {
    const given: Given = { ...escalating, gates: { retries: { max: 2, per: 3_600_000 } } };
    for (let times = 0; times < 2; times += 1) {
      one.differences = [difference('a')];
      expect(await endOf(given)).toMatchObject({ outcome: 'remediated' });
      await atRest();
    }
    one.differences = [difference('a'), difference('b')];
    const third = await endOf(given);
    expect(third).toMatchObject({ outcome: 'remediated' });
    expect(third.reason).toContain('somebody keeps changing it');
    expect(one.reverted).toEqual(['a', 'a', 'b']);
    expect(escalations()).toHaveLength(1);
    expect(JSON.stringify(escalations())).toContain('kubectl-edit');
    await atRest();
    expect(await endOf(given)).toMatchObject({ outcome: 'refused', changes: [] });
    expect(escalations()).toHaveLength(1);
    expect(one.reverted).toEqual(['a', 'a', 'b']);
    await atRest();
    one.differences = [];
    await endOf(given);
    await isCleared(escalations()[0]);
  });

  it('may be reverted again when the period is over', async () => {
    const given: Given = { gates: { retries: { max: 1, per: 2_000 } } };
    one.differences = [difference('a')];
    await endOf(given);
    await atRest();
    one.differences = [difference('a')];
    expect(await endOf(given)).toMatchObject({ outcome: 'refused' });
    const again = await eventually('it is reverted again', async () => {
      await atRest();
      const { outcome } = await endOf(given);
      return outcome === 'remediated';
    });
    expect(again).toBe(true);
  });

  it('is not fought however far its reverts are apart, nor is the age of its drift forgotten, and its alert is one', async () => {
    const given: Given = { ...escalating, gates: { retries: { max: 2, per: 1 } } };
    const endsAs = async (outcome: string) => {
      one.differences = [difference('a')];
      const handle = await begun(bench, one, given);
      expect(await endingOf(handle)).toMatchObject({ outcome });
      await atRest();
      return handle;
    };
    await endsAs('remediated');
    const since = (await remembered('a'))?.since ?? 0;
    await endsAs('remediated');
    const left = await endsAs('refused');
    expect((await storyOf(left)).ending?.reason).toContain('somebody keeps changing it, 2 reverts of it');
    expect(await memoOf(left)).toMatchObject({ oldest: new Date(since).toISOString() });
    // A person had the time for it: once more, and no more.
    await endsAs('remediated');
    await endsAs('refused');
    expect(one.reverted).toEqual(['a', 'a', 'a']);
    const [told, ...more] = escalations();
    expect(more).toEqual([]);
    const clears = () => bench.heralded.some(({ clear }) => clear?.includes(told?.id ?? ''));
    expect(clears()).toBe(false);
    one.differences = [];
    await endOf(given);
    await isCleared(told);
  });

  it('is remembered by its responder while that matters, and not for longer', async () => {
    one.differences = [difference('a')];
    const handle = await begun(bench, one);
    await endingOf(handle);
    await atRest();
    const { memory } = await stateOfOne();
    expect(Object.keys(memory?.[one.key] ?? {})).toEqual(['@a']);
    const next = await begun(bench, one);
    await endingOf(next);
    expect((await stateOfOne()).memory?.[one.key]?.['@a']?.value).toMatchObject({ reverts: [expect.any(Number)] });
  });
});

describe('what deletes or replaces', () => {
  it('is proposed beside the rest, and reverted only when a person has approved just that', async () => {
    one.differences = [difference('a'), destructive('b')];
    const ending = await endOf();
    expect(ending.outcome).toBe('remediated');
    expect(ending.reason).toContain('is reverted with an approval only: b');
    expect(one.reverted).toEqual(['a']);
    const proposal = await proposalOf();
    const digest = await waiting(proposal);
    expect((await stateOfOne()).open).toEqual({});
    const before = await bench.client.workflow.getHandle(remediationId(one.key)).describe();
    await decide(proposal, 'approve', digest);
    expect(await endingOf(proposal)).toMatchObject({ outcome: 'observed' });
    const acting = await runAfter(bench, remediationId(one.key), before.runId);
    expect(await endingOf(acting)).toMatchObject({ outcome: 'remediated', changes: [{ what: 'replace b' }] });
    expect(one.reverted).toEqual(['a', 'b']);
  });

  it('is asked for once, however often it is looked at', async () => {
    one.differences = [destructive('b')];
    expect(await endOf()).toMatchObject({ outcome: 'refused' });
    const proposal = await proposalOf();
    await waiting(proposal);
    await atRest();
    expect((await endOf()).reason).toContain('waits already');
    const { runId } = await bench.client.workflow.getHandle(proposalId(one.name, one.key)).describe();
    expect(runId).toBe((await proposal.describe()).runId);
    await proposal.cancel();
    await expect(endingOf(proposal)).rejects.toThrow();
  });

  it('is not reverted, nor asked for again, where a person has denied it', async () => {
    one.differences = [destructive('b')];
    await endOf();
    const proposal = await proposalOf();
    await decide(proposal, 'deny', await waiting(proposal));
    await endingOf(proposal);
    await eventually('it is remembered', async () => (await stateOfOne()).memory?.[one.key]?.['declined']);
    expect((await endOf()).reason).toContain('denied by person:ada');
    const { runId } = await bench.client.workflow.getHandle(proposalId(one.name, one.key)).describe();
    expect(runId).toBe((await proposal.describe()).runId);
    expect(one.asked).toEqual([]);
    // Another plan is another question.
    await atRest();
    one.differences = [destructive('c')];
    await endOf();
    const next = await proposalOf(runId);
    await waiting(next);
    await next.cancel();
    await expect(endingOf(next)).rejects.toThrow();
  });

  it('is not reverted where nobody has answered in time, and people are told', async () => {
    one.differences = [destructive('b')];
    await endOf({ rule: { approveWithin: 500, onFailure: { escalate: true } } });
    const proposal = await proposalOf();
    expect(await endingOf(proposal)).toMatchObject({ outcome: 'refused' });
    expect(escalations()).toHaveLength(1);
    expect(one.asked).toEqual([]);
  });

  it('that changed since it was approved is not reverted, and is proposed anew', async () => {
    one.differences = [destructive('b')];
    await endOf();
    const proposal = await proposalOf();
    const digest = await waiting(proposal);
    const { runId } = await proposal.describe();
    one.differences = [{ ...destructive('b'), digest: 'another' }];
    await decide(proposal, 'approve', digest);
    const next = await proposalOf(runId);
    expect(await waiting(next)).not.toBe(digest);
    expect(one.asked).toEqual([]);
    await next.cancel();
    await expect(endingOf(next)).rejects.toThrow();
  });

  it('that is gone while it waits is not needed, when its alert is resolved', async () => {
    one.differences = [destructive('b')];
    await endOf();
    const proposal = await proposalOf();
    await waiting(proposal);
    one.differences = [];
    await proposal.signal(MESSAGE.resolved);
    expect(await endingOf(proposal)).toMatchObject({ outcome: 'not-needed' });
  });

  it('is a part of the one plan in mode propose', async () => {
    one.differences = [difference('a'), destructive('b')];
    const given: Given = { rule: { mode: 'propose' } };
    const proposal = await begun(bench, one, given, {}, proposalId(one.name, one.key));
    const digest = await waiting(proposal);
    expect(one.asked).toEqual([]);
    await decide(proposal, 'approve', digest);
    const acting = await runAfter(bench, remediationId(one.key));
    expect(await endingOf(acting)).toMatchObject({ outcome: 'remediated' });
    expect([...one.reverted].sort()).toEqual(['a', 'b']);
  });
});

describe('the times of a schedule', () => {
  const tick = () => ({ by: `schedule:${one.name}`, fingerprint: `tick ${one.name}` });

  it('are each another look', async () => {
    for (let times = 0; times < 3; times += 1) {
      expect(await endOf({}, tick())).toMatchObject({ outcome: 'not-needed' });
      await atRest();
    }
    const { settled, tally } = await stateOfOne();
    expect(tally.admit).toBe(3);
    expect(Object.values(settled).every(({ until }) => until < Date.now() + 2 * 3_600_000)).toBe(true);
  });

  it('find what was reverted meanwhile, and how often', async () => {
    const given: Given = { gates: { retries: { max: 1, per: 3_600_000 } } };
    one.differences = [difference('a')];
    await endOf(given, tick());
    await atRest();
    one.differences = [difference('a')];
    expect(await endOf(given, tick())).toMatchObject({ outcome: 'refused' });
    expect(one.reverted).toEqual(['a']);
  });
});

describe('a worker that dies', () => {
  const moments = ['looks', 'waits', 'reverts', 'looks again'] as const;
  it.each(moments)('while it %s: another goes on, and it is reverted once', async (moment) => {
    const mortal = await startDrift(sandbox.temporal.address, all);
    one.differences = [difference('a')];
    const shut = door<void>();
    let looks = 0;
    one.beforeLook = async () => {
      looks += 1;
      if ((moment === 'looks' && looks === 1) || (moment === 'looks again' && looks === 2)) await shut.opened;
    };
    if (moment === 'reverts') one.beforeRevert = () => shut.opened;
    const given: Given = moment === 'waits' ? { stack: { minAge: 2_000 } } : {};
    const { runId } = await (await begun(mortal.bench, one, given)).describe();
    const handle = bench.client.workflow.getHandle(remediationId(one.key), runId);
    await eventually(`it ${moment}`, async () => {
      if (moment === 'looks') return looks === 1;
      if (moment === 'looks again') return looks === 2;
      if (moment === 'reverts') return one.asked.length === 1;
      return (await storyOf(handle)).phase === 'wait';
    });
    await mortal.stop();
    one.beforeLook = undefined;
    one.beforeRevert = undefined;
    const heir = await startDrift(sandbox.temporal.address, all, mortal.bench.taskQueue);
    try {
      expect(await endingOf(handle)).toMatchObject({ outcome: 'remediated', changes: [{ what: 'update a' }] });
      expect(one.reverted).toEqual(['a']);
    } finally {
      await heir.stop();
    }
  });
});

describe('requests at one moment', () => {
  it('are one run', async () => {
    one.differences = [difference('a')];
    const shut = door<void>();
    one.beforeRevert = () => shut.opened;
    // Told of its end a moment before that, its responder would find it open, and try again in a minute.
    const given: Given = { gates: { cooldown: 1_000 } };
    const handle = await begun(bench, one, given);
    await asked(bench, one, given, { fingerprint: `second ${one.name}` });
    await eventually('the second waits', async () => Object.keys((await stateOfOne()).queue).length === 1);
    shut.open();
    await endingOf(handle);
    await atRest();
    expect(one.reverted).toEqual(['a']);
  });
});
