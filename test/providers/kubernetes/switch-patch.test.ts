import { describe, expect, it } from 'vitest';
import type { PatchSwitch } from '../../../model/breaker/options.ts';
import type { JsonObject } from '../../../model/breaker/patch.ts';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import type { Live } from '../../../providers/kubernetes/switch/notes.ts';
import { eventually } from '../../support/wait.ts';
import { actor, attempt, heldOf, inMs, pulse, setRequest } from '../switch-support.ts';
import { own as bare, exampleOf, useSwitchBench } from './switch-support.ts';

const bench = useSwitchBench();

/** What a user has for each example before anything is opened. */
const SPECS: Record<string, object> = {
  'istio-virtual-service': {
    hosts: ['payments.example.com'],
    http: [{ timeout: '5s', retries: { attempts: 2 }, route: [{ destination: { host: 'payments.example.com' } }] }],
  },
  'istio-destination-rule': {
    host: 'payments.example.com',
    subsets: [{ name: 'all', labels: { app: 'payments' } }],
    trafficPolicy: { loadBalancer: { simple: 'LEAST_REQUEST' } },
  },
  'gateway-http-route': {
    parentRefs: [{ name: 'inside' }],
    rules: [{ timeouts: { request: '5s' }, backendRefs: [{ name: 'payments', port: 8080 }] }],
  },
  'network-policy': { podSelector: { matchLabels: { app: 'shop' } }, policyTypes: ['Egress'], egress: [{}] },
  'cilium-network-policy': { endpointSelector: { matchLabels: { app: 'shop' } }, egress: [{ toEntities: ['all'] }] },
};

async function created(name: string, spec = SPECS[name]!) {
  const namespace = await bench.cluster.namespace('switch');
  const options = await exampleOf(name, namespace);
  const { apiVersion, kind } = options;
  const metadata = { name: options.name, namespace, labels: { app: 'payments' } };
  const object = { apiVersion, kind, metadata, spec } as unknown as JsonObject;
  await bench.cluster.create(object as object);
  return { namespace, options, object, before: await bench.get(object) };
}

const specOf = (live: Live): JsonObject => live['spec'] as JsonObject;
const managers = (live: Live) => live.metadata.managedFields?.map(({ manager }) => manager);

describe('patch and restore', () => {
  it.each(Object.keys(SPECS))('%s: opens, reads back, and puts back exactly what was there', async (name) => {
    const { namespace, options, object, before } = await created(name);
    const kubernetes = options;
    const { it, own, held, changes } = await bench.opened({ kubernetes });
    expect(changes).toHaveLength(held.length);
    expect(changes[0]).toMatchObject({
      step: 'open',
      field: held[0]?.field,
      before: held[0]?.before,
      requestId: expect.anything(),
    });
    const open = await bench.get(object);
    expect(specOf(open)).toMatchObject((options.open as { spec: object }).spec);
    expect(JSON.parse(open.metadata.annotations?.[HELD_ANNOTATION] ?? '')).toMatchObject(held);
    expect(managers(open)).toContain('salvor-circuit-breaker');
    expect(await own.read()).toMatchObject({ position: 'open', held: held.map(({ field }) => ({ field })) });

    expect(await own.set(setRequest(it, 'open', held), attempt(Date.now() + 10_000))).toEqual([]);
    const told = await own.set(setRequest(it, 'open', held), attempt(Date.now() - 60_000));
    expect(told.map(({ what }) => what).join(), 'it tells what an earlier attempt could not').toContain('was lost');
    expect(await bench.mutations(namespace)).toEqual(['patch 200']);

    const closed = await own.set(setRequest(it, 'closed', held), attempt());
    expect(closed).toHaveLength(held.length);
    expect(bare(await bench.get(object))).toEqual(bare(before));
    expect(await own.read()).toMatchObject({ position: 'closed' });
  });

  it.each(['gateway-http-route', 'istio-virtual-service'])('%s: lets a share through', async (name) => {
    const { options, object, before } = await created(name);
    const { it, own, held } = await bench.opened({ kubernetes: options });
    const changes = await own.set(setRequest(it, { share: 10 }, held), attempt());
    expect(changes).toHaveLength(1);
    const text = JSON.stringify(specOf(await bench.get(object)));
    expect(text).toContain(name === 'gateway-http-route' ? '"weight":10' : '"value":90');
    expect(await own.read()).toMatchObject({ position: { share: 10 } });
    await own.set(setRequest(it, 'open', held), attempt());
    expect(await own.read()).toMatchObject({ position: 'open' });
    await own.set(setRequest(it, { share: 10 }, held), attempt());
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(bare(await bench.get(object))).toEqual(bare(before));
  });

  it('what it makes of nothing is gone afterwards, with empty lists and what the API leaves out', async () => {
    const { options, object, before } = await created('network-policy', { podSelector: {}, policyTypes: ['Egress'] });
    const open = {
      spec: { egress: [], podSelector: { matchLabels: { calls: 'payments' } } },
      metadata: { labels: { 'a/b': 'x', app: null } },
    };
    const { it, own, held } = await bench.opened({ kubernetes: { ...options, open } });
    expect(held.map(({ field, before, set }) => [field, before, set])).toEqual([
      ['/spec/podSelector/matchLabels', null, '{"calls":"payments"}'],
      ['/metadata/labels/a~1b', null, '"x"'],
      ['/metadata/labels/app', '"payments"', null],
    ]);
    expect((await bench.get(object)).metadata.labels).toEqual({ 'a/b': 'x' });
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(bare(await bench.get(object))).toEqual(bare(before));
  });

  it('an opening that arrives after its undo is refused', async () => {
    const { namespace, options, object, before } = await created('network-policy');
    const { it, own } = bench.make({ kubernetes: options });
    const held = heldOf(await own.read());
    // Between its read and its write the attempt is asked whether it still counts: there the undo overtakes it.
    let times = 0;
    const late = own.set(setRequest(it, 'open', held), {
      ...attempt(),
      stillMine: async () => {
        if (times++ > 0) throw new Error('not mine any more');
        await own.set(setRequest(it, 'closed', held), attempt());
      },
    });
    await expect(late).rejects.toThrow('not mine any more');
    expect(bare(await bench.get(object))).toEqual(bare(before));
    expect(await bench.mutations(namespace)).toContain('patch 409');
  });
});

