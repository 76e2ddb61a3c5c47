import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { changedAddresses, classifyPlan, type PlanContext } from '../../../model/drift/classify-plan.ts';
import type { Difference } from '../../../model/drift/difference.ts';
import { type Json, type PlanJson, parsePlan } from '../../../model/drift/plan-json.ts';
import { changedOutputs } from '../../../model/drift/plan-outputs.ts';

const context: PlanContext = { ignore: [], held: [], seal: () => 'sealed' };

const recorded = async (name: string): Promise<PlanJson> =>
  parsePlan(await readFile(join(import.meta.dirname, `fixtures/${name}.json`), 'utf8'));

const classes = (found: readonly Difference[]): Record<string, string> =>
  Object.fromEntries(found.map(({ address, class: of }) => [address, of]));

const DELETED = {
  'local_file.above': 'reversible',
  'local_file.alone': 'reversible',
  'local_file.each["a.b[0]"]': 'reversible',
  'local_file.secret': 'reversible',
};
// What would follow from a revert, though nobody has changed it.
const FOLLOWS = { 'terraform_data.follows': 'computed', 'terraform_data.replaced': 'computed' };

test.each([
  { plan: 'files-clean', expected: {} },
  { plan: 'files-output-only', expected: {} },
  { plan: 'policies-clean', expected: {} },
  { plan: 'files-deleted', expected: { ...DELETED, ...FOLLOWS, 'local_file.mixed': 'reversible' } },
  {
    plan: 'files-deleted-and-source',
    expected: {
      ...{ ...DELETED, ...FOLLOWS, 'local_file.secret': 'mixed', 'local_file.mixed': 'mixed' },
      ...{ 'local_file.base': 'unapplied', 'local_file.new': 'unapplied', 'local_file.plain': 'unapplied' },
    },
  },
  {
    plan: 'files-removed-from-source',
    expected: { ...DELETED, ...FOLLOWS, 'local_file.mixed': 'computed', 'local_file.plain': 'unapplied' },
  },
  {
    plan: 'files-moved',
    expected: { ...DELETED, ...FOLLOWS, 'local_file.mixed': 'reversible', 'local_file.moved': 'unapplied' },
  },
  { plan: 'files-targeted', expected: { 'local_file.above': 'reversible', 'local_file.base': 'unapplied' } },
  {
    plan: 'policies-drifted',
    expected: { 'kubectl_manifest.both': 'reversible', 'kubectl_manifest.drifted': 'reversible' },
  },
  {
    plan: 'policies-drifted-and-source',
    expected: {
      ...{ 'kubectl_manifest.both': 'mixed', 'kubectl_manifest.drifted': 'reversible' },
      'kubectl_manifest.code': 'unapplied',
    },
  },
  { plan: 'policies-computed-only', expected: { 'kubectl_manifest.drifted': 'computed' } },
])('recorded: $plan', async ({ plan, expected }) => {
  expect(classes(classifyPlan(await recorded(plan), context))).toEqual(expected);
});

test('a target brings what it depends on, and that is told', async () => {
  expect(changedAddresses(await recorded('files-targeted'))).toEqual(['local_file.above', 'local_file.base']);
});

test('patterns leave addresses alone, and fields; of an address of which only a part is left alone nothing is reverted', async () => {
  const plan = await recorded('files-deleted');
  const of = (...ignore: string[]) => classes(classifyPlan(plan, { ...context, ignore }));
  expect(of('local_file.*')).toMatchObject({ 'local_file.alone': 'ignored', 'local_file.above': 'ignored' });
  expect(of('local_file.alone#*')).toMatchObject({ 'local_file.alone': 'ignored', 'local_file.above': 'reversible' });
  expect(of('local_file.alone#content')).toMatchObject({ 'local_file.alone': 'mixed' });
  expect(of('local_file.each["a.b[0]"]')).toMatchObject({ 'local_file.each["a.b[0]"]': 'ignored' });
});

