import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import type { AuditEntry } from '../../model/audit.ts';
import { type BreakerStanding, closedStanding } from '../../model/breaker/standing.ts';
import { parseConfig } from '../../model/config.ts';
import { countsOf } from '../../model/drift/difference.ts';
import type { StackStanding } from '../../providers/temporal/drift.ts';
import { webhookConfig } from '../../sandbox/alertmanager.ts';
import { freePort } from '../../sandbox/ports.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { WorkerMetrics } from '../../workers/metrics.ts';
import { type Monitor, startMonitor } from '../../workers/monitor.ts';
import type { Standing } from '../../workers/standing.ts';
import { eventually } from '../support/wait.ts';
import { readText } from './stack.ts';

/**
 * The rules of deploy/prometheus/ that are about what stands, on a real Prometheus, which scrapes the metrics of a worker
 * and those of a real Alertmanager. What stands is said here: hours cannot be waited for.
 */
const CALM: Standing = { inFlight: {}, queues: {}, approvals: {}, storms: {}, limitsStorms: 0, escalations: 0 };
let standing = CALM;
let stale = 0;
let breaker: BreakerStanding = closedStanding('payments');

const parsed = parseConfig(
  `clusters: [{ name: prod }]
limits: { maxInFlight: 20 }
rules:
  - { name: pods, match: [a=b], runbook: drain-instance, target: k8s/prod/shop/pod/x }
  - { name: other, match: [a=b], runbook: drain-instance, target: k8s/prod/shop/pod/x }
`,
  'salvor.yaml',
);
if (!parsed.ok) throw new Error('the configuration is wrong');
const metrics = new WorkerMetrics(
  parsed.config.rules.map(({ rule }) => rule),
  async (query) => (query.includes('StartTime') ? stale : 0),
  async () => standing,
);
metrics.breakers(async () => [closedStanding('search'), breaker]);
let stacks: StackStanding[] = [];
metrics.drift(async () => stacks, { net: 300, shop: 300, lost: 300 });
const writer = metrics.counting({ append: () => Promise.resolve() });

let sandbox: Sandbox<'prometheus' | 'alertmanager'>;
let monitor: Monitor;
beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['prometheus', 'alertmanager'] });
  monitor = await startMonitor({
    listen: { host: '127.0.0.1', port: 0 },
    logger: pino({ level: 'silent' }),
    metrics: () => metrics.registry.metrics(),
    health: async () => ({ polls: true, temporal: true }),
  });
  await sandbox.prometheus.reload({
    rules: readText('deploy/prometheus/salvor.yml'),
    scrape: [
      { job: 'salvor-worker', targets: [new URL(monitor.url).host] },
      { job: 'alertmanager', targets: [sandbox.alertmanager.address] },
    ],
  });
  // What happened before the first look, no increase shows.
  await eventually('both are scraped', async () => {
    const response = await fetch(`${sandbox.prometheus.url}/api/v1/query?query=sum(up)`);
    const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
    return data.result[0]?.value[1] === '2';
  });
});
afterAll(async () => {
  await monitor?.close();
  await sandbox?.stop();
});

interface Alert {
  state: 'pending' | 'firing';
  labels: Record<string, string>;
  annotations: { summary: string };
}

async function raised(): Promise<Record<string, Alert>> {
  const response = await fetch(`${sandbox.prometheus.url}/api/v1/alerts`);
  const { data } = (await response.json()) as { data: { alerts: Alert[] } };
  return Object.fromEntries(data.alerts.map((alert) => [alert.labels['alertname'] ?? '', alert]));
}

/** Alertmanager tries again for ten seconds before it counts a failure. */
const PATIENCE = 90_000;

/** Those that have nothing to do with a gateway or a whole worker that is not here. */
const OURS = [
  'SalvorStorm',
  'SalvorLimitsStorm',
  'SalvorLimitsReached',
  'SalvorQueueOld',
  'SalvorApprovalWaits',
  'SalvorPaused',
  'SalvorEscalationOpen',
  'SalvorRemediationStale',
  'SalvorBreakerOpen',
  'SalvorWebhooksFail',
  'SalvorDriftOld',
  'SalvorDriftUnchecked',
  'SalvorDriftRefused',
];
const ours = async (): Promise<string[]> => Object.keys(await raised()).filter((name) => OURS.includes(name));

const ago = (minutes: number): number => Date.now() - minutes * 60_000;
const iso = (minutes: number): string => new Date(ago(minutes)).toISOString();
const compared = (stack: string, minutes: number, drifted?: number): StackStanding => ({
  stack,
  standing: {
    at: iso(minutes),
    verdict: drifted === undefined ? 'same' : 'differs',
    counts: countsOf(drifted === undefined ? [] : [{ class: 'reversible' }]),
    ...(drifted !== undefined && { oldest: iso(drifted) }),
  },
});

