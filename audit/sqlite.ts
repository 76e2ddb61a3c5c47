import { closeSync, existsSync, mkdirSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite';
import { setTimeout as sleep } from 'node:timers/promises';
import { Kysely, SqliteDialect, type SqliteStatement } from 'kysely';
import { type Database, migrateToLatest } from './database.ts';
import type { Tables } from './schema.ts';
import { StoreUnavailableError } from './unavailable.ts';

/** Milliseconds for which one process waits for another that just opens the same new file. */
const OPEN_MS = 5_000;
const STATEMENTS = 200;

/** @throws StoreUnavailableError where there is no such file and it must exist, or it cannot be opened */
export async function openSqlite(path: string, options: { mustExist?: boolean }): Promise<Database> {
  const location = `file:${path}`;
  const unavailable = (error: unknown) => unavailableBy(error, location);
  if (options.mustExist && !existsSync(path))
    throw new StoreUnavailableError(
      location,
      'does not exist',
      'nothing was recorded there yet, or audit.url names another file',
    );
  // Loaded here: on Node 22 it prints a warning, which those who use PostgreSQL should not see.
  const { DatabaseSync } = await import('node:sqlite');
  // SQLite's own waiting would hold up this whole process, so it does not wait: the store tries again (isPassing).
  const open = (pragmas: string): DatabaseSync => {
    const database = new DatabaseSync(path, { timeout: 0, defensive: true });
    try {
      database.exec(pragmas);
      return database;
    } catch (error) {
      database.close();
      throw error;
    }
  };
  try {
    mkdirSync(dirname(path), { recursive: true });
    // Only its owner may read it. The files beside it (-wal, -shm) get its mode from SQLite.
    closeSync(openSync(path, 'a', 0o600));
    const writer = await withPatience(() => open('pragma journal_mode = wal; pragma synchronous = full'));
    const reader = await withPatience(() => open('pragma query_only = on'));
    const { ino } = statSync(path);
    const writes = kysely(writer, 'begin immediate', () => {
      // What is written to a file that nobody can find any more would be acknowledged and lost.
      if (statSync(path).ino !== ino)
        throw new StoreUnavailableError(
          location,
          'was replaced while it was open',
          'start Salvor again to use the new file',
        );
    });
    const reads = kysely(reader, 'begin');
    return {
      dialect: 'sqlite',
      location,
      writes,
      reads,
      longReads: reads,
      async snapshot(work) {
        const own = open('pragma query_only = on');
        try {
          own.exec('begin');
          return await work(kysely(own, 'begin'));
        } finally {
          own.close();
        }
      },
      async migrate() {
        // Kysely has no lock for SQLite; a transaction is one.
        writer.exec('begin immediate');
        try {
          await migrateToLatest(writes, 'sqlite');
          writer.exec('commit');
        } catch (error) {
          if (writer.isTransaction) writer.exec('rollback');
          throw error;
        }
      },
      isPassing: (error) => codeOf(error) === SQLITE.busy,
      unavailable,
      async close() {
        await writes.destroy();
        await reads.destroy();
        // Kysely closes what it has used only.
        for (const database of [writer, reader]) if (database.isOpen) database.close();
      },
    };
  } catch (error) {
    throw unavailable(error) ?? error;
  }
}

/** SQLite does not wait by itself when two processes turn a new file to write-ahead logging at once. */
async function withPatience<T>(work: () => T): Promise<T> {
  for (const deadline = Date.now() + OPEN_MS; ; await sleep(20)) {
    try {
      return work();
    } catch (error) {
      if (codeOf(error) !== SQLITE.busy || Date.now() > deadline) throw error;
    }
  }
}

/**
 * @param begin how a transaction begins: one that will write takes its lock at once, for later it could be refused
 * @param before called before a transaction begins
 */
function kysely(database: DatabaseSync, begin: string, before?: () => void): Kysely<Tables> {
  const statements = new Map<string, SqliteStatement>();
  const prepare = (text: string): SqliteStatement => {
    const known = statements.get(text);
    if (known) return known;
    const statement = adapted(database.prepare(text === 'begin' ? begin : text), text === 'begin' ? before : undefined);
    if (statements.size >= STATEMENTS) statements.clear();
    statements.set(text, statement);
    return statement;
  };
  return new Kysely<Tables>({ dialect: new SqliteDialect({ database: { prepare, close: () => database.close() } }) });
}

function adapted(statement: StatementSync, before?: () => void): SqliteStatement {
  // What Kysely compiles holds nothing else: the columns are text, integers and bytes.
  const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...values(parameters)),
    run: (parameters) => {
      before?.();
      return statement.run(...values(parameters));
    },
    iterate: (parameters) => statement.iterate(...values(parameters)),
  };
}

const SQLITE = { perm: 3, busy: 5, locked: 6, readonly: 8, ioerr: 10, corrupt: 11, full: 13, cantopen: 14, notadb: 26 };

const ADVICE: Record<number, string> = {
  [SQLITE.perm]: 'give its owner the right to read and write it',
  [SQLITE.busy]: 'another process writes to it for long: see which has it open',
  [SQLITE.locked]: 'another process writes to it for long: see which has it open',
  [SQLITE.readonly]: 'give its owner the right to write to it and to its folder',
  [SQLITE.ioerr]: 'look at the disk',
  [SQLITE.corrupt]: 'its file is damaged: keep it, restore a copy, and see what `salvor audit verify` says of that',
  [SQLITE.full]: 'make room on the disk',
  [SQLITE.cantopen]: 'look at the path, and at the rights of its folder',
  [SQLITE.notadb]: 'audit.url names something else than an audit store',
};

/** SQLite's primary result code. */
const codeOf = (error: unknown): number | undefined => {
  const code = (error as { errcode?: unknown } | null)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
};

function unavailableBy(error: unknown, location: string): StoreUnavailableError | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code } = error as NodeJS.ErrnoException;
  const fromSystem = code !== undefined && /^E[A-Z]+$/.test(code) && 'syscall' in error;
  const advice = fromSystem ? 'look at the path, and at the rights of its folder' : ADVICE[codeOf(error) ?? -1];
  if (advice === undefined) return undefined;
  return new StoreUnavailableError(location, `cannot be used: ${error.message}`, advice, { cause: error });
}
