import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { type Postgres, startPostgres } from '../../sandbox/postgres.ts';
import { type Prometheus, startPrometheus } from '../../sandbox/prometheus.ts';
import { type Health, type Monitor, startMonitor } from '../../workers/monitor.ts';
import { Salvor } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';
import { readText } from './stack.ts';

const RULES = {
  // Fails: it may not replace the pod, which does not recover.
  gives: { with: { recoverWithin: '1s', stableFor: '1s', replace: false }, gates: { cooldown: '0s' } },
  looks: { mode: 'observe' },
};

const salvor = new Salvor();
let postgres: Postgres;
let prometheus: Prometheus;
let monitor: Monitor;

beforeAll(async () => {
  [postgres] = await Promise.all([startPostgres(), salvor.startSandbox()]);
  const url = await postgres.createDatabase('audit');
  await salvor.start(RULES, {}, { audit: { url, password: postgres.password } });
  const { metrics, health } = salvor.worker;
  const listen = { host: '127.0.0.1', port: 0 };
  monitor = await startMonitor({ listen, logger: pino({ level: 'silent' }), metrics, health });
  const folder = join(salvor.sandbox.folder, 'prometheus');
  await mkdir(folder);
  prometheus = await startPrometheus({
    folder,
    rules: readText('deploy/prometheus/salvor.yml'),
    scrape: [
      { job: 'salvor-gateway', targets: [new URL(salvor.gateway.url).host] },
      { job: 'salvor-worker', targets: [new URL(monitor.url).host] },
    ],
  });
  // What happened before the first look, no increase shows.
  await eventually('both are scraped', async () => {
    const { result } = await ask<{ result: { value: [number, string] }[] }>('query?query=up');
    return result.length === 2 && result.every(({ value }) => value[1] === '1');
  });
});
afterAll(async () => {
  await prometheus?.stop();
  await monitor?.close();
  await salvor.stop();
  await salvor.stopSandbox();
  await postgres?.stop();
});

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(`${prometheus.url}/api/v1/${path}`);
  const { status, data, error } = (await response.json()) as { status: string; data: T; error?: string };
  expect(status, `${decodeURIComponent(path)}: ${error}`).toBe('success');
  return data;
}

/** Alerts of Prometheus by name: firing, or pending where the rule waits. */
async function alerts(): Promise<Record<string, { state: string; annotations: { summary: string } }>> {
  const { alerts: all } = await ask<{
    alerts: { labels: { alertname: string }; state: string; annotations: { summary: string } }[];
  }>('alerts');
  return Object.fromEntries(all.map(({ labels, ...alert }) => [labels.alertname, alert]));
}

async function readyz(): Promise<{ status: number; body: Health & { status: string } }> {
  const response = await fetch(`${monitor.url}/readyz`);
  return { status: response.status, body: (await response.json()) as Health & { status: string } };
}

interface Dashboard {
  panels: { title: string; type: string; targets?: { expr: string }[] }[];
  templating: { list: { query: string | { query: string } }[] };
}
const dashboard = JSON.parse(readText('deploy/grafana/salvor.json')) as Dashboard;
const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
const rules = (parse(readText('deploy/prometheus/salvor.yml')) as { groups: { rules: { expr: string }[] }[] }).groups
  .flatMap((group) => group.rules)
  .map(({ expr }) => expr);

const namesIn = (texts: string[]): string[] => [
  ...new Set(texts.flatMap((text) => text.match(/\b(?:salvor|temporal|process|nodejs)_\w+/g) ?? [])),
];

