import { randomUUID } from 'node:crypto';
import { Context } from '@temporalio/activity';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AuditEntry, AuditPage } from '../../model/audit.ts';
import { MESSAGE, responderId, watchQueue } from '../../model/names.ts';
import type { CutRequest, HoldResult, InstancePort } from '../../model/ports/instance.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { allIsWell } from '../support/evidence.ts';
import { door, eventually } from '../support/wait.ts';
import {
  type Bench,
  batch,
  deliver,
  instance,
  pod,
  remediationOf,
  request,
  rule,
  startBench,
  stateOf,
} from '../support/workflows.ts';

/** Doors by rule: a look that has one waits until the test opens it. */
const looks = new Map<string, ReturnType<typeof door<void>>>();
/** Doors by pod name: a hold that has one waits until the test opens it. */
const doors = new Map<string, ReturnType<typeof door<HoldResult>>>();
const recovered: HoldResult = { verdict: 'recovered', why: 'healthy', changes: [] };
const cuts: CutRequest[] = [];
/** Pods whose cut is made and never reported. */
const lost = new Set<string>();
const usual = instance();
const world: Partial<InstancePort> = {
  cut: async (asked) => {
    cuts.push(asked);
    if (lost.has(asked.instance.key.split('/').at(-1) ?? '')) throw new Error('the worker is gone');
    return usual.cut(asked);
  },
  hold: async ({ instance: { key } }) => {
    const beat = setInterval(() => Context.current().heartbeat(), 200);
    try {
      return (
        (await Promise.race([doors.get(key.split('/').at(-1) ?? '')?.opened, Context.current().cancelled])) ?? recovered
      );
    } finally {
      clearInterval(beat);
    }
  },
};

let sandbox: Sandbox<'temporal'>;
let bench: Bench;
let id: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, instance(world), {
    look: async (asked) => {
      await looks.get(asked.rule.name)?.opened;
      return allIsWell(asked);
    },
  });
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  id = `t${randomUUID().slice(0, 8)}`;
  bench.store.down = false;
});

const shut = (name: string) => {
  const made = door<HoldResult>();
  doors.set(name, made);
  return made;
};
const isHeld = (name: string) => eventually(`hold ${name}`, () => bench.calls.includes(`hold ${name}`));
const pagesOf = (kind: 'remediation' | 'responder'): AuditPage[] =>
  bench.pages.filter(({ stream }) => stream.kind === kind && stream.rule === id);
const kindsOf = (page: AuditPage | undefined) => page?.notes.map(({ entry }) => entry.kind);
const decisions = () =>
  pagesOf('responder')
    .flatMap(({ notes }) => notes)
    .map(({ entry }) => entry)
    .filter((entry): entry is AuditEntry & { kind: 'decision' } => entry.kind === 'decision');

