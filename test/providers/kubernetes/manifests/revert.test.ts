import { describe, expect, it } from 'vitest';
import { HeldBack } from '../../../../providers/instance.ts';
import { eventually } from '../../../support/wait.ts';
import { deployment, means, networkPolicy, service, useManifestsBench } from './support.ts';

const bench = useManifestsBench();

/** A policy and a service, each changed by hand. */
async function bothDrifted() {
  const namespace = await bench.cluster.namespace('drift');
  const [policy, web] = [networkPolicy(namespace), service(namespace)];
  const stack = await bench.stack({ 'all.yaml': [policy, web] });
  await bench.deploy(policy, web);
  await bench.edit(policy, { spec: { ingress: [{}] } });
  await bench.edit(web, { spec: { selector: { app: 'other' } } });
  return { namespace, policy, stack, reviewed: await stack.differences() };
}

/** A Deployment as somebody has made it anew by hand, with another selector, from one that was applied. */
async function madeByHand(namespace: string, applied: ReturnType<typeof deployment>): Promise<void> {
  const selector = { matchLabels: { app: 'web', by: 'hand' } };
  const metadata = { labels: selector.matchLabels };
  const other = deployment(namespace, { selector, template: { ...applied.spec.template, metadata } });
  const annotations = { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(applied) };
  await bench.objects.create({ ...other, metadata: { ...other.metadata, annotations } });
}

/** From now on the API server makes no Deployments there, but those that the expression lets through. */
async function refuseNew(namespace: string, expression: string): Promise<void> {
  const name = `no-new-${namespace}`;
  const meant = { namespaceSelector: { matchLabels: { 'kubernetes.io/metadata.name': namespace } } };
  const rule = { apiGroups: ['apps'], apiVersions: ['v1'], operations: ['CREATE'], resources: ['deployments'] };
  const kind = { apiVersion: 'admissionregistration.k8s.io/v1', metadata: { name } };
  const validations = [{ expression, message: 'no new ones' }];
  const matchConstraints = { resourceRules: [rule] };
  const policy = { ...kind, kind: 'ValidatingAdmissionPolicy', spec: { matchConstraints, validations } };
  const spec = { policyName: name, matchResources: meant, validationActions: ['Deny'] };
  const binding = { ...kind, kind: 'ValidatingAdmissionPolicyBinding', spec };
  await bench.cluster.create(policy, binding);
  await eventually('it is refused', async () => {
    const probe = deployment(namespace);
    const object = { ...probe, metadata: { ...probe.metadata, name: 'probe' } };
    return bench.cluster.create(object).then(
      () => bench.cluster.delete(object).then(() => false),
      () => true,
    );
  });
}