test('what is held is left alone, whatever its cluster is called; of another name or kind it is not', async () => {
  const plan = await recorded('policies-drifted');
  const of = (key: string) => classes(classifyPlan(plan, { ...context, held: [{ key, by: 'somebody' }] }));
  expect(of('k8s/any/default/networkpolicy.networking.k8s.io/drifted')).toEqual({
    ...{ 'kubectl_manifest.drifted': 'held', 'kubectl_manifest.both': 'reversible' },
  });
  for (const key of ['k8s/any/other/networkpolicy.networking.k8s.io/drifted', 'k8s/any/default/service/drifted', 'odd'])
    expect(of(key)).toMatchObject({ 'kubectl_manifest.drifted': 'reversible' });
});

/** A resource as the state had it and the source wants it, and as it is now. */
function drifted(type: string, then: Json, now: Json): PlanJson {
  const entry = (before: Json, after: Json) => ({
    ...{ address: `${type}.one`, mode: 'managed', type, name: 'one' },
    change: { actions: ['update'], before, after, after_unknown: {} },
  });
  const plan = { format_version: '1.2', resource_drift: [entry(then, now)], resource_changes: [entry(now, then)] };
  return parsePlan(JSON.stringify(plan));
}
const manifest = (kind: string, replicas: number) => ({
  object: { apiVersion: 'apps/v1', kind, metadata: { name: 'web', namespace: 'shop' }, spec: { replicas } },
});

test.each([
  ['aws_autoscaling_group', { desired_capacity: 2, min_size: 1 }, { desired_capacity: 6, min_size: 1 }],
  ['aws_ecs_service', { desired_count: 2 }, { desired_count: 6 }],
  ['aws_eks_node_group', { scaling_config: [{ desired_size: 2 }] }, { scaling_config: [{ desired_size: 6 }] }],
  ['kubernetes_deployment', { spec: [{ replicas: '2' }] }, { spec: [{ replicas: '6' }] }],
  ['kubernetes_stateful_set_v1', { spec: [{ replicas: '2' }] }, { spec: [{ replicas: '6' }] }],
  ['kubernetes_manifest', manifest('Deployment', 2), manifest('Deployment', 6)],
])(
  'the size of %s may be an autoscaler’s: alone it is no drift, beside another field it is only reported',
  (type, then, now) => {
    const only = classifyPlan(drifted(type, then, now), context);
    expect(only).toMatchObject([{ class: 'ignored', why: expect.stringContaining('which an autoscaler may own') }]);
    const beside = classifyPlan(drifted(type, { ...then, other: 'a' }, { ...now, other: 'b' }), context);
    expect(beside).toMatchObject([{ class: 'mixed', why: expect.stringContaining('its size differs too') }]);
    const other = classifyPlan(drifted(type, { ...then, other: 'a' }, { ...then, other: 'b' }), context);
    expect(other).toMatchObject([{ class: 'reversible' }]);
  },
);

test('a size that is no workload’s, and one that the source has changed, are what they were', () => {
  const custom = classifyPlan(drifted('kubernetes_manifest', manifest('Quota', 2), manifest('Quota', 6)), context);
  expect(custom).toMatchObject([{ class: 'reversible' }]);
  const minimum = classifyPlan(drifted('aws_autoscaling_group', { min_size: 1 }, { min_size: 6 }), context);
  expect(minimum).toMatchObject([{ class: 'reversible' }]);
  const plan = drifted('aws_ecs_service', { desired_count: 2 }, { desired_count: 6 });
  plan.resource_changes[0]!.change.after = { desired_count: 3 };
  expect(classifyPlan(plan, context)).toMatchObject([
    { class: 'mixed', why: expect.stringContaining('desired_count') },
  ]);
});

