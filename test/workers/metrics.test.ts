import { randomUUID } from 'node:crypto';
import { Client, type Connection } from '@temporalio/client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pausesOf } from '../../activities/pauses.ts';
import type { AuditEntry, AuditPage, AuditStream } from '../../model/audit.ts';
import { type BreakerStanding, closedStanding } from '../../model/breaker/standing.ts';
import { STORM_MEMO } from '../../model/clearance.ts';
import { BUILT_IN_GATES } from '../../model/config-schema.ts';
import {
  CONTROL_ID,
  HERALD_ID,
  limitsId,
  proposalId,
  remediationId,
  responderId,
  WORKFLOW,
} from '../../model/names.ts';
import { PAUSES_MEMO } from '../../model/pause.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import { OPEN_MEMO, WAITING_MEMO } from '../../model/standing.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { WorkerMetrics } from '../../workers/metrics.ts';
import { type Standing, standingOf } from '../../workers/standing.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';

const rule = (name: string, over: Partial<ResolvedRule<'drain-instance'>> = {}): ResolvedRule<'drain-instance'> => ({
  name,
  runbook: 'drain-instance',
  mode: 'act',
  with: {
    traffic: 'auto',
    recoverWithin: 300_000,
    stableFor: 30_000,
    replace: true,
    quietFor: 15_000,
    evictWithin: 900_000,
    verifyWithin: 300_000,
  },
  gates: BUILT_IN_GATES,
  onFailure: { escalate: true },
  hush: false,
  approvers: [],
  approveWithin: 86_400_000,
  ...over,
});

const NOTHING: Standing = { inFlight: {}, queues: {}, approvals: {}, storms: {}, limitsStorms: 0, escalations: 0 };
const RULES = [rule('pods'), rule('limited', { limits: { maxInFlight: 1 } })];
const textOf = (metrics: WorkerMetrics): Promise<string> => metrics.registry.metrics();

describe('what is put on record is counted', () => {
  const BEGUN = '2026-02-01T10:00:00.000Z';
  const stream = (id: string, kind: AuditStream['kind']): AuditStream => ({
    id,
    kind,
    workflowId: `any/${id}`,
    rule: 'pods',
    runbook: 'drain-instance',
    scope: 'prod/shop',
  });
  const page = (of: AuditStream, ...entries: [at: string, entry: unknown][]): AuditPage => ({
    stream: of,
    notes: entries.map(([at, entry], i) => ({ key: String(i), at, entry: entry as AuditEntry })),
  });

  function counting() {
    const metrics = new WorkerMetrics(
      RULES,
      async () => 0,
      async () => NOTHING,
    );
    const writer = metrics.counting({ append: () => Promise.resolve() });
    return { metrics, writer };
  }

  it('refusals and waits by gate, escalations, and each once however often its page is written', async () => {
    const { metrics, writer } = counting();
    const decision = (answer: string, gate: string) => ({ kind: 'decision', decision: { answer, gate, reason: 'x' } });
    const told = page(
      stream('responder-1', 'responder'),
      [BEGUN, decision('refuse', 'excluded')],
      [BEGUN, decision('wait', 'storm')],
      [BEGUN, { kind: 'escalated', id: 'storm-1', why: 'a storm' }],
    );
    await writer.append(told);
    await writer.append(told);
    const text = await textOf(metrics);
    expect(text).toContain('salvor_decisions_total{rule="pods",answer="refuse",gate="excluded"} 1\n');
    expect(text).toContain('salvor_decisions_total{rule="pods",answer="wait",gate="storm"} 1\n');
    expect(text).toContain('salvor_escalations_total{rule="pods"} 1\n');
    // What an alert rule looks for is there before it happens.
    expect(text).toContain('salvor_decisions_total{rule="limited",answer="wait",gate="limits"} 0\n');
    expect(text).toContain('salvor_escalations_total{rule="limited"} 0\n');
  });

  it('the time that a remediation takes, by its outcome', async () => {
    const { metrics, writer } = counting();
    const ended = page(
      stream('run-1', 'remediation'),
      [BEGUN, { kind: 'begun' }],
      ['2026-02-01T10:01:30.000Z', { kind: 'ended', outcome: 'recovered', reason: '', lines: [] }],
    );
    await writer.append(ended);
    await writer.append(ended);
    const text = await textOf(metrics);
    const labels = 'rule="pods",runbook="drain-instance",outcome="recovered"';
    expect(text).toContain(`salvor_remediation_duration_seconds_sum{${labels}} 90\n`);
    expect(text).toContain(`salvor_remediation_duration_seconds_count{${labels}} 1\n`);
    expect(text).toContain(`salvor_remediation_duration_seconds_bucket{le="60",${labels}} 0\n`);
    expect(text).toContain(`salvor_remediation_duration_seconds_bucket{le="120",${labels}} 1\n`);
  });

  it('what was not written is not counted', async () => {
    const { metrics } = counting();
    const writer = metrics.counting({ append: () => Promise.reject(new Error('the store is down')) });
    const lost = page(stream('responder-2', 'responder'), [BEGUN, { kind: 'escalated', id: 'e', why: '' }]);
    await expect(writer.append(lost)).rejects.toThrow('the store is down');
    expect(await textOf(metrics)).toContain('salvor_escalations_total{rule="pods"} 0\n');
  });
});

