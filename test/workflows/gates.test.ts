import { describe, expect, it } from 'vitest';
import type { Approval } from '../../model/approval.ts';
import type { Evidence, TargetEvidence, WorkloadEvidence } from '../../model/evidence.ts';
import {
  type Case,
  cooldown,
  decide,
  duplicate,
  excluded,
  GATES,
  held,
  inFlight,
  limits,
  paused,
  retryBudget,
  storm,
  targetBusy,
  unavailable,
  unread,
  windows,
} from '../../model/gates.ts';
import type { Pause } from '../../model/pause.ts';
import type { Open, ResponderState } from '../../model/responder.ts';
import type { ResolvedGates, ResolvedRule } from '../../model/rule.ts';
import { pod, request, rule } from '../support/workflows.ts';

const NOW = Date.parse('2026-01-01T12:00:00Z');
const MINUTE = 60_000;
const WEB = 'k8s/test/shop/deployment.apps/web';

const APPROVAL: Approval = {
  by: 'person:ada',
  at: '2026-01-01T11:59:00Z',
  digest: 'd-plan',
  comment: '',
  proposal: 'run-of-the-proposal',
};

const open = (name: string, more: Partial<Open> = {}): ResponderState['open'] => ({
  [pod(name)]: {
    episode: 'e',
    runId: 'run',
    fingerprint: `fp-${name}`,
    startsAt: '2026-01-01T00:00:00Z',
    since: NOW,
    ...more,
  },
});

interface About {
  name?: string;
  approval?: Approval;
  gates?: Partial<ResolvedGates>;
  mode?: ResolvedRule['mode'];
  limits?: ResolvedRule['limits'];
  state?: Partial<ResponderState>;
  seen?: TargetEvidence;
  web?: WorkloadEvidence;
  evidence?: Partial<Evidence> | null;
  waiting?: boolean;
}

/** Pod `a` of a scope where all is well, but for what a test is about. */
function about({ name = 'a', gates, mode = 'act', state, seen = {}, web, evidence, ...more }: About = {}): Case {
  const { approval } = more;
  const nothing = { open: {}, queue: {}, settled: {}, cooling: {}, attempts: {} };
  const well: Evidence = {
    at: NOW,
    targets: { [pod(name)]: { ...(web && { workload: WEB }), ...seen } },
    workloads: web ? { [WEB]: web } : {},
    population: { live: 100, unhealthy: 0 },
    pauses: [],
    window: { open: true },
    leases: {},
  };
  return {
    request: request(name, approval && { approval }),
    rule: { ...rule('r', gates, mode), ...(more.limits && { limits: more.limits }) },
    state: { ...nothing, tally: { admit: 0, wait: 0, refuse: 0, coalesce: 0 }, ...state },
    ...(evidence === null ? {} : { evidence: { ...well, ...evidence } }),
    now: NOW,
    waiting: more.waiting,
  };
}

const key = (name: string): string => `fp-${name}@2026-01-01T00:00:00Z`;
const pause = (more: Partial<Pause> = {}): Pause => ({
  prefix: 'k8s/test/shop',
  by: 'person:ada',
  reason: 'migration',
  since: '2026-01-01T11:00:00Z',
  ...more,
});

describe('duplicate', () => {
  it('coalesces what is settled, open or waits; and not the request that waits itself', () => {
    const settled = { [key('a')]: { outcome: 'remediated', until: NOW + 1 } };
    expect(duplicate(about({ state: { settled } }))).toMatchObject({
      answer: 'coalesce',
      reason: 'already remediated',
    });
    expect(duplicate(about({ state: { open: open('a') } }))).toMatchObject({ answer: 'coalesce' });
    const queue = { [key('a')]: { ...request('a'), delivery: 'd', since: NOW, gate: 'paused', reason: '' } };
    expect(duplicate(about({ state: { queue } }))).toMatchObject({ answer: 'coalesce', reason: 'it waits already' });
    expect(duplicate(about({ state: { queue }, waiting: true }))).toBeUndefined();
  });

  it('coalesces while a proposal for the target waits, but not the approved request of that proposal', () => {
    const proposed = {
      [pod('a')]: { episode: 'e', runId: 'r', fingerprint: 'fp-a', startsAt: '2026-01-01T00:00:00Z', since: NOW },
    };
    expect(duplicate(about({ mode: 'propose', state: { proposed } }))?.reason).toBe('its proposal waits for a person');
    expect(duplicate(about({ mode: 'propose', state: { proposed }, approval: APPROVAL }))).toBeUndefined();
    const settled = { [key('a')]: { outcome: 'observed', until: NOW + 1 } };
    expect(duplicate(about({ mode: 'propose', state: { settled } }))).toMatchObject({ answer: 'coalesce' });
    expect(duplicate(about({ mode: 'propose', state: { settled }, approval: APPROVAL }))).toBeUndefined();
    // Once it was carried out, a second word of the approval says nothing new.
    const done = { [key('a')]: { outcome: 'remediated', until: NOW + 1 } };
    expect(duplicate(about({ mode: 'propose', state: { settled: done }, approval: APPROVAL }))).toBeDefined();
    // A rule that only observes acts on nothing, approved or not.
    expect(duplicate(about({ mode: 'observe', state: { settled }, approval: APPROVAL }))).toBeDefined();
  });
});

