import { fork } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Client } from '@temporalio/client';
import { ActivityCancellationDetails, CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type HushTiming, hushActivities } from '../../activities/hush.ts';
import { labelFingerprint } from '../../model/alertmanager.ts';
import { approvalRequest, escalation } from '../../model/escalation.ts';
import type { HushRequest } from '../../model/herald.ts';
import { MESSAGE, responderId, WORKFLOW } from '../../model/names.ts';
import { recordedLabels } from '../../model/redact.ts';
import { Alertmanager, sameLabels } from '../../providers/alertmanager/client.ts';
import { type Alertmanager as Server, startAlertmanager } from '../../sandbox/alertmanager.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import {
  alertsOf,
  endSilence,
  fire,
  gateTo,
  type RunningActivity,
  resolve,
  runActivity,
  type Seen,
  silenceOf,
  silencesOf,
  utf8Names,
} from '../providers/alertmanager/support.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import { request as alertRequest, batch, rule } from '../support/workflows.ts';

const TIMING: HushTiming = { lasts: 20_000, extendEvery: 300, retryEvery: 100, lookEvery: 100 };

let sandbox: Sandbox<'temporal' | 'alertmanager'>;
let other: Server;
let client: Client;
let url: string;
let id: string;
let labels: Record<string, string>;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal', 'alertmanager'], temporal: { headless: true } });
  other = await startAlertmanager({ folder: `${sandbox.folder}/other` });
  client = new Client({ connection: await connectTo(sandbox.temporal.address) });
  url = sandbox.alertmanager.url;
});
afterAll(async () => {
  await client?.connection.close();
  await other?.stop();
  await sandbox?.stop();
});
beforeEach(() => {
  id = randomUUID();
  labels = { alertname: 'PodUnable', namespace: `ns-${id}`, pod: 'web-0' };
});

const requestOf = (over: Partial<HushRequest> = {}): HushRequest => ({
  labels,
  alertname: 'PodUnable',
  fingerprint: labelFingerprint(over.labels ?? labels),
  target: `k8s/prod/ns-${id}/pod/web-0`,
  rule: 'pod-unready',
  remediation: id,
  ...over,
});

interface How {
  urls?: string[];
  timing?: Partial<HushTiming>;
  last?: unknown;
}

/** Ended with the test, if not before. */
function hush(request = requestOf(), { urls = [url], timing, last }: How = {}): RunningActivity<string> {
  const alertmanagers = urls.map((one) => new Alertmanager(one));
  const activities = hushActivities({ alertmanagers, client, timing: { ...TIMING, ...timing } });
  const running = runActivity(activities.hush, request, last);
  onTestFinished(async () => {
    running.cancel();
    await running.result.catch(() => undefined);
  });
  return running;
}

const stateOf = async (of: Record<string, string>): Promise<Seen['status']['state'] | undefined> =>
  (await alertsOf(url, of)).find((one) => sameLabels(one.labels, of))?.status.state;
const silenced = (of = labels) => eventually('it is silenced', async () => (await stateOf(of)) === 'suppressed');
const heard = (of = labels) => eventually('it is not silenced', async () => (await stateOf(of)) === 'active');
const mine = (at = url) => silencesOf(at, id);
const active = async (at = url) => (await mine(at)).filter(({ status }) => status.state === 'active');
const cancelled = (running: RunningActivity<unknown>) => {
  running.cancel();
  return expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
};