describe('what somebody else does', () => {
  it('between the reading and the opening keeps it from being opened', async () => {
    const { namespace, options, object } = await created('network-policy');
    const { it, own } = bench.make({ kubernetes: options });
    const held = heldOf(await own.read());
    await bench.edit(object, { spec: { egress: [{ ports: [{ port: 443 }] }] } });
    await expect(own.set(setRequest(it, 'open', held), attempt())).rejects.toMatchObject({
      ...{ type: 'Contested', message: expect.stringContaining('kubectl-edit') },
    });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('while it is open is set again once; the second time it is left, and its manager named', async () => {
    const { options, object, before } = await created('gateway-http-route');
    const { it, own, held } = await bench.opened({ kubernetes: options });
    const wait = pulse();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, wait);
    const theirs = { spec: { rules: [{ backendRefs: [{ name: 'payments', port: 8080, weight: 7 }] }] } };
    await bench.edit(object, theirs, 'argocd-controller');
    await eventually('it is set again', async () => (await own.read()).position === 'open');
    await bench.edit(object, theirs, 'argocd-controller');
    const { contested, changes, why } = await kept;
    expect(contested).toEqual({ by: 'argocd-controller', object: held[0]?.object });
    expect(changes).toHaveLength(1);
    expect(changes[0]?.what).toContain('again, for argocd-controller had changed it');
    expect(why).toContain('argocd-controller changed it, twice by now');
    expect(await own.read()).toMatchObject({ position: 'mixed', why: expect.stringContaining('argocd-controller') });
    const closed = await own.set(setRequest(it, 'closed', held), attempt());
    expect(closed[0]?.what).toContain('set by argocd-controller meanwhile');
    const left = await bench.get(object);
    expect(JSON.stringify(specOf(left))).toContain('"weight":7');
    expect(left.metadata.annotations).toEqual(before.metadata.annotations);
  });

  it('what they removed of it is set again too, and put back exactly', async () => {
    const { options, object, before } = await created('cilium-network-policy');
    const { it, own, held } = await bench.opened({ kubernetes: options });
    const wait = pulse();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, wait);
    await bench.edit(object, { spec: { egressDeny: null } });
    await eventually('it is set again', async () => (await own.read()).position === 'open');
    wait.stop();
    expect((await kept).changes).toMatchObject([{ field: '/spec/egressDeny', before: null }]);
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(bare(await bench.get(object))).toEqual(bare(before));
  });

  it('another breaker that holds it is respected; one that has left it behind is not', async () => {
    const { options, object, before } = await created('network-policy');
    const first = await bench.opened({ kubernetes: options });
    const second = actor('remediation-2');
    const held = heldOf(await first.own.read(), second);
    const opening = () => first.own.set(setRequest(first.it, 'open', held, second), attempt());
    await expect(opening()).rejects.toMatchObject({
      type: 'Contested',
      message: expect.stringContaining('remediation-1'),
    });
    const stale = first.held.map((one) => ({ ...one, until: new Date(0).toISOString() }));
    await bench.edit(object, { metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify(stale) } } });
    await opening();
    await first.own.set(setRequest(first.it, 'closed', held, second), attempt());
    expect(bare(await bench.get(object))).toEqual(bare(before));
  });

  it('an object that is made anew under its name is not touched', async () => {
    const { namespace, options, object } = await created('network-policy');
    const { it, own } = bench.make({ kubernetes: options });
    const held = heldOf(await own.read());
    await bench.cluster.delete(object as object);
    await bench.cluster.create(object as object);
    await expect(own.set(setRequest(it, 'open', held), attempt())).rejects.toMatchObject({ type: 'Replaced' });
    expect(await own.set(setRequest(it, 'closed', held), attempt())).toEqual([]);
    expect(await bench.mutations(namespace)).toEqual([]);
  });
});

