import type { Kysely } from 'kysely';
import { Migrator } from 'kysely/migration';
import { migrations, type Tables } from './schema.ts';
import type { StoreUnavailableError } from './unavailable.ts';

/** One of the two databases, opened. */
export interface Database {
  readonly dialect: 'sqlite' | 'postgres';
  /** Without credentials. */
  readonly location: string;
  /** For transactions that write. */
  readonly writes: Kysely<Tables>;
  readonly reads: Kysely<Tables>;
  /** For reads of everything, which may take minutes. */
  readonly longReads: Kysely<Tables>;
  /** Reads that all see the same moment, however long they take; nobody waits for them. */
  snapshot<T>(work: (db: Kysely<Tables>) => Promise<T>): Promise<T>;
  /** Brings the tables up to date; several processes may do it at once. */
  migrate(): Promise<void>;
  /** Whether the error passes within moments: another transaction was in the way, and nothing was done. */
  isPassing(error: unknown): boolean;
  /** What the error means where the database cannot be reached; undefined for every other. */
  unavailable(error: unknown): StoreUnavailableError | undefined;
  close(): Promise<void>;
}

/** @throws Error of the database, or that the tables are of a newer version */
export async function migrateToLatest(db: Kysely<Tables>, dialect: Database['dialect']): Promise<void> {
  const known = migrations(dialect);
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => known },
    migrationTableName: 'salvor_migration',
    migrationLockTableName: 'salvor_migration_lock',
  });
  const { error } = await migrator.migrateToLatest();
  if (error === undefined) return;
  if (error instanceof Error && error.message.includes('corrupted migrations')) {
    throw new Error('the tables of the audit store are of a newer Salvor than this one: use that version', {
      cause: error,
    });
  }
  throw error;
}
