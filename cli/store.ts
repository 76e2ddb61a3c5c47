import { join } from 'node:path';
import type { AuditStore, AuditStoreOptions } from '../audit/store.ts';
import { StoreUnavailableError } from '../audit/unavailable.ts';
import type { Config } from '../model/config.ts';
import { secretOf } from '../providers/temporal/secret.ts';
import { dataFolder } from '../sandbox/paths.ts';
import { CliError, EXIT } from './status.ts';

/** Where the audit is kept: as configured, else beside what `salvor up` keeps on this machine. */
export const auditUrl = ({ audit }: Pick<Config, 'audit'>): string =>
  audit?.url ?? `file:${join(dataFolder(), 'audit.db')}`;

/**
 * Opens the audit store for a command, which closes it. A store that is not there is not created.
 *
 * @throws CliError with status `unknown` where it is not there or cannot be reached
 */
export async function openStore({ audit }: Pick<Config, 'audit'>): Promise<AuditStore> {
  const { openAuditStore } = await import('../audit/open.ts');
  return await answering(openAuditStore({ ...auditOptions({ audit }), mustExist: true }));
}

/** @throws CliError where the password cannot be read */
export function auditOptions({ audit }: Pick<Config, 'audit'>, url = auditUrl({ audit })): AuditStoreOptions {
  const password = passwordOf(audit);
  return { url, ...(password && { password }) };
}

function passwordOf(audit: Config['audit']): string | undefined {
  try {
    return secretOf({ file: audit?.passwordFile, variable: audit?.passwordEnv, setting: 'audit.password' })?.();
  } catch (error) {
    throw new CliError((error as Error).message, { status: EXIT.usage, cause: error });
  }
}

/** Runs a function with the audit store, and closes it. @throws CliError as {@link openStore} does, also later */
export async function withStore<T>(config: Pick<Config, 'audit'>, use: (store: AuditStore) => Promise<T>): Promise<T> {
  const store = await openStore(config);
  try {
    return await answering(use(store));
  } finally {
    await store.close();
  }
}

/** The answer of a store, or what a person is told where it has none. */
export async function answering<T>(asked: Promise<T>): Promise<T> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof StoreUnavailableError)
      throw new CliError(error.message, { status: EXIT.unknown, cause: error });
    throw error;
  }
}

/** What was asked for, or why nobody can tell now: something is out of reach. Any other error is thrown. */
export async function reached<T>(
  asked: Promise<T>,
): Promise<{ answer: T; out?: never } | { answer?: never; out: CliError }> {
  try {
    return { answer: await asked };
  } catch (error) {
    if (error instanceof CliError && error.status === EXIT.unknown) return { out: error };
    throw error;
  }
}