describe('given back by hand', () => {
  it('is as it was, and the wait does not take it again', async () => {
    const { options, object, before } = await created('cilium-network-policy');
    const { it, own, held } = await bench.opened({ kubernetes: options });
    expect(await own.release(held[0]!, true)).toMatchObject({ result: 'given-back', changes: [] });
    const wait = pulse();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, wait);
    expect(await own.release(held[0]!, false)).toMatchObject({ result: 'given-back', changes: [{ step: 'release' }] });
    expect(await kept).toMatchObject({ changes: [], why: expect.stringContaining('Salvor itself') });
    expect(bare(await bench.get(object))).toEqual(bare(before));
    expect(await own.release(held[0]!, false)).toMatchObject({ result: 'as-before', changes: [] });
  });
});

describe('what cannot be', () => {
  it.each<[string, Partial<PatchSwitch>, string, string]>([
    ['a kind that the cluster does not have', { kind: 'HttpRoute' }, 'UnknownTarget', 'no kind HttpRoute'],
    ['an object that is not there', { name: 'nobody' }, 'UnknownTarget', 'does not exist'],
    ['a patch that the API refuses', { open: { spec: { egress: 'no' } } }, 'Invalid', 'does not take it'],
    [
      'a patch of too much',
      { open: { metadata: { annotations: { a: 'x'.repeat(40_000) } } } },
      'Invalid',
      'at most 32768',
    ],
  ])('%s is told when it is read', async (_, change, type, message) => {
    const { namespace, options } = await created('network-policy');
    const { own } = bench.make({ kubernetes: { ...options, ...change } });
    await expect(own.read()).rejects.toMatchObject({ type, message: expect.stringContaining(message) });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('a patch that the API drops is not taken for one that changes nothing', async () => {
    const namespace = await bench.cluster.namespace('switch');
    const metadata = { name: 'it', namespace };
    await bench.cluster.create({ apiVersion: 'example.com/v1', kind: 'Pruned', metadata, spec: {} } as object);
    const open = { spec: { closed: true } };
    const { own } = bench.make({
      kubernetes: { cluster: 'prod', apiVersion: 'example.com/v1', kind: 'Pruned', ...metadata, open },
    });
    await expect(own.read()).rejects.toMatchObject({
      type: 'Invalid',
      message: expect.stringContaining('/spec/closed'),
    });
  });

  it('a share without a patch for it', async () => {
    const { options } = await created('network-policy');
    const { it, own, held } = await bench.opened({ kubernetes: options });
    await expect(own.set(setRequest(it, { share: 5 }, held), attempt())).rejects.toMatchObject({ type: 'Invalid' });
  });

  it('who may only look is told how it stands, and the right that is missing when it is to be opened', async () => {
    const { options, object, before } = await created('network-policy');
    const looker = bench.connect('looker');
    const { it, own } = bench.make({ kubernetes: options }, looker);
    const reading = await own.read();
    expect(reading).toMatchObject({ position: 'closed', held: [{ field: '/spec/egress' }] });
    await expect(own.set(setRequest(it, 'open', heldOf(reading)), attempt())).rejects.toMatchObject({ status: 403 });
    expect(bare(await bench.get(object))).toEqual(bare(before));
    await looker.close();
  });
});