describe('paused', () => {
  it('waits, and says who paused what, why and until when', () => {
    const until = '2026-01-01T14:00:00.000Z';
    expect(paused(about({ evidence: { pauses: [pause({ until })] } }))).toEqual({
      answer: 'wait',
      gate: 'paused',
      reason: `k8s/test/shop is paused by person:ada (migration) until ${until}`,
      until: Date.parse(until),
    });
    expect(paused(about({ evidence: { pauses: [pause({ prefix: 'rule/r' })] } }))).toMatchObject({ answer: 'wait' });
  });

  it('lets pass what the pause is not about, or is over', () => {
    const others = [pause({ prefix: 'k8s/test/sho' }), pause({ prefix: 'rule/other' }), pause({ until: iso(NOW - 1) })];
    expect(paused(about({ evidence: { pauses: others } }))).toBeUndefined();
  });
});

describe('excluded and held', () => {
  it('refuse, with what was seen', () => {
    expect(excluded(about({ seen: { excluded: 'salvor.dev/skip on its namespace' } }))).toMatchObject({
      answer: 'refuse',
      gate: 'excluded',
      reason: 'it is excluded: salvor.dev/skip on its namespace',
    });
    expect(held(about({ seen: { held: 'by 0198 of drain-instance' } }))).toMatchObject({
      answer: 'refuse',
      gate: 'held',
    });
    expect([excluded(about()), held(about())]).toEqual([undefined, undefined]);
  });

  it('waits where a remediation of the very target, of another rule, holds it; a proposal too', () => {
    const seen = { held: 'by 0198 of drain-instance', busy: 'rule theirs has an open remediation of the target' };
    for (const mode of ['act', 'observe'] as const)
      expect(decide(about({ mode, seen }))).toEqual({ answer: 'wait', gate: 'target-busy', reason: seen.busy });
  });
});

describe('an error while evidence is read', () => {
  it.each([
    ['of the whole', { evidence: { error: 'the API does not answer' } }, 'the API does not answer'],
    ['of the target', { seen: { error: 'forbidden' } }, 'forbidden'],
    ['which is silent about the target', { evidence: { targets: {} } }, 'nothing is known of the target'],
    ['which is silent about its workload', { seen: { workload: WEB } }, `nothing is known of its workload ${WEB}`],
  ])('%s refuses; with failClosed: false it passes', (_, what: About, why) => {
    expect(unread(about(what))).toMatchObject({
      answer: 'refuse',
      gate: 'evidence',
      reason: expect.stringContaining(why),
    });
    expect(unread(about({ ...what, gates: { failClosed: false } }))).toBeUndefined();
    expect(decide(about({ ...what, gates: { failClosed: false } }))).toEqual({ answer: 'admit' });
  });

  it('is none where none was to be read', () => {
    expect(unread(about({ evidence: null }))).toBeUndefined();
  });
});

describe('windows', () => {
  it('wait until the next one opens', () => {
    const closed = about({
      gates: { windows: ['Mon-Fri 08:00-20:00 Europe/Berlin'] },
      evidence: { window: { open: false, opensAt: NOW + MINUTE } },
    });
    expect(windows(closed)).toEqual({
      answer: 'wait',
      gate: 'windows',
      reason: 'outside its windows (Mon-Fri 08:00-20:00 Europe/Berlin); the next opens at 2026-01-01T12:01:00.000Z',
      until: NOW + MINUTE,
    });
    expect(windows(about())).toBeUndefined();
  });
});

