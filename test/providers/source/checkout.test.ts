import { execFile } from 'node:child_process';
import { access, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { Source } from '../../../model/drift/options.ts';
import { FinalError, UnavailableError } from '../../../providers/errors.ts';
import { checkout } from '../../../providers/source/checkout.ts';
import { MovedError } from '../../../providers/source/git.ts';
import { makeRepository, type Repository, serveGit } from '../../support/git.ts';

let root: string;
let repository: Repository;
let commits: string[];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'salvor-source-'));
  repository = await makeRepository(root, 'infra');
  commits = [
    await repository.commit({ 'net/main.tf': 'one', 'README.md': 'read' }),
    await repository.commit({ 'net/main.tf': 'two' }),
  ];
  await repository.git('tag', '-a', 'v1', '-m', 'first', commits[0]!);
});
afterAll(() => rm(root, { recursive: true, force: true }));

const watch = { signal: new AbortController().signal, beat: () => undefined };

/** Checks it out, reads a file of it, and looks whether all is gone afterwards. */
async function read(source: Source, file = 'main.tf', revision?: string) {
  let folder: string;
  let found: { text: string; revision?: string };
  {
    await using got = await checkout(source, { ...watch, revision });
    folder = got.root;
    found = { text: await readFile(join(got.folder, file), 'utf8'), revision: got.revision };
  }
  if (source.git) await expect(access(folder)).rejects.toThrow('ENOENT');
  return found;
}

test('of a repository one commit is read: the default branch, a branch, a tag, a commit', async () => {
  const git = repository.fileUrl;
  expect(await read({ git, path: 'net' })).toEqual({ text: 'two', revision: commits[1] });
  expect(await read({ git, path: 'net', ref: 'main' })).toEqual({ text: 'two', revision: commits[1] });
  expect(await read({ git, path: 'net', ref: 'v1' })).toEqual({ text: 'one', revision: commits[0] });
  expect(await read({ git, path: 'net', ref: commits[0]! })).toEqual({ text: 'one', revision: commits[0] });
  expect(await read({ git }, 'README.md')).toMatchObject({ text: 'read' });
});

test('a tag does not take the place of a branch: a name that is both is refused, a full one is taken as it is', async () => {
  const both = await makeRepository(root, 'both');
  const [first, second] = [
    await both.commit({ 'main.tf': 'of the tag' }),
    await both.commit({ 'main.tf': 'reviewed' }),
  ];
  const git = both.fileUrl;
  await both.git('tag', 'main', first);
  await both.git('tag', 'refs/heads/gone', first);
  const refused = await read({ git, ref: 'main' }).catch((error: Error) => error);
  expect(refused).toMatchObject({ name: 'FinalError', type: 'Invalid' });
  expect(String(refused)).toMatch(/both a branch and a tag.*Write refs\/heads\/main or refs\/tags\/main/);
  expect(await read({ git, ref: 'refs/heads/main' })).toEqual({ text: 'reviewed', revision: second });
  expect(await read({ git, ref: 'refs/tags/main' })).toEqual({ text: 'of the tag', revision: first });
  await expect(read({ git, ref: 'refs/heads/gone' })).rejects.toThrow(/there is no refs\/heads\/gone/);
  await both.git('tag', '--delete', 'main');
  await both.git('branch', 'release/1', first);
  expect(await read({ git, ref: 'main' })).toMatchObject({ revision: second });
  expect(await read({ git, ref: 'release/1' })).toMatchObject({ revision: first });
  // What only ends with the name is another.
  await expect(read({ git, ref: '1' })).rejects.toThrow(/no branch and no tag 1/);
});

test('the commit of an earlier look is read again, though the branch has moved', async () => {
  const source = { git: repository.fileUrl, path: 'net', ref: 'main' };
  expect(await read(source, 'main.tf', commits[0])).toEqual({ text: 'one', revision: commits[0] });
  await expect(read(source, 'main.tf', 'f'.repeat(40))).rejects.toThrow(MovedError);
});

