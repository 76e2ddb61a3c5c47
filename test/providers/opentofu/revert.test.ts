import { readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { HeldBack } from '../../../providers/instance.ts';
import { requiredProviders } from '../../../sandbox/opentofu.ts';
import { classesOf, differencesOf, makeWorld, openStage, providerOf, revertible, type Stage } from './support.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
}, 900_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

const file = (name: string, path: string, content: string, more = '') => `
resource "local_file" "${name}" {
  filename = "${path}"
  content  = "${content}"
  ${more}
}
`;
const local = requiredProviders('local');
/** So much else is there that nothing looks as if it were looked for in the wrong place. */
const rest = (files: string) => `
resource "local_file" "rest" {
  count    = 5
  filename = "${files}/rest/${'$'}{count.index}"
  content  = "a"
}
`;

test('a file changed by hand, and one deleted, are found and reverted; the folder and the state are not touched by a look', async () => {
  const world = await makeWorld(
    stage,
    (files) =>
      local + rest(files) + file('motd', `${files}/motd`, 'welcome') + file('issue', `${files}/issue`, 'hello'),
  );
  await world.applyAll();
  const provider = providerOf(world);
  expect(await provider.compare()).toMatchObject({ verdict: 'same', differences: [] });

  await writeFile(join(world.files, 'motd'), 'mine now');
  await rm(join(world.files, 'issue'));
  const [before, listed] = [await world.stateText(), await readdir(world.folder)];
  const found = await provider.compare();
  expect(found).toMatchObject({
    verdict: 'differs',
    why: 'drift of 2 addresses',
    differences: [
      { address: 'local_file.issue', kind: 'local_file', class: 'reversible', action: 'create' },
      { address: 'local_file.motd', class: 'reversible', action: 'create' },
    ],
  });
  expect(await world.stateText()).toBe(before);
  expect(await readdir(world.folder)).toEqual(listed);
  expect(differencesOf(await provider.compare())).toEqual(differencesOf(found));

  const told = await provider.revert(revertible(found).filter(({ address }) => address.endsWith('motd')));
  expect(told).toMatchObject({ verdict: 'reverted' });
  expect(told.changes).toContainEqual(
    expect.objectContaining({
      step: 'revert',
      object: { key: `stack/${world.stack.name}`, uid: 'local_file.motd' },
      field: 'content',
      before: null,
      after: 'welcome',
    }),
  );
  expect(await readFile(join(world.files, 'motd'), 'utf8')).toBe('welcome');
  // What was not reviewed is left as it is.
  expect(await readdir(world.files)).toEqual(['motd', 'rest']);
  expect(classesOf(await provider.compare())).toEqual({ 'local_file.issue': 'reversible' });
  expect(await readdir(world.folder)).toEqual(listed);
});

test('a change of the source is not applied: beside drift, in one address with it, and where drift depends on it', async () => {
  const source = (files: string, { plain = 'a', mixed = 'a', base = 'a' }) =>
    local +
    rest(files) +
    file('plain', `${files}/plain`, plain) +
    file('mixed', `${files}/mixed`, mixed) +
    file('base', `${files}/base`, base) +
    file('above', `${files}/above`, 'a', 'depends_on = [local_file.base]') +
    file('alone', `${files}/alone`, 'a');
  const world = await makeWorld(stage, (files) => source(files, {}));
  await world.applyAll();
  await world.write(
    source(world.files, { plain: 'b', mixed: 'b', base: 'b' }) + file('new', `${world.files}/new`, 'a'),
  );
  for (const name of ['mixed', 'above', 'alone']) await writeFile(join(world.files, name), 'by hand');
  const provider = providerOf(world);
  const found = await provider.compare();
  expect(classesOf(found)).toEqual({
    'local_file.mixed': 'mixed',
    'local_file.above': 'mixed',
    'local_file.alone': 'reversible',
    'local_file.plain': 'unapplied',
    'local_file.base': 'unapplied',
    'local_file.new': 'unapplied',
  });
  const why = Object.fromEntries(differencesOf(found).map((one) => [one.address, one.why]));
  expect(why['local_file.mixed']).toContain('the source has another content');
  expect(why['local_file.above']).toContain('local_file.base');

  expect(await provider.revert(revertible(found))).toMatchObject({ verdict: 'reverted' });
  const texts = await Promise.all(
    ['plain', 'mixed', 'base', 'above', 'alone'].map((name) => readFile(join(world.files, name), 'utf8')),
  );
  expect(texts).toEqual(['a', 'by hand', 'a', 'by hand', 'a']);
  expect(await readdir(world.files)).not.toContain('new');

  // Also not when somebody asks for it by name.
  const forced = differencesOf(found).filter(({ address }) => /mixed|above/.test(address));
  const told = await provider.revert(forced.map((one) => ({ ...one, class: 'reversible' })));
  expect(told).toMatchObject({ verdict: 'changed', changes: [] });
  expect(await readFile(join(world.files, 'mixed'), 'utf8')).toBe('by hand');
});

