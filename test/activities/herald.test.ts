import { randomUUID } from 'node:crypto';
import { ActivityCancelledError, ActivityNotFoundError } from '@temporalio/client';
import { ActivityCancellationDetails, CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { type HeraldOptions, type HeraldTiming, heraldActivities } from '../../activities/herald.ts';
import type { EndedAlert, OwnAlert } from '../../model/herald.ts';
import { Alertmanager } from '../../providers/alertmanager/client.ts';
import { type Alertmanager as Server, startAlertmanager } from '../../sandbox/alertmanager.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { alertsOf, gateTo, type RunningActivity, runActivity } from '../providers/alertmanager/support.ts';
import { eventually } from '../support/wait.ts';

const TIMING: HeraldTiming = {
  lasts: 60_000,
  repeatEvery: 60_000,
  retryEvery: 50,
  lookEvery: 30,
  askEvery: 20,
};

let sandbox: Sandbox<'alertmanager'>;
let other: Server;
let url: string;
let id: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['alertmanager'] });
  other = await startAlertmanager({ folder: `${sandbox.folder}/other` });
  url = sandbox.alertmanager.url;
});
afterAll(async () => {
  await other?.stop();
  await sandbox?.stop();
});
beforeEach(() => {
  id = randomUUID();
});

const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();

const alertOf = (over: Partial<OwnAlert> = {}): OwnAlert => ({
  id,
  alertname: 'SalvorEscalation',
  labels: { alert: 'PodUnable', namespace: 'shop', salvor_rule: 'pod-unready' },
  annotations: { summary: 'not ready', description: 'cut\nevicted' },
  run: { workflowId: 'remediation/k8s/prod/shop/pod/web-0', runId: 'run-1' },
  startsAt: inMs(-30_000),
  ...over,
});
const endedOf = (over: Partial<OwnAlert> = {}, endedAt = inMs(0)): EndedAlert => ({ ...alertOf(over), endedAt });

/** Whether a target is well, in turn; the last again and again. */
function world(...looks: boolean[]): Pick<HeraldOptions, 'isWell'> & { looked: string[] } {
  const looked: string[] = [];
  const isWell: HeraldOptions['isWell'] = async ({ target = '' }) => {
    const look = looks[Math.min(looked.length, looks.length - 1)];
    looked.push(target);
    return look ?? false;
  };
  return { looked, isWell };
}

type Options = Partial<Omit<HeraldOptions, 'timing'>> & { urls?: string[]; timing?: Partial<HeraldTiming> };

const activitiesOf = ({ urls = [url], timing, ...options }: Options) =>
  heraldActivities({
    herald: async () => undefined,
    alertmanagers: urls.map((one) => new Alertmanager(one)),
    isWell: world(false).isWell,
    fence: async () => undefined,
    timing: { ...TIMING, ...timing },
    ...options,
  });

/** Ended with the test, if not before. */
function proclaim(
  open: OwnAlert[],
  ended: EndedAlert[] = [],
  options: Options = {},
): RunningActivity<{ over: string[]; posted: number[] }> {
  const running = runActivity(activitiesOf(options).proclaim, { open, ended });
  onTestFinished(async () => {
    running.cancel();
    await running.result.catch(() => undefined);
  });
  return running;
}

const there = (at = url) => eventually('it is posted', async () => (await alertsOf(at, { salvor_id: id }))[0]);
const isThere = async (at = url) => (await alertsOf(at, { salvor_id: id })).length > 0;

describe('what is open', () => {
  it('is posted at once to every Alertmanager, with its labels, its end, and a link to its run', async () => {
    const ui = { url: 'http://temporal.example:8080/', namespace: 'default' };
    proclaim([alertOf()], [], { urls: [url, other.url], ui });
    const link =
      'http://temporal.example:8080/namespaces/default/workflows/remediation%2Fk8s%2Fprod%2Fshop%2Fpod%2Fweb-0/run-1/history';
    for (const at of [url, other.url]) {
      const alert = await there(at);
      expect(alert).toMatchObject({
        labels: { alertname: 'SalvorEscalation', alert: 'PodUnable', namespace: 'shop', salvor_id: id },
        annotations: { summary: 'not ready', description: 'cut\nevicted', temporal: link },
        generatorURL: link,
        status: { state: 'active' },
      });
      const left = Date.parse(alert.endsAt) - Date.now();
      expect(left).toBeGreaterThan(0);
      expect(left).toBeLessThanOrEqual(TIMING.lasts);
    }
  });

  it('is posted again and again while it is open, and has no link where no UI is configured', async () => {
    proclaim([alertOf()], [], { timing: { repeatEvery: 100 } });
    const first = await there();
    expect(first.annotations).not.toHaveProperty('temporal');
    await eventually('its end moves on', async () => (await there()).endsAt > first.endsAt);
  });

  it('ends by itself at its time: no post says more, and it is over then', async () => {
    const until = inMs(8_000);
    const running = proclaim([alertOf({ until })]);
    expect((await there()).endsAt).toBe(until);
    await expect(running.result).resolves.toEqual({ over: [id], posted: [] });
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(until));
    await eventually('it is resolved', async () => !(await isThere()));
  });

  it('with a label that Alertmanager refuses it is posted without that label', async () => {
    const odd = alertOf();
    const good = alertOf({ id: `${id}-good` });
    proclaim([{ ...odd, labels: { ...odd.labels, '': 'no name' } }, good]);
    expect((await there()).labels).toMatchObject({ namespace: 'shop', salvor_id: id });
    expect(await alertsOf(url, { salvor_id: good.id })).toHaveLength(1);
  });
});

