import { FinalError } from '../../errors.ts';
import { lastLines } from '../../processes/redact.ts';
import { runProcess, type Watch } from '../../processes/run.ts';
import { UnfitSource } from './manifest.ts';

/** Of the worker's own environment only this: nothing of what Salvor keeps secret gets to what the source makes it run. */
const PASSED = [
  ...['PATH', 'HOME', 'TMPDIR', 'SSL_CERT_FILE', 'SSL_CERT_DIR'],
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'],
];

/**
 * What kustomize makes of a folder. It may read files of the kustomization's own folder and of other folders that this names as
 * bases, and it fetches bases that are remote, with git or over HTTPS; it may run neither plugins, functions nor helm.
 *
 * @throws FinalError `Invalid` where the command is missing; UnfitSource where it fails
 */
export async function kustomize(folder: string, watch: Watch, command = 'kustomize'): Promise<string> {
  const own = PASSED.flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  const env = { ...Object.fromEntries(own), GIT_TERMINAL_PROMPT: '0' };
  const args = ['build', '--load-restrictor', 'LoadRestrictionsRootOnly', folder];
  const { status, stdout, stderr } = await runProcess(command, args, { ...watch, cwd: folder, env }).catch((error) => {
    if (!isMissing(error)) throw error;
    throw new FinalError(
      `the stack has kustomize: true, and the worker has no command ${command}: install kustomize 5 in its PATH (https://kubectl.docs.kubernetes.io/installation/kustomize/); nothing was compared`,
      { type: 'Invalid', cause: error },
    );
  });
  if (status === 0) return stdout;
  throw new UnfitSource(`kustomize build of the source failed: ${lastLines(stderr, 500) || `status ${status}`}`);
}

const isMissing = (error: unknown): boolean =>
  error instanceof FinalError && (error.cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT';