test.each([
  { what: 'its size is in its text', spec: 'replicas: 2', expected: 'mixed' },
  { what: 'its size is not in its text', spec: 'paused: false', expected: 'reversible' },
  { what: 'its size is not compared', spec: 'replicas: 2', ignore: ['spec.replicas'], expected: 'reversible' },
  { what: 'it has no size', spec: 'replicas: 2', kind: 'NetworkPolicy', expected: 'reversible' },
  { what: 'its text cannot be read', spec: 'replicas: [', expected: 'mixed' },
])('a kubectl_manifest tells no field: $what', ({ spec, ignore, kind = 'Deployment', expected }) => {
  const at = (yaml_incluster: string) => ({
    ...{ api_version: 'apps/v1', kind, name: 'web', namespace: 'shop', yaml_incluster, ignore_fields: ignore },
    yaml_body: `apiVersion: apps/v1\nkind: ${kind}\nmetadata: { name: web, namespace: shop }\nspec:\n  ${spec}\n`,
  });
  expect(classes(classifyPlan(drifted('kubectl_manifest', at('was'), at('is')), context))).toEqual({
    'kubectl_manifest.one': expected,
  });
});

/** So many objects by provider, and how many of them are gone. */
function missing(providers: Record<string, { all: number; gone: number }>): PlanJson {
  const names = Object.entries(providers).flatMap(([provider, { all, gone }]) =>
    Array.from({ length: all }, (_, at) => ({ type: provider, name: `o${at}`, isGone: at < gone })),
  );
  const about = ({ type, name }: { type: string; name: string }) => ({
    ...{ address: `${type}.${name}`, mode: 'managed', type, name, provider_name: `registry/${type}` },
  });
  const gone = names.filter(({ isGone }) => isGone);
  const change = (actions: string[], before: unknown, after: unknown) => ({
    change: { actions, before, after, after_unknown: {} },
  });
  return parsePlan(
    JSON.stringify({
      format_version: '1.2',
      prior_state: { values: { root_module: { resources: names.filter(({ isGone }) => !isGone).map(about) } } },
      resource_drift: gone.map((one) => ({ ...about(one), ...change(['delete'], { a: 1 }, null) })),
      resource_changes: gone.map((one) => ({ ...about(one), ...change(['create'], null, { a: 1 }) })),
    }),
  );
}

test.each<{ what: string; providers: Record<string, { all: number; gone: number }>; expected: string }>([
  { what: 'one of one', providers: { a: { all: 1, gone: 1 } }, expected: 'reversible' },
  { what: 'two of two', providers: { a: { all: 2, gone: 2 } }, expected: 'destructive' },
  { what: 'half', providers: { a: { all: 4, gone: 2 } }, expected: 'reversible' },
  { what: 'more than half', providers: { a: { all: 5, gone: 3 } }, expected: 'destructive' },
  {
    what: 'all of one provider',
    providers: { a: { all: 2, gone: 2 }, b: { all: 9, gone: 0 } },
    expected: 'destructive',
  },
  {
    what: 'the only one of each',
    providers: { a: { all: 1, gone: 1 }, b: { all: 9, gone: 1 } },
    expected: 'reversible',
  },
])('what is gone at once may be looked for in the wrong place: $what', ({ providers, expected }) => {
  const found = classifyPlan(missing(providers), context);
  expect(new Set(found.map(({ class: of }) => of))).toEqual(new Set([expected]));
  expect(
    found.every(
      ({ why, action }) => action === 'create' && why.includes('wrong place') === (expected !== 'reversible'),
    ),
  ).toBe(true);
});

test('what runs provisioners when it is made needs an approval, and what is only changed does not', () => {
  const make = (provisioners: unknown, actions: string[]) => {
    const plan = missing({ a: { all: 9, gone: 1 } });
    const resources = [{ mode: 'managed', type: 'a', name: 'o0', expressions: {}, provisioners }];
    plan.resource_changes[0]!.change.actions = actions;
    return classifyPlan({ ...plan, configuration: { root_module: { resources } } }, context);
  };
  const some = [{ type: 'local-exec', expressions: {} }];
  expect(make([], ['create'])).toMatchObject([{ class: 'reversible' }]);
  expect(make(some, ['create'])).toMatchObject([
    { class: 'destructive', action: 'create', why: expect.stringContaining('that runs its provisioners') },
  ]);
  expect(make(some, ['create', 'delete'])).toMatchObject([
    { class: 'destructive', why: expect.stringContaining('provisioners') },
  ]);
  expect(classifyPlan(drifted('kind', { a: 1 }, { a: 2 }), context)).toMatchObject([{ class: 'reversible' }]);
});

