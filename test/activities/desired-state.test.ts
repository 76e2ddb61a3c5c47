import { randomUUID } from 'node:crypto';
import { ApplicationFailure } from '@temporalio/common';
import { MockActivityEnvironment } from '@temporalio/testing';
import { DefaultLogger } from '@temporalio/worker';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DesiredStateOptions, desiredStateActivities } from '../../activities/desired-state.ts';
import { RETRYABLE } from '../../activities/errors.ts';
import { labelFingerprint } from '../../model/alertmanager.ts';
import { type ClearanceRequest, NOT_CLEARED } from '../../model/clearance.ts';
import type { Stack } from '../../model/drift/options.ts';
import type { RevertRequest } from '../../model/ports/desired-state.ts';
import { Alertmanager } from '../../providers/alertmanager/client.ts';
import type { DesiredStateProvider, DriftMeans } from '../../providers/desired-state.ts';
import type { HeldOn } from '../../providers/instance.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';

let sandbox: Sandbox<'alertmanager'>;
let client: Alertmanager;
beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['alertmanager'] });
  client = new Alertmanager(sandbox.alertmanager.url);
});
afterAll(() => sandbox?.stop());

const stackOf = (name: string, holdWhile = ['severity="critical"', `stack="${name}"`]): Stack => ({
  ...{ name, ignore: [], minAge: 0, lockWithin: 0, holdWhile },
  manifests: { cluster: 'prod', folder: '/srv', kustomize: false },
});
const actor = { runbook: 'revert-drift', remediation: 'r' };

const whole = (provider: Partial<DesiredStateProvider>): DesiredStateProvider => ({
  compare: async () => ({ verdict: 'same', why: 'nothing differs', differences: [] }),
  revert: async () => ({ verdict: 'reverted', why: 'done', changes: [] }),
  ...provider,
});

function activities(provider: Partial<DesiredStateProvider>, more: Partial<DesiredStateOptions> = {}) {
  const registry = { stacks: { of: () => whole(provider) }, places: () => [] };
  return desiredStateActivities({ registry, alertmanagers: [], fence: async () => undefined, ...more });
}

const run = <R, T>(act: (request: R) => Promise<T>, request: R, attempt = 1): Promise<T> =>
  new MockActivityEnvironment({ attempt }, { logger: new DefaultLogger('ERROR') }).run(act, request) as Promise<T>;
const failureOf = async (promise: Promise<unknown>): Promise<ApplicationFailure> => {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ApplicationFailure) return error;
  throw new Error('it did not fail as expected', { cause: error });
};

describe('what is held', () => {
  const compare = (held: (means: DriftMeans) => Promise<unknown>): Partial<DesiredStateProvider> => ({
    compare: async (_, means) => {
      await held(means);
      return { verdict: 'same', why: 'nothing differs', differences: [] };
    },
  });
  const place = (name: string, find: () => Promise<HeldOn[]>) => ({ name, prefix: `k8s/${name}/`, find });
  const request = { stack: stackOf('net'), actor, prune: [], create: [] };

  it('is read once, of all places', async () => {
    const object = { key: 'k8s/a/shop/pod/web-0', uid: 'u' };
    let reads = 0;
    const find = async (): Promise<HeldOn[]> => {
      reads += 1;
      return [{ object, holds: [] }];
    };
    let found: HeldOn[] = [];
    const provider = compare(async ({ held }) => {
      found = (await Promise.all([held(), held()])).flat();
    });
    const registry = { stacks: { of: () => whole(provider) }, places: () => [place('a', find), place('b', find)] };
    await run(activities(provider, { registry }).compareState, request);
    expect(reads).toBe(2);
    expect(found).toHaveLength(4);
  });

  it('is not nothing where a place does not answer: it is tried again', async () => {
    const provider = compare(({ held }) => held());
    const silent = place('b', () => Promise.reject(new Error('no route to host')));
    const registry = {
      stacks: { of: () => whole(provider) },
      places: () => [place('a', async () => []), silent],
    };
    const failure = await failureOf(run(activities(provider, { registry }).compareState, request));
    expect(failure).toMatchObject({ nonRetryable: false, type: RETRYABLE.unavailable });
    expect(failure.message).toContain('b: no route to host');
  });
});

