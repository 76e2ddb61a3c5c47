import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FlagdProvider } from '@openfeature/flagd-provider';
import { OpenFeature } from '@openfeature/server-sdk';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { FlagSwitch } from '../../../model/breaker/options.ts';
import type { JsonObject } from '../../../model/breaker/patch.ts';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import { switchesOf } from '../../../providers/switches-of.ts';
import { eventually } from '../../support/wait.ts';
import { actor, attempt, heldOf, inMs, pulse, setRequest } from '../switch-support.ts';
import { useSwitchBench } from './switch-support.ts';

const bench = useSwitchBench();

/** Written as a person does: its own order, tabs and escapes, and a second flag that looks alike. */
const FLAGS = `{
\t"$schema": "https://flagd.dev/schema/v0/flags.json",
\t"flags": {
\t\t"payments": { "state": "ENABLED", "defaultVariant": "on", "variants": {"on": "\\u00e9", "off": "-"} },
\t\t"payments.enabled" : {
\t\t\t"variants": { "on": true,   "off": false },
\t\t\t"state": "ENABLED", "defaultVariant" :  "on" , "metadata": { "defaultVariant": "on" }
\t\t}
\t}
}
`;
const OPEN = FLAGS.replace('"defaultVariant" :  "on"', '"defaultVariant" :  "off"');

async function created(text: string | null = FLAGS) {
  const namespace = await bench.cluster.namespace('flag');
  const metadata = { name: 'flags', namespace };
  const data = { other: 'x', ...(text !== null && { 'flags.json': text }) };
  const object = { apiVersion: 'v1', kind: 'ConfigMap', metadata, data } as unknown as JsonObject;
  await bench.cluster.create(object as object);
  const flag: FlagSwitch = {
    ...{ cluster: 'prod', namespace, configMap: 'flags', key: 'flags.json' },
    ...{ flag: 'payments.enabled', open: 'off', closed: 'on' },
  };
  return { namespace, object, flag };
}

const dataOf = async (object: JsonObject) => (await bench.get(object))['data'] as Record<string, string>;