test('an output is changed where its source is, and not where it follows from what is made anew', async () => {
  expect(changedOutputs(await recorded('files-output-only'))).toEqual(['output.more']);
  expect(changedOutputs(await recorded('files-deleted'))).toEqual([]);
  expect(changedOutputs(await recorded('policies-drifted'))).toEqual([]);
  const outputs = (change: Json) =>
    changedOutputs(parsePlan(JSON.stringify({ format_version: '1.2', output_changes: { one: change } })));
  expect(outputs({ actions: ['update'], before: ['a', 'b'], after: ['a'], after_unknown: [false, true] })).toEqual([]);
  expect(outputs({ actions: ['update'], before: ['a', 'b'], after: ['c'], after_unknown: [false, true] })).toEqual([
    'output.one',
  ]);
  expect(outputs({ actions: ['create'], before: null, after_unknown: true })).toEqual(['output.one']);
  expect(outputs({ actions: ['delete'], before: 'a', after: null })).toEqual(['output.one']);
  const marked = { before_sensitive: false, after_sensitive: true };
  expect(outputs({ actions: ['update'], before: 'a', after: 'a', after_unknown: false, ...marked })).toEqual([]);
});

test('no secret is in what is told of a recorded plan', async () => {
  for (const name of ['files-deleted', 'files-deleted-and-source', 'policies-drifted-and-source'])
    expect(JSON.stringify(classifyPlan(await recorded(name), context))).not.toMatch(/hunter|podSelector/);
});

test('what is no plan, of another format or incomplete is refused, and none of it shown', () => {
  expect(() => parsePlan('s3cret')).toThrow('the plan is not JSON');
  expect(() => parsePlan('{"format_version":"2.0"}')).toThrow(/format 2\.0/);
  expect(() => parsePlan('{"format_version":"1.2","errored":true}')).toThrow(/not complete/);
  expect(() => parsePlan('{"format_version":"1.2","resource_changes":[{}]}')).toThrow(/at resource_changes/);
});

/** Made plans: what each attribute was, is, and would be. */
const value = fc.oneof(fc.constantFrom(null, 'a', 'b', 1, true), fc.array(fc.constantFrom('a', 'b'), { maxLength: 2 }));
const attributes = fc.record({ x: value, y: value, z: value });
const resource = fc.record({
  before: fc.option(attributes, { nil: null, freq: 6 }),
  now: fc.option(attributes, { nil: null, freq: 6 }),
  planned: fc.option(attributes, { nil: null, freq: 6 }),
  isReplaced: fc.boolean(),
});
type Made = typeof resource extends fc.Arbitrary<infer T> ? T : never;

const same = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);

function actions(from: unknown, to: unknown, isReplaced: boolean): string[] {
  if (same(from, to)) return ['no-op'];
  if (from === null) return ['create'];
  if (to === null) return ['delete'];
  return isReplaced ? ['delete', 'create'] : ['update'];
}

/** So much else is there that nothing is gone at once. */
const REST = Array.from({ length: 10 }, (_, at) => ({
  ...{ address: `kind.rest${at}`, mode: 'managed', type: 'kind', name: `rest${at}`, provider_name: 'p' },
}));