test('a repository is read over HTTP with the credentials of a file, of which no error tells', async () => {
  const server = await serveGit(root, { user: 'salvor', password: 'se:c/ret' });
  onTestFinished(() => server.close());
  const credentialsFile = join(root, 'credentials');
  await writeFile(credentialsFile, 'salvor:se:c/ret\n');
  const source = { git: server.url('infra'), path: 'net', credentialsFile };
  expect(await read(source)).toEqual({ text: 'two', revision: commits[1] });
  expect(await read(source, 'main.tf', commits[0])).toMatchObject({ text: 'one' });

  await writeFile(credentialsFile, 'salvor:wr/ong');
  const refused = await read(source).catch((error: Error) => error);
  expect(refused).toMatchObject({ name: 'FinalError', type: 'Forbidden' });
  expect(String(refused)).not.toMatch(/wr\/ong|wr%2Fong/);
  await expect(read({ ...source, credentialsFile: undefined })).rejects.toMatchObject({ type: 'Forbidden' });
  await expect(read({ ...source, credentialsFile: join(root, 'none') })).rejects.toMatchObject({ type: 'Invalid' });

  await writeFile(credentialsFile, 'token-of-a-machine');
  server.accept({ user: 'x-access-token', password: 'token-of-a-machine' });
  expect(await read(source)).toMatchObject({ text: 'two' });
});

test('what is not there is told; what does not answer may be tried again', async () => {
  const git = repository.fileUrl;
  await expect(read({ git, ref: 'nothing' })).rejects.toThrow(FinalError);
  await expect(read({ git, ref: 'f'.repeat(40) })).rejects.toMatchObject({ name: 'FinalError', type: 'Invalid' });
  await expect(read({ git, path: 'nothing' })).rejects.toThrow(/has no nothing/);
  await expect(read({ git: `file://${root}/nothing` })).rejects.toThrow(FinalError);
  await expect(read({ git: 'http://127.0.0.1:9/infra.git' })).rejects.toThrow(UnavailableError);
  await expect(read({ folder: join(root, 'nothing') })).rejects.toThrow(/cannot be read \(ENOENT\)/);
});

test('a link that leads out of the repository is refused, one within it is not', async () => {
  const links = await makeRepository(root, 'links');
  await links.commit({ 'common/main.tf': 'common', 'net/other.tf': 'other' });
  await symlink('../common/main.tf', join(links.folder, 'net/main.tf'));
  await links.commit({});
  expect(await read({ git: links.fileUrl, path: 'net' })).toMatchObject({ text: 'common' });
  await symlink('../../../../../../etc', join(links.folder, 'out'));
  await links.commit({});
  await expect(read({ git: links.fileUrl, path: 'net' })).rejects.toThrow(/the link out leads out of the repository/);
  await expect(read({ git: links.fileUrl, path: 'out' })).rejects.toThrow(FinalError);
});

test('hooks of the machine do not run, nor does anything that a repository brings', async () => {
  const home = await mkdtemp(join(root, 'home-'));
  await mkdir(join(home, 'hooks'));
  await writeFile(join(home, 'hooks/post-checkout'), `#!/bin/sh\ntouch ${home}/ran\n`, { mode: 0o755 });
  await writeFile(join(home, '.gitconfig'), `[core]\n  hooksPath = ${home}/hooks\n`);
  const before = process.env['HOME'];
  process.env['HOME'] = home;
  onTestFinished(() => {
    process.env['HOME'] = before;
  });
  expect(await read({ git: repository.fileUrl, path: 'net' })).toMatchObject({ text: 'two' });
  expect(await readdir(home)).not.toContain('ran');
});

test('a folder is read where it is, and stays', async () => {
  const folder = join(repository.folder, 'net');
  expect(await read({ folder })).toEqual({ text: 'two', revision: undefined });
  await access(folder);
});

test('the folders of a worker that was killed are swept by the next, those of one that lives are not', async () => {
  const parent = await mkdtemp(join(root, 'tmp-'));
  const script = (end: string) => `
    import { workplace } from ${JSON.stringify(join(import.meta.dirname, '../../../providers/processes/workplace.ts'))};
    const place = await workplace();
    await place.mark(${end === 'marked' ? process.pid : 999_999_999});
    console.log(place.folder);
    process.kill(process.pid, 'SIGKILL');
  `;
  const killed = async (end: string) => {
    const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script(end)], {
      env: { ...process.env, TMPDIR: parent },
    });
    const { stdout } = await run.catch((error: { stdout: string }) => error);
    return stdout.trim();
  };
  const first = await killed('');
  await access(first);
  const second = await killed('marked');
  await expect(access(first)).rejects.toThrow('ENOENT');
  await access(second);
  await killed('');
  // A process lives that works in it, though its worker does not.
  await access(second);
});
