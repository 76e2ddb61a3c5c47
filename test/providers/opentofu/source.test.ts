import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { requiredProviders } from '../../../sandbox/opentofu.ts';
import { makeRepository } from '../../support/git.ts';
import { classesOf, makeWorld, openStage, providerOf, revertible, type Stage } from './support.ts';

let stage: Stage;
beforeAll(async () => {
  stage = await openStage();
}, 900_000);
afterAll(() => stage?.[Symbol.asyncDispose]());

const local = requiredProviders('local');
const COMMON = '-var-file=../../common.tfvars';
const motd = (files: string, content = 'welcome') => `${local}
resource "local_file" "motd" {
  filename = "${files}/motd"
  content  = "${content}"
}
`;

test('of a repository the reviewed commit is reverted to, though the branch has moved; where it is gone, nothing is done', async () => {
  const world = await makeWorld(stage, motd);
  await world.applyAll();
  const repository = await makeRepository(stage.folder, 'moved');
  const read = (name: string) => readFile(join(world.folder, name), 'utf8');
  const files = { 'net/main.tf': await read('main.tf'), 'net/backend.tf': await read('backend.tf') };
  const first = await repository.commit(files);
  const opentofu = { ...world.stack.opentofu!, folder: undefined, git: repository.fileUrl, ref: 'main', path: 'net' };
  const provider = providerOf({ stack: { ...world.stack, opentofu } });

  await rm(join(world.files, 'motd'));
  const found = await provider.compare();
  expect(found).toMatchObject({ verdict: 'differs', revision: first });
  await repository.commit({ 'net/main.tf': motd(world.files, 'another') });
  expect(classesOf(await provider.compare())).toEqual({ 'local_file.motd': 'mixed' });
  // Without a commit it is what the branch points at now.
  expect(await provider.revert(revertible(found))).toMatchObject({ verdict: 'changed', changes: [] });
  expect(await provider.revert(revertible(found), { revision: first })).toMatchObject({ verdict: 'reverted' });
  expect(await readFile(join(world.files, 'motd'), 'utf8')).toBe('welcome');

  await rm(join(world.files, 'motd'));
  await repository.git('checkout', '--quiet', '--orphan', 'other');
  await repository.commit(files);
  await repository.git('branch', '--quiet', '--force', '--move', 'main');
  await repository.git('reflog', 'expire', '--expire=now', '--all');
  await repository.git('gc', '--quiet', '--prune=now');
  expect(await provider.revert(revertible(found), { revision: first })).toMatchObject({
    verdict: 'changed',
    why: expect.stringContaining('has moved'),
  });
  expect(await provider.compare({ revision: first })).toMatchObject({
    verdict: 'refused',
    why: expect.stringContaining('has moved'),
  });
  expect(await readdir(world.files)).toEqual([]);
});

test('a state beside the module stays where it is; modules beside and above it, variables and a workspace are found', async () => {
  const world = await makeWorld(
    stage,
    (files) => `
module "motd" {
  source  = "../modules/motd"
  files   = "${files}"
  content = var.content
}
variable "content" { type = string }
`,
    {
      backend: () => '',
      opentofu: { workspace: 'prod', varFiles: ['prod.tfvars', '../../common.tfvars'] },
    },
  );
  const module = join(world.folder, '../modules/motd');
  await mkdir(module, { recursive: true });
  await writeFile(
    join(module, 'main.tf'),
    `variable "files" {}\nvariable "content" {}\n${motd('${var.files}', '${var.content}')}`,
  );
  await writeFile(join(world.folder, 'prod.tfvars'), 'content = "overruled"\n');
  // Further up than anything that the module itself refers to.
  await writeFile(join(world.folder, '../../common.tfvars'), 'content = "welcome"\n');
  await symlink('/nowhere', join(world.folder, 'dangling'));
  await world.by('init', '-no-color');
  await world.by('workspace', 'new', 'prod');
  await world.by('apply', '-auto-approve', '-no-color', '-var-file=prod.tfvars', COMMON);
  const provider = providerOf(world);
  expect(await provider.compare()).toMatchObject({ verdict: 'same' });
  await rm(join(world.files, 'motd'));
  const listed = await readdir(world.folder);
  const found = await provider.compare();
  expect(classesOf(found)).toEqual({ 'module.motd.local_file.motd': 'reversible' });
  expect(await readdir(world.folder)).toEqual(listed);
  expect(await provider.revert(revertible(found))).toMatchObject({ verdict: 'reverted' });
  expect(await readFile(join(world.files, 'motd'), 'utf8')).toBe('welcome');
  // As a person sees it, who works in the folder itself.
  const plan = await world.by('plan', '-no-color', '-var-file=prod.tfvars', COMMON);
  expect(plan).toContain('No changes');
});

test('secrets of the environment are in no error', async () => {
  const world = await makeWorld(stage, (files) => motd(files));
  const environmentFile = join(world.files, 'env');
  await writeFile(environmentFile, '# for the module\nexport TF_VAR_token="not-a-number-s3cret"\n\nOTHER=x\n');
  await world.write({
    'main.tf': `${motd(world.files)}
variable "token" {
  type = string
  validation {
    condition     = var.token == "x"
    error_message = "token \${var.token} is none"
  }
}
`,
  });
  await world.by('init', '-no-color');
  const opentofu = { ...world.stack.opentofu!, environmentFile };
  const told = await providerOf({ stack: { ...world.stack, opentofu } })
    .compare()
    .catch((error: Error) => error);
  expect(String(told)).toContain('Invalid value for variable');
  expect(String(told)).not.toContain('s3cret');
});

test('a source that is wrong is told as such, a workspace that is not there is not made', async () => {
  const world = await makeWorld(stage, (files) => motd(files));
  await world.applyAll();
  const opentofu = { ...world.stack.opentofu!, workspace: 'nothing' };
  await expect(providerOf({ stack: { ...world.stack, opentofu } }).compare()).rejects.toThrow(
    /"?nothing"? doesn't exist/,
  );
  await world.write('resource "local_file" "motd" {\n  nonsense = "secret-of-the-source"\n}\n');
  const told = await providerOf(world)
    .compare()
    .catch((error: Error) => error);
  expect(told).toMatchObject({ name: 'FinalError', type: 'Invalid' });
  expect(String(told)).not.toContain('secret-of-the-source');
  const missing = { ...world.stack.opentofu!, command: 'no-such-tofu' };
  await expect(providerOf({ stack: { ...world.stack, opentofu: missing } }).compare()).rejects.toMatchObject({
    type: 'Invalid',
  });
});

test('without a word on where providers come from, the worker keeps them for its next look', async () => {
  const world = await makeWorld(stage, (files) => motd(files));
  await world.applyAll();
  const home = join(world.folder, '../home');
  await mkdir(home);
  await writeFile(join(home, '.tofurc'), await readFile(stage.tofu.configFile));
  const before = { HOME: process.env['HOME'], TF_CLI_CONFIG_FILE: process.env['TF_CLI_CONFIG_FILE'] };
  process.env['HOME'] = home;
  delete process.env['TF_CLI_CONFIG_FILE'];
  onTestFinished(() => {
    Object.assign(process.env, before);
  });
  const looks = await Promise.all([providerOf(world).compare(), providerOf(world).compare()]);
  expect(looks.map(({ verdict }) => verdict)).toEqual(['same', 'same']);
  expect(await providerOf(world).compare()).toMatchObject({ verdict: 'same' });
});