function planOf(made: readonly Made[]): PlanJson {
  const entry = (at: number, before: unknown, after: unknown, isReplaced: boolean) => ({
    ...{ address: `kind.r${at}`, mode: 'managed', type: 'kind', name: `r${at}`, provider_name: 'p' },
    change: { actions: actions(before, after, isReplaced), before, after, after_unknown: {} },
  });
  return parsePlan(
    JSON.stringify({
      format_version: '1.2',
      prior_state: { values: { root_module: { resources: REST } } },
      resource_drift: made.flatMap(({ before, now }, at) => (same(before, now) ? [] : [entry(at, before, now, false)])),
      resource_changes: made.map(({ now, planned, isReplaced }, at) => entry(at, now, planned, isReplaced)),
      configuration: {
        root_module: {
          resources: made.map((_, at) => ({
            ...{ type: 'kind', name: `r${at}`, mode: 'managed' },
            expressions: { x: { constant_value: 1 }, y: { constant_value: 1 }, z: { constant_value: 1 } },
          })),
        },
      },
    }),
  );
}

test('what is reverted goes to where it was, and nowhere else', () => {
  fc.assert(
    fc.property(fc.array(resource, { maxLength: 6 }), (made) => {
      for (const { address, class: of, action } of classifyPlan(planOf(made), context)) {
        const one = made[Number(address.slice('kind.r'.length))]!;
        if (of !== 'reversible' && of !== 'destructive') continue;
        expect(same(one.before, one.now)).toBe(false);
        for (const key of ['x', 'y', 'z'] as const) {
          const written = !same(one.now?.[key] ?? null, one.planned?.[key] ?? null);
          if (written) expect(one.planned?.[key] ?? null).toEqual(one.before?.[key] ?? null);
        }
        expect(action === 'replace' || action === 'delete').toBe(of === 'destructive');
      }
    }),
  );
});

test('where nothing drifted nothing is reverted; the order of a plan does not matter', () => {
  fc.assert(
    fc.property(fc.array(resource, { maxLength: 6 }), fc.infiniteStream(fc.nat()), (made, keys) => {
      const settled = planOf(made.map((one) => ({ ...one, before: one.now })));
      expect(classifyPlan(settled, context).every(({ class: of }) => of === 'unapplied' || of === 'computed')).toBe(
        true,
      );
      const plan = planOf(made);
      const shuffled = <T>(all: T[]): T[] =>
        all
          .map((one) => ({ one, key: keys.next().value ?? 0 }))
          .sort((a, b) => a.key - b.key)
          .map(({ one }) => one);
      const other = {
        ...plan,
        resource_drift: shuffled(plan.resource_drift),
        resource_changes: shuffled(plan.resource_changes),
      };
      expect(classifyPlan(other, context)).toEqual(classifyPlan(plan, context));
    }),
  );
});

test('a value that is marked as secret is told nowhere, but another one is another digest', () => {
  const secrets = fc.tuple(fc.uuid(), fc.uuid()).filter(([a, b]) => a !== b);
  fc.assert(
    fc.property(secrets, fc.boolean(), ([was, is], isNested) => {
      const at = (text: string) => (isNested ? { block: [{ token: text, n: 1 }] } : { block: text });
      const mark = isNested ? { block: [{ token: true }] } : { block: true };
      const told = (live: string) => {
        const change = (before: unknown, after: unknown) => ({
          ...{ address: 'kind.r', mode: 'managed', type: 'kind', name: 'r' },
          change: { actions: ['update'], before, after, before_sensitive: mark, after_sensitive: mark },
        });
        const plan = {
          format_version: '1.2',
          resource_drift: [change(at(was), at(live))],
          resource_changes: [change(at(live), at(was))],
        };
        return classifyPlan(parsePlan(JSON.stringify(plan)), {
          ...context,
          seal: (one) => `sealed ${JSON.stringify(one)}`,
        });
      };
      const found = told(is);
      expect(found).toMatchObject([{ class: 'reversible' }]);
      expect(JSON.stringify(found)).not.toContain(was);
      expect(JSON.stringify(found)).not.toContain(is);
      expect(told(`${is}!`)[0]?.digest).not.toBe(found[0]?.digest);
    }),
  );
});
