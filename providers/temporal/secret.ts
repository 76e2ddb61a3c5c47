import { readFileSync, statSync } from 'node:fs';

/** Where the configuration says that a secret is: never in the configuration itself. */
export interface SecretSource {
  file?: string | undefined;
  /** Name of an environment variable. */
  variable?: string | undefined;
  /** The setting without its ending, for errors: `gateway.bearerToken` for `bearerTokenFile` and `bearerTokenEnv`. */
  setting: string;
}

/**
 * A secret as it is now, for secrets rotate: a file, such as a mounted Kubernetes secret, is read again when it changes.
 * While a changed file cannot be read or is empty (a rotation under way), the last good secret stands.
 *
 * @returns undefined where the configuration names no source
 * @throws where the source has no secret at the start
 */
export function secretOf({ file, variable, setting }: SecretSource): (() => string) | undefined {
  if (file !== undefined) return secretFile(file, `${setting}File`);
  if (variable === undefined) return undefined;
  const secret = (process.env[variable] ?? '').trim();
  if (secret === '') {
    throw new Error(`${setting}Env: the environment variable ${variable} is not set or empty. Set it to the secret.`);
  }
  return () => secret;
}

function secretFile(path: string, setting: string): () => string {
  let version = versionOf(path);
  let secret = read(path, setting);
  return () => {
    try {
      const now = versionOf(path);
      if (now !== version) {
        secret = read(path, setting);
        version = now;
      }
    } catch {
      // The last good secret stands; the next call looks again.
    }
    return secret;
  };
}

function read(path: string, setting: string): string {
  const secret = readSetting(path, setting).toString('utf8').trim();
  if (secret === '') throw new Error(`${setting}: ${path} is empty. Write the secret into it.`);
  return secret;
}

/** Reads a file that a setting names. @throws with the setting, the path, and what can be done */
export function readSetting(path: string, setting: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new Error(`${setting}: ${path} cannot be read (${codeOf(error)}). Create it, readable by Salvor's user.`, {
      cause: error,
    });
  }
}

function versionOf(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat === undefined ? 'absent' : `${stat.ino} ${stat.size} ${stat.mtimeNs}`;
}

const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : String(error);
