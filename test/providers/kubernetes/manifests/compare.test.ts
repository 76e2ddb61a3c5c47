import { describe, expect, it } from 'vitest';
import { HELD_ANNOTATION } from '../../../../model/names.ts';
import { eventually } from '../../../support/wait.ts';
import { deployment, networkPolicy, service, useManifestsBench } from './support.ts';

const bench = useManifestsBench();

describe('no drift', () => {
  it('defaults, quantities, ports as texts and what is read only cause nothing', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const objects = [
      networkPolicy(namespace, [
        { port: 80, protocol: 'TCP' },
        { port: 53, protocol: 'UDP' },
      ]),
      { ...service(namespace), status: { loadBalancer: {} } },
      deployment(namespace),
      {
        apiVersion: 'policy/v1',
        kind: 'PodDisruptionBudget',
        metadata: { name: 'web', namespace, creationTimestamp: null },
        spec: { maxUnavailable: '25%', selector: { matchLabels: { app: 'web' } } },
      },
      {
        apiVersion: 'v1',
        kind: 'Secret',
        metadata: { name: 'web', namespace },
        stringData: { password: 'hunter2' },
      },
    ];
    const stack = await bench.stack({ 'list.yaml': [{ apiVersion: 'v1', kind: 'List', items: objects }] });
    await bench.deploy(...objects);
    expect(await stack.compare()).toEqual({ verdict: 'same', why: '5 objects, all as in the source', differences: [] });
    expect(await bench.trials(namespace)).toBe(5);
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('replicas that an HPA sets are its own, and stay when something else is reverted', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const hpa = {
      apiVersion: 'autoscaling/v2',
      kind: 'HorizontalPodAutoscaler',
      metadata: { name: 'web', namespace },
      spec: {
        minReplicas: 2,
        maxReplicas: 9,
        scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web' },
      },
    };
    const stack = await bench.stack({ 'all.yaml': [web, hpa] });
    await bench.deploy(web, hpa);
    await bench.edit(web, { spec: { replicas: 5 } });
    expect(await stack.differences()).toMatchObject([
      {
        ...{ class: 'ignored', action: 'update' },
        why: 'spec.replicas: owned by horizontalpodautoscaler.autoscaling/web, which sets its size',
        fields: [{ path: 'spec.replicas', live: 5, source: 2 }],
      },
    ]);
    await bench.edit(web, {
      spec: { minReadySeconds: 7, paused: true, template: { metadata: { labels: { app: 'web', x: 'y' } } } },
    });
    expect(await stack.differences(), 'what the source does not declare is not compared').toMatchObject([
      { class: 'ignored' },
    ]);
    await stack.write({ 'all.yaml': [deployment(namespace, { revisionHistoryLimit: 3 }), hpa] });
    await bench.deploy(deployment(namespace, { revisionHistoryLimit: 3, replicas: 5 }));
    await bench.edit(web, { spec: { revisionHistoryLimit: 4 } });
    const found = await stack.differences();
    expect(found).toMatchObject([{ class: 'reversible', fields: [{ path: 'spec.revisionHistoryLimit' }] }]);
    expect(found[0]?.why).toContain('Left alone: spec.replicas: owned by horizontalpodautoscaler.autoscaling/web');
    expect(await stack.revert(found)).toMatchObject({ verdict: 'reverted' });
    expect(await bench.live(web)).toMatchObject({ spec: { replicas: 5, revisionHistoryLimit: 3, minReadySeconds: 7 } });
  });

  it('what another controller owns is its own; a size that a person set is not', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    await bench.deploy(web);
    await bench.edit(web, { spec: { replicas: 4 } }, 'keda-operator');
    expect(await stack.differences()).toMatchObject([
      { class: 'ignored', why: 'spec.replicas: owned by the controller keda-operator' },
    ]);
    await bench.cluster.apps.patchNamespacedDeploymentScale({
      name: 'web',
      namespace,
      body: [{ op: 'replace', path: '/spec/replicas', value: 3 }],
      fieldManager: 'kubectl-scale',
    });
    expect(await stack.differences()).toMatchObject([
      { class: 'reversible', fields: [{ path: 'spec.replicas', live: 3, source: 2 }], who: { by: 'kubectl-scale' } },
    ]);
  });

  it('a Service whose traffic a rollout has switched stays as it is', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = service(namespace);
    const stack = await bench.stack({ 'all.yaml': [web] });
    await bench.deploy(web);
    await bench.edit(
      web,
      { spec: { selector: { app: 'web', 'rollouts-pod-template-hash': 'abc' } } },
      'rollouts-controller',
    );
    await bench.edit(web, { spec: { selector: { app: 'canary' } } }, 'rollouts-controller');
    expect(await stack.differences()).toMatchObject([
      { class: 'ignored', why: 'spec.selector: owned by the controller rollouts-controller' },
    ]);
  });

  it('what another runbook holds, or has set, is held', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const web = deployment(namespace);
    const stack = await bench.stack({ 'all.yaml': [policy, web] });
    await bench.deploy(policy, web);
    const until = new Date(Date.now() + 60_000).toISOString();
    const note = {
      field: '/spec/ingress',
      before: '[]',
      set: '[]',
      remediation: 'r-1',
      runbook: 'circuit-breaker',
      until,
    };
    const annotations = { [HELD_ANNOTATION]: JSON.stringify([note]) };
    await bench.edit(policy, { metadata: { annotations, labels: { tier: 'back' } }, spec: { ingress: [{}] } });
    await bench.edit(web, { spec: { replicas: 7 } }, 'salvor-scale-on-backlog');
    const found = await stack.differences();
    expect(found).toMatchObject([
      { kind: 'NetworkPolicy', class: 'reversible', fields: [{ path: 'metadata.labels.tier' }] },
      { kind: 'Deployment', class: 'held', why: 'spec.replicas: last set by salvor-scale-on-backlog' },
    ]);
    expect(found[0]?.why).toContain('Left alone: spec.ingress: held by remediation r-1 (circuit-breaker) until');
    expect(await stack.revert(found.slice(0, 1))).toMatchObject({ verdict: 'reverted' });
    expect(await bench.live(policy)).toMatchObject({
      metadata: { labels: { tier: 'front' } },
      spec: { ingress: [{}] },
    });
    await bench.edit(policy, { metadata: { annotations: { [HELD_ANNOTATION]: 'not JSON' } } });
    expect(await stack.differences()).toMatchObject([{ class: 'held' }, { class: 'held' }]);
  });

  it('what a pattern of the stack names is ignored: an address, or a field', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const [policy, web] = [networkPolicy(namespace), service(namespace)];
    const ignore = ['*/service/web', '*networkpolicy*#metadata.labels*'];
    const stack = await bench.stack({ 'all.yaml': [policy, web] }, { ignore });
    await bench.deploy(policy, web);
    await bench.edit(policy, { metadata: { labels: { tier: 'back' } } });
    await bench.edit(web, { spec: { selector: { app: 'other' } } });
    expect(await stack.differences()).toMatchObject([
      { class: 'ignored', why: 'metadata.labels.tier: ignored by the pattern *networkpolicy*#metadata.labels*' },
      { class: 'ignored', why: 'ignored by the pattern */service/web', fields: [] },
    ]);
  });
});

