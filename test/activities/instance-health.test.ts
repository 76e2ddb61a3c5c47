import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import { afterEach, describe, expect, test } from 'vitest';
import { IN_SERVICE_GATE } from '../../model/names.ts';
import type { HoldRequest } from '../../model/ports/instance.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import { subjectOf } from '../../providers/kubernetes/examine.ts';
import type { Pod } from '../../providers/kubernetes/objects.ts';
import { createRegistry } from '../../providers/registry.ts';
import { freePort } from '../../sandbox/ports.ts';
import { deployment, isReady, nameOf, uidOf, type WorkloadOptions } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { actor, Bench, inMs, OPTIONS, useBench } from './instance-support.ts';

const bench = useBench();
const PATH = '/ready';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

/** What the pod of a test answers on its address: the statuses in turn, the last one on and on. */
async function answering(...statuses: number[]) {
  const told = { statuses, asked: 0 };
  const server = createServer((request, response) => {
    const status = told.statuses.length > 1 ? told.statuses.shift() : told.statuses[0];
    if (request.url === PATH) told.asked += 1;
    response.writeHead(request.url === PATH ? (status ?? 500) : 404).end();
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { told, port: (server.address() as AddressInfo).port };
}

const checking = (port: number, change: Partial<DrainInstanceOptions> = {}): DrainInstanceOptions => ({
  ...OPTIONS,
  health: { http: { scheme: 'http', port, path: PATH, status: 200, within: 5_000 } },
  ...change,
});

/** A Ready pod of a Deployment `web` whose address is by default that of this machine; no Service, for that takes no such address. */
async function readyPod(options: Partial<WorkloadOptions> = {}, ip = '127.0.0.1') {
  const namespace = await bench.cluster.namespace();
  await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 1, ...options }));
  const [pod] = await bench.cluster.readyPods(namespace, 'web', 1);
  const name = nameOf(pod!);
  const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
  const body = { status: { podIP: ip, podIPs: [{ ip }] } };
  await eventually('its address', async () => {
    await bench.cluster.core.patchNamespacedPodStatus({ namespace, name, body }, merge);
    const { status } = (await bench.cluster.pod(namespace, name)) ?? {};
    return status?.podIP === ip;
  });
  return { namespace, name, uid: uidOf(pod!) };
}

describe('assess', () => {
  test('a Ready pod whose check fails is sick, and it says that nothing takes it out of traffic', async () => {
    const { namespace, name } = await readyPod();
    const { told, port } = await answering(503);
    const options = checking(port);
    const found = await bench.assess(namespace, name, { options });
    expect(found).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/^the pod is Ready, but GET .*:\d+\/ready answered 503, expected 200$/),
      traffic: { way: 'none', why: expect.stringMatching(/stays in traffic.*no label.*no readiness gate/) },
      held: [],
    });
    told.statuses = [200];
    expect(await bench.assess(namespace, name, { options })).toMatchObject({
      verdict: 'healthy',
      why: expect.stringMatching(/^the pod is Ready, and GET .* answered 200$/),
    });
    expect(told.asked).toBe(2);
  });

  test('it is not asked where the platform finds the pod sick, nor where the rule has no check', async () => {
    const { namespace, name } = await readyPod();
    const { told, port } = await answering(200);
    expect(await bench.assess(namespace, name)).toMatchObject({ verdict: 'healthy', why: 'the pod is Ready' });
    expect(await bench.assess(namespace, name, { options: { ...OPTIONS, health: {} } })).toMatchObject({
      verdict: 'healthy',
    });
    await bench.cluster.setUnready(namespace, name, true);
    expect(await bench.assess(namespace, name, { options: checking(port) })).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/^ContainersReady is False/),
    });
    expect(told.asked).toBe(0);
  });

  test('that cannot ask Prometheus knows nothing, and is tried again', async () => {
    const { namespace, name } = await readyPod();
    const other = new Bench();
    const kubeconfig = bench.sandbox.kubernetes.users.salvor?.kubeconfig ?? '';
    other.cluster = bench.cluster;
    other.registry = createRegistry({
      clusters: [{ name: 'sandbox', kubeconfig }],
      prometheus: { url: `http://127.0.0.1:${await freePort()}` },
    });
    const health = { promql: { query: 'up{pod="${pod}"}', atLeast: 1 } };
    await expect(other.assess(namespace, name, { options: { ...OPTIONS, health } })).rejects.toMatchObject({
      type: 'Unavailable',
      nonRetryable: false,
    });
    await other.registry.close();
  });

  test('what may stand in a query is told of the pod', async () => {
    const { namespace, name } = await readyPod();
    expect(
      subjectOf({ name: 'sandbox', isLocal: true }, (await bench.cluster.pod(namespace, name)) as unknown as Pod),
    ).toEqual({
      values: { cluster: 'sandbox', namespace, pod: name, node: 'node-0' },
      ...{ address: '127.0.0.1', local: true },
    });
  });

  test('whose status names the metadata service is asked nothing, and a person is told', async () => {
    const { namespace, name } = await readyPod({}, '169.254.169.254');
    await expect(bench.assess(namespace, name, { options: checking(80) })).rejects.toMatchObject({
      ...{ type: 'Invalid', nonRetryable: true },
      message: expect.stringContaining('169.254.169.254 is link-local'),
    });
    expect(await bench.mutations(namespace)).toEqual([]);
  });
});

