import { describe, expect, test } from 'vitest';
import { HELD_ANNOTATION, IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../../model/names.ts';
import type { HoldRequest, ReplaceRequest } from '../../../model/ports/instance.ts';
import type { Pulse } from '../../../providers/instance.ts';
import { Cluster } from '../../../providers/kubernetes/cluster.ts';
import { hold } from '../../../providers/kubernetes/hold.ts';
import { type KubeObject, PODS, type Pod } from '../../../providers/kubernetes/objects.ts';
import { replace } from '../../../providers/kubernetes/replace.ts';
import { cut } from '../../../providers/kubernetes/traffic.ts';
import { Watches } from '../../../providers/kubernetes/watch.ts';
import { inMs, useBench } from '../../activities/instance-support.ts';
import { deployment, nameOf, service, uidOf } from '../../support/kubernetes.ts';
import { door, eventually } from '../../support/wait.ts';

/**
 * An attempt that Temporal has given up, but which still reaches the API: whatever it was about to do when the
 * remediation was undone, or given to another attempt, must not be done.
 */
const bench = useBench();

const WAYS = ['label', 'gate'] as const;
type Way = (typeof WAYS)[number];

/** The rules here have no checks. */
const noCheck = async () => ({ healthy: false, why: 'nobody asks' });

/** A sick pod of a Deployment `web`, and the requests of the steps. */
async function sickPod(way: Way = 'label') {
  const namespace = await bench.cluster.namespace();
  const options = way === 'gate' ? { gates: [IN_SERVICE_GATE] } : { trafficLabel: true };
  await bench.cluster.create(
    deployment({ namespace, name: 'web', ...options }),
    service(namespace, 'web', way === 'label'),
  );
  const [pod] = await bench.cluster.readyPods(namespace, 'web', 2);
  const name = nameOf(pod!);
  await bench.cluster.setUnready(namespace, name, true);
  const { request, found } = await bench.sick(namespace, name);
  const holdIt: HoldRequest = { ...request, step: 'restore', deadline: inMs(60_000), stableFor: 300 };
  const { actor, instance } = request;
  const replaceIt: ReplaceRequest = {
    ...{ step: 'replace', actor, instance, owner: found.owner },
    ...{ notBefore: inMs(0), deadline: inMs(60_000) },
  };
  return { namespace, name, uid: uidOf(pod!), ref: { ...PODS, namespace, name }, request, holdIt, replaceIt };
}

/** What the pod's traffic depends on, and what is noted on it. */
async function seen(namespace: string, name: string) {
  const pod = await bench.cluster.pod(namespace, name);
  const gate = pod?.status?.conditions?.find(({ type }) => type === IN_SERVICE_GATE)?.status;
  return {
    value: pod?.metadata?.labels?.[TRAFFIC_LABEL] ?? gate,
    note: pod?.metadata?.annotations?.[HELD_ANNOTATION],
  };
}
const given = { label: { value: 'on', note: undefined }, gate: { value: 'True', note: undefined } };

/** The server's answers to Salvor's writes. */
const codes = async (namespace: string) =>
  (await bench.mutations(namespace)).map(({ responseStatus }) => responseStatus?.code);

const NOT_MINE = new Error('another attempt has taken its place');

/** An attempt that counts until it is lost. `aloneFor`: milliseconds. */
function attempt({ aloneFor = 60_000, lost = false } = {}) {
  const state = { lost, asked: 0 };
  const end = new AbortController();
  const pulse: Pulse = {
    since: Date.now(),
    aloneUntil: Date.now() + aloneFor,
    stillMine: async () => {
      state.asked += 1;
      if (state.lost) throw NOT_MINE;
    },
    signal: end.signal,
    beat: () => undefined,
    last: undefined,
  };
  return { pulse, state, end: () => end.abort(NOT_MINE) };
}

const salvor = () => ({ name: 'sandbox', kubeconfig: bench.sandbox.kubernetes.users.salvor!.kubeconfig });

/** Its calls of one kind are held up until told otherwise: a read before it is made, a write on its way. */
class Slow extends Cluster {
  readonly arrived = door();
  readonly go = door();
  readonly #calls: 'reads' | 'writes';

  constructor(calls: 'reads' | 'writes') {
    super(salvor());
    this.#calls = calls;
  }

  async #wait(calls: 'reads' | 'writes'): Promise<void> {
    if (calls !== this.#calls) return;
    this.arrived.open();
    await this.go.opened;
  }

  override async get<T extends KubeObject>(...asked: Parameters<Cluster['get']>) {
    await this.#wait('reads');
    return super.get<T>(...asked);
  }
  override async patch<T extends KubeObject>(...asked: Parameters<Cluster['patch']>) {
    await this.#wait('writes');
    return super.patch<T>(...asked);
  }
  override async create(...asked: Parameters<Cluster['create']>) {
    await this.#wait('writes');
    return super.create(...asked);
  }
}

/** Runs what a lost attempt does in a process of its own: with its own connections and watches. */
async function elsewhere<C extends Cluster, T>(cluster: C, act: (cluster: C, watches: Watches) => Promise<T>) {
  const watches = new Watches(cluster);
  try {
    return await act(cluster, watches);
  } finally {
    watches.close();
    await cluster.close();
  }
}

describe.each(WAYS)('a cut by the %s', (way) => {
  test('that arrives after another attempt has made it and it was undone is refused, and not tried again', async () => {
    const { namespace, name, ref, request } = await sickPod(way);
    await elsewhere(new Slow('writes'), async (slow) => {
      const first = attempt();
      const late = cut(slow, ref, request, first.pulse);
      late.catch(() => undefined); // awaited below
      await slow.arrived.opened;
      const second = bench.run('cut', request, undefined, { attempt: 2 });
      await second.result;
      expect(second.asked()).toBe(way === 'label' ? 1 : 2);
      await bench.run('restore', request).result;
      first.state.lost = true;
      const before = await codes(namespace);
      slow.go.open();
      await expect(late).rejects.toBe(NOT_MINE);
      expect((await codes(namespace)).slice(before.length)).toEqual([409]);
    });
    expect(await seen(namespace, name)).toEqual(given[way]);
  });

  test('that is on its way when it is undone is refused, and not tried again', async () => {
    const { namespace, name, ref, request } = await sickPod(way);
    await elsewhere(new Slow('writes'), async (slow) => {
      const first = attempt();
      const late = cut(slow, ref, request, first.pulse);
      late.catch(() => undefined); // awaited below
      await slow.arrived.opened;
      expect(await bench.run('restore', request).result).toEqual([]);
      first.state.lost = true;
      slow.go.open();
      await expect(late).rejects.toBe(NOT_MINE);
    });
    expect(await seen(namespace, name)).toEqual(given[way]);
  });

  test('that reads the pod only after it was undone is not made', async () => {
    const { namespace, name, ref, request } = await sickPod(way);
    await elsewhere(new Slow('reads'), async (slow) => {
      const first = attempt({ aloneFor: 100, lost: true });
      const late = cut(slow, ref, request, first.pulse);
      late.catch(() => undefined); // awaited below
      await slow.arrived.opened;
      await bench.run('cut', request, undefined, { attempt: 2 }).result;
      await bench.run('restore', request).result;
      await eventually('its time is over', () => Date.now() >= first.pulse.aloneUntil);
      const before = await codes(namespace);
      slow.go.open();
      await expect(late).rejects.toBe(NOT_MINE);
      expect(await codes(namespace)).toEqual(before);
    });
    expect(await seen(namespace, name)).toEqual(given[way]);
  });

  test('of a later attempt that no longer counts is not made', async () => {
    const { namespace, name, request } = await sickPod(way);
    const fence = async () => {
      throw NOT_MINE;
    };
    const second = bench.run('cut', request, undefined, { attempt: 2, fence });
    await expect(second.result).rejects.toMatchObject({ type: 'NotMine', nonRetryable: false });
    expect(await bench.mutations(namespace)).toEqual([]);
    expect(await seen(namespace, name)).toEqual(given[way]);
  });
});

describe.each(WAYS)('a hold by the %s', (way) => {
  test.each([true, false])('never asserts again what the undo gave back (lost: %s)', async (lost) => {
    const { namespace, name, ref, request, holdIt } = await sickPod(way);
    await bench.run('cut', request).result;
    await elsewhere(new Cluster(salvor()), async (cluster, watches) => {
      const { pulse, state } = attempt();
      const running = hold(cluster, watches, ref, holdIt, pulse, noCheck);
      running.catch(() => undefined); // awaited below
      await eventually('its watch', () => watches.size === 2);
      state.lost = lost;
      await bench.run('restore', request).result;
      // While the note of a gate is still there, it would be taken away.
      const outcome = await running.then(
        (result) => result,
        (error: unknown) => error,
      );
      if (lost && outcome === NOT_MINE) expect(way).toBe('gate');
      else expect(outcome).toMatchObject({ verdict: 'given-back', why: expect.stringMatching(/Salvor itself gave/) });
      const cuts = (await bench.mutations(namespace)).filter(({ requestObject }) => {
        const { metadata, status } = requestObject as Pod;
        return metadata.labels?.[TRAFFIC_LABEL] === 'off' || status?.conditions?.some((one) => one.status === 'False');
      });
      expect(cuts).toHaveLength(1);
    });
    expect(await seen(namespace, name)).toEqual(given[way]);
  });

  test('whose assertion is on its way when it is undone: refused, and not tried again', async () => {
    const { namespace, name, ref, request, holdIt } = await sickPod(way);
    await bench.run('cut', request).result;
    await elsewhere(new Slow('writes'), async (slow, watches) => {
      const { pulse, state } = attempt();
      const running = hold(slow, watches, ref, holdIt, pulse, noCheck);
      running.catch(() => undefined); // awaited below
      await eventually('its watch', () => watches.size === 2);
      if (way === 'label')
        await bench.cluster.patchPod(namespace, name, { metadata: { labels: { [TRAFFIC_LABEL]: 'on' } } });
      else await bench.cluster.setCondition(namespace, name, IN_SERVICE_GATE, 'True');
      await slow.arrived.opened;
      await bench.run('restore', request).result;
      state.lost = true;
      slow.go.open();
      await expect(running).rejects.toBe(NOT_MINE);
    });
    expect(await seen(namespace, name)).toEqual(given[way]);
  });

  test('that no longer counts gives nothing back', async () => {
    const { namespace, name, ref, request, holdIt } = await sickPod(way);
    await bench.run('cut', request).result;
    const before = await codes(namespace);
    await elsewhere(new Cluster(salvor()), async (cluster, watches) => {
      const running = hold(cluster, watches, ref, holdIt, attempt({ lost: true }).pulse, noCheck);
      running.catch(() => undefined); // awaited below
      await bench.cluster.setUnready(namespace, name, false);
      await expect(running).rejects.toBe(NOT_MINE);
    });
    expect(await codes(namespace)).toEqual(before);
    expect(await bench.cluster.held(namespace, name)).toHaveLength(1);
  });
});

describe('an eviction', () => {
  const evictions = async (namespace: string) =>
    (await bench.mutations(namespace, { subresource: 'eviction' })).map(({ responseStatus }) => responseStatus?.code);

  test('of an attempt that no longer counts is not asked for', async () => {
    const { namespace, name, uid, ref, replaceIt } = await sickPod();
    await elsewhere(new Cluster(salvor()), async (cluster) => {
      await expect(replace(cluster, ref, replaceIt, attempt({ lost: true }).pulse, [])).rejects.toBe(NOT_MINE);
    });
    expect(await evictions(namespace)).toEqual([]);
    expect(uidOf((await bench.cluster.pod(namespace, name))!)).toBe(uid);
  });

  test('that is on its way when the remediation is undone is refused', async () => {
    const { namespace, name, uid, ref, request, replaceIt } = await sickPod();
    await bench.run('cut', request).result;
    await elsewhere(new Slow('writes'), async (slow) => {
      const { pulse, state } = attempt();
      const late = replace(slow, ref, replaceIt, pulse, []);
      late.catch(() => undefined); // awaited below
      await slow.arrived.opened;
      await bench.run('restore', request).result;
      state.lost = true;
      slow.go.open();
      await expect(late).rejects.toBe(NOT_MINE);
    });
    expect(await evictions(namespace)).toEqual([409]);
    const pod = await bench.cluster.pod(namespace, name);
    expect(uidOf(pod!)).toBe(uid);
    expect(pod?.status?.conditions?.map(({ type }) => type)).not.toContain('DisruptionTarget');
  });

  test('that another write has overtaken is asked for again, and each time whether it still counts', async () => {
    const { namespace, name, ref, replaceIt } = await sickPod();
    await elsewhere(new Slow('writes'), async (slow) => {
      const { pulse, state } = attempt();
      const running = replace(slow, ref, replaceIt, pulse, []);
      await slow.arrived.opened;
      await bench.cluster.patchPod(namespace, name, { metadata: { annotations: { touched: 'yes' } } });
      slow.go.open();
      expect(await running).toMatchObject({ verdict: 'replaced', changes: [{ field: 'eviction' }] });
      expect(state.asked).toBe(2);
    });
    expect(await evictions(namespace)).toEqual([409, 201]);
  });
});
