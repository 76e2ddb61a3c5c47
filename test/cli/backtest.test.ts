import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Context } from '@temporalio/activity';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import type { Backtest } from '../../backtest/backtest.ts';
import type { AuditPage } from '../../model/audit.ts';
import type { HoldResult } from '../../model/ports/instance.ts';
import { batches, route } from '../../model/routing.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { alert, config, configText, podKey, record, type Written } from '../backtest/recorder.ts';
import { indexOf, MINUTE, PODS, podName, STORM_GATES, storm } from '../backtest/storm.ts';
import { door, eventually } from '../support/wait.ts';
import { type Bench, deliver, instance, startBench } from '../support/workflows.ts';
import { type Ended, salvor as invoke } from './salvor.ts';

/** Every command is a process of its own, on a real store. */
const T0 = Date.parse('2026-01-01T03:00:00Z');
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-backtest-'));
  write('salvor.yaml', 'audit: { url: file:./audit.db }');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
const salvor = (...args: string[]): Promise<Ended> => invoke(args, { cwd: folder });

async function inStore<T>(use: (store: Awaited<ReturnType<typeof openAuditStore>>) => Promise<T>): Promise<T> {
  const store = await openAuditStore({ url: `file:${join(folder, 'audit.db')}` });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}
const keep = (pages: readonly AuditPage[]): Promise<void> =>
  inStore(async (store) => {
    for (const page of pages) await store.append(page);
  });
const kept = (): Promise<string[]> =>
  inStore(async (store) => {
    const records: string[] = [];
    for await (const record of store.export({})) records.push(JSON.stringify(record));
    return records;
  });

async function backtest(written: Written, ...args: string[]): Promise<Ended> {
  write('new.yaml', configText(written));
  return await salvor('backtest', 'new.yaml', '--since', '2026-01-01T00:00:00Z', ...args);
}

async function json(written: Written, ...args: string[]): Promise<Backtest> {
  const { stdout, stderr } = await backtest(written, '--json', ...args);
  expect(stderr).toBe('');
  return JSON.parse(stdout) as Backtest;
}

describe('a recorded storm', () => {
  it('with the threshold moved shows exactly the decisions that differ, and touches nothing', async () => {
    await keep(storm(T0));
    const before = await kept();
    const { status, stdout, stderr } = await backtest({ gates: STORM_GATES.replace('10', '15') });
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' });
    const groups = stdout.split('\n').filter((line) => line.startsWith('pods: '));
    expect(groups).toEqual(['pods: starts now', 'pods: waits no longer', 'pods: waits shorter']);
    expect(stdout).toMatch(/web-012 +acts after 1m \(in-flight\) +→ +acts at once +maxInFlight 10 → 15/);
    expect(stdout).toMatch(/web-299 +refused after 20m \(in-flight\) +→ +acts after 19m \(in-flight\) \* +maxInFlight/);
    expect(stdout).toMatch(/^pods +starts now +100\npods +waits no longer +5\npods +waits shorter +180$/m);
    expect(stdout).toContain('285 of 320 decisions would differ');
    expect(stdout).toContain('Not known: alerts that no rule had taken');
    // Ten a minute before, fifteen now; nobody waits for more than twenty minutes.
    const { differences } = await json({ gates: STORM_GATES.replace('10', '15') });
    const minutes = (i: number, room: number) => Math.min(20, Math.floor(i / room)) * 60 || undefined;
    const differ = Array.from({ length: PODS }, (_, i) => i).filter((i) => minutes(i, 10) !== minutes(i, 15));
    const told = differences.map(({ target, before: was, after: is }) => [indexOf(target), was.waited, is.waited]);
    expect(told.sort(([a = 0], [b = 0]) => a - b)).toEqual(differ.map((i) => [i, minutes(i, 10), minutes(i, 15)]));
    expect(await kept()).toEqual(before);
    expect((await backtest({ gates: STORM_GATES.replace('10', '15') })).stdout).toBe(stdout);
  });

  it('under the rules under which it was recorded comes to the same, and answers 0', async () => {
    await keep(storm(T0));
    const { status, stdout } = await backtest({ gates: STORM_GATES });
    expect({ status, lines: stdout.split('\n').length }).toEqual({ status: 0, lines: 4 });
    expect(stdout).toContain('no decision would differ: 320 compared');
    expect(stdout).not.toContain('left out');
    expect(stdout).not.toContain('simulation');
  });

  it('knows what was resolved while it waited', async () => {
    const names = [0, 1, 2].map(podName);
    const resolved = { at: T0 + 2 * MINUTE, alerts: [alert(podName(2), T0, { status: 'resolved' })] };
    const deliveries = [{ at: T0, alerts: names.map((name) => alert(name, T0)) }, resolved];
    const goes = () => ({ takes: 5 * MINUTE, outcome: 'remediated' as const });
    await keep(record({ config: config(), deliveries, goes }));
    expect(await json({})).toMatchObject({ compared: 3, differences: [], unknown: { unreproduced: 0 } });
    const { differences } = await json({ gates: 'maxInFlight: 2' });
    expect(differences).toMatchObject([{ target: podKey(podName(1)), change: 'waits no longer' }]);
  });
});

