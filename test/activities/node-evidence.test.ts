import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Cluster } from '../../providers/kubernetes/cluster.ts';
import { NodeEvidence } from '../../providers/kubernetes/node/evidence.ts';
import type { Pool } from '../support/nodes.ts';
import { useBench } from './instance-support.ts';
import { cordoned, nodeOptions, poolOf } from './node-support.ts';

const bench = useBench();
let cluster: Cluster;
beforeAll(() => {
  cluster = new Cluster({ name: 'sandbox', kubeconfig: bench.sandbox.kubernetes.users.salvor?.kubeconfig ?? '' });
});
afterAll(() => cluster?.close());

/** One that remembers nothing of another test. */
const evidence = () => new NodeEvidence(cluster);
const lookAt = (pool: Pool, suspects: string[] = []) => evidence().look([pool.key()], suspects);

describe('evidence', () => {
  test('a pool: how many, and who does not serve: not Ready, cordoned by whomever, or held', async () => {
    const pool = await poolOf(bench, 4);
    const [sick = '', person = '', held = ''] = pool.names;
    await pool.setUnready(true, sick);
    await pool.patch({ spec: { unschedulable: true } }, person);
    await pool.patch({ metadata: { annotations: { 'salvor.dev/held': '[]' } } }, held);
    const unready = [sick, person, held].map((name) => pool.key(name));
    const { targets, workloads } = await lookAt(pool);
    expect(targets).toEqual({ [pool.key()]: { workload: pool.workload } });
    expect(workloads).toEqual({ [pool.workload]: { desired: 4, unready } });
    expect(await evidence().workload(pool.key(), pool.workload)).toEqual({ desired: 4, unready });
  });

  test('the population is that of the cluster without its control plane; suspects count as unhealthy', async () => {
    const pool = await poolOf(bench, 3);
    const before = (await lookAt(pool)).population!;
    const control = await poolOf(bench, 1, { labels: { 'node-role.kubernetes.io/control-plane': '' } });
    const { population, workloads } = await lookAt(control, [pool.key(pool.names[1]), 'k8s/sandbox/node/nobody']);
    expect(population).toEqual({ live: before.live, unhealthy: before.unhealthy + 1 });
    expect(Object.keys(workloads)).toEqual(['k8s/sandbox/node-pool/control-plane']);
  });

  test('excluded, held by another, without a pool label, not there', async () => {
    const pool = await poolOf(bench, 1, { annotations: { 'salvor.dev/skip': '' } });
    expect((await lookAt(pool)).targets[pool.key()]?.excluded).toMatch(/salvor\.dev\/skip/);
    expect(await evidence().excluded(pool.key())).toMatch(/salvor\.dev\/skip/);
    await pool.patch({ metadata: { annotations: { 'salvor.dev/skip': null } } });
    expect(await evidence().excluded(pool.key())).toBeUndefined();
    await pool.setUnready(true);
    await cordoned(bench, pool, nodeOptions());
    expect((await lookAt(pool)).targets[pool.key()]?.held).toMatch(/spec\.unschedulable is held by remediation/);

    const looked = await evidence().look(['k8s/sandbox/node/node-0', 'k8s/sandbox/node/nobody'], []);
    expect(looked.targets).toEqual({
      'k8s/sandbox/node/node-0': { workload: 'k8s/sandbox/node-pool/-' },
      'k8s/sandbox/node/nobody': {},
    });
    expect(looked.workloads).toMatchObject({ 'k8s/sandbox/node-pool/-': { unready: [] } });
  });

  test('the node of a machine', async () => {
    const id = `i-${randomUUID().replaceAll('-', '').slice(0, 17)}`;
    const pool = await poolOf(bench, 1, { providerID: `aws:///eu-west-1a/${id}` });
    expect(await evidence().byInstance(id)).toBe(pool.first);
    expect(await evidence().byInstance('i-00000000000000000')).toBeUndefined();
  });

  test('an API that cannot be read: it is said, and nothing is thrown', async () => {
    const stranger = new Cluster({
      name: 'sandbox',
      kubeconfig: bench.sandbox.kubernetes.users.stranger?.kubeconfig ?? '',
    });
    const looked = await new NodeEvidence(stranger).look(['k8s/sandbox/node/node-0'], []);
    await stranger.close();
    const error = expect.stringMatching(/resources: \["nodes"\], verbs: \["list"\]/);
    expect(looked).toEqual({ targets: { 'k8s/sandbox/node/node-0': { error } }, workloads: {}, error });
  });
});