/** Names of the series that the processes have, those of histograms as Prometheus knows them. */
async function exposed(): Promise<Set<string>> {
  const text = await Promise.all(
    [salvor.gateway.url, monitor.url].map(async (url) => (await fetch(`${url}/metrics`)).text()),
  );
  const types = [...text.join('\n').matchAll(/^# TYPE (\S+) (\S+)$/gm)];
  return new Set(
    types.flatMap(([, name = '', type]) =>
      type === 'histogram' ? ['_bucket', '_sum', '_count'].map((suffix) => name + suffix) : [name],
    ),
  );
}

describe('once Salvor has worked,', () => {
  beforeAll(async () => {
    const [acted, observed] = [await salvor.sickPod(), await salvor.sickPod()];
    await salvor.alert({ ...observed, rule: 'looks' });
    await salvor.alert({ ...acted, rule: 'gives' });
    expect(await salvor.ending(acted.namespace, acted.pod)).toMatchObject({ outcome: 'failed' });
  });

  it('every metric of the dashboard and of the rules is one that the processes have', async () => {
    const there = await exposed();
    const named = namesIn([
      ...expressions,
      ...rules,
      ...dashboard.templating.list.map(({ query }) => JSON.stringify(query)),
    ]);
    expect(named.length).toBeGreaterThan(20);
    expect(named.filter((name) => !there.has(name))).toEqual([]);
  });

  it('it has counted what it did', async () => {
    const text = await (await fetch(`${monitor.url}/metrics`)).text();
    expect(text).toContain('salvor_remediations_total{rule="gives",outcome="failed"} 1\n');
    expect(text).toContain('salvor_remediations_total{rule="gives",outcome="remediated"} 0\n');
    expect(text).toMatch(/^salvor_changes_total\{rule="gives",step="cut"\} 1$/m);
    expect(text).toContain('salvor_first_change_seconds_count{rule="gives"} 1\n');
    const labels = 'rule="gives",runbook="drain-instance",outcome="failed"';
    expect(text).toContain(`salvor_remediation_duration_seconds_count{${labels}} 1\n`);
    for (const name of ['in_flight', 'queue_length', 'storms', 'approvals_waiting'])
      expect(text, 'what stands is told for every rule').toMatch(
        new RegExp(`^salvor_${name}\\{rule="looks"\\} \\d`, 'm'),
      );
    const later = await eventually('the proposal is counted too', async () => {
      const now = await (await fetch(`${monitor.url}/metrics`)).text();
      return now.includes('salvor_remediations_total{rule="looks",outcome="observed"} 1\n') && now;
    });
    expect(later).toMatch(/^salvor_remediations_stale 0$/m);
  });

  it('Prometheus takes every rule and every panel', async () => {
    const { groups } = await ask<{ groups: { rules: { name: string; health: string; lastError?: string }[] }[] }>(
      'rules',
    );
    const loaded = await eventually('all rules are evaluated', async () => {
      const all = groups.flatMap((group) => group.rules);
      return all.length === rules.length && all;
    });
    expect(loaded.filter(({ lastError }) => lastError)).toEqual([]);
    for (const expr of expressions) {
      const concrete = expr.replaceAll(/"\$(worker|gateway|rule)"/g, '".*"').replaceAll('$__rate_interval', '1m');
      await ask(`query?query=${encodeURIComponent(concrete)}`);
    }
  });

  it('Prometheus raises an alert for what failed, and none for what did not', async () => {
    // A scrape that a busy machine has missed makes another one pending, until the next.
    const raised = await eventually('the failure is told, and nothing else', async () => {
      const now = await alerts();
      return now['SalvorRemediationFailed']?.state === 'firing' && Object.keys(now).length === 1 && now;
    });
    expect(raised['SalvorRemediationFailed']?.annotations.summary).toMatch(/rule gives failed: a person is needed/);
  });
});

describe("the worker's monitor", () => {
  it('says that it is ready, and serves nothing but what it should', async () => {
    expect(await readyz()).toEqual({
      status: 200,
      body: { status: 'ready', polls: true, temporal: true, audit: { up: true } },
    });
    expect(await (await fetch(`${monitor.url}/healthz`)).json()).toEqual({ status: 'ok' });
    expect((await fetch(`${monitor.url}/`)).status).toBe(404);
    expect((await fetch(`${monitor.url}/metrics`, { method: 'POST' })).status).toBe(405);
  });

  it('while only the audit store is down it stays ready, and says so; an alert waits to be raised', async () => {
    await postgres.shutDown();
    const down = await eventually('the store is found to be down', async () => {
      const now = await readyz();
      return now.body.audit?.up === false && now;
    });
    expect(down).toMatchObject({ status: 200, body: { status: 'ready', audit: { up: false } } });
    expect(down.body.audit?.error).toContain('audit');
    expect(Date.parse(down.body.audit?.since ?? '')).toBeLessThanOrEqual(Date.now());
    await eventually('the alert is pending', async () => (await alerts())['SalvorAuditStoreDown']?.state === 'pending');
    await postgres.start();
    await eventually('the store is up again', async () => (await readyz()).body.audit?.up);
  });

  it('without Temporal it is not ready, and lives', async () => {
    await salvor.sandbox.temporal.kill();
    expect(await readyz()).toMatchObject({ status: 503, body: { status: 'not ready', temporal: false } });
    expect((await fetch(`${monitor.url}/healthz`)).status).toBe(200);
    const text = await (await fetch(`${monitor.url}/metrics`)).text();
    expect(text, 'what Temporal counts is not there, the rest is').not.toMatch(/^salvor_remediations_open \d/m);
    expect(text).toMatch(/^salvor_audit_up 1$/m);
    await salvor.sandbox.temporal.start();
    await eventually('it is ready again', async () => (await readyz()).status === 200, 60_000);
  });

  it('cannot listen where something listens already, and says what to do', async () => {
    const { port } = new URL(monitor.url);
    const again = startMonitor({
      listen: { host: '127.0.0.1', port: Number(port) },
      logger: pino({ level: 'silent' }),
      metrics: salvor.worker.metrics,
      health: salvor.worker.health,
    });
    await expect(again).rejects.toThrow(
      /worker\.listen: cannot listen on 127\.0\.0\.1:\d+ \(EADDRINUSE\)\. Choose another/,
    );
  });
});