describe('what a person wants left alone', () => {
  it('is left alone: an object, or all in a namespace', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const [policy, web] = [networkPolicy(namespace), service(namespace)];
    const stack = await bench.stack({ 'all.yaml': [policy, web] });
    await bench.deploy(policy);
    const skip = { metadata: { annotations: { 'salvor.dev/skip': 'ada looks at it' } } };
    await bench.edit(policy, { ...skip, spec: { ingress: [{}] } });
    expect(await stack.differences()).toMatchObject([
      { kind: 'Service', class: 'destructive', action: 'create' },
      { class: 'ignored', why: 'spec.ingress: it carries the annotation salvor.dev/skip' },
    ]);
    await bench.edit({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }, skip);
    await bench.edit(policy, { metadata: { annotations: { 'salvor.dev/skip': null } } });
    const why = `its namespace ${namespace} carries the annotation salvor.dev/skip`;
    expect(await stack.differences(['NetworkPolicy'])).toMatchObject([
      { class: 'ignored', why },
      { class: 'ignored', why },
    ]);
  });

  it('is not replaced while anything is held on it', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    const other = deployment(namespace, {
      selector: { matchLabels: { app: 'other' } },
      template: { ...web.spec.template, metadata: { labels: { app: 'other' } } },
    });
    await bench.deploy(other);
    const until = new Date(Date.now() + 60_000).toISOString();
    const note = { field: 'spec.replicas', before: 2, set: 4, remediation: 'r-1', runbook: 'scale-on-backlog', until };
    const record = { 'kubectl.kubernetes.io/last-applied-configuration': JSON.stringify(web) };
    const stack = await bench.stack({ 'all.yaml': [web] });
    await bench.edit(web, { metadata: { annotations: record } });
    expect(await stack.differences()).toMatchObject([{ class: 'destructive', action: 'replace' }]);
    await bench.edit(web, { metadata: { annotations: { [HELD_ANNOTATION]: JSON.stringify([note]) } } });
    expect(await stack.differences()).toMatchObject([{ class: 'held', action: 'replace' }]);
  });
});