describe('revert', () => {
  it('a port added to a NetworkPolicy by hand is closed again, and the record names who has opened it', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const stack = await bench.stack({ 'all.yaml': [policy, service(namespace), deployment(namespace)] });
    await bench.deploy(policy, service(namespace), deployment(namespace));
    expect(await stack.differences()).toEqual([]);

    await bench.edit(policy, { spec: { ingress: [{ ports: [{ port: 80 }, { port: 8080 }] }] } });
    const [found, ...others] = await stack.differences();
    expect(others).toEqual([]);
    expect(found).toMatchObject({
      address: `k8s/prod/${namespace}/networkpolicy.networking.k8s.io/web`,
      ...{ kind: 'NetworkPolicy', class: 'reversible', action: 'update' },
      fields: [{ path: 'spec.ingress[0].ports[1]', live: '{"protocol":"TCP","port":8080}', source: null }],
      who: { by: 'kubectl-edit', told: 'managedFields', at: expect.stringMatching(/^20/) },
    });
    expect(await bench.mutations(namespace), 'comparing changes nothing').toEqual([]);

    const result = await stack.revert([found!]);
    expect(result).toMatchObject({ verdict: 'reverted' });
    expect(result.changes).toEqual([
      {
        ...{ step: 'revert', field: 'spec.ingress[0].ports[1]', before: '{"protocol":"TCP","port":8080}', after: null },
        object: { key: found!.address, uid: (await bench.live(policy)).metadata?.uid },
        what: expect.stringMatching(
          /^NetworkPolicy .*\/web: spec\.ingress\[0\]\.ports\[1\]: .* → \(none\) \(changed by kubectl-edit at 20/,
        ),
        ...{ at: expect.any(String), requestId: expect.any(String) },
      },
    ]);
    expect(await bench.mutations(namespace)).toEqual(['patch networkpolicies 200']);
    expect(await stack.differences()).toEqual([]);
    expect(await stack.revert([found!])).toMatchObject({ verdict: 'changed', changes: [] });
    expect(await stack.revert([found!], {}, means({ isRepeat: true }))).toMatchObject({ verdict: 'reverted' });
  });

  it('a removed label is put back, and a deleted Service is created where its kind is listed, with what kubectl needs to go on', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const [policy, web] = [networkPolicy(namespace), service(namespace)];
    const stack = await bench.stack({ 'policy.yaml': [policy], 'web/service.json': JSON.stringify(web) });
    await bench.deploy(policy, web);
    await bench.edit(policy, { metadata: { labels: { tier: null } } }, 'kubectl-label');
    await bench.cluster.delete(web);

    const create = ['Service'];
    const found = await stack.differences([], create);
    expect(found.map(({ kind, action, class: is }) => [kind, action, is])).toEqual([
      ['NetworkPolicy', 'update', 'reversible'],
      ['Service', 'create', 'reversible'],
    ]);
    expect(found[0]?.fields).toEqual([{ path: 'metadata.labels.tier', live: null, source: 'front' }]);
    const result = await stack.revert(found, { create });
    expect(result).toMatchObject({ verdict: 'reverted' });
    expect(result.changes.map(({ what }) => what)).toEqual([
      `Service ${namespace}/web: created`,
      `NetworkPolicy ${namespace}/web: metadata.labels.tier: (none) → front`,
    ]);
    expect(await bench.mutations(namespace)).toEqual(['create services 201', 'patch networkpolicies 200']);
    expect(await stack.differences()).toEqual([]);

    await bench.edit(web, { metadata: { labels: { app: null } } });
    const again = await stack.differences();
    expect(again, 'it is known what was applied, also of what Salvor has created').toMatchObject([
      { class: 'reversible', fields: [{ path: 'metadata.labels.app', live: null, source: 'web' }] },
    ]);
    expect(await stack.revert(again)).toMatchObject({ verdict: 'reverted' });
  });

  it('what is not there may never have been deployed: a person has to approve that it is created', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = service(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    const found = await stack.differences([], ['ConfigMap']);
    expect(found).toMatchObject([
      {
        ...{ kind: 'Service', action: 'create', class: 'destructive' },
        why: expect.stringMatching(/^it does not exist: it was deleted, or never deployed, and a person has to tell/),
      },
    ]);
    expect(await bench.mutations(namespace)).toEqual([]);
    // As it is approved.
    expect(await stack.revert(found)).toMatchObject({ verdict: 'reverted' });
    expect(await bench.mutations(namespace)).toEqual(['create services 201']);
    expect(await stack.differences()).toEqual([]);
  });

  it('what changed between review and revert is refused, and nothing of it is touched', async () => {
    const { namespace, policy, stack, reviewed } = await bothDrifted();
    expect(reviewed).toHaveLength(2);
    await bench.edit(policy, { spec: { ingress: [{ ports: [{ port: 22 }] }] } });
    const result = await stack.revert(reviewed);
    expect(result).toMatchObject({ verdict: 'changed', changes: [] });
    expect(result.why).toContain('is not as it was reviewed');
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('a source that changed between review and revert is refused', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const stack = await bench.stack({ 'all.yaml': [policy] });
    await bench.deploy(policy);
    await bench.edit(policy, { spec: { ingress: [{}] } });
    const reviewed = await stack.differences();
    await stack.write({ 'all.yaml': [networkPolicy(namespace, [{ port: 443 }])] });
    expect(await stack.revert(reviewed)).toMatchObject({ verdict: 'changed', changes: [] });
    await stack.write({ 'all.yaml': '' });
    expect(await stack.revert(reviewed)).toMatchObject({ verdict: 'changed', changes: [] });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('another write in between is looked at again: what is not about the drift does not stop it', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const stack = await bench.stack({ 'all.yaml': [policy] });
    await bench.deploy(policy);
    await bench.edit(policy, { spec: { ingress: [{}] } });
    const reviewed = await stack.differences();
    const drift = means();
    let asked = 0;
    drift.pulse.stillMine = async () => {
      asked += 1;
      if (asked === 1) await bench.edit(policy, { metadata: { annotations: { seen: 'yes' } } });
      if (asked === 3) throw new Error('not expected');
    };
    expect(await stack.revert(reviewed, {}, drift)).toMatchObject({ verdict: 'reverted' });
    expect(asked).toBe(2);
    expect(await bench.mutations(namespace)).toEqual(['patch networkpolicies 409', 'patch networkpolicies 200']);
    expect(await bench.live(policy)).toMatchObject({ metadata: { annotations: { seen: 'yes' } } });
  });

  it('a write in between that is about the drift stops it', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const stack = await bench.stack({ 'all.yaml': [policy] });
    await bench.deploy(policy);
    await bench.edit(policy, { spec: { ingress: [{}] } });
    const reviewed = await stack.differences();
    const drift = means();
    drift.pulse.stillMine = async () => bench.edit(policy, { spec: { ingress: [{ ports: [{ port: 22 }] }] } });
    const result = await stack.revert(reviewed, {}, drift);
    expect(result).toMatchObject({ verdict: 'changed', changes: [] });
    expect(await bench.mutations(namespace)).toEqual(['patch networkpolicies 409']);
  });

  it('an attempt that is not to write any more has written what it had by then, and tells it', async () => {
    const { namespace, stack, reviewed } = await bothDrifted();
    const drift = means();
    let asked = 0;
    drift.pulse.stillMine = async () => {
      asked += 1;
      if (asked === 2) throw new HeldBack({ gate: 'paused', reason: 'paused by ada' });
    };
    const first = await stack.revert(reviewed, {}, drift);
    expect(first).toMatchObject({ verdict: 'held-back', objection: { gate: 'paused' } });
    expect(first.changes).toHaveLength(1);
    const second = await stack.revert(reviewed, {}, means({ isRepeat: true }));
    expect(second).toMatchObject({ verdict: 'reverted' });
    expect(second.changes.map(({ what }) => what.includes('was lost'))).toEqual([true, false]);
    expect(await bench.mutations(namespace)).toEqual(['patch networkpolicies 200', 'patch services 200']);
  });

  it('an item of a keyed list that was removed is put back, beside what else is there', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    await bench.deploy(web);
    const [container] = web.spec.template.spec.containers;
    const other = { ...container, env: [{ name: 'DEBUG', value: '1' }], ports: undefined };
    await bench.edit(web, { spec: { template: { spec: { containers: [other] } } } });
    const found = await stack.differences();
    expect(found[0]?.fields.map(({ path }) => path)).toEqual([
      'spec.template.spec.containers[app].env[MODE].name',
      'spec.template.spec.containers[app].env[MODE].value',
      'spec.template.spec.containers[app].ports[8080/TCP].containerPort',
    ]);
    expect(await stack.revert(found)).toMatchObject({ verdict: 'reverted' });
    expect(await stack.differences()).toEqual([]);
    expect(await bench.live(web)).toMatchObject({
      spec: {
        template: {
          spec: {
            containers: [
              {
                env: [{ name: 'DEBUG' }, { name: 'MODE', value: 'live' }],
                ports: [{ containerPort: 8080, protocol: 'TCP' }],
              },
            ],
          },
        },
      },
    });
  });

  it('a cancelled attempt tells what it has done by then', async () => {
    const { stack, reviewed } = await bothDrifted();
    const drift = means();
    let asked = 0;
    drift.pulse.stillMine = async () => {
      asked += 1;
      if (asked === 2) drift.pulse.stop();
      drift.pulse.signal.throwIfAborted();
    };
    const result = await stack.revert(reviewed, {}, drift);
    expect(result).toMatchObject({ verdict: 'failed', why: 'stopped after 1 of its changes' });
    expect(result.changes).toHaveLength(1);
    const aborted = means();
    aborted.pulse.stop(false);
    await expect(stack.revert(reviewed, {}, aborted)).rejects.toThrow('stopped by the test');
  });

  it('what cannot be changed is replaced: it is destructive, and deletes just what was seen', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    await madeByHand(namespace, web);
    const found = await stack.differences();
    expect(found).toMatchObject([
      { class: 'destructive', action: 'replace', fields: [{ path: 'spec.selector.matchLabels.by' }] },
    ]);
    const result = await stack.revert(found);
    expect(result).toMatchObject({ verdict: 'reverted' });
    expect(result.changes.map(({ field }) => field)).toEqual(['delete', 'create']);
    expect(await stack.differences()).toEqual([]);
  });

  it('what else a replacement would bring is compared and shown: what nobody has applied keeps it from being made', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    await madeByHand(namespace, web);
    await bench.edit(web, { spec: { replicas: 5 } });
    const paths = (fields: { path: string }[] = []) => fields.map(({ path }) => path);
    const [drifted] = await stack.differences();
    expect(drifted).toMatchObject({ class: 'destructive', action: 'replace' });
    expect(paths(drifted?.fields).sort()).toEqual(['spec.replicas', 'spec.selector.matchLabels.by']);

    const [container] = web.spec.template.spec.containers;
    const image = { ...container, image: 'app:2' };
    const template = { ...web.spec.template, spec: { containers: [image] } };
    await stack.write({ 'all.yaml': [deployment(namespace, { template })] });
    const [moved] = await stack.differences();
    expect(moved).toMatchObject({ class: 'mixed', action: 'replace' });
    expect(paths(moved?.fields)).toContain('spec.template.spec.containers[app].image');
    expect(await stack.revert([moved!])).toMatchObject({ verdict: 'changed', changes: [] });
    expect(await stack.revert([drifted!]), 'what was approved before it moved').toMatchObject({ verdict: 'changed' });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('what would not be made again is not deleted', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    await madeByHand(namespace, web);
    const reviewed = await stack.differences();
    expect(reviewed).toMatchObject([{ class: 'destructive', action: 'replace' }]);
    const drift = means();
    // Right before it writes, when it has looked again.
    drift.pulse.stillMine = () => refuseNew(namespace, 'false');
    const result = await stack.revert(reviewed, {}, drift);
    expect(result).toMatchObject({ verdict: 'failed', changes: [] });
    expect(result.why).toMatch(/^Deployment .*\/web was not deleted, for the API server would not create what/);
    expect(result.why).not.toContain('Grant it to Salvor');
    expect(await stack.differences(), 'nor is it proposed any more').toMatchObject([
      { class: 'mixed', action: 'replace', why: expect.stringContaining('which a person must do') },
    ]);
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('what was deleted and is then refused is told first', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    await madeByHand(namespace, web);
    const reviewed = await stack.differences();
    await refuseNew(namespace, 'request.dryRun');
    const result = await stack.revert(reviewed);
    expect(result).toMatchObject({ verdict: 'failed', changes: [{ field: 'delete' }] });
    expect(result.why).toMatch(/^k8s\/prod\/.*\/web was deleted to be replaced, and was not made again: .*no new ones/);
    const again = await stack.revert(reviewed, {}, means({ isRepeat: true }));
    expect(again).toMatchObject({ verdict: 'failed', why: expect.stringContaining('was deleted to be replaced') });
    const mutations = await bench.mutations(namespace);
    expect(mutations).toEqual(['delete deployments 200', 'create deployments 422', 'create deployments 422']);
  });
});
