import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { stringify } from 'yaml';
import { findComponent } from '../../../../sandbox/components.ts';
import { makeRepository } from '../../../support/git.ts';
import { networkPolicy, service, useManifestsBench } from './support.ts';

const bench = useManifestsBench();

describe('sources', () => {
  it('an empty source is refused, and is never taken for "delete all"', async () => {
    const namespace = await bench.cluster.namespace('drift');
    await bench.deploy(networkPolicy(namespace));
    const stack = await bench.stack({ 'all.yaml': '---\n# nothing\n', 'README.md': 'apiVersion: v1' });
    const found = await stack.compare({ prune: ['NetworkPolicy'] });
    expect(found).toMatchObject({ verdict: 'refused', why: expect.stringContaining('the source is empty') });
    expect(await bench.mutations(namespace)).toEqual([]);
  });

  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'web', namespace: 'default' } };
  it.each<[string, Record<string, string | object[]>, string]>([
    ['no kind', { 'a/b.yaml': 'x: 1\n---\napiVersion: v1\nfoo: bar\n' }, 'a/b.yaml:1: expected apiVersion'],
    ['no object', { 'a.yaml': '- 1\n' }, 'a.yaml:1: expected an object of Kubernetes'],
    ['no name', { 'a.yaml': 'apiVersion: v1\nkind: Pod\n' }, 'a.yaml:1: expected metadata.name of the Pod'],
    [
      'a generated name',
      { 'a.yaml': [{ ...object, metadata: { generateName: 'web-' } }] },
      'a.yaml:1: expected metadata.name: an object with generateName is another one each time',
    ],
    ['no YAML', { 'a.yaml': 'apiVersion: v1\nkind: [Secret\npassword: hunter2\n' }, 'a.yaml:3: no valid YAML'],
    [
      'no namespace',
      { 'a.yaml': [{ ...object, metadata: { name: 'web' } }] },
      'expected metadata.namespace of ConfigMap web',
    ],
    [
      'a namespace too many',
      { 'a.yaml': [{ ...object, kind: 'Namespace' }] },
      'a.yaml:1: Namespace web has metadata.namespace: expected none',
    ],
    [
      'twice the same',
      { 'a.yaml': [object], 'b.json': JSON.stringify({ ...object, data: {} }) },
      'b.json:1: k8s/prod/default/configmap/web is declared at a.yaml:1 already: expected it once',
    ],
    [
      'a kustomization',
      { 'kustomization.yaml': 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: []\n' },
      'kustomization.yaml:1: this is a Kustomization of kustomize: expected kustomize: true in the stack',
    ],
  ])('%s is refused with the file and the line', async (_, files, why) => {
    const stack = await bench.stack(files);
    const found = await stack.compare();
    expect(found).toMatchObject({ verdict: 'refused', why: expect.stringContaining(why) });
    expect(JSON.stringify(found)).not.toContain('hunter2');
  });

  it('reads as kubectl does: octal numbers, Lists, several documents, and the namespace of the stack', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const { metadata: _, ...rest } = object;
    const map = { ...rest, metadata: { name: 'a' }, data: { on: 'yes', at: '2026-01-01' } };
    const list = { apiVersion: 'v1', kind: 'ConfigMapList', items: [{ ...map, metadata: { name: 'b' } }] };
    const job = `apiVersion: apps/v1
kind: DaemonSet
metadata: { name: c }
spec:
  selector: { matchLabels: { app: c } }
  template:
    metadata: { labels: { app: c } }
    spec:
      containers: [{ name: c, image: c }]
      volumes: [{ name: v, configMap: { name: a, defaultMode: 0440 } }]
`;
    const stack = await bench.stack(
      { 'deep/er/all.yml': [map, list], 'job.yaml': job, '.git/x.yaml': 'not read' },
      { manifests: { cluster: 'prod', kustomize: false, namespace } },
    );
    const found = await stack.differences();
    expect(found).toHaveLength(3);
    expect(await stack.revert(found)).toMatchObject({ verdict: 'reverted' });
    expect(await stack.differences()).toEqual([]);
    const made = { apiVersion: 'apps/v1', kind: 'DaemonSet', metadata: { name: 'c', namespace } };
    expect(await bench.live(made)).toMatchObject({
      spec: { template: { spec: { volumes: [{ configMap: { defaultMode: 0o440 } }] } } },
    });
  });

  it('of a repository one commit, which is on record and compared with again', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const policy = networkPolicy(namespace);
    const repository = await makeRepository(bench.folder, `infra-${namespace}`);
    const first = await repository.commit({ 'clusters/prod/web.yaml': stringify(policy), 'x.yaml': 'not in the path' });
    const folder = undefined as unknown as string;
    const source = { git: repository.fileUrl, path: 'clusters/prod', folder };
    const stack = await bench.stack({}, { manifests: { cluster: 'prod', kustomize: false, ...source } });
    await bench.deploy(policy);
    await bench.edit(policy, { spec: { ingress: [{}] } });
    const found = await stack.compare();
    expect(found).toMatchObject({ verdict: 'differs', revision: first });
    const second = await repository.commit({
      'clusters/prod/web.yaml': stringify(networkPolicy(namespace, [{ port: 443 }])),
    });
    expect(await stack.compare()).toMatchObject({ revision: second, differences: [{ class: 'mixed' }] });
    const again = await stack.compare({ revision: first });
    expect(again).toEqual(found);
    const reviewed = 'differences' in again ? again.differences : [];
    expect(await stack.revert(reviewed, { revision: first })).toMatchObject({ verdict: 'reverted' });
    expect(await bench.live(policy)).toMatchObject({ spec: { ingress: [{ ports: [{ port: 80 }] }] } });
  });
});