describe('hold', () => {
  /** A pod that its platform finds healthy, cut from its traffic by its gate for a check that failed. */
  async function cutPod(first: number[], change: Partial<DrainInstanceOptions> = {}, more: Partial<HoldRequest> = {}) {
    const { told, port } = await answering(503);
    const made = await readyPod({ gates: [IN_SERVICE_GATE] });
    const { namespace, name } = made;
    const { found, request } = await bench.sick(namespace, name, actor(), checking(port, change));
    expect(found.traffic.way).toBe('gate');
    await bench.run('cut', request).result;
    await eventually('out of service', async () => {
      const pod = await bench.cluster.pod(namespace, name);
      return pod !== undefined && !isReady(pod);
    });
    Object.assign(told, { statuses: first, asked: 0 });
    const hold: HoldRequest = { ...request, step: 'restore', deadline: inMs(600_000), stableFor: 2_000, ...more };
    return { ...made, told, hold };
  }

  const isCut = async (namespace: string, name: string) => (await bench.cluster.held(namespace, name)).length === 1;

  test('gives its traffic back only after its check was met without a break', async () => {
    const { namespace, name, told, hold } = await cutPod([503]);
    const running = bench.run('hold', hold);
    await eventually('asked several times', () => told.asked >= 3);
    expect(await isCut(namespace, name)).toBe(true);
    // One answer among them is a break: what was before it counts no more. It was one alone, for two that a slow machine
    // asks for far from each other would do.
    Object.assign(told, { statuses: [200, 503, 200], asked: 0 });
    expect(await running.result).toMatchObject({
      verdict: 'recovered',
      changes: [{ field: `status.conditions[${IN_SERVICE_GATE}]`, before: 'False', after: 'True' }],
    });
    expect(told.asked).toBeGreaterThanOrEqual(4); // one, the break, and two that are two seconds apart
    await bench.cluster.readyPods(namespace, 'web', 1);
  });

  test('sick at the deadline: what the check answered is told, and it stays cut', async () => {
    const { namespace, name, hold } = await cutPod([503]);
    expect(await bench.run('hold', { ...hold, deadline: inMs(15_000) }).result).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/did not recover in time: its containers are ready.* but GET .* answered 503/),
      changes: [],
    });
    expect(await isCut(namespace, name)).toBe(true);
  });

  test('a break of the platform counts as well, and the check is not asked meanwhile', async () => {
    const { namespace, name, told, hold } = await cutPod([200], {}, { stableFor: 60_000 });
    const running = bench.run('hold', hold);
    await eventually('seen healthy', () => running.beats.some((beat) => (beat as { wasHealthy: boolean }).wasHealthy));
    await bench.cluster.setUnready(namespace, name, true);
    await eventually('the wait has seen it', () =>
      running.beats.some((beat) => (beat as { flaps: number }).flaps === 1),
    );
    const { asked } = told;
    const { length } = running.beats;
    await eventually('more heartbeats', () => running.beats.length > length + 1);
    expect(told.asked).toBe(asked);
    running.cancel();
    await expect(running.result).rejects.toThrow();
    expect(await isCut(namespace, name)).toBe(true);
  });

  test('after so many returns of the sickness it is sick at once, long before the deadline', async () => {
    const { namespace, name, hold } = await cutPod([200, 503, 200, 503], { flaps: 2 });
    expect(await bench.run('hold', { ...hold, deadline: inMs(600_000) }).result).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/became sick again 2 times while it was held; now: .*answered 503/),
      changes: [],
      outSince: expect.any(String),
    });
    expect(await isCut(namespace, name)).toBe(true);
  });

  test('returns are remembered over a restart', async () => {
    const { hold } = await cutPod([503], { flaps: 2 });
    const last = { contests: [], changes: [], flaps: 1, wasHealthy: true };
    expect(await bench.run('hold', { ...hold, deadline: inMs(600_000) }, last).result).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/became sick again 2 times/),
    });
  });

  test('without checks the platform alone tells of returns', async () => {
    const namespace = await bench.cluster.namespace();
    await bench.cluster.create(deployment({ namespace, name: 'web', replicas: 1 }));
    const [pod] = await bench.cluster.readyPods(namespace, 'web', 1);
    const name = nameOf(pod!);
    await bench.cluster.setUnready(namespace, name, true);
    const { request } = await bench.sick(namespace, name, actor(), { ...OPTIONS, flaps: 1 });
    const running = bench.run('hold', { ...request, step: 'restore', deadline: inMs(600_000), stableFor: 300_000 });
    await eventually('a heartbeat', () => running.beats.length > 0);
    await bench.cluster.setUnready(namespace, name, false);
    await eventually('seen healthy', () => running.beats.some((beat) => (beat as { wasHealthy: boolean }).wasHealthy));
    await bench.cluster.setUnready(namespace, name, true);
    expect(await running.result).toMatchObject({
      verdict: 'sick',
      why: expect.stringMatching(/became sick again once while it was held; now: ContainersReady is False/),
    });
  });

  test('a check that can never be asked ends the wait: a person must mend the rule', async () => {
    const { namespace, name, hold } = await cutPod([200]);
    const health = { promql: { query: 'up{pod="${pod}"}', atLeast: 1 } };
    const running = bench.run('hold', { ...hold, options: { ...OPTIONS, health } });
    await expect(running.result).rejects.toMatchObject({
      nonRetryable: true,
      message: expect.stringMatching(/prometheus/i),
    });
    expect(await isCut(namespace, name)).toBe(true);
  });
});