describe('while Salvor works on an alert', () => {
  it('it is silenced, and heard again as soon as that is over', async () => {
    await fire(url, labels);
    const running = hush();
    await silenced();
    const [silence] = await mine();
    expect(silence).toMatchObject({
      createdBy: 'salvor',
      comment: `Salvor works on k8s/prod/ns-${id}/pod/web-0 (rule pod-unready, remediation ${id}). It ends with that work.`,
    });
    await cancelled(running);
    expect(await active()).toEqual([]);
    await heard();
  });

  it('the end of the silence moves on, and is never far', async () => {
    const running = hush();
    const [first] = await eventually('there', async () => (await active()).length === 1 && active());
    await eventually('extended', async () => (await silenceOf(url, first!.id)).endsAt > first!.endsAt);
    const again = await silenceOf(url, first!.id);
    expect(Date.parse(again.endsAt) - Date.now()).toBeLessThanOrEqual(TIMING.lasts);
    await cancelled(running);
    expect(await mine(), 'always the same').toHaveLength(1);
  });

  it('no other alert is silenced: not a sibling, not those of Salvor itself', async () => {
    const run = { workflowId: 'remediation/x', runId: id };
    const alert = { ...alertRequest('x'), labels };
    const about = { rule: 'r', scope: 's', target: 't', alert, run, at: new Date().toISOString() };
    const plan = { steps: [], changes: [], digest: 'd' };
    const own = [
      escalation({ ...about, id, reason: 'no', tried: [] }),
      approvalRequest({ ...about, plan, why: 'w', until: about.at }),
    ].map((one) => ({ ...one.labels, alertname: one.alertname, salvor_id: one.id }));
    // Not even one that a person has named as the original.
    const named = { ...labels, salvor_id: id };
    const { pod: _, ...fewer } = labels;
    const others = [{ ...labels, pod: 'web-1' }, { ...labels, pod: 'web-0x' }, fewer, named, ...own];
    for (const one of [labels, ...others]) await fire(url, one);
    hush();
    await silenced();
    const all = await alertsOf(url, { namespace: labels['namespace']! });
    expect(all).toHaveLength(1 + others.length);
    expect(all.filter(({ status }) => status.state === 'suppressed').map((one) => one.labels)).toEqual([labels]);
  });

  it('values and names of any kind are matched exactly', async () => {
    const odd = {
      ...labels,
      quotes: 'say "hi" and \'bye\'',
      backslash: 'C:\\temp\\n.*',
      lines: 'one\ntwo',
      unicode: 'Grüße, 世界 🚢',
      ...(await utf8Names(url)),
    };
    const sibling = { ...odd, backslash: 'C:\\temp\\nXX' };
    for (const one of [odd, sibling]) await fire(url, one);
    const running = hush(requestOf({ labels: odd }));
    await silenced(odd);
    expect(await stateOf(sibling)).toBe('active');
    await cancelled(running);
    await heard(odd);
  });

  it.each([
    ['were redacted', { api_token: 'hunter2-hunter2' }, recordedLabels],
    ['were cut', { text: 'x'.repeat(3_000) }, recordedLabels],
    ['are missing', {}, () => undefined],
  ] as const)(
    'where its labels %s they are taken from Alertmanager, by name and fingerprint',
    async (_, more, kept) => {
      const original = { ...labels, ...more };
      const sibling = { ...original, pod: 'web-1' };
      for (const one of [original, sibling]) await fire(url, one);
      const { labels: _all, ...about } = requestOf({ fingerprint: labelFingerprint(original) });
      const recorded = kept(original);
      const request = { ...about, ...(recorded && { labels: recorded }) };
      // Gone from there while the next worker takes it up.
      const running = hush(request);
      await silenced(original);
      expect(await stateOf(sibling)).toBe('active');
      const last = await eventually('it is told on', () => running.beats.find((beat) => beat !== undefined));
      running.cancel('WORKER_SHUTDOWN', new ActivityCancellationDetails({ workerShutdown: true }));
      await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
      await resolve(url, original);
      const [left] = await active();
      const next = hush(request, { last });
      await eventually('taken up', async () => (await silenceOf(url, left!.id)).endsAt > left!.endsAt);
      await cancelled(next);
      expect(await active()).toEqual([]);
    },
  );

  it('labels that nobody has any more silence nothing, and it says so', async () => {
    const original = { ...labels, api_token: 'hunter2-hunter2' };
    const request = requestOf({ labels: recordedLabels(original), fingerprint: labelFingerprint(original) });
    await expect(hush(request).result).resolves.toMatch(/not silenced: .* not on record as they are/);
    expect(await mine()).toEqual([]);
    // One that does not answer may have it.
    const gate = await gateTo(url, 'down');
    await expect(hush(request, { urls: [url, gate.url] }).result).rejects.toThrow('no answer from Alertmanager');
  });

  it('without an Alertmanager it says so, and ends', async () => {
    await expect(hush(requestOf(), { urls: [] }).result).resolves.toMatch(/no Alertmanager is configured/);
  });

  it('a silence that a person ends is not made again', async () => {
    await fire(url, labels);
    const running = hush();
    await silenced();
    const [silence] = await mine();
    await endSilence(url, silence!.id);
    await expect(running.result).resolves.toMatch(/somebody has ended the silence/);
    expect(await active()).toEqual([]);
    await heard();
  });
});

