import { spawn } from 'node:child_process';
import { FinalError } from '../../errors.ts';
import { UnfitSource } from './manifest.ts';

const MOST_BYTES = 64 * 1024 * 1024;
const WITHIN_MS = 120_000;

/** Of the worker's own environment only this: nothing of what Salvor keeps secret gets to what the source makes it run. */
const PASSED = ['PATH', 'HOME', 'TMPDIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR'];
const PROXIES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'];

/**
 * What kustomize makes of a folder. It may read files of the kustomization's own folder and of other folders that this names as
 * bases, and it fetches bases that are remote, with git or over HTTPS; it may run neither plugins, functions nor helm.
 *
 * @throws FinalError `Invalid` where the command is missing; UnfitSource where it fails
 */
export async function kustomize(folder: string, signal: AbortSignal, command = 'kustomize'): Promise<string> {
  const names = [...PASSED, ...PROXIES].filter((name) => process.env[name] !== undefined);
  const env = Object.fromEntries(names.map((name) => [name, process.env[name]]));
  const child = spawn(command, ['build', '--load-restrictor', 'LoadRestrictionsRootOnly', folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...env, GIT_TERMINAL_PROMPT: '0' },
    signal: AbortSignal.any([signal, AbortSignal.timeout(WITHIN_MS)]),
  });
  let [out, problem] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    out += text;
    if (out.length > MOST_BYTES) child.kill();
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    problem = (problem + text).slice(-2_000);
  });
  const { promise, resolve, reject } = Promise.withResolvers<number | null>();
  child.once('error', reject);
  child.once('close', resolve);
  const status = await promise.catch((error: NodeJS.ErrnoException) => {
    if (signal.aborted) throw signal.reason;
    throw failureOf(error, command);
  });
  if (status === 0) return out;
  throw new UnfitSource(`kustomize build of the source failed: ${problem.trim().slice(-500) || `status ${status}`}`);
}

function failureOf(error: NodeJS.ErrnoException, command: string): Error {
  if (error.name === 'AbortError')
    return new UnfitSource(`kustomize build of the source took longer than ${WITHIN_MS / 1000} s`, { cause: error });
  return new FinalError(
    `cannot run ${command} (${error.code}): expected the command kustomize, version 5, in the PATH of the worker (https://kubectl.docs.kubernetes.io/installation/kustomize/), or a stack without kustomize: true`,
    { type: 'Invalid', cause: error },
  );
}