describe('a backtest that cannot be made', () => {
  it('of a configuration that is none answers 2 and says where', async () => {
    const { status, stderr } = await backtest({ gates: 'maxInFlights: 2' });
    expect(status).toBe(2);
    expect(stderr).toMatch(/new\.yaml:11:\d+ .*maxInFlight/);
    const missing = await salvor('backtest', 'none.yaml');
    expect(missing).toMatchObject({ status: 2, stderr: expect.stringContaining('none.yaml is not there') });
  });

  it('without a store answers 4', async () => {
    const { status, stdout, stderr } = await backtest({});
    expect({ status, stdout }).toEqual({ status: 4, stdout: '' });
    expect(stderr).toContain('audit.db');
  });

  it('where nothing is on record answers 4, and says since when and where it looked', async () => {
    await keep(storm(T0));
    write('new.yaml', configText());
    const { status, stdout, stderr } = await salvor('backtest', 'new.yaml', '--since', '2026-02-01T00:00:00Z');
    expect({ status, stdout }).toEqual({ status: 4, stdout: '' });
    expect(stderr).toMatch(/no decision since 2026-0\d-.* is on record in file:.*audit\.db/);
  });

  it('of a rule that there is not answers 2, and says which was meant', async () => {
    await keep(storm(T0));
    const { status, stderr } = await backtest({}, '--rule', 'pod');
    expect(status).toBe(2);
    expect(stderr).toContain('Did you mean pods?');
    expect((await json({ gates: STORM_GATES }, '--rule', 'pods')).compared).toBe(PODS);
  });
});