describe('when its worker', () => {
  it('is shut down the silence stays, and the next worker takes it up', async () => {
    await fire(url, labels);
    const running = hush();
    await silenced();
    running.cancel('WORKER_SHUTDOWN', new ActivityCancellationDetails({ workerShutdown: true }));
    await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
    const [left] = await active();
    const next = hush(requestOf(), { last: running.beats.at(-1) });
    await eventually('taken up', async () => (await silenceOf(url, left!.id)).endsAt > left!.endsAt);
    await cancelled(next);
    expect(await mine(), 'no other was made').toMatchObject([{ id: left!.id, status: { state: 'expired' } }]);
  });

  it('dies before it could tell which silence it made, the next worker finds it', async () => {
    const first = hush();
    await eventually('there', async () => (await active()).length === 1);
    first.cancel('WORKER_SHUTDOWN', new ActivityCancellationDetails({ workerShutdown: true }));
    await expect(first.result).rejects.toThrow();
    const [left] = await active();
    const next = hush(requestOf(), { last: { told: false } });
    await eventually('taken up', async () => (await silenceOf(url, left!.id)).endsAt > left!.endsAt);
    await cancelled(next);
    expect(await mine()).toHaveLength(1);
  });

  it('is killed, the silence ends by itself', async () => {
    await fire(url, labels);
    const child = fork(new URL('./programs/hush.ts', import.meta.url), [], { execArgv: [] });
    onTestFinished(() => {
      child.kill('SIGKILL');
    });
    // It is read when the child's modules are loaded.
    child.send({ url, request: requestOf(), timing: { lasts: 12_000, extendEvery: 500 } });
    await silenced();
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    expect(await active(), 'nobody could end it').toHaveLength(1);
    await heard();
    expect(await mine()).toMatchObject([{ status: { state: 'expired' } }]);
  });
});

describe('of several Alertmanagers', () => {
  it('where the one that has the silence is gone, another has it', async () => {
    const gate = await gateTo(url, 'open');
    await fire(url, labels);
    await fire(other.url, labels);
    const running = hush(requestOf(), { urls: [gate.url, other.url] });
    await silenced();
    expect(await active(other.url), 'these two do not gossip').toEqual([]);
    gate.set('down');
    await eventually('the other has it', async () => (await active(other.url)).length === 1);
    gate.set('open');
    await cancelled(running);
    await eventually('neither has it', async () => [...(await active()), ...(await active(other.url))].length === 0);
  });

  it('one that hangs does not hold back the end of the silence, nor does one that is down', async () => {
    for (const state of ['hangs', 'down'] as const) {
      const gate = await gateTo(other.url, 'open');
      const running = hush(requestOf(), { urls: [gate.url, url] });
      await eventually('there', async () => (await active(other.url)).length === 1);
      gate.set(state);
      await cancelled(running);
      const [silence] = await active(other.url);
      await endSilence(other.url, silence!.id);
    }
  });

  it('none answers when it is to end: it is tried a few times, and then left to end by itself', async () => {
    const gate = await gateTo(url, 'open');
    const running = hush(requestOf(), { urls: [gate.url] });
    await eventually('there', async () => (await active()).length === 1);
    gate.set('down');
    const before = gate.connections();
    await cancelled(running);
    expect(gate.connections() - before).toBeGreaterThan(2);
    const [silence] = await active();
    expect(Date.parse(silence!.endsAt) - Date.now()).toBeLessThanOrEqual(TIMING.lasts);
  });

  it('none answers: it is tried again until one does', async () => {
    const gate = await gateTo(url, 'down');
    const running = hush(requestOf(), { urls: [gate.url] });
    await eventually('it was tried', () => gate.connections() >= 3);
    expect(await mine()).toEqual([]);
    gate.set('open');
    await eventually('there', async () => (await active()).length === 1);
    await cancelled(running);
  });
});