/** Puts a ConfigMap where a pod has it mounted: the kubelet swaps a link to the folder of the version. */
async function mounted() {
  const folder = await mkdtemp(join(tmpdir(), 'salvor-flags-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  let version = 0;
  const file = join(folder, 'flags.json');
  const mount = async (text: string): Promise<void> => {
    const own = `..${version++}`;
    await mkdir(join(folder, own));
    await writeFile(join(folder, own, 'flags.json'), text);
    await symlink(own, join(folder, '..data_tmp'));
    await rename(join(folder, '..data_tmp'), join(folder, '..data'));
    if (version === 1) await symlink('..data/flags.json', file);
  };
  return { file, mount };
}

describe('a flag in a ConfigMap', () => {
  it('is read by the flagd provider of OpenFeature: opened and closed, evaluation follows', async () => {
    const { object, flag } = await created();
    const { file, mount } = await mounted();
    await mount((await dataOf(object))['flags.json']!);
    await OpenFeature.setProviderAndWait(
      new FlagdProvider({ resolverType: 'in-process', offlineFlagSourcePath: file }),
    );
    onTestFinished(() => OpenFeature.close());
    const application = OpenFeature.getClient();
    const calls = () => application.getBooleanDetails('payments.enabled', true);
    expect(await calls()).toMatchObject({ value: true, variant: 'on' });

    const { it, own, held } = await bench.opened({ flag });
    await mount((await dataOf(object))['flags.json']!);
    await eventually('the application stops calling', async () => !(await calls()).value);
    expect(await calls()).toMatchObject({ variant: 'off', reason: 'STATIC' });
    expect(await application.getStringValue('payments', '')).toBe('é');

    await own.set(setRequest(it, 'closed', held), attempt());
    await mount((await dataOf(object))['flags.json']!);
    await eventually('the application calls again', async () => (await calls()).value);
  });

  it('is set alone: all else of the text stays as it is, byte for byte', async () => {
    const { namespace, object, flag } = await created();
    const { it, own, held, changes } = await bench.opened({ flag });
    expect(changes).toMatchObject([
      { field: 'data[flags.json].flags[payments.enabled].defaultVariant', before: '"on"', after: '"off"' },
    ]);
    expect(await dataOf(object)).toEqual({ other: 'x', 'flags.json': OPEN });
    expect((await bench.get(object)).metadata.annotations?.[HELD_ANNOTATION]).toContain('remediation-1');
    expect(await own.read()).toMatchObject({ position: 'open' });
    expect(await own.set(setRequest(it, 'open', held), attempt(Date.now() + 10_000))).toEqual([]);
    await own.set(setRequest(it, 'closed', held), attempt());
    expect(await dataOf(object)).toEqual({ other: 'x', 'flags.json': FLAGS });
    expect((await bench.get(object)).metadata.annotations).toBeUndefined();
    expect(await bench.mutations(namespace)).toEqual(['patch 200', 'patch 200']);
  });

  it('that a remediation left open is closed by another one where a person says so, and no note of it is left', async () => {
    const { object, flag } = await created();
    const { it, own } = await bench.opened({ flag });
    const other = actor('remediation-2');
    const left = setRequest(it, 'closed', heldOf(await own.read(), other), other);
    expect(await own.set({ ...left, anyones: true }, attempt())).toMatchObject([{ before: '"off"', after: '"on"' }]);
    expect(await own.read()).toMatchObject({ position: 'closed' });
    expect(await dataOf(object)).toEqual({ other: 'x', 'flags.json': FLAGS });
    expect((await bench.get(object)).metadata.annotations).toBeUndefined();
  });

  it('what else is changed in the file meanwhile stays, and is no contest', async () => {
    const { object, flag } = await created();
    const { it, own, held } = await bench.opened({ flag });
    const theirs = OPEN.replace('"off": "-"', '"off": "none"');
    await bench.edit(object, { data: { 'flags.json': theirs } });
    const request = { dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(1) };
    expect(await own.keepOpen(request, pulse())).toMatchObject({ changes: [] });
    await own.set(setRequest(it, 'closed', held), attempt());
    expect((await dataOf(object))['flags.json']).toBe(FLAGS.replace('"off": "-"', '"off": "none"'));
  });

  it('has its own hold beside those of other flags in the file: each is opened, kept, closed and released alone', async () => {
    const two = FLAGS.replace('{"on": "\\u00e9", "off": "-"}', '{"on": "x", "off": "-"}');
    const { object, flag } = await created(two);
    const text = async () => (await dataOf(object))['flags.json'] ?? '';
    const states = async () => [...(await text()).matchAll(/"defaultVariant" *: *"(on|off)"/g)].map(([, is]) => is);
    const first = await bench.opened({ flag });
    const second = await bench.opened({ flag: { ...flag, flag: 'payments' } }, actor('other-1'));
    expect(await states()).toEqual(['off', 'off', 'on']);
    const request = { dependency: first.it, actor: actor(), step: 'keep', held: first.held, deadline: inMs(1) };
    const kept = await first.own.keepOpen(request, pulse());
    expect(kept).toMatchObject({ changes: [] });
    expect(kept.contested).toBeUndefined();

    const world = { clusters: new Map([['prod', bench.kubernetes]]), dependencies: [first.it, second.it] };
    expect(await switchesOf(world).release(second.held[0]!, false)).toMatchObject({ result: 'given-back' });
    expect(await states()).toEqual(['on', 'off', 'on']);
    await first.own.set(setRequest(first.it, 'closed', first.held), attempt());
    expect(await text()).toBe(two);
  });

  it('set back by a person it is set again once, and then left', async () => {
    const { object, flag } = await created();
    const { it, own, held } = await bench.opened({ flag });
    const wait = pulse();
    const kept = own.keepOpen({ dependency: it, actor: actor(), step: 'keep', held, deadline: inMs(120_000) }, wait);
    await bench.edit(object, { data: { 'flags.json': FLAGS } });
    await eventually('it is set again', async () => (await dataOf(object))['flags.json'] === OPEN);
    await bench.edit(object, { data: { 'flags.json': FLAGS } });
    expect(await kept).toMatchObject({ contested: { by: 'kubectl-edit' }, changes: [{ after: '"off"' }] });
    expect((await dataOf(object))['flags.json']).toBe(FLAGS);
  });

  it.each<[string, string | null, string]>([
    ['no such key', null, 'no such key in its data'],
    ['a file that is no JSON', '{ flags: }', 'is no JSON'],
    ['a flag that is not there', '{"flags":{}}', 'has no variant "off"; it has none'],
    ['a flag without the variant', FLAGS.replace('"off": false', '"no": false'), 'has no variant "off"; it has on, no'],
    ['a flag that is disabled', FLAGS.replaceAll('ENABLED', 'DISABLED'), 'is DISABLED'],
    [
      'a flag with rules',
      FLAGS.replace('"metadata":', '"targeting": { "if": [true, "on"] }, "metadata":'),
      'targeting',
    ],
  ])('%s is refused before anything is touched', async (_, text, message) => {
    const { namespace, flag } = await created(text);
    const { own } = bench.make({ flag });
    await expect(own.read()).rejects.toMatchObject({ type: 'Invalid', message: expect.stringContaining(message) });
    expect(await bench.mutations(namespace)).toEqual([]);
  });
});
