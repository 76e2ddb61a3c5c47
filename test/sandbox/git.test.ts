import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import { run } from '../../sandbox/run.ts';
import { GIT_ENV, makeRepository, type Repository, serveGit } from '../support/git.ts';

let root: string;
let repository: Repository;
let commits: string[];

beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'salvor-git-'));
  repository = await makeRepository(root, 'stack');
  commits = [
    await repository.commit({ 'main.tf': 'one', 'modules/net/main.tf': 'net' }),
    await repository.commit({ 'main.tf': 'two', 'modules/net/main.tf': undefined }),
  ];
  await repository.git('tag', 'v1', commits[0]!);
});
afterAll(() => rm(root, { recursive: true, force: true }));

/** Fetches one commit of what is named, and nothing of its history. @returns the file main.tf of it, and the commit */
async function fetchShallow(url: string, ref: string, ...settings: string[]) {
  const cwd = await mkdtemp(join(root, 'clone-'));
  const git = (...args: string[]) =>
    run('git', [...settings.flatMap((one) => ['-c', one]), ...args], { cwd, env: GIT_ENV });
  await git('init', '--quiet');
  await git('fetch', '--quiet', '--depth=1', url, ref);
  await git('checkout', '--quiet', 'FETCH_HEAD');
  expect(await git('rev-list', '--count', 'HEAD')).toBe('1');
  return { main: await readFile(join(cwd, 'main.tf'), 'utf8'), commit: await git('rev-parse', 'HEAD') };
}

const authorization = (user: string, password: string) =>
  `http.extraHeader=Authorization: Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`;

test('a repository is read by its file URL: a branch, a tag, a commit', async () => {
  expect(await fetchShallow(repository.fileUrl, 'main')).toEqual({ main: 'two', commit: commits[1] });
  expect(await fetchShallow(repository.fileUrl, 'v1')).toEqual({ main: 'one', commit: commits[0] });
  expect(await fetchShallow(repository.fileUrl, commits[0]!)).toEqual({ main: 'one', commit: commits[0] });
});

test('a repository is read by HTTP, with the right password alone', async () => {
  const server = await serveGit(root, { user: 'salvor', password: 'se:cret' });
  onTestFinished(() => server.close());
  const url = server.url('stack');
  const right = authorization('salvor', 'se:cret');
  expect(await fetchShallow(url, 'main', right)).toEqual({ main: 'two', commit: commits[1] });
  expect(await fetchShallow(url, commits[0]!, right)).toEqual({ main: 'one', commit: commits[0] });
  expect(server.requests.every(({ user, status }) => user === 'salvor' && status === 200)).toBe(true);

  await expect(fetchShallow(url, 'main')).rejects.toThrow(/terminal prompts disabled/);
  await expect(fetchShallow(url, 'main', authorization('salvor', 'wrong'))).rejects.toThrow();
  server.accept({ user: 'salvor', password: 'next' });
  await expect(fetchShallow(url, 'main', right)).rejects.toThrow();
  expect(server.requests.at(-1)).toMatchObject({ user: 'salvor', status: 401 });
  expect(await fetchShallow(url, 'main', authorization('salvor', 'next'))).toMatchObject({ main: 'two' });
  await expect(fetchShallow(server.url('none'), 'main', authorization('salvor', 'next'))).rejects.toThrow(/not found/);
});

test('what is committed while it is served is there for the next', async () => {
  const other = await makeRepository(root, 'other');
  await other.commit({ 'main.tf': 'one' });
  const server = await serveGit(root);
  onTestFinished(() => server.close());
  expect(await fetchShallow(server.url('other'), 'main')).toMatchObject({ main: 'one' });
  const commit = await other.commit({ 'main.tf': 'two' });
  expect(await fetchShallow(server.url('other'), 'main')).toEqual({ main: 'two', commit });
});