describe('a remediation', () => {
  it('has all on record before it ends; what it will hold, before it cuts', async () => {
    const labels = { alertname: 'KubePodNotReady', pod: `${id}-a` };
    await deliver(bench, batch(rule(id), [request(`${id}-a`, { labels })]));
    const handle = await eventually('started', async () => {
      const found = remediationOf(bench, `${id}-a`);
      await found.describe();
      return found;
    });
    await handle.result();
    const cut = cuts.find(({ instance: { key } }) => key === pod(`${id}-a`));
    expect(kindsOf(cut?.audit)).toEqual(['begun', 'evidence', 'held']);
    const [page, ...more] = pagesOf('remediation');
    expect(more).toEqual([]);
    expect(page?.stream).toMatchObject({
      id: (await handle.describe()).runId,
      target: pod(`${id}-a`),
      runbook: 'drain-instance',
      mode: 'act',
      scope: 'shop',
    });
    expect(kindsOf(page)).toEqual(['begun', 'evidence', 'held', 'change', 'evidence', 'released', 'ended']);
    expect(page?.notes.map(({ key }) => key)).toEqual(['1', '2', '3', '4', '5', '6', '7']);
    // The cut and the end name the same notes by the same keys, so that the second writing of them adds nothing.
    expect(page?.notes.slice(0, 3)).toEqual(cut?.audit?.notes);
    expect(page?.notes[0]?.entry).toMatchObject({ kind: 'begun', alert: { labels } });
    expect(page?.notes.at(-1)?.entry).toMatchObject({ kind: 'ended', outcome: 'recovered' });
  });

  it('that is cancelled has its undo and its end on record', async () => {
    shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    await remediationOf(bench, `${id}-a`).signal(MESSAGE.cancel, { by: 'person:ada', reason: 'wrong pod' });
    await remediationOf(bench, `${id}-a`).cancel();
    await remediationOf(bench, `${id}-a`)
      .result()
      .catch(() => undefined);
    const [page] = pagesOf('remediation');
    expect(kindsOf(page)?.slice(-3)).toEqual(['change', 'released', 'ended']);
    expect(page?.notes.at(-1)?.entry).toMatchObject({
      outcome: 'cancelled',
      reason: 'cancelled by person:ada: wrong pod',
    });
  });

  it('has on record what an attempt made that died before it could report it, and was cancelled', async () => {
    lost.add(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await eventually('cut', () => bench.calls.includes(`cut ${id}-a`));
    await remediationOf(bench, `${id}-a`).cancel();
    await remediationOf(bench, `${id}-a`)
      .result()
      .catch(() => undefined);
    const changes = pagesOf('remediation')
      .at(-1)
      ?.notes.flatMap(({ entry }) => (entry.kind === 'change' ? [entry.change] : []));
    expect(changes).toMatchObject([
      { step: 'cut', before: 'on', after: 'off', what: expect.stringContaining('could not report it') },
      { step: 'restore', before: 'off', after: 'on' },
    ]);
  });

  it('heals while the store is down, frees its slot, and ends when its record is in', async () => {
    bench.store.down = true;
    const name = `${id}-a`;
    await deliver(bench, batch(rule(id), [request(name)]));
    await eventually('the responder knows of its end', async () => {
      const { settled, open } = await stateOf(bench, id);
      return Object.values(settled)[0]?.outcome === 'recovered' && Object.keys(open).length === 0;
    });
    expect((await remediationOf(bench, name).describe()).status.name).toBe('RUNNING');
    expect(pagesOf('remediation')).toEqual([]);
    // What a store that hangs would hold are slots of waits, never those of cuts and undos.
    const pending = await eventually('tried again', async () => {
      const { pendingActivities } = (await remediationOf(bench, name).describe()).raw;
      return (pendingActivities?.[0]?.attempt ?? 0) >= 3 && (pendingActivities ?? []);
    });
    expect(pending.map(({ activityType }) => activityType?.name)).toEqual(['settle']);
    const heard = await bench.client.workflow.getHandle(responderId(id, 'shop')).fetchHistory();
    const ends = heard.events?.filter(
      (one) => one.workflowExecutionSignaledEventAttributes?.signalName === MESSAGE.ended,
    );
    expect(ends, 'told once, not with every try').toHaveLength(1);
    const { events } = await remediationOf(bench, name).fetchHistory();
    const queueOf = (type: string) =>
      events
        ?.map(({ activityTaskScheduledEventAttributes: scheduled }) => scheduled)
        .find((scheduled) => scheduled?.activityType?.name === type)?.taskQueue?.name;
    expect(queueOf('settle')).toBe(watchQueue(bench.taskQueue));
    expect(queueOf('cut')).toBe(bench.taskQueue);
    bench.store.down = false;
    await remediationOf(bench, name).result();
    expect(kindsOf(pagesOf('remediation')[0])?.at(-1)).toBe('ended');
  });

  it('that failed has on record that people were told, before its end', async () => {
    const made = shut(`${id}-a`);
    const r = { ...rule(id), onFailure: { escalate: true } };
    await deliver(bench, batch({ ...r, with: { ...r.with, replace: false } }, [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    made.open({ verdict: 'sick', why: 'not Ready for 60 s', changes: [] });
    await remediationOf(bench, `${id}-a`)
      .result()
      .catch(() => undefined);
    const [page] = pagesOf('remediation');
    expect(kindsOf(page)?.slice(-3)).toEqual(['released', 'escalated', 'ended']);
    expect(page?.notes.at(-2)?.entry).toMatchObject({
      id: page?.stream.id,
      why: expect.stringContaining('not Ready for 60 s'),
    });
    expect(page?.notes.at(-1)?.entry).not.toHaveProperty('planDigest');
  });

  it('that only observes is on record too', async () => {
    await deliver(bench, batch(rule(id, {}, 'observe'), [request(`${id}-a`)]));
    const [page] = await eventually('on record', () => pagesOf('remediation').length === 1 && pagesOf('remediation'));
    expect(kindsOf(page)).toEqual(['begun', 'evidence', 'ended']);
    const ended = { outcome: 'observed', plan: expect.any(Array), planDigest: 'd-plan' };
    expect(page?.notes.at(-1)?.entry).toMatchObject(ended);
    expect(page?.stream.mode).toBe('observe');
  });
});

describe('a responder', () => {
  it('puts on record what waits, what is refused and what is dropped, each once', async () => {
    const r = rule(id, { maxQueue: 1 });
    const [a, b, c] = ['a', 'b', 'c'].map((letter) => request(`${id}-${letter}`));
    const held = shut(`${id}-a`);
    await deliver(bench, batch(r, [a!]));
    await isHeld(`${id}-a`);
    await deliver(bench, batch(r, [b!, c!]));
    // What is resolved before it was decided leaves no trace.
    await eventually('both are decided', () => decisions().length === 2);
    await deliver(bench, batch(r, [a!, b!, c!]));
    await deliver(bench, batch(r, [{ ...b!, status: 'resolved' }]));
    await eventually('the drop is on record', () =>
      pagesOf('responder').some(({ notes }) => notes.some(({ entry }) => entry.kind === 'dropped')),
    );
    expect(decisions()).toMatchObject([
      { target: pod(`${id}-b`), decision: { answer: 'wait', gate: 'in-flight' }, rule: id, mode: 'act' },
      { target: pod(`${id}-c`), decision: { answer: 'refuse', gate: 'queue-full' } },
    ]);
    held.open(recovered);
  });

  it('notes nothing of what is admitted or says nothing new: its remediation does', async () => {
    const held = shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    held.open(recovered);
    await remediationOf(bench, `${id}-a`).result();
    expect(pagesOf('responder')).toEqual([]);
  });

  it('goes on deciding while the store is down; the record follows, in order and numbered', async () => {
    bench.store.down = true;
    const held = shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    for (const letter of ['b', 'c', 'd']) await deliver(bench, batch(rule(id), [request(`${id}-${letter}`)]));
    await eventually('all wait', async () => (await stateOf(bench, id)).tally.wait === 3);
    bench.store.down = false;
    await eventually('all on record', () => decisions().length === 3);
    const keys = pagesOf('responder').flatMap(({ notes }) => notes.map(({ key }) => key));
    const { runId } = await bench.client.workflow.getHandle(responderId(id, 'shop')).describe();
    expect(keys).toEqual([`${runId}/1`, `${runId}/2`, `${runId}/3`]);
    held.open(recovered);
  });

  it('never hands over more at once than the server takes, however large the labels are', async () => {
    bench.store.down = true;
    const held = shut(`${id}-a`);
    const labels = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`label${i}`, 'x'.repeat(1_000)]));
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    for (let group = 0; group < 4; group++) {
      const names = Array.from({ length: 60 }, (_, i) => `${id}-${group}-${i}`);
      const requests = names.map((name) => request(name, { labels, annotations: labels }));
      await deliver(bench, batch(rule(id), requests));
    }
    await eventually('all wait', async () => (await stateOf(bench, id)).tally.wait === 240, 60_000);
    bench.store.down = false;
    // The next try comes after as long again as it was down.
    await eventually('all on record', () => decisions().length === 240, 120_000);
    for (const page of pagesOf('responder')) expect(JSON.stringify(page).length).toBeLessThan(1024 ** 2);
    held.open(recovered);
    await bench.client.workflow.getHandle(responderId(id, 'shop')).terminate();
  }, 240_000);

  it('that is cancelled while the store is down takes what comes until its record is in', async () => {
    bench.store.down = true;
    const held = shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-b`)]));
    await eventually('it waits', async () => (await stateOf(bench, id)).tally.wait === 1);
    const responder = bench.client.workflow.getHandle(responderId(id, 'shop'));
    await responder.cancel();
    await deliver(bench, batch(rule(id), [request(`${id}-c`)]));
    await eventually('it is heard', async () => (await stateOf(bench, id)).tally.wait === 2);
    bench.store.down = false;
    await eventually('all on record', () => decisions().length === 2);
    held.open(recovered);
    for (const letter of ['a', 'b', 'c'])
      await eventually(`${letter} is held`, () => isHeld(`${id}-${letter}`).then(() => true));
    await responder.terminate();
  });

  it('that is cancelled in the midst of a look takes what comes after that, and ends when all is done', async () => {
    const held = shut(`${id}-a`);
    const r = rule(id, { cooldown: 0 });
    await deliver(bench, batch(r, [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    const looking = door<void>();
    looks.set(id, looking);
    await deliver(bench, batch(r, [request(`${id}-b`)]));
    await eventually('it looks', () =>
      bench.looks.some(({ rule: { name }, targets }) => name === id && targets.includes(pod(`${id}-b`))),
    );
    const responder = bench.client.workflow.getHandle(responderId(id, 'shop'));
    await responder.cancel();
    await deliver(bench, batch(r, [request(`${id}-c`)]));
    looking.open();
    await eventually('all on record', () => decisions().length === 2);
    held.open(recovered);
    for (const letter of ['b', 'c']) await isHeld(`${id}-${letter}`);
    for (const letter of ['a', 'b', 'c'])
      await deliver(bench, batch(r, [request(`${id}-${letter}`, { status: 'resolved' })]));
    await expect(responder.result()).rejects.toThrow();
    expect((await responder.describe()).status.name).toBe('CANCELLED');
  });

  it('that is cancelled has on record what it decided, and ends', async () => {
    const held = shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    bench.store.down = true;
    await deliver(bench, batch(rule(id), [request(`${id}-b`)]));
    await eventually('it waits', async () => (await stateOf(bench, id)).tally.wait === 1);
    const responder = bench.client.workflow.getHandle(responderId(id, 'shop'));
    await responder.cancel();
    bench.store.down = false;
    await expect(responder.result()).rejects.toThrow();
    expect((await responder.describe()).status.name).toBe('CANCELLED');
    expect(decisions()).toHaveLength(1);
    held.open(recovered);
  });

  it('that was reset puts on record what it decides from then on, too', async () => {
    const held = shut(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-a`)]));
    await isHeld(`${id}-a`);
    await deliver(bench, batch(rule(id), [request(`${id}-b`)]));
    await eventually('on record', () => decisions().length === 1);
    const handle = bench.client.workflow.getHandle(responderId(id, 'shop'));
    const before = await handle.describe();
    const first = (await handle.fetchHistory()).events?.find(({ workflowTaskCompletedEventAttributes: done }) => done);
    await bench.client.workflowService.resetWorkflowExecution({
      namespace: 'default',
      workflowExecution: { workflowId: responderId(id, 'shop'), runId: before.runId },
      reason: 'test',
      requestId: randomUUID(),
      workflowTaskFinishEventId: first?.eventId ?? null,
    });
    await deliver(bench, batch(rule(id), [request(`${id}-c`)]));
    await eventually('what came after it is on record', () =>
      decisions().some(({ target }) => target === pod(`${id}-c`)),
    );
    const pages = pagesOf('responder');
    // One stream, and in it no name twice: the store would take the second for what it has already.
    expect(new Set(pages.map(({ stream }) => stream.id))).toEqual(new Set([before.runId]));
    const named = new Map(pages.flatMap(({ notes }) => notes).map(({ key, entry }) => [key, entry]));
    const targets = [...named.values()].map((entry) => entry.kind === 'decision' && entry.target);
    expect(new Set(targets)).toEqual(new Set([pod(`${id}-b`), pod(`${id}-c`)]));
    held.open(recovered);
    await handle.terminate();
  });
});