test('where all that a provider has is gone at once, nothing is made anew without an approval; with one it is, also a part of it', async () => {
  const world = await makeWorld(stage, (files) => local + rest(files));
  await world.applyAll();
  const provider = providerOf(world);
  await rm(join(world.files, 'rest'), { recursive: true });
  const found = await provider.compare();
  expect(differencesOf(found)).toHaveLength(5);
  for (const one of differencesOf(found))
    expect(one).toMatchObject({
      class: 'destructive',
      why: expect.stringContaining('all 5 objects of local are gone'),
    });
  const some = revertible(found).slice(0, 2);
  const asReversible = revertible(found).map((one) => ({ ...one, class: 'reversible' as const }));
  expect(await provider.revert(asReversible)).toMatchObject({ verdict: 'changed', changes: [] });
  // Of these alone a plan does not know that all else is gone too.
  expect(await provider.revert(some)).toMatchObject({ verdict: 'reverted' });
  expect(await readdir(join(world.files, 'rest'))).toEqual(['0', '1']);
  const left = await provider.compare();
  expect(await provider.revert(revertible(left))).toMatchObject({ verdict: 'reverted' });
  expect(await provider.compare()).toMatchObject({ verdict: 'same' });
});

test('provisioners run with an approval only, which holds for what brings them too; an output that is not applied is not written', async () => {
  const runs = (files: string) => `provisioner "local-exec" { command = "touch ${files}/ran" }`;
  const source = (files: string, more = '') =>
    `${local}${rest(files)}${file('base', `${files}/base`, 'a', more)}${file('above', `${files}/above`, 'a', 'depends_on = [local_file.base]')}`;
  const world = await makeWorld(stage, (files) => source(files));
  await world.applyAll();
  for (const name of ['base', 'above']) await rm(join(world.files, name));
  await world.write(source(world.files, runs(world.files)));
  const provider = providerOf(world);
  const found = await provider.compare();
  expect(classesOf(found)).toEqual({ 'local_file.above': 'destructive', 'local_file.base': 'destructive' });
  const asReversible = revertible(found).map((one) => ({ ...one, class: 'reversible' as const }));
  expect(await provider.revert(asReversible)).toMatchObject({ verdict: 'changed', changes: [] });
  expect(await readdir(world.files)).toEqual(['rest']);

  await world.write(`${source(world.files)}output "new" { value = "by \${local_file.above.filename}" }\n`);
  const mixed = await provider.compare();
  expect(differencesOf(mixed)).toMatchObject([
    { address: 'local_file.above', class: 'mixed', why: expect.stringContaining('output.new') },
    { address: 'local_file.base', class: 'reversible' },
  ]);
  const forced = differencesOf(mixed).map((one) => ({ ...one, class: 'reversible' as const }));
  expect(await provider.revert(forced)).toMatchObject({
    verdict: 'changed',
    why: expect.stringContaining('output.new'),
  });
  expect(await world.stateText()).not.toContain('by /');

  await world.write(source(world.files, runs(world.files)));
  expect(await provider.revert(revertible(found))).toMatchObject({ verdict: 'reverted' });
  expect(await readdir(world.files)).toEqual(['above', 'base', 'ran', 'rest']);
});

