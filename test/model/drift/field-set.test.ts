import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Json } from '../../../model/breaker/patch.ts';
import {
  type FieldPath,
  fieldAt,
  formatField,
  hasField,
  leavesOf,
  notedSegments,
  overlaps,
  withField,
} from '../../../model/drift/field-set.ts';
import { ignoredBy } from '../../../model/drift/ignore.ts';
import { shownField } from '../../../model/drift/shown-fields.ts';

const SET = {
  'f:metadata': { 'f:labels': { '.': {}, 'f:app.kubernetes.io/name': {} }, 'f:finalizers': { 'v:"a/b"': {} } },
  'f:spec': {
    'f:ports': { 'k:{"port":80,"protocol":"TCP"}': { '.': {}, 'f:port': {}, 'f:targetPort': {} } },
    'f:selector': {},
    'i:0': {},
    'k:{broken': {},
  },
};
const OBJECT: Json = {
  metadata: { labels: { 'app.kubernetes.io/name': 'web' }, finalizers: ['x', 'a/b'] },
  spec: {
    ports: [
      { port: 443, protocol: 'TCP', targetPort: 1 },
      { port: 80, protocol: 'TCP', targetPort: 8080 },
    ],
    selector: { app: 'web' },
  },
};

describe('field sets', () => {
  const leaves = leavesOf(SET);
  it('have the fields that are owned as a whole, and their values', () => {
    expect(leaves.map((path) => [formatField(path), fieldAt(OBJECT, path)])).toEqual([
      ['metadata.labels[app.kubernetes.io/name]', 'web'],
      ['metadata.finalizers[a/b]', 'a/b'],
      ['spec.ports[80/TCP].port', 80],
      ['spec.ports[80/TCP].targetPort', 8080],
      ['spec.selector', { app: 'web' }],
    ]);
  });

  it('own what they have, parts of a whole, and that of which they have a part', () => {
    for (const path of leaves) expect(hasField(SET, path)).toBe(true);
    const spec = { name: 'spec' };
    expect(hasField(SET, [spec, { name: 'selector' }, { name: 'app' }])).toBe(true);
    expect(hasField(SET, [spec])).toBe(true);
    expect(hasField(SET, [spec, { name: 'replicas' }])).toBe(false);
    expect(hasField(SET, [{ name: 'metadata' }, { name: 'labels' }, { name: 'other' }])).toBe(false);
    expect(hasField({}, [spec])).toBe(false);
  });

  it('a field that is set is as it was set, and all others are as before', () => {
    const value = fc.constantFrom<Json>(1, 'x', { a: 1 }, [2]);
    fc.assert(
      fc.property(fc.constantFrom(...leaves), fc.constantFrom(...leaves), value, (path, other, set) => {
        fc.pre(!formatField(path).endsWith('.port') && !formatField(path).includes('finalizers'));
        const made = withField(OBJECT, path, set);
        expect(fieldAt(made, path)).toEqual(set);
        if (other !== path) expect(fieldAt(made, other)).toEqual(fieldAt(OBJECT, other));
        expect(withField(made, path, fieldAt(OBJECT, path))).toEqual(OBJECT);
        expect(fieldAt(withField(OBJECT, path, undefined), path)).toBeUndefined();
      }),
    );
  });

  it('what is missing on the way is made: maps, and items with their keys', () => {
    const path: FieldPath = [{ name: 'spec' }, { name: 'ports' }, { key: { port: 22 } }, { name: 'name' }];
    expect(withField({}, path, 'ssh')).toEqual({ spec: { ports: [{ port: 22, name: 'ssh' }] } });
    expect(withField(['a'], [{ value: 'b' }], 'b')).toEqual(['a', 'b']);
    expect(withField(['a', 'b'], [{ value: 'a' }], undefined)).toEqual(['b']);
    expect(withField(undefined, [], undefined)).toBeUndefined();
  });

  it('meet what a note holds, in each of the forms of notes', () => {
    const replicas = [{ name: 'spec' }, { name: 'replicas' }];
    const port = leaves[3]!;
    const held = (path: FieldPath, field: string) => overlaps(path, notedSegments(field));
    expect(held(replicas, 'spec.replicas')).toBe(true);
    expect(held(replicas, '/spec')).toBe(true);
    expect(held([{ name: 'spec' }], '/spec/replicas')).toBe(true);
    expect(held(replicas, 'spec.unschedulable')).toBe(false);
    expect(held(port, '/spec/ports/1/targetPort')).toBe(true);
    expect(held(port, '/spec/ports/1/name')).toBe(false);
    expect(held(leaves[0]!, 'metadata.labels[app.kubernetes.io/name]')).toBe(true);
    expect(held(leaves[0]!, '/metadata/labels/app.kubernetes.io~1name')).toBe(true);
    expect(held([{ name: 'data' }, { name: 'f.json' }], 'data[f.json].flags[x].defaultVariant')).toBe(true);
  });
});

describe('what is shown of a field', () => {
  const path: FieldPath = [{ name: 'spec' }, { name: 'ingress' }];
  it('is in as small parts as differ, and cut where it is long', () => {
    expect(shownField(path, [{ a: 1, b: 2 }, 3], [{ a: 1 }], false)).toEqual([
      { path: 'spec.ingress[0].b', live: 2, source: null },
      { path: 'spec.ingress[1]', live: 3, source: null },
    ]);
    const [long] = shownField(path, 'x'.repeat(500), true, false);
    expect(long?.live).toHaveLength(200);
  });

  it('is nothing of it where it is secret', () => {
    expect(shownField(path, 'hunter2', undefined, true)).toEqual([
      { path: 'spec.ingress', live: '(sensitive)', source: null, sensitive: true },
    ]);
  });
});

describe('patterns', () => {
  it.each<[string, string, string | undefined, boolean]>([
    ['k8s/prod/*', 'k8s/prod/shop/service/web', undefined, true],
    ['k8s/prod/*/web', 'k8s/prod/shop/service/web', 'spec.ports', true],
    ['*', '', undefined, true],
    ['k8s/prod', 'k8s/prod/shop', undefined, false],
    ['*web*web', 'web', undefined, false],
    ['*service/*#spec.replicas', 'k8s/prod/shop/service/web', 'spec.replicas', true],
    ['*service/*#spec.replicas', 'k8s/prod/shop/service/web', undefined, false],
    ['*#metadata.labels*', 'x', 'metadata.labels[a]', true],
    ['*#metadata.labels*', 'x', 'metadata.name', false],
    ['a*a*b', 'aXaab', undefined, true],
  ])('%s meets %s#%s: %s', (pattern, address, field, meets) => {
    expect(ignoredBy(['never', pattern], address, field)).toBe(meets ? pattern : undefined);
  });
});