describe('right before it writes', () => {
  const clearance: ClearanceRequest = {
    ...{ target: 'stack/net', rule: 'r', workload: 'stack/net', bound: { percent: 25 }, unbudgeted: true },
    ...{ holder: { workflowId: 'w', runId: 'r' }, failClosed: true },
  };
  const request: RevertRequest = {
    ...{ step: 'revert', stack: stackOf('net'), actor, prune: [], create: [], reviewed: [], clearance },
  };
  const writes: DesiredStateProvider['revert'] = async (_, { pulse, isRepeat }) => {
    await pulse.stillMine();
    return { verdict: 'reverted', why: isRepeat ? 'again' : 'first', changes: [] };
  };

  it('is asked whether it is the time, after whether the attempt still counts', async () => {
    const asked: string[] = [];
    const all = activities(
      { revert: writes },
      {
        fence: async () => void asked.push('fence'),
        clear: async () => {
          asked.push('clear');
          return undefined;
        },
        announce: async () => void asked.push('announce'),
      },
    );
    const audit = { stream: {} as never, notes: [] };
    expect(await run(all.revertDrift, { ...request, audit })).toMatchObject({ verdict: 'reverted', why: 'first' });
    expect(asked).toEqual(['announce', 'fence', 'clear']);
    expect(await run(all.revertDrift, request, 2)).toMatchObject({ why: 'again' });
  });

  it('an objection ends it for good', async () => {
    const all = activities({ revert: writes }, { clear: async () => ({ gate: 'paused', reason: 'paused by ann' }) });
    const failure = await failureOf(run(all.revertDrift, request));
    expect(failure).toMatchObject({ type: NOT_CLEARED, nonRetryable: true, message: 'paused by ann' });
  });
});

describe('alerts that hold', () => {
  const fire = (labels: Record<string, string>) =>
    client.post([
      {
        ...{ labels, annotations: {}, startsAt: new Date().toISOString() },
        endsAt: new Date(Date.now() + 600_000).toISOString(),
      },
    ]);

  it('are those that meet all matchers, but for its own and those of Salvor', async () => {
    const name = `s${randomUUID().slice(0, 8)}`;
    const stack = stackOf(name, ['severity=~"critical|page"', `stack="${name}"`]);
    const labels = { stack: name, severity: 'page' };
    const all = activities({}, { alertmanagers: [client] });
    expect(await run(all.alertsWhile, { stack, except: '' })).toEqual([]);
    await fire({ ...labels, alertname: 'NetDown' });
    await fire({ ...labels, alertname: 'SalvorEscalation', salvor_id: 'x' });
    await fire({ ...labels, alertname: 'Minor', severity: 'info' });
    await fire({ ...labels, alertname: 'Elsewhere', stack: 'other' });
    const found = await eventually('they fire', async () => {
      const alerts = await run(all.alertsWhile, { stack, except: '' });
      return alerts.length > 0 && alerts;
    });
    expect(found).toEqual([expect.stringMatching(/^NetDown since \d{4}-/)]);
    const except = labelFingerprint({ ...labels, alertname: 'NetDown' });
    expect(await run(all.alertsWhile, { stack, except })).toEqual([]);
  });

  it('cannot be told where one of the pair does not answer', async () => {
    const all = activities({}, { alertmanagers: [client, new Alertmanager('http://127.0.0.1:1')] });
    const failure = await failureOf(run(all.alertsWhile, { stack: stackOf('net'), except: '' }));
    expect(failure).toMatchObject({ type: RETRYABLE.unavailable, nonRetryable: false });
  });

  it('are asked for of nobody where the stack names none', async () => {
    const all = activities({}, { alertmanagers: [new Alertmanager('http://127.0.0.1:1')] });
    expect(await run(all.alertsWhile, { stack: stackOf('net', []), except: '' })).toEqual([]);
  });
});