describe('a source that moved', () => {
  it('is not applied: neither what changed in it, nor drift in the same object', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const [policy, web] = [networkPolicy(namespace), service(namespace)];
    const stack = await bench.stack({ 'all.yaml': [policy, web] });
    await bench.deploy(policy, web);
    const labels = { ...policy.metadata.labels, owner: 'ada' };
    const moved = { ...networkPolicy(namespace, [{ port: 443 }]), metadata: { ...policy.metadata, labels } };
    await stack.write({ 'all.yaml': [moved, web] });
    const unapplied = await stack.differences();
    expect(unapplied).toMatchObject([
      {
        ...{ class: 'unapplied', action: 'update' },
        why: 'metadata.labels.owner, spec.ingress: it is as it was applied last',
        fields: [
          { path: 'metadata.labels.owner', live: null, source: 'ada' },
          { path: 'spec.ingress[0].ports[0].port', live: 80, source: 443 },
        ],
      },
    ]);
    expect(unapplied[0]).not.toHaveProperty('who');
    expect(await stack.revert(unapplied)).toMatchObject({ verdict: 'changed', changes: [] });

    await bench.edit(policy, { metadata: { labels: { tier: 'back' } } });
    expect(await stack.differences(), 'both in one object').toMatchObject([
      { class: 'mixed', who: { by: 'kubectl-edit' }, fields: [{}, {}, {}] },
    ]);
    await bench.edit(policy, { metadata: { labels: { tier: 'front' } }, spec: { ingress: [{}] } });
    expect(await stack.differences(), 'both in one field').toMatchObject([{ class: 'mixed' }]);
    expect(await stack.revert(await stack.differences())).toMatchObject({ verdict: 'changed', changes: [] });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  it('another way to write the same value is no move', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace);
    await bench.deploy(web);
    const text = JSON.stringify(web).replace('"0.1"', '"100m"').replace('"1024Mi"', '"1Gi"');
    const stack = await bench.stack({ 'all.json': text });
    expect(await stack.differences()).toEqual([]);
    await bench.edit(web, {
      spec: {
        template: {
          spec: { containers: [{ ...web.spec.template.spec.containers[0], resources: { requests: { cpu: '2' } } }] },
        },
      },
    });
    expect(await stack.differences()).toMatchObject([
      {
        class: 'reversible',
        fields: [
          { path: 'spec.template.spec.containers[app].resources.limits.cpu', live: null, source: '1' },
          { path: 'spec.template.spec.containers[app].resources.requests.cpu', live: '2', source: '100m' },
          { path: 'spec.template.spec.containers[app].resources.requests.memory', live: null, source: '1Gi' },
        ],
      },
    ]);
  });

  it('without a record of what was applied the owner of a field tells', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const stack = await bench.stack({ 'all.yaml': [networkPolicy(namespace, [{ port: 443 }])] });
    await bench.applyOnServer('kustomize-controller', policy);
    expect(await stack.differences()).toMatchObject([
      { class: 'unapplied', why: 'spec.ingress: it is as kustomize-controller has applied it' },
    ]);
    await stack.write({ 'all.yaml': [policy] });
    expect(await stack.differences()).toEqual([]);
    await bench.edit(policy, { spec: { ingress: [{}] } }, 'OpenAPI-Generator');
    const drifted = await stack.differences();
    expect(drifted).toMatchObject([{ class: 'reversible', who: { by: 'OpenAPI-Generator' } }]);
    expect(await stack.revert(drifted)).toMatchObject({ verdict: 'reverted' });
    await stack.write({ 'all.yaml': [networkPolicy(namespace, [{ port: 443 }])] });
    expect(await stack.differences(), 'what Salvor has reverted was as the source had it').toMatchObject([
      { class: 'unapplied', why: 'spec.ingress: it is as salvor-revert-drift has applied it' },
    ]);
    await stack.write({ 'all.yaml': [policy] });
    await bench.edit(policy, { metadata: { labels: { tier: null } } });
    expect(await stack.differences(), 'removed, or new in the source: nobody can tell').toMatchObject([
      {
        class: 'unapplied',
        why: 'metadata.labels.tier: it is not there, and nothing tells whether it was ever applied',
      },
    ]);
  });

  it("kubectl's record is left behind when a deployer applies on the server, and is then no record", async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    await bench.deploy(policy);
    const second = () => Math.floor(Date.now() / 1000);
    const deployed = second();
    await eventually('times of field managers, which are to the second, tell the two apart', () => second() > deployed);
    const next = {
      ...networkPolicy(namespace, [{ port: 443 }]),
      metadata: { ...policy.metadata, annotations: { by: 'flux' } },
    };
    await bench.applyOnServer('kustomize-controller', next);
    const stack = await bench.stack({ 'all.yaml': [next] });
    expect(await stack.differences()).toEqual([]);
    await bench.edit(policy, { spec: { ingress: [{}] } });
    expect(await stack.differences()).toMatchObject([
      { class: 'reversible', fields: [{ path: 'spec.ingress[0].ports' }] },
    ]);
  });

  it('what somebody applies by hand over what a deployer applies on the server is drift, for all its record', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    await bench.applyOnServer('kustomize-controller', policy);
    const stack = await bench.stack({ 'all.yaml': [policy] });
    const opened = networkPolicy(namespace, [{ port: 80 }, { port: 22 }]);
    await bench.deploy(opened);
    const found = await stack.differences();
    expect(found).toMatchObject([{ class: 'reversible', who: { by: 'kubectl-client-side-apply' } }]);
    expect(await stack.revert(found)).toMatchObject({ verdict: 'reverted' });
    expect(await bench.live(policy)).toMatchObject({ spec: { ingress: [{ ports: [{ port: 80 }] }] } });
  });

  it('what the API server does not take as it is in the source is told with its own words', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    await bench.deploy(policy);
    const odd = { ...policy, spec: { ...policy.spec, podSelektor: {} } };
    const wrong = { ...service(namespace), spec: { ports: [{ port: 99999 }] } };
    const stack = await bench.stack({ 'all.yaml': [odd, wrong] });
    const found = await stack.differences();
    expect(found).toMatchObject([{ class: 'unapplied' }, { class: 'unapplied' }]);
    expect(found[0]?.why).toContain('podSelektor');
    expect(found[1]?.why).toMatch(/does not exist, and the API server does not take it .*99999/);
  });

  it('nor does it take the source beside what somebody has made of the object: a person must undo that', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const web = deployment(namespace, { strategy: { type: 'Recreate' } });
    const stack = await bench.stack({ 'all.yaml': [web] });
    await bench.deploy(web);
    await bench.edit(web, { spec: { strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } });
    const found = await stack.differences();
    expect(found).toMatchObject([{ class: 'mixed', action: 'update' }]);
    expect(found[0]?.why).toContain('was changed since in a way that a person must undo');
    expect(found[0]?.why).toContain('spec.strategy.rollingUpdate');
  });
});