describe('what stands is told', () => {
  const gauges = (text: string): string[] =>
    text.split('\n').filter((line) => /^salvor_\w+(\{rule="\w+"\})? /.test(line));

  it('as 0 where nothing does, for every rule', async () => {
    const metrics = new WorkerMetrics(
      RULES,
      async () => 0,
      async () => NOTHING,
    );
    const told = gauges(await textOf(metrics));
    for (const name of ['in_flight', 'queue_length', 'queue_oldest_seconds', 'approvals_waiting', 'storms'])
      expect(told).toEqual(
        expect.arrayContaining([`salvor_${name}{rule="pods"} 0`, `salvor_${name}{rule="limited"} 0`]),
      );
    for (const name of ['limits_storms', 'pauses', 'pause_oldest_seconds', 'escalations_open'])
      expect(told).toContain(`salvor_${name} 0`);
  });

  it('not at all where Temporal does not answer; and what is over is gone', async () => {
    let answer: () => Promise<Standing> = async () => ({
      ...NOTHING,
      storms: { removed: 2, pods: 1 },
      limitsStorms: 1,
    });
    const metrics = new WorkerMetrics(
      RULES,
      async () => 0,
      () => answer(),
    );
    expect(gauges(await textOf(metrics))).toEqual(
      expect.arrayContaining([
        'salvor_storms{rule="removed"} 2',
        'salvor_storms{rule="pods"} 1',
        'salvor_limits_storms 1',
      ]),
    );
    answer = () => Promise.reject(new Error('Temporal does not answer'));
    expect(gauges(await textOf(metrics)).filter((line) => /storms|pauses|queue|flight/.test(line))).toEqual([]);
    answer = async () => NOTHING;
    const later = await textOf(metrics);
    expect(later).toContain('salvor_storms{rule="pods"} 0\n');
    expect(later).not.toContain('salvor_storms{rule="removed"}');
  });
});

it('stale is what should have ended by now: a backlog and a breaker may take days, where they can be told apart', async () => {
  const stale = async (count: (query: string) => Promise<number>) =>
    (await textOf(new WorkerMetrics([], count, async () => NOTHING))).match(/^salvor_remediations_stale .*$/m)?.[0];
  const isQuick = (query: string): boolean => query.includes("SalvorRunbook = 'drain-instance'");
  expect(await stale(async (query) => (isQuick(query) ? 1 : 3))).toBe('salvor_remediations_stale 1');
  const unknown = async (query: string): Promise<number> => {
    if (isQuick(query)) throw new Error('no such attribute');
    return 3;
  };
  expect(await stale(unknown)).toBe('salvor_remediations_stale 3');
});