describe('target busy', () => {
  it('waits where the target has an open remediation; a proposal does not', () => {
    const state = { open: open('a', { fingerprint: 'another' }) };
    expect(targetBusy(about({ state }))).toMatchObject({ answer: 'wait', gate: 'target-busy' });
    expect(targetBusy(about({ state, mode: 'propose', approval: APPROVAL }))).toMatchObject({ answer: 'wait' });
    expect(targetBusy(about({ state, mode: 'propose' }))).toBeUndefined();
    expect(targetBusy(about({ state, mode: 'observe' }))).toBeUndefined();
  });
});

describe('cooldown', () => {
  it('waits for its end', () => {
    expect(cooldown(about({ state: { cooling: { [pod('a')]: NOW + 1 } } }))).toMatchObject({ until: NOW + 1 });
    expect(cooldown(about({ state: { cooling: { [pod('a')]: NOW, [pod('b')]: NOW + 1 } } }))).toBeUndefined();
  });
});

describe('retry budget', () => {
  it('refuses when more than `max` have failed within `per`, over the scope', () => {
    const failed = (...ages: number[]) => ({
      attempts: Object.fromEntries(ages.map((age, i) => [pod(`f${i}`), [{ episode: `${i}`, at: NOW - age }]])),
    });
    const gates = { retries: { max: 1, per: 10 * MINUTE } };
    expect(retryBudget(about({ gates, state: failed(1, 2) }))).toMatchObject({
      answer: 'refuse',
      reason: '2 remediations of the scope failed within 10m; at most 1 retries',
    });
    expect(retryBudget(about({ gates, state: failed(1, 10 * MINUTE) }))).toBeUndefined();
  });
});

describe('in flight', () => {
  it('waits where as many are open as may be; a proposal does not', () => {
    const state = { open: { ...open('b'), ...open('c') } };
    expect(inFlight(about({ gates: { maxInFlight: 2 }, state }))).toMatchObject({
      answer: 'wait',
      reason: '2 of at most 2 remediations are open in the scope',
    });
    expect(inFlight(about({ gates: { maxInFlight: 3 }, state }))).toBeUndefined();
    expect(inFlight(about({ gates: { maxInFlight: 2 }, state, mode: 'observe' }))).toBeUndefined();
  });
});

describe('limits', () => {
  const some = { maxInFlight: 5 };

  it('wait where no slot was granted, with what the limits say', () => {
    const lease = { granted: 0, reason: '5 of at most 5 are in flight in k8s/test', notBefore: iso(NOW + MINUTE) };
    const denied = about({ limits: some, evidence: { leases: { 'k8s/test': lease } } });
    expect(limits(denied)).toEqual({
      answer: 'wait',
      gate: 'limits',
      reason: '5 of at most 5 are in flight in k8s/test',
      until: NOW + MINUTE,
    });
    const all = { granted: 0, storm: { targets: 30, since: iso(NOW) } };
    expect(limits(about({ limits: some, evidence: { leases: { 'k8s/test': all } } }))?.reason).toContain('30 targets');
  });

  it('pass with a slot that is not taken: each start takes one', () => {
    const slots = { 'k8s/test': 2 };
    expect(limits(about({ limits: some, state: { slots, open: open('b') } }))).toBeUndefined();
    expect(limits(about({ limits: some, state: { slots, open: { ...open('b'), ...open('c') } } }))).toBeDefined();
  });

  it('that do not answer hold, unless the rule fails open; without limits, and for a proposal, there are none', () => {
    expect(limits(about({ limits: some }))).toMatchObject({
      answer: 'wait',
      reason: expect.stringContaining('answer'),
    });
    expect(limits(about({ limits: some, gates: { failClosed: false } }))).toBeUndefined();
    expect(limits(about({ limits: some, mode: 'observe' }))).toBeUndefined();
    expect(limits(about())).toBeUndefined();
  });
});

describe('storm', () => {
  it('holds all, proposals too, with what was counted', () => {
    const why = '6 of 10 pods in the scope are unhealthy, above 40%, which is 4';
    const state = {
      storm: { since: iso(NOW), live: 10, unhealthy: 6, why, targets: [pod('a')], lookAt: NOW + MINUTE },
    };
    for (const mode of ['act', 'propose', 'observe'] as const)
      expect(storm(about({ mode, state }))).toMatchObject({ answer: 'wait', reason: expect.stringContaining(why) });
    expect(storm(about())).toBeUndefined();
  });
});

