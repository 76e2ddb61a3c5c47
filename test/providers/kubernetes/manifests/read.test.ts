import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseManifests, readManifests } from '../../../../providers/kubernetes/manifests/read.ts';

let root: string;
beforeAll(async () => {
  root = await realpath(await mkdtemp(join(tmpdir(), 'salvor-read-')));
});
afterAll(() => rm(root, { recursive: true, force: true }));

const map = (name: string): string => `apiVersion: v1\nkind: ConfigMap\nmetadata: { name: ${name} }\n`;
const names = (manifests: { name: string }[]) => manifests.map(({ name }) => name);

describe('a folder', () => {
  it('is read as a mounted ConfigMap has it, by links; what a link leads to outside of it is no part of it', async () => {
    const [folder, outside] = [join(root, 'mounted'), join(root, 'outside.yaml')];
    await mkdir(join(folder, '..2026'), { recursive: true });
    await writeFile(join(folder, '..2026', 'b.yaml'), map('b'));
    await symlink('..2026', join(folder, '..data'));
    await symlink('..data/b.yaml', join(folder, 'b.yaml'));
    await writeFile(outside, map('secret'));
    await symlink(outside, join(folder, 'c.yaml'));
    await symlink('nowhere', join(folder, 'd.yaml'));
    await symlink(folder, join(folder, 'again'));
    await writeFile(join(folder, 'a.yaml'), map('a'));
    expect(names(await readManifests(folder))).toEqual(['a', 'b']);
    expect(names(await readManifests(folder, root)), 'within a repository').toEqual(['a', 'b', 'secret']);
    expect(names(await readManifests(join(folder, 'a.yaml'))), 'one file').toEqual(['a']);
  });

  it('with too much in it is refused', async () => {
    const folder = join(root, 'large');
    await mkdir(folder);
    await writeFile(join(folder, 'a.yaml'), Array.from({ length: 5_001 }, (_, i) => map(`m-${i}`)).join('---\n'));
    await expect(readManifests(folder)).rejects.toThrow('declares 5001 objects: expected at most 5000');
  });
});

describe('a text', () => {
  it('is read as kubectl reads it', () => {
    const [found] = parseManifests(
      `# a comment\n---\n${map('a')}data: &data { on: 1, off: no, time: 12:30:45, day: 2026-01-01, mode: 0644, one: null }\nbinaryData: *data\nmore: { <<: *data, bin: !!binary aGk= }\n---\n---\n`,
      'a.yaml',
    );
    const data = { true: 1, false: false, time: '12:30:45', day: '2026-01-01', mode: 0o644 };
    expect(found).toMatchObject({ name: 'a', where: 'a.yaml:3', object: { data, binaryData: data } });
    expect(found?.object['data']).not.toHaveProperty('one');
  });

  it.each<[string, string, string]>([
    ['a key that stands twice', `${map('a')}data:\n  a: 1\n  a: 2\n`, 'f.yaml:6: no valid YAML: DUPLICATE_KEY'],
    ['too many aliases', bomb(), 'no valid YAML'],
    ['a namespace that is none', map('a').replace('name: a', 'name: a, namespace: A'), 'to be the name of a namespace'],
    ['a kind that is none', map('a').replace('ConfigMap', 'config-map'), 'f.yaml:1: expected kind, such as Deployment'],
    [
      'an item of a List',
      'apiVersion: v1\nkind: List\nitems:\n  - kind: X\n',
      'f.yaml:1, items[0]: expected apiVersion',
    ],
  ])('with %s is refused', (_, text, why) => {
    expect(() => parseManifests(text, 'f.yaml')).toThrow(why);
  });

  it('what only the API server writes, and what kubectl has written down, is no part of an object', () => {
    const exported = JSON.stringify({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        ...{ name: 'a', namespace: 'b', uid: 'u', resourceVersion: '7', creationTimestamp: null, generation: 2 },
        managedFields: [],
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': '{}', own: 'x' },
      },
      spec: { clusterIP: '10.0.0.1' },
      status: { loadBalancer: {} },
    });
    expect(parseManifests(exported, 'a.json')[0]?.object).toEqual({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'a', namespace: 'b', annotations: { own: 'x' } },
      spec: { clusterIP: '10.0.0.1' },
    });
  });

  it('a Secret is read in the form in which the API server keeps it', () => {
    const text =
      'apiVersion: v1\nkind: Secret\nmetadata: { name: a }\nstringData: { a: x }\ndata: { a: eQ==, b: eg== }\n';
    const [found] = parseManifests(text, 'a.yaml');
    expect(found?.object).toMatchObject({ data: { a: 'eA==', b: 'eg==' } });
    expect(found?.object).not.toHaveProperty('stringData');
  });
});

/** A few lines that would become gigabytes. */
function bomb(): string {
  const levels = Array.from({ length: 12 }, (_, i) => `l${i + 1}: &l${i + 1} [${Array(9).fill(`*l${i}`).join(', ')}]`);
  return `${map('a')}l0: &l0 x\n${levels.join('\n')}\n`;
}