describe('kustomize', () => {
  const path = process.env['PATH'];
  beforeAll(async () => {
    const place = join(bench.folder, 'bin');
    await mkdir(place);
    await symlink(await findComponent('kustomize'), join(place, 'kustomize'));
    process.env['PATH'] = `${place}:${path}`;
  }, 300_000);
  afterAll(() => {
    process.env['PATH'] = path;
  });

  const built = { cluster: 'prod', kustomize: true };

  it('what it makes of an overlay is compared', async () => {
    const namespace = await bench.cluster.namespace('drift');
    const { metadata, ...rest } = service(namespace);
    const stack = await bench.stack(
      {
        'base/kustomization.yaml': 'resources: [web.yaml]\n',
        'base/web.yaml': [{ ...rest, metadata: { name: metadata.name } }],
        'prod/kustomization.yaml': `namespace: ${namespace}\nnamePrefix: prod-\nresources: [../base]\n`,
      },
      { manifests: built },
    );
    stack.stack.manifests!.folder = join(stack.folder, 'prod');
    expect(await stack.differences()).toMatchObject([
      { address: `k8s/prod/${namespace}/service/prod-web`, class: 'destructive', action: 'create' },
    ]);
  });

  it('what it refuses is refused with its own words; it runs no program, and reads no file of elsewhere', async () => {
    const bad = await bench.stack({ 'kustomization.yaml': 'resources: [gone.yaml]\n' }, { manifests: built });
    expect(await bad.compare()).toMatchObject({ verdict: 'refused', why: expect.stringContaining('gone.yaml') });
    const outside = await bench.stack(
      { 'web/kustomization.yaml': 'resources: [../secret.yaml]\n', 'secret.yaml': 'password: hunter2\n' },
      { manifests: built },
    );
    outside.stack.manifests!.folder = join(outside.folder, 'web');
    const found = await outside.compare();
    expect(found).toMatchObject({ verdict: 'refused', why: expect.stringContaining('is not in or below') });
    expect(JSON.stringify(found)).not.toContain('hunter2');
    const empty = await bench.stack({ 'kustomization.yaml': 'resources: []\nnamespace: web\n' }, { manifests: built });
    expect(await empty.compare()).toMatchObject({ verdict: 'refused' });
  });

  it('where the command is missing it says what to install', async () => {
    const own = process.env['PATH'];
    process.env['PATH'] = join(bench.folder, 'nothing');
    try {
      const stack = await bench.stack({ 'kustomization.yaml': 'resources: []\n' }, { manifests: built });
      await expect(stack.compare()).rejects.toMatchObject({
        type: 'Invalid',
        message: expect.stringContaining('install kustomize 5 in its PATH'),
      });
    } finally {
      process.env['PATH'] = own;
    }
  });
});