describe('what has ended', () => {
  it('is resolved everywhere, and that is all where nothing is open', async () => {
    const first = proclaim([alertOf()], [], { urls: [url, other.url] });
    await there();
    await there(other.url);
    first.cancel();
    await first.result;
    const { result } = proclaim([], [endedOf()], { urls: [url, other.url] });
    await expect(result).resolves.toEqual({ over: [], posted: [0] });
    expect([await isThere(), await isThere(other.url)]).toEqual([false, false]);
  });

  it('is tried again where an Alertmanager does not take it, but no longer than the alert lasts there', async () => {
    const gate = await gateTo(other.url, 'down');
    const urls = [url, gate.url];
    const running = proclaim([], [endedOf()], { urls });
    await eventually('it is tried', () => gate.connections() >= 3);
    gate.set('open');
    await expect(running.result).resolves.toEqual({ over: [], posted: [0] });
    gate.set('down');
    const old = inMs(-TIMING.lasts - 1_000);
    await expect(proclaim([], [endedOf({}, old)], { urls }).result).resolves.toEqual({ over: [], posted: [0] });
  });
});

describe('an Alertmanager that is down', () => {
  it.each(['down', 'hangs'] as const)('(%s) does not hold the other back, and hears of it later', async (state) => {
    const gate = await gateTo(other.url, state);
    const timing = { repeatEvery: 100 };
    const running = proclaim([alertOf()], [endedOf({ id: `${id}-ended` })], { urls: [gate.url, url], timing });
    await there();
    expect(await isThere(other.url)).toBe(false);
    gate.set('open');
    const first = await there(other.url);
    await eventually('it has answered', async () => (await there(other.url)).endsAt > first.endsAt);
    running.cancel();
    // Which ends all have heard of is told also when it is cancelled.
    await expect(running.result).resolves.toEqual({ over: [], posted: [0] });
  });

  it('keeps an end from being told as posted', async () => {
    const gate = await gateTo(other.url, 'down');
    const running = proclaim([alertOf()], [endedOf({ id: `${id}-ended` })], { urls: [gate.url, url] });
    await there();
    running.cancel();
    await expect(running.result).resolves.toEqual({ over: [], posted: [] });
  });
});

describe('an escalation about a target', () => {
  const about = (over: Partial<OwnAlert> = {}) => alertOf({ target: 'k8s/prod/shop/pod/web-0', ...over });

  it('is over when it is well twice in a row', async () => {
    const { isWell, looked } = world(false, true, false, true, false, true, true);
    const others = [
      about({ id: 'asked', alertname: 'SalvorApproval' }),
      alertOf({ id: 'of the scope', target: undefined }),
    ];
    const running = proclaim([about(), ...others], [], { isWell });
    await expect(running.result).resolves.toEqual({ over: [id], posted: [] });
    expect(looked).toHaveLength(7);
  });

  it('is over also when the list changes more often than it looks', async () => {
    const { isWell, looked } = world(true);
    const { proclaim: activity } = activitiesOf({ isWell, timing: { lookEvery: 2_000 } });
    const over: string[] = [];
    for (let turn = 0; over.length === 0; turn += 1) {
      const running = runActivity(activity, { open: [about()], ended: [] });
      const stop = setTimeout(() => running.cancel(), 50);
      over.push(...(await running.result).over);
      clearTimeout(stop);
      expect(turn).toBeLessThan(400);
    }
    expect(over).toEqual([id]);
    expect(looked).toHaveLength(2);
  });
});

describe('it ends', () => {
  it('soon after it is asked to, though the usual heartbeat does not tell it', async () => {
    let asked = false;
    const running = proclaim([alertOf()], [], {
      fence: async () => {
        if (asked) throw new ActivityCancelledError('cancelled');
      },
    });
    await there();
    asked = true;
    await expect(running.result).resolves.toEqual({ over: [], posted: [] });
    expect(await isThere(), 'it stays open: the next goes on with it').toBe(true);
  });

  it('not because Temporal does not answer: it posts on', async () => {
    let tries = 0;
    const running = proclaim([alertOf()], [], {
      timing: { repeatEvery: 100 },
      fence: async () => {
        tries += 1;
        throw new Error('UNAVAILABLE');
      },
    });
    const first = await there();
    await eventually('it was asked often', () => tries > 10);
    await eventually('its end moves on', async () => (await there()).endsAt > first.endsAt);
    running.cancel();
    await expect(running.result).resolves.toEqual({ over: [], posted: [] });
  });

  it('as a failure of this attempt where the worker shuts down or the attempt no longer counts', async () => {
    const running = proclaim([alertOf()]);
    await there();
    running.cancel('WORKER_SHUTDOWN', new ActivityCancellationDetails({ workerShutdown: true }));
    await expect(running.result).rejects.toBeInstanceOf(CancelledFailure);
    const gone = new ActivityNotFoundError('not found');
    const other = proclaim([alertOf()], [], { fence: () => Promise.reject(gone) });
    await expect(other.result).rejects.toBe(gone);
  });

  it('at once where no Alertmanager is configured', async () => {
    const { result } = proclaim([alertOf()], [endedOf()], { urls: [] });
    await expect(result).resolves.toEqual({ over: [id], posted: [0] });
  });
});
