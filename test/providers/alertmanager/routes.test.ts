import { randomUUID } from 'node:crypto';
import { Client, Connection } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { heraldActivities } from '../../../activities/herald.ts';
import { hushActivities } from '../../../activities/hush.ts';
import { labelFingerprint } from '../../../model/alertmanager.ts';
import { approvalRequest, escalation } from '../../../model/escalation.ts';
import type { EndedAlert, OwnAlert } from '../../../model/herald.ts';
import { shortId } from '../../../model/names.ts';
import { Alertmanager } from '../../../providers/alertmanager/client.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import { eventually } from '../../support/wait.ts';
import { request } from '../../support/workflows.ts';
import {
  alertsOf,
  EXAMPLE,
  example,
  fire,
  inbox,
  type Notification,
  type RunningActivity,
  resolve,
  runActivity,
} from './support.ts';

/** The pager waits for a few seconds where it would wait for minutes; what comes first stays first. */
const SCALED: Record<string, string> = {
  '2m': '10s',
  '5m': '1s',
  '1m': '300ms',
  '10s': '300ms',
  '1s': '100ms',
  '0s': '0s',
};

type Inbox = Awaited<ReturnType<typeof inbox>>;

let sandbox: Sandbox<'alertmanager'>;
let client: Client;
let url: string;
let id: string;
let labels: Record<string, string>;
let salvor: Inbox;
let pager: Inbox;
let approvals: Inbox;

beforeAll(async () => {
  // As it is: Alertmanager takes it.
  sandbox = await startSandbox({ parts: ['alertmanager'], alertmanager: { config: EXAMPLE } });
  url = sandbox.alertmanager.url;
  // Nobody is told of what is resolved, so no connection is made.
  client = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) });
});
afterAll(async () => {
  await client?.connection.close();
  await sandbox?.stop();
});

beforeEach(async () => {
  [salvor, pager, approvals] = await Promise.all([inbox(), inbox(), inbox()]);
  const urls: Record<string, string> = { salvor: salvor.url, pager: pager.url, approvals: approvals.url };
  const config = example(SCALED, ({ name, ...receiver }) => ({
    ...receiver,
    name,
    webhook_configs: [{ url: urls[name] ?? expect.fail(name), send_resolved: true }],
  }));
  await sandbox.alertmanager.reload(config);
  id = randomUUID();
  labels = { alertname: 'PodUnable', namespace: `ns-${id}`, pod: 'web-0', severity: 'page' };
});

function ending<T>(running: RunningActivity<T>): RunningActivity<T> {
  onTestFinished(async () => {
    running.cancel();
    await running.result.catch(() => undefined);
  });
  return running;
}

/** What Salvor does when it begins to work on the alert. */
async function hushed(): Promise<RunningActivity<string>> {
  const { hush } = hushActivities({ alertmanagers: [new Alertmanager(url)], client });
  const about = { target: `k8s/prod/ns-${id}/pod/web-0`, rule: 'pod-unready', remediation: id };
  const alert = { labels, alertname: labels['alertname'] ?? '', fingerprint: labelFingerprint(labels) };
  const running = ending(runActivity(hush, { ...alert, ...about }));
  await eventually('it is silenced', async () => (await alertsOf(url, labels))[0]?.status.state === 'suppressed');
  return running;
}

/** And when it ends. */
async function unhushed(running: RunningActivity<string>): Promise<void> {
  running.cancel();
  await expect(running.result).rejects.toThrow();
}

function proclaim(open: OwnAlert[], ended: EndedAlert[] = []) {
  const isWell = () => expect.fail('nothing is looked at so soon');
  const alertmanagers = [new Alertmanager(url)];
  const herald = async () => undefined;
  const activities = heraldActivities({ herald, alertmanagers, isWell, fence: async () => undefined });
  return ending(runActivity(activities.proclaim, { open, ended }));
}