it('the state of a breaker is 1, its other states 0; none where Temporal does not answer', async () => {
  const metrics = new WorkerMetrics(
    [],
    async () => 0,
    async () => NOTHING,
  );
  let standing: BreakerStanding | Error = { ...closedStanding('payments'), state: 'open' };
  metrics.breakers(async () => {
    if (standing instanceof Error) throw standing;
    return [standing];
  });
  const states = async () => (await textOf(metrics)).split('\n').filter((line) => /^salvor_breaker_state{/.test(line));
  const series = (state: string, value: number) =>
    `salvor_breaker_state{dependency="payments",state="${state}"} ${value}`;
  expect(await states()).toEqual(
    ['closed', 'confirming', 'open', 'half-open'].map((state) => series(state, state === 'open' ? 1 : 0)),
  );
  standing = closedStanding('payments');
  expect(await states()).toContain(series('closed', 1));
  standing = new Error('no answer');
  expect(await states()).toEqual([]);
});

describe('what stands in Temporal', () => {
  let sandbox: Sandbox<'temporal'>;
  let connection: Connection;
  let client: Client;
  beforeAll(async () => {
    sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
    connection = await connectTo(sandbox.temporal.address);
    client = new Client({ connection });
  });
  afterAll(async () => {
    await connection?.close();
    await sandbox?.stop();
  });

  /** Nobody works on it: what it would tell stands in its memo. */
  const open = (type: string, workflowId: string, memo: Record<string, unknown> = {}) =>
    client.workflow.start(type, { workflowId, taskQueue: `nobody-${randomUUID()}`, memo });
  // Nothing is remembered: each looks anew.
  const look = (): Promise<Standing> => standingOf(client, pausesOf(client))();

  it('is nothing on a server that has never heard of Salvor', async () => {
    expect(await look()).toEqual(NOTHING);
  });

  it('is read from the memos of what is open, whoever works on it', async () => {
    const target = (pod: string) => `k8s/prod/shop/pod/${pod}`;
    const { responder, remediation, limits, control, herald } = WORKFLOW;
    const [early, late] = ['2026-02-01T08:00:00.000Z', '2026-02-01T09:00:00.000Z'];
    const storm = { since: early, reason: 'a storm' };
    await Promise.all([
      open(responder, responderId('pods', 'prod/shop'), {
        [WAITING_MEMO]: { count: 3, oldest: late },
        [STORM_MEMO]: storm,
      }),
      open(responder, responderId('pods', 'prod/other'), {
        [WAITING_MEMO]: { count: 2, oldest: early },
        [STORM_MEMO]: null,
      }),
      open(responder, responderId('idle', 'prod/shop'), { [WAITING_MEMO]: null }),
      open(responder, responderId('new', 'prod/shop')),
      open(limits, limitsId('k8s/prod'), { [STORM_MEMO]: storm }),
      open(limits, limitsId('k8s/eu'), { [STORM_MEMO]: null }),
      open(remediation, remediationId(target('a')), { rule: 'pods', mode: 'act' }),
      open(remediation, remediationId(target('b')), { rule: 'asks', mode: 'propose' }),
      open(remediation, proposalId('asks', target('c')), { rule: 'asks', mode: 'propose' }),
      open(remediation, proposalId('looks', target('d')), { rule: 'looks', mode: 'observe' }),
      open(control, CONTROL_ID, {
        [PAUSES_MEMO]: [
          { prefix: 'k8s/prod/shop', by: 'person:ada', reason: '', since: late },
          { prefix: 'rule/pods', by: 'person:ada', reason: '', since: early, until: '2026-02-01T08:30:00.000Z' },
        ],
      }),
      open(herald, HERALD_ID, { [OPEN_MEMO]: { escalations: 4, approvals: 1 } }),
    ]);
    const standing = await eventually('all is visible', async () => {
      const now = await look();
      const { inFlight, approvals, queues, storms, limitsStorms } = now;
      const seen = [inFlight['pods'], inFlight['asks'], approvals['asks'], queues['pods']?.count === 5, storms['pods']];
      return seen.every(Boolean) && limitsStorms > 0 && now;
    });
    expect(standing).toEqual({
      inFlight: { pods: 1, asks: 1 },
      queues: { pods: { count: 5, oldest: Date.parse(early) } },
      approvals: { asks: { count: 1, oldest: expect.closeTo(Date.now(), -5) } },
      storms: { pods: 1 },
      limitsStorms: 1,
      // The other one's time is over.
      pauses: { count: 1, oldest: Date.parse(late) },
      escalations: 4,
    });
    // What has ended stands no more.
    await Promise.all(
      [CONTROL_ID, HERALD_ID, limitsId('k8s/prod'), responderId('pods', 'prod/shop')].map((id) =>
        client.workflow.getHandle(id).terminate(),
      ),
    );
    const later = await eventually('the ends are visible', async () => {
      const now = await look();
      return now.limitsStorms === 0 && now.queues['pods']?.count === 2 && now;
    });
    expect(later).toMatchObject({ storms: {}, escalations: 0 });
    expect(later).not.toHaveProperty('pauses');
  });

  it('is asked for once by all that look at the same time, and not again right after', async () => {
    const standing = standingOf(client, pausesOf(client));
    const [first, second] = [standing(), standing()];
    expect(second).toBe(first);
    await first;
    expect(standing()).toBe(first);
  });

  it('is an error, and no older answer, while the server is away', async () => {
    const standing = standingOf(client, pausesOf(client));
    await sandbox.temporal.kill();
    await expect(standing()).rejects.toThrow();
    await sandbox.temporal.start();
    const now = await eventually('it answers again', () => standing(), 60_000);
    expect(now.inFlight).toEqual({ pods: 1, asks: 1 });
  });
});
