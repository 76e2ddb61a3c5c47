import { expect, it } from 'vitest';
import {
  deployment,
  ManifestsBench,
  networkPolicy,
  service,
  useManifestsBench,
} from '../providers/kubernetes/manifests/support.ts';
import { manifests, SALVOR } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';

const OBSERVE = 'overlays/observe/revert-drift.yaml';

const bench = useManifestsBench(
  new ManifestsBench(SALVOR, async (cluster) => {
    await cluster.create(...manifests('base/rbac.yaml'), ...manifests(OBSERVE));
  }),
);

it('who may observe sees what differs and can write nothing; who may act reverts it, and deletes where that is allowed', async () => {
  const namespace = await bench.cluster.namespace('drift');
  const [policy, web, app] = [networkPolicy(namespace), service(namespace), deployment(namespace)];
  const old = { ...policy, metadata: { ...policy.metadata, name: 'old' } };
  const stack = await bench.stack({ 'all.yaml': [policy, web, app] });
  await bench.deploy(policy, app, old);
  await bench.edit(policy, { spec: { ingress: [{}] } });
  await bench.edit(app, { spec: { replicas: 3 } });
  const prune = ['NetworkPolicy'];
  const found = await stack.differences(prune);
  expect(found.map(({ kind, class: is }) => `${kind} ${is}`)).toEqual([
    ...['NetworkPolicy destructive', 'Service destructive', 'Deployment reversible', 'NetworkPolicy reversible'],
  ]);

  await eventually('the policy holds', async () => {
    const object = { ...web, metadata: { ...web.metadata, name: 'probe' } };
    const ref = { group: '', version: 'v1', resource: 'services', namespace };
    const refused = await bench.kubernetes.cluster.create(ref, object).then(
      () => bench.cluster.delete(object),
      (error: Error) => error.message,
    );
    return refused?.includes('Salvor may only make dry runs here');
  });
  const before = (await bench.mutations(namespace)).length;
  const refused = await stack.revert(found, { prune });
  expect(refused).toMatchObject({ verdict: 'failed', changes: [] });
  expect(refused.why).toContain('Salvor may only make dry runs here');
  expect(await stack.differences(prune), 'dry runs go on').toEqual(found);
  expect((await bench.mutations(namespace)).slice(before)).toEqual(['create services 422']);

  const [policyBinding] = manifests(OBSERVE).filter(({ kind }) => kind === 'ValidatingAdmissionPolicyBinding');
  await bench.cluster.delete(policyBinding!);
  await bench.cluster.create(...manifests('overlays/act/revert-drift.yaml'));
  await eventually('the policy holds no more', async () => {
    const now = await stack.differences(prune);
    return (await stack.revert(now, { prune })).verdict === 'reverted';
  });
  expect(await stack.differences(prune)).toEqual([]);
  expect((await bench.mutations(namespace)).filter((one) => one.startsWith('delete'))).toEqual([
    'delete networkpolicies 200',
  ]);

  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 'web', namespace } };
  await stack.write({ 'all.yaml': [secret] });
  await expect(stack.compare()).rejects.toMatchObject({ status: 403, message: expect.stringContaining('get secrets') });
});