describe('Prometheus', () => {
  it('has all of these rules, and raises none of them while all is well', async () => {
    const { groups } = parse(readText('deploy/prometheus/salvor.yml')) as { groups: { rules: { alert: string }[] }[] };
    expect(groups.flatMap(({ rules }) => rules.map(({ alert }) => alert))).toEqual(expect.arrayContaining(OURS));
    // What is short of its time is no reason either.
    standing = {
      ...CALM,
      inFlight: { pods: 3 },
      queues: { pods: { count: 2, oldest: ago(20) } },
      approvals: { other: { count: 1, oldest: ago(40) } },
      pauses: { count: 1, oldest: ago(200) },
    };
    stacks = [compared('net', 1, 30), compared('shop', 12), { stack: 'lost' }];
    await eventually('it has seen that', async () => {
      const response = await fetch(`${sandbox.prometheus.url}/api/v1/query?query=salvor_in_flight{rule="pods"}`);
      const { data } = (await response.json()) as { data: { result: { value: [number, string] }[] } };
      return data.result[0]?.value[1] === '3';
    });
    expect(await ours()).toEqual([]);
  });

  it('raises an alert for what has stood for too long, with its rule and its time', async () => {
    standing = {
      inFlight: {},
      queues: { pods: { count: 2, oldest: ago(45) } },
      approvals: { other: { count: 1, oldest: ago(90) } },
      storms: { pods: 2 },
      limitsStorms: 1,
      pauses: { count: 1, oldest: ago(300) },
      escalations: 1,
    };
    stale = 2;
    breaker = { ...breaker, state: 'open' };
    const refused = { at: iso(1), verdict: 'refused' as const, counts: countsOf([]) };
    stacks = [compared('net', 1, 90), compared('shop', 16), { stack: 'lost', standing: refused }];
    const alerts = await eventually('all are raised', async () => {
      const now = await raised();
      const firing = ['SalvorStorm', 'SalvorLimitsStorm', 'SalvorQueueOld', 'SalvorApprovalWaits', 'SalvorPaused'];
      firing.push('SalvorDriftOld', 'SalvorDriftRefused');
      const waiting = ['SalvorEscalationOpen', 'SalvorRemediationStale', 'SalvorBreakerOpen', 'SalvorDriftUnchecked'];
      return firing.every((name) => now[name]?.state === 'firing') && waiting.every((name) => now[name]) && now;
    });
    const summary = (name: string) => alerts[name]?.annotations.summary;
    expect(alerts['SalvorStorm']?.labels).toMatchObject({ rule: 'pods', severity: 'critical' });
    expect(summary('SalvorStorm')).toMatch(/^So much is unhealthy in 2 scopes of the rule pods that/);
    expect(summary('SalvorLimitsStorm')).toMatch(/everything in 1 clusters/);
    expect(alerts['SalvorQueueOld']?.labels).toMatchObject({ rule: 'pods' });
    expect(summary('SalvorQueueOld')).toMatch(/has waited for 45m \d+s/);
    expect(alerts['SalvorApprovalWaits']?.labels).toMatchObject({ rule: 'other' });
    expect(summary('SalvorApprovalWaits')).toMatch(/has waited for 1h 30m \d+s for a person/);
    expect(summary('SalvorPaused')).toMatch(/paused for 5h 0m \d+s/);
    expect(alerts['SalvorBreakerOpen']?.labels).toMatchObject({ dependency: 'payments', severity: 'warning' });
    expect(summary('SalvorBreakerOpen')).toMatch(/kept from payments for half an hour.*`salvor breaker show payments`/);
    // While it is tried nothing is over.
    breaker = { ...breaker, state: 'half-open' };
    await eventually('that is scraped', async () => {
      const query = 'salvor_breaker_state{dependency="payments",state="half-open"} == 1';
      const response = await fetch(`${sandbox.prometheus.url}/api/v1/query?query=${encodeURIComponent(query)}`);
      return ((await response.json()) as { data: { result: object[] } }).data.result.length === 1;
    });
    expect((await raised())['SalvorBreakerOpen']?.state).toBe('pending');
    expect(summary('SalvorRemediationStale')).toMatch(/^2 remediations have been open for more than two hours/);
    expect(alerts['SalvorDriftOld']?.labels).toMatchObject({ stack: 'net' });
    expect(summary('SalvorDriftOld')).toMatch(/^The stack net has differed from its source for 1h 30m \d+s/);
    expect(alerts['SalvorDriftUnchecked']?.labels).toMatchObject({ stack: 'shop' });
    expect(summary('SalvorDriftUnchecked')).toMatch(/^The stack shop was last compared with its source 16m \d+s ago/);
    expect(alerts['SalvorDriftRefused']?.labels).toMatchObject({ stack: 'lost' });

    standing = CALM;
    stale = 0;
    breaker = closedStanding('payments');
    stacks = [];
    await eventually('all is well again', async () => (await ours()).length === 0);
  });

  it('raises an alert where the limits over all rules hold somebody back', async () => {
    await writer.append({
      stream: { id: 'run', kind: 'responder', workflowId: 'responder/pods/x', rule: 'pods', scope: 'x' },
      notes: [
        {
          key: '1',
          at: new Date().toISOString(),
          entry: { kind: 'decision', decision: { answer: 'wait', gate: 'limits', reason: 'full' } } as AuditEntry,
        },
      ],
    });
    const { SalvorLimitsReached } = await eventually('it is raised', async () => {
      const now = await raised();
      return now['SalvorLimitsReached']?.state === 'firing' && now;
    });
    expect(SalvorLimitsReached?.labels).toMatchObject({ rule: 'pods', severity: 'warning' });
  });

  it('raises an alert where Alertmanager cannot deliver to a webhook', async () => {
    const url = `http://127.0.0.1:${await freePort()}/webhook/alertmanager`;
    await sandbox.alertmanager.reload(webhookConfig({ url }));
    const posted = await fetch(`${sandbox.alertmanager.url}/api/v2/alerts`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify([{ labels: { alertname: 'PodUnable', namespace: 'shop' } }]),
    });
    expect(posted.status).toBe(200);
    const { SalvorWebhooksFail } = await eventually(
      'it is raised',
      async () => {
        const now = await raised();
        return now['SalvorWebhooksFail'] && now;
      },
      PATIENCE,
    );
    expect(SalvorWebhooksFail?.labels).toMatchObject({ severity: 'critical', instance: sandbox.alertmanager.address });
  }, 120_000);
});