const aboutIt = () => ({
  rule: 'pod-unready',
  scope: `prod/ns-${id}`,
  target: `k8s/prod/ns-${id}/pod/web-0`,
  alert: request('web-0', { alertname: 'PodUnable', labels }),
  run: { workflowId: `remediation/k8s/prod/ns-${id}/pod/web-0`, runId: id },
  at: new Date().toISOString(),
});

const hears = (who: Inbox, of: Record<string, string>, status: Notification['status'] = 'firing') =>
  eventually(`${JSON.stringify(of)} is told`, () => who.of(of).find((one) => one.status === status));
const fires = async (): Promise<void> => {
  await fire(url, labels, { startsAt: new Date().toISOString() });
  await hears(salvor, labels);
};
/** Another alert that nobody silences: when the pager has heard of it, it has heard of all that came before. */
async function waited(pod: string): Promise<void> {
  const other = { ...labels, pod };
  await fire(url, other, { startsAt: new Date().toISOString() });
  await hears(pager, other);
}
const original = () => pager.of({ alertname: 'PodUnable', pod: 'web-0' });

describe('with the routes of examples/alertmanager.yml', () => {
  it('Salvor hears at once, and what it heals pages nobody', async () => {
    await fires();
    expect(original()).toEqual([]);
    const hush = await hushed();
    await waited('web-1');
    expect(original(), 'the pager would have been told by now').toEqual([]);
    await resolve(url, labels);
    await unhushed(hush);
    await waited('web-2');
    expect(original()).toEqual([]);
  });

  it('what heals before the pager has waited pages nobody, without a silence too', async () => {
    await fires();
    await resolve(url, labels);
    await hears(salvor, labels, 'resolved');
    await waited('web-1');
    expect(original()).toEqual([]);
  });

  it('what Salvor could not heal pages at once, and the alert itself follows when its silence has ended', async () => {
    await fires();
    const hush = await hushed();
    await waited('web-1');
    const own = escalation({
      ...aboutIt(),
      id,
      reason: 'not ready within 5m',
      tried: ['cut its traffic', 'evicted it'],
    });
    const first = proclaim([own]);
    const page = await hears(pager, { salvor_id: id });
    expect(page.alerts).toMatchObject([
      {
        labels: { alertname: 'SalvorEscalation', alert: 'PodUnable', pod: 'web-0', severity: 'page' },
        annotations: { summary: 'not ready within 5m', description: 'cut its traffic\nevicted it' },
      },
    ]);
    expect(original(), 'still silenced').toEqual([]);
    await unhushed(hush);
    await hears(pager, { alertname: 'PodUnable', pod: 'web-0' });

    first.cancel();
    await first.result;
    proclaim([], [{ ...own, endedAt: new Date().toISOString() }]);
    await hears(pager, { salvor_id: id }, 'resolved');
    expect(salvor.of({ salvor_id: id }), 'it never comes back as work').toEqual([]);
    expect(approvals.heard).toEqual([]);
  });

  it('a request for approval goes where people answer, not to the pager, nor to Salvor', async () => {
    const plan = { steps: ['evict it'], changes: [], digest: 'd1' };
    const until = new Date(Date.now() + 3_600_000).toISOString();
    proclaim([approvalRequest({ ...aboutIt(), plan, why: 'not ready', until, approvers: ['anna'] })]);
    const { alerts } = await hears(approvals, { salvor_id: id });
    expect(alerts[0]?.annotations).toMatchObject({
      command: `salvor approve ${shortId(id)} --digest d1`,
      approvers: 'anna',
    });
    await waited('web-1');
    expect(pager.of({ salvor_id: id })).toEqual([]);
    expect(salvor.of({ salvor_id: id })).toEqual([]);
  });

  it('a target that joins others of its namespace is told at once, and still waits its own time for the pager', async () => {
    await waited('web-1');
    await fires();
    const hush = await hushed();
    await waited('web-2');
    expect(original()).toEqual([]);
    await unhushed(hush);
  });
});