describe('all kinds', () => {
  const definition = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'lamps.example.com' },
    spec: {
      ...{ group: 'example.com', scope: 'Namespaced', names: { kind: 'Lamp', plural: 'lamps', singular: 'lamp' } },
      versions: [
        {
          ...{ name: 'v1', served: true, storage: true },
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: {
                spec: {
                  type: 'object',
                  properties: {
                    colour: { type: 'string', default: 'white' },
                    watts: {
                      type: 'integer',
                      'x-kubernetes-validations': [{ rule: 'self == oldSelf', message: 'Value is immutable' }],
                    },
                    rooms: {
                      type: 'array',
                      'x-kubernetes-list-type': 'map',
                      'x-kubernetes-list-map-keys': ['name'],
                      items: {
                        type: 'object',
                        required: ['name'],
                        properties: { name: { type: 'string' }, on: { type: 'boolean' } },
                      },
                    },
                  },
                },
              },
            },
          },
        },
      ],
    },
  };
  const lamp = (namespace: string) => ({
    apiVersion: 'example.com/v1',
    kind: 'Lamp',
    metadata: { name: 'desk', namespace },
    spec: { watts: 4, rooms: [{ name: 'hall', on: false }] },
  });

  it('a custom resource, before and after its kind is there; what is added to a keyed list stays', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const stack = await bench.stack({ 'all.yaml': [lamp(namespace), definition] });
    expect(await stack.differences()).toMatchObject([
      { kind: 'CustomResourceDefinition', class: 'destructive', action: 'create' },
      { kind: 'Lamp', class: 'unapplied', why: 'cluster prod has no kind Lamp of example.com/v1' },
    ]);
    await bench.deploy(definition);
    await eventually('its kind is served', async () => {
      await bench.objects.list('example.com/v1', 'Lamp', namespace);
      return true;
    });
    await bench.deploy(lamp(namespace));
    expect(await stack.differences()).toEqual([]);
    const rooms = [
      { name: 'cellar', on: true },
      { name: 'hall', on: true },
    ];
    await bench.edit(lamp(namespace), { spec: { rooms } });
    const found = await stack.differences();
    expect(found).toMatchObject([
      { class: 'reversible', fields: [{ path: 'spec.rooms[hall].on', live: true, source: false }] },
    ]);
    expect(await stack.revert(found)).toMatchObject({ verdict: 'reverted' });
    expect(await bench.live(lamp(namespace))).toMatchObject({
      spec: {
        colour: 'white',
        rooms: [
          { name: 'cellar', on: true },
          { name: 'hall', on: false },
        ],
      },
    });
    await stack.write({ 'all.yaml': [{ ...lamp(namespace), spec: { watts: 5 } }, definition] });
    expect(await stack.differences(), 'it can only be replaced, but nobody has applied it yet').toMatchObject([
      { class: 'unapplied', action: 'replace', fields: [{ path: 'spec.watts', live: 4, source: 5 }] },
    ]);
  });

  it('what is in no namespace', async () => {
    const name = await bench.cluster.namespace('drift');
    const role = {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: `system:${name}` },
      rules: [{ apiGroups: [''], resources: ['pods'], verbs: ['get'] }],
    };
    const own = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels: { team: 'web' } } };
    const stack = await bench.stack({ 'all.yaml': [role, own] });
    await bench.deploy(role, own);
    await bench.edit(role, { rules: [{ apiGroups: ['*'], resources: ['*'], verbs: ['*'] }] });
    await bench.edit(own, { metadata: { labels: { team: 'other' } } });
    const found = await stack.differences();
    expect(found).toMatchObject([
      { address: `k8s/prod/-/clusterrole.rbac.authorization.k8s.io/system%3A${name}`, class: 'reversible' },
      { address: `k8s/prod/-/namespace/${name}`, class: 'reversible' },
    ]);
    expect(await stack.revert(found)).toMatchObject({ verdict: 'reverted' });
    expect(await stack.differences()).toEqual([]);
  });

  it('of a Secret no value is shown, nor told, nor in what is on record', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const secret = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: 'web', namespace },
      stringData: { password: 'hunter2' },
    };
    const stack = await bench.stack({ 'all.yaml': [secret] });
    await bench.deploy(secret);
    await bench.edit(secret, { data: { password: Buffer.from('letmein').toString('base64') } });
    const found = await stack.differences();
    expect(found).toMatchObject([
      {
        class: 'reversible',
        fields: [{ path: 'data.password', live: '(sensitive)', source: '(sensitive)', sensitive: true }],
      },
    ]);
    const result = await stack.revert(found);
    expect(result).toMatchObject({ verdict: 'reverted', changes: [{ before: '(sensitive)', after: '(sensitive)' }] });
    const all = JSON.stringify([found, result]);
    for (const value of ['hunter2', 'letmein'])
      for (const text of [value, Buffer.from(value).toString('base64')]) expect(all).not.toContain(text);
    expect(await bench.live(secret)).toMatchObject({ data: { password: Buffer.from('hunter2').toString('base64') } });
    await bench.cluster.delete(secret);
    expect(await stack.revert(await stack.differences())).toMatchObject({ verdict: 'reverted' });
    expect(JSON.stringify((await bench.live(secret)).metadata?.annotations ?? {}), 'no record of it').toBe('{}');
  });

  it('in a namespace that is not there nothing is created, and a Job that is gone is not run again', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const job = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'once', namespace },
      spec: { template: { spec: { restartPolicy: 'Never', containers: [{ name: 'app', image: 'app:1' }] } } },
    };
    const stack = await bench.stack({ 'all.yaml': [job, service(`${namespace}-gone`)] });
    expect(await stack.differences()).toMatchObject([
      { kind: 'Service', class: 'unapplied', why: 'it does not exist, and its namespace does not exist' },
      { kind: 'Job', class: 'ignored' },
    ]);
  });

  it('in a namespace that ends, and of what ends, nothing is created before it is gone', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const map = {
      ...{ apiVersion: 'v1', kind: 'ConfigMap' },
      metadata: { name: 'web', namespace, finalizers: ['example.com/wait'] },
    };
    const stack = await bench.stack({ 'all.yaml': [map, service(namespace)] });
    await bench.deploy(map);
    await bench.cluster.delete({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } });
    await eventually('it ends', async () => (await bench.live(map)).metadata?.deletionTimestamp !== undefined);
    const found = await stack.differences();
    expect(found).toMatchObject([
      { kind: 'ConfigMap', class: 'mixed', why: expect.stringContaining('it is being deleted, since') },
      { kind: 'Service', class: 'unapplied', why: 'it does not exist, and its namespace is being deleted' },
    ]);
    expect(await stack.revert(found)).toMatchObject({ verdict: 'changed' });
    await bench.edit(map, { metadata: { finalizers: null } });
    expect(await bench.mutations(namespace)).toEqual([]);
  });
});
