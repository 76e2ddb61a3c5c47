import { describe, expect, it } from 'vitest';
import { HELD_ANNOTATION } from '../../../../model/names.ts';
import { deployment, means, networkPolicy, service, useManifestsBench } from './support.ts';

const bench = useManifestsBench();

const named = <T extends { metadata: object }>(object: T, name: string, more: object = {}): T => ({
  ...object,
  metadata: { ...object.metadata, name, ...more },
});

describe('what the source does not have', () => {
  it('is not even looked for where no mark says that it is of the stack', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const stack = await bench.stack({ 'all.yaml': [policy] });
    await bench.deploy(policy, named(policy, 'of-another-team'));
    expect(await stack.differences()).toEqual([]);
  });

  it('is reported where it has the mark of the same deployer, and never deleted', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const labels = { 'kustomize.toolkit.fluxcd.io/name': 'shop', 'kustomize.toolkit.fluxcd.io/namespace': 'flux' };
    const policy = named(networkPolicy(namespace), 'web', { labels });
    const others = { ...labels, 'kustomize.toolkit.fluxcd.io/name': 'other' };
    const stack = await bench.stack({ 'all.yaml': [policy] }, { ignore: ['*/left-alone'] });
    await bench.applyOnServer(
      'kustomize-controller',
      policy,
      named(policy, 'forgotten'),
      named(policy, 'left-alone'),
      named(policy, 'of-another', { labels: others }),
    );
    const found = await stack.differences();
    expect(found).toMatchObject([
      {
        address: `k8s/prod/${namespace}/networkpolicy.networking.k8s.io/forgotten`,
        ...{ class: 'extra', action: 'delete' },
      },
    ]);
    expect(await stack.revert(found)).toMatchObject({ verdict: 'changed', changes: [] });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('is deleted where the rule lists its kind, once that is approved: what Salvor has seen, and nothing of others', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const elsewhere = await bench.cluster.namespace('drift');
    const [policy, web] = [networkPolicy(namespace), deployment(namespace)];
    const stack = await bench.stack({ 'all.yaml': [policy, web] });
    const note = {
      field: '/spec',
      before: '',
      set: '',
      remediation: 'r',
      runbook: 'circuit-breaker',
      until: '2999-01-01',
    };
    const held = { annotations: { [HELD_ANNOTATION]: JSON.stringify([note]) } };
    await bench.deploy(
      policy,
      web,
      named(policy, 'old'),
      named(policy, 'held', held),
      named(service(namespace), 'old'),
    );
    await bench.deploy(named(networkPolicy(elsewhere), 'old'));
    const { uid } = (await bench.live(web)).metadata!;
    const ownerReferences = [{ apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', uid }];
    await bench.deploy(named(policy, 'owned', { ownerReferences }));
    // Made by hand, or by a controller: nobody has applied it.
    await bench.objects.create(named(policy, 'by-hand'), undefined, undefined, 'kubectl-create');

    const prune = ['NetworkPolicy', 'PodDisruptionBudget'];
    const found = await stack.differences(prune);
    expect(found).toMatchObject([
      {
        address: `k8s/prod/${namespace}/networkpolicy.networking.k8s.io/old`,
        ...{ class: 'destructive', action: 'delete' },
      },
    ]);
    expect(await stack.revert(found), 'the rule does not list it any more').toMatchObject({ verdict: 'changed' });
    const result = await stack.revert(found, { prune });
    expect(result).toMatchObject({ verdict: 'reverted', changes: [{ field: 'delete', after: null }] });
    expect(await bench.mutations(namespace)).toEqual(['delete networkpolicies 200']);
    const again = await stack.revert(found, { prune }, means({ isRepeat: true }));
    expect(again).toMatchObject({ verdict: 'reverted', changes: [{ what: expect.stringContaining('was lost') }] });
    expect(await bench.mutations(namespace)).toEqual(['delete networkpolicies 200']);
    expect(await bench.mutations(elsewhere)).toEqual([]);
    expect(await stack.differences(prune)).toEqual([]);
    expect(await stack.compare({ prune: ['Networkpolicy'] })).toMatchObject({
      verdict: 'refused',
      why: expect.stringContaining('lists Networkpolicy: expected a kind that the cluster has'),
    });
  });

  it('with another identity than the one that was approved is not deleted', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const stack = await bench.stack({ 'all.yaml': [policy] });
    await bench.deploy(policy, named(policy, 'old'));
    const prune = ['NetworkPolicy'];
    const found = await stack.differences(prune);
    await bench.cluster.delete(named(policy, 'old'));
    await bench.deploy(named(policy, 'old'));
    expect(await stack.revert(found, { prune })).toMatchObject({ verdict: 'changed', changes: [] });
    expect(await bench.mutations(namespace)).toEqual([]);
  });
});