test('what changed between review and revert is refused: the source, or the world', async () => {
  const world = await makeWorld(stage, (files) => local + file('motd', `${files}/motd`, 'welcome'));
  await world.applyAll();
  await rm(join(world.files, 'motd'));
  const provider = providerOf(world);
  const reviewed = revertible(await provider.compare());
  await world.write(local + file('motd', `${world.files}/motd`, 'other'));
  expect(await provider.revert(reviewed)).toMatchObject({
    verdict: 'changed',
    changes: [],
    why: expect.stringContaining('was reversible, and is mixed now'),
  });
  await world.write(local + file('motd', `${world.files}/motd`, 'welcome'));
  await world.applyAll();
  expect(await provider.revert(reviewed)).toMatchObject({
    verdict: 'changed',
    why: 'local_file.motd does not differ any more',
  });
});

test('an attempt whose answer was lost is told, and not done again', async () => {
  const world = await makeWorld(stage, (files) => local + file('motd', `${files}/motd`, 'welcome'));
  await world.applyAll();
  await rm(join(world.files, 'motd'));
  const provider = providerOf(world);
  const reviewed = revertible(await provider.compare());
  expect(await provider.revert(reviewed)).toMatchObject({ verdict: 'reverted' });
  const after = await world.stateText();
  const again = await provider.revert(reviewed, { isRepeat: true });
  expect(again).toMatchObject({ verdict: 'reverted' });
  expect(again.changes[0]?.what).toContain('the answer was lost');
  expect(await world.stateText()).toBe(after);
});

test('asked right before it writes, and told that it is not the time, it writes nothing', async () => {
  const world = await makeWorld(stage, (files) => local + file('motd', `${files}/motd`, 'welcome'));
  await world.applyAll();
  await rm(join(world.files, 'motd'));
  const provider = providerOf(world);
  const reviewed = revertible(await provider.compare());
  const stillMine = async () => {
    throw new HeldBack({ gate: 'paused', reason: 'paused by Ada' });
  };
  await expect(provider.revert(reviewed, { stillMine })).rejects.toThrow('paused by Ada');
  expect(await readdir(world.files)).toEqual([]);
});

test('what is left of a revert that failed in part is told as failed, whatever kept it from being tried on', async () => {
  const pair = (files: string) => file('a', `${files}/a`, 'a') + file('b', `${files}/b`, 'b');
  const world = await makeWorld(stage, (files) => local + rest(files) + pair(files));
  await world.applyAll();
  for (const name of ['a', 'b']) await rm(join(world.files, name));
  // It is gone, and cannot be written.
  await symlink(join(world.files, 'nowhere/b'), join(world.files, 'b'));
  const provider = providerOf(world);
  const reviewed = revertible(await provider.compare());
  let asked = 0;
  const stillMine = async () => {
    asked += 1;
    if (asked > 1) throw new HeldBack({ gate: 'paused', reason: 'paused by Ada' });
  };
  const told = await provider.revert(reviewed, { stillMine });
  expect(told).toMatchObject({
    verdict: 'failed',
    why: expect.stringMatching(/not reverted: local_file\.b;.*paused by Ada/),
  });
  expect(told.changes.map(({ object }) => object.uid)).toContain('local_file.a');
  expect(told.changes.map(({ object }) => object.uid)).not.toContain('local_file.b');
  // For a look it is what nobody has changed.
  expect(classesOf(await provider.compare())).toEqual({ 'local_file.b': 'unapplied' });
  // The next attempt of the very same does not take it for something that has only changed, either.
  const held = await provider.revert(reviewed, { isRepeat: true, stillMine });
  expect(held).toMatchObject({ verdict: 'failed', why: expect.stringContaining('paused by Ada') });
  await world.write(local + rest(world.files) + pair(world.files) + file('c', `${world.files}/c`, 'c'));
  await rm(join(world.files, 'b'));
  expect(await provider.revert(reviewed, { isRepeat: true })).toMatchObject({ verdict: 'reverted' });
  expect(await readdir(world.files)).toEqual(['a', 'b', 'rest']);
});

test('what a pattern names is ignored, and an empty source is refused', async () => {
  const world = await makeWorld(stage, (files) => local + file('motd', `${files}/motd`, 'welcome'), {
    stack: { ignore: ['local_file.*'] },
  });
  await world.applyAll();
  await rm(join(world.files, 'motd'));
  const provider = providerOf(world);
  expect(classesOf(await provider.compare())).toEqual({ 'local_file.motd': 'ignored' });
  for (const name of ['main.tf', 'backend.tf']) await rm(join(world.folder, name));
  expect(await provider.compare()).toMatchObject({ verdict: 'refused' });
});