describe('a storm that real responders and remediations recorded', () => {
  let sandbox: Sandbox<'temporal'>;
  let bench: Bench;
  const opened = door<HoldResult>();
  const contested: HoldResult = {
    verdict: 'contested',
    why: 'somebody else changes it',
    changes: [],
    manager: 'kubectl',
  };

  beforeAll(async () => {
    sandbox = await startSandbox({ parts: ['temporal'] });
    bench = await startBench(
      sandbox.temporal.address,
      instance({
        hold: async ({ instance: { key } }) => {
          if (!key.includes('/held-')) return contested;
          const beat = setInterval(() => Context.current().heartbeat(), 200);
          try {
            return await Promise.race<HoldResult>([opened.opened, Context.current().cancelled]);
          } finally {
            clearInterval(beat);
          }
        },
      }),
    );
  });
  afterAll(async () => {
    await bench.stop();
    await sandbox.stop();
  });

  /** A webhook about every pod of a namespace. */
  async function hit(written: Written, namespace: string): Promise<void> {
    const alerts = Array.from({ length: PODS }, (_, i) => alert(podName(i), Date.now() - MINUTE, { namespace }));
    const routed = alerts.flatMap((one) =>
      route(one, config(written)).map((way) => {
        const { labels, annotations } = one;
        return way.kind === 'matched' ? { ...way, request: { ...way.request, labels, annotations } } : way;
      }),
    );
    for (const batch of batches(routed, randomUUID())) await deliver(bench, batch);
  }
  const pagesOf = (namespace: string): AuditPage[] =>
    bench.pages.filter(({ stream }) => stream.scope === `prod/${namespace}`);
  const noted = (namespace: string) => pagesOf(namespace).flatMap(({ notes }) => notes);
  const refused = (namespace: string) => {
    const notes = noted(namespace).filter(
      ({ entry }) => entry.kind === 'decision' && entry.decision.answer === 'refuse',
    );
    return new Set(notes.map(({ entry }) => entry.kind === 'decision' && entry.target)).size;
  };
  const ended = (namespace: string) => noted(namespace).filter(({ entry }) => entry.kind === 'ended').length;

  it('and that spent its retry budget', async () => {
    const namespace = `failing-${randomUUID().slice(0, 8)}`;
    const gates = (max: number) => ({ gates: `maxInFlight: 1, retries: { max: ${max}, per: 1h }` });
    await hit(gates(3), namespace);
    await eventually('four fail and all others are refused', () => refused(namespace) === PODS - 4, 120_000);
    await eventually('their ends are on record', () => ended(namespace) === 4);
    await keep(pagesOf(namespace));
    expect(await json(gates(3))).toMatchObject({ compared: PODS, differences: [], unknown: { unreproduced: 0 } });
    // What never ran is assumed to end well: with room for one more failure all of it starts.
    const more = await json(gates(4));
    expect(more.totals).toEqual([{ rule: 'pods', change: 'starts now', count: PODS - 4 }]);
    expect(more.differences.every(({ assumed }) => assumed)).toBe(true);
    // A matcher that leaves a hundred of the refused ones out changes nothing for the others.
    const fewer = await json({ ...gates(3), match: ['pod!~"web-1.."'] });
    expect(fewer.totals).toEqual([{ rule: 'pods', change: 'no rule any more', count: 100 }]);
    expect(fewer.differences.map(({ target }) => indexOf(target)).sort()).toEqual(
      Array.from({ length: 100 }, (_, i) => 100 + i),
    );
    const watched = await json({ ...gates(3), mode: 'observe' });
    expect(watched.totals).toEqual([
      { rule: 'pods', change: 'starts now', count: PODS - 4 },
      { rule: 'pods', change: 'observes now', count: 4 },
    ]);
  });

  it('and that found room for ten only', async () => {
    const namespace = `held-${randomUUID().slice(0, 8)}`;
    const patience = 5_000;
    const gates = (room: number) => ({ gates: `maxInFlight: ${room}, waitAtMost: ${patience / 1000}s` });
    await hit(gates(10), namespace);
    await eventually('all others are refused', () => refused(namespace) === PODS - 10, 120_000);
    // The ten are held for longer than anybody waits.
    const held = Date.now();
    await eventually('held for long enough', () => Date.now() > held + patience);
    opened.open({ verdict: 'recovered', why: 'healthy', changes: [] });
    await eventually('their ends are on record', () => ended(namespace) === 10);
    await keep(pagesOf(namespace));
    expect(await json(gates(10))).toMatchObject({ compared: PODS, differences: [], unknown: { unreproduced: 0 } });
    const { differences } = await json(gates(15));
    expect(differences.map(({ target, change }) => `${indexOf(target)} ${change}`).sort()).toEqual(
      [10, 11, 12, 13, 14].map((i) => `${i} starts now`),
    );
    const fewer = await json(gates(7));
    expect(fewer.totals).toEqual([{ rule: 'pods', change: 'refused now', count: 3 }]);
  });
});