describe('unavailable', () => {
  const quarter = { maxUnavailable: { percent: 25 } } as const;
  const of = (desired: number, ...unready: string[]): WorkloadEvidence => ({ desired, unready: unready.map(pod) });

  it('counts those that are not Ready, those in flight and the target itself, each once', () => {
    // 25% of 8 is 2: the target is one of the two that are not Ready.
    expect(unavailable(about({ gates: quarter, web: of(8, 'a', 'b') }))).toBeUndefined();
    expect(unavailable(about({ gates: quarter, web: of(8, 'b', 'c') }))).toMatchObject({
      answer: 'wait',
      gate: 'unavailable',
      reason: `3 of 8 of ${WEB} would be unavailable (2 are not Ready, 0 in flight), above 25%, which is 2`,
    });
    const state = { open: { ...open('b', { workload: WEB }), ...open('c', { workload: WEB }) } };
    expect(unavailable(about({ gates: quarter, web: of(8, 'b'), state }))?.reason).toContain('3 of 8');
    // What is open in another workload takes no place in this one.
    const elsewhere = { open: { ...open('b', { workload: 'another' }), ...open('c', { workload: 'another' }) } };
    expect(unavailable(about({ gates: quarter, web: of(8, 'a'), state: elsewhere }))).toBeUndefined();
  });

  it('rounds down, but allows one of two or more; a single replica only by an explicit number', () => {
    expect(unavailable(about({ gates: quarter, web: of(3, 'a') }))).toBeUndefined();
    expect(unavailable(about({ gates: quarter, web: of(1, 'a') }))?.reason).toBe(
      `it is the only replica of ${WEB}: 25% of one is none, only an explicit number (maxUnavailable: 1) allows it`,
    );
    expect(unavailable(about({ gates: { maxUnavailable: { count: 1 } }, web: of(1, 'a') }))).toBeUndefined();
    expect(unavailable(about({ gates: { maxUnavailable: { count: 0 } }, web: of(4, 'a') }))).toBeDefined();
  });

  it('does not concern a proposal, nor what has no workload', () => {
    expect(unavailable(about({ mode: 'propose', gates: quarter, web: of(1, 'a') }))).toBeUndefined();
    expect(unavailable(about({ mode: 'propose', approval: APPROVAL, gates: quarter, web: of(1, 'a') }))).toBeDefined();
    expect(unavailable(about({ gates: quarter }))).toBeUndefined();
  });
});

describe('all gates', () => {
  it('are asked in their order: of several that object, the first decides', () => {
    const everything: About = {
      limits: { maxInFlight: 5 },
      gates: { maxInFlight: 1, maxUnavailable: { count: 0 }, retries: { max: 0, per: 10 * MINUTE }, windows: ['x'] },
      state: {
        settled: { [key('a')]: { outcome: 'remediated', until: NOW + 1 } },
        open: open('a', { fingerprint: 'another' }),
        cooling: { [pod('a')]: NOW + 1 },
        attempts: { [pod('a')]: [{ episode: '1', at: NOW - 1 }] },
        storm: { since: iso(NOW), live: 1, unhealthy: 1, why: '', targets: [], lookAt: NOW },
      },
      seen: { excluded: 'skip', held: 'by another', error: 'forbidden' },
      web: { desired: 4, unready: [] },
      evidence: { pauses: [pause()], window: { open: false }, targets: undefined },
    };
    const c = about(everything);
    c.evidence = { ...c.evidence!, targets: { [pod('a')]: { ...everything.seen, workload: WEB } } };
    const asked = GATES.map((gate) => gate(c)?.gate);
    expect(asked).toEqual([
      'duplicate',
      'paused',
      'excluded',
      'evidence',
      'windows',
      'target-busy',
      'held',
      'cooldown',
      'retry-budget',
      'in-flight',
      'limits',
      'storm',
      'unavailable',
    ]);
    expect(decide(c).answer === 'coalesce' && decide(c)).toMatchObject({ gate: 'duplicate' });
  });

  it('admit what none of them objects to', () => {
    expect(decide(about({ web: { desired: 4, unready: [pod('a')] } }))).toEqual({ answer: 'admit' });
    expect(decide(about({ evidence: null }))).toEqual({ answer: 'admit' });
  });
});

function iso(at: number): string {
  return new Date(at).toISOString();
}
