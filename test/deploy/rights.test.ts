import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { proposalId } from '../../model/names.ts';
import type { Ending } from '../../model/remediation.ts';
import { NODE_OPTIONS } from '../../model/rule.ts';
import { Kubernetes } from '../../providers/kubernetes/provider.ts';
import { OPTIONS } from '../activities/instance-support.ts';
import { Pool, placed } from '../support/nodes.ts';
import { SALVOR, Salvor } from '../support/salvor.ts';
import { eventually } from '../support/wait.ts';

/** With the rights of deploy/kubernetes/overlays/observe, which are those to look. */
const salvor = new Salvor();
beforeAll(async () => {
  await salvor.startSandbox('base/rbac.yaml');
  await salvor.start({ looks: { mode: 'observe' }, acts: { gates: { cooldown: '0s' } } });
});
afterAll(async () => {
  await salvor.stop();
  await salvor.stopSandbox();
});

/** Whatever Salvor asked the API server to change there, and what it was told. */
const asked = async (namespace: string): Promise<string[]> => {
  const events = await salvor.sandbox.kubernetes.readAudit({ user: SALVOR, namespace });
  return events.map(({ verb, objectRef, responseStatus }) => `${verb} ${objectRef?.resource}: ${responseStatus?.code}`);
};

describe('with the right to look and no other', () => {
  it('a rule that observes says what it would do, and asks for no change', async () => {
    const { namespace, pod } = await salvor.sickPod();
    expect(await salvor.alert({ namespace, pod, rule: 'looks' })).toBe(200);
    const proposal = salvor.client.workflow.getHandle(proposalId('looks', salvor.cluster.target(namespace, pod)));
    const ending = await eventually('the proposal is made', async () => (await proposal.result()) as Ending);
    expect(ending).toMatchObject({ outcome: 'observed', changes: [] });
    expect(ending.plan?.[0]).toBe('cut its traffic: label salvor.dev/traffic: on → off');
    expect(await asked(namespace)).toEqual([]);
    expect(await salvor.cluster.trafficLabel(namespace, pod)).toBe('on');
  });

  it('a node is looked at with all that runs on it, and counted', async () => {
    const kubeconfig = salvor.sandbox.kubernetes.users[SALVOR]?.kubeconfig ?? '';
    const kubernetes = new Kubernetes({ name: 'sandbox', kubeconfig });
    const pool = await Pool.make(salvor.cluster, 1);
    try {
      await pool.run('web', 2, placed({ namespace: pool.namespace, name: 'web' }));
      await pool.setUnready(true);
      const options = { ...OPTIONS, node: NODE_OPTIONS };
      const request = { target: pool.key(), options, actor: { runbook: 'drain-instance', remediation: 'r' } };
      const found = await kubernetes.node({ name: pool.first }).assess(request);
      expect(found).toMatchObject({ verdict: 'sick', owner: { key: pool.workload, desired: 1 } });
      expect('plan' in found && found.plan.changes).toHaveLength(3);
      const looked = await kubernetes.nodeEvidence.look([pool.key()], []);
      expect(looked.workloads).toEqual({ [pool.workload]: { desired: 1, unready: [pool.key()] } });
    } finally {
      await pool.stop();
      await kubernetes.close();
    }
  });

  it('a workload is looked at with what scales it, and found again in what is held; its size cannot be set', async () => {
    const kubeconfig = salvor.sandbox.kubernetes.users[SALVOR]?.kubeconfig ?? '';
    const kubernetes = new Kubernetes({ name: 'sandbox', kubeconfig });
    try {
      const { namespace } = await salvor.sickPod();
      const key = `k8s/sandbox/${namespace}/deployment.apps/web`;
      const provider = kubernetes.scalable({
        type: 'k8s',
        cluster: 'sandbox',
        namespace,
        kind: 'deployment',
        group: 'apps',
        name: 'web',
      });
      const reading = await provider.read('r');
      expect(reading).toMatchObject({ verdict: 'found', scale: { object: { key }, by: { field: 'spec.replicas' } } });
      if (reading.verdict !== 'found') return;
      const { scale } = reading;
      const attempt = { since: Date.now(), aloneUntil: 0, stillMine: async () => undefined };
      const actor = { runbook: 'scale-on-backlog', remediation: 'r' };
      const request = { step: 'scale', actor, scale, from: scale.by.value, to: 9, held: [] };
      await expect(provider.scaleTo(request, attempt)).rejects.toThrow('cannot patch deployments');
      expect(await kubernetes.find()).toEqual([]);
      expect(await asked(namespace)).toEqual(['patch deployments: 403']);
    } finally {
      await kubernetes.close();
    }
  });

  it('a rule that acts changes nothing, and ends with the right that is missing', async () => {
    const { namespace, pod } = await salvor.sickPod();
    expect(await salvor.alert({ namespace, pod, rule: 'acts' })).toBe(200);
    const ending = await salvor.ending(namespace, pod);
    expect(ending.outcome).toBe('failed');
    expect(ending.reason).toContain('403 Forbidden');
    expect(ending.reason).toContain(
      'Grant it to Salvor in a role with the rule { apiGroups: [""], resources: ["pods"], verbs: ["patch"] }',
    );
    expect(new Set(await asked(namespace))).toEqual(new Set(['patch pods: 403']));
    expect(await salvor.cluster.trafficLabel(namespace, pod), 'nobody ever cut it').toBe('on');
  });
});