describe('an alert that is resolved while it is silenced', () => {
  /** A responder without a worker: what it was told stays in its history. */
  async function responder(): Promise<{ tell: NonNullable<HushRequest['tell']>; told(): Promise<unknown[]> }> {
    const workflowId = responderId('pod-unready', id);
    const options = { workflowId, taskQueue: `nobody-${id}`, args: [{ rule: 'pod-unready', scope: id }] };
    const handle = await client.workflow.start(WORKFLOW.responder, options);
    const resolvedRequest = alertRequest('web-0', { status: 'resolved' });
    return {
      tell: { responder: workflowId, batch: batch(rule('pod-unready'), [resolvedRequest], id) },
      told: async () => {
        const { events = [] } = await handle.fetchHistory();
        return (events ?? []).flatMap(({ workflowExecutionSignaledEventAttributes: signal }) =>
          signal?.signalName === MESSAGE.alerts
            ? [JSON.parse(Buffer.from(signal.input?.payloads?.[0]?.data ?? []).toString())]
            : [],
        );
      },
    };
  }

  it('is told to the responder once; while it fires nothing is', async () => {
    const { tell, told } = await responder();
    await fire(url, labels);
    const running = hush(requestOf({ tell }), { timing: { lookEvery: 50 } });
    await silenced();
    // The silence is extended meanwhile: so it was looked at often.
    const [silence] = await mine();
    await eventually('extended', async () => (await silenceOf(url, silence!.id)).endsAt > silence!.endsAt);
    expect(await told()).toEqual([]);
    await resolve(url, labels);
    await eventually('it is told', async () => (await told()).length > 0);
    expect(await told()).toEqual([JSON.parse(JSON.stringify(tell.batch))]);
    const details = await eventually('the next attempt knows', () =>
      running.beats.find((beat) => (beat as { told: boolean }).told),
    );
    running.cancel('WORKER_SHUTDOWN', new ActivityCancellationDetails({ workerShutdown: true }));
    await expect(running.result).rejects.toThrow();

    const before = await silenceOf(url, silence!.id);
    const next = hush(requestOf({ tell }), { timing: { lookEvery: 10 }, last: details });
    await eventually('it goes on', async () => (await silenceOf(url, silence!.id)).endsAt > before.endsAt);
    await cancelled(next);
    expect(await told(), 'not once more').toHaveLength(1);
  });

  it('is not told while no Alertmanager can be asked', async () => {
    const { tell, told } = await responder();
    const gate = await gateTo(url, 'down');
    const running = hush(requestOf({ tell }), { urls: [gate.url], timing: { lookEvery: 20 } });
    await eventually('it was asked often', () => gate.connections() >= 12);
    expect(await told()).toEqual([]);
    gate.set('open');
    await eventually('it is told', async () => (await told()).length === 1);
    await cancelled(running);
  });

  it('needs every one that answers to have it no more', async () => {
    const { tell, told } = await responder();
    await fire(other.url, labels);
    const gate = await gateTo(other.url, 'open');
    const running = hush(requestOf({ tell }), { urls: [url, gate.url], timing: { lookEvery: 20 } });
    await eventually('it was asked', () => gate.connections() >= 1);
    await eventually('there', async () => (await active()).length === 1);
    const [silence] = await mine();
    await eventually('extended', async () => (await silenceOf(url, silence!.id)).endsAt > silence!.endsAt);
    expect(await told()).toEqual([]);
    // It is gone, and says nothing any more.
    gate.set('down');
    await eventually('it is told', async () => (await told()).length === 1);
    await cancelled(running);
  });
});
