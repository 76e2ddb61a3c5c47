import { Kysely, PostgresDialect, type PostgresPool, type PostgresPoolClient } from 'kysely';
import pg from 'pg';
import { type Database, migrateToLatest } from './database.ts';
import type { Tables } from './schema.ts';
import { StoreUnavailableError } from './unavailable.ts';

/** Milliseconds after which a database that does not answer counts as unreachable. */
const ANSWER_MS = 5_000;
/** One writes, one seals, the others read. */
const CONNECTIONS = 5;
/** Verifying and exporting read everything. */
const LONG_CONNECTIONS = 2;
const LONG_MS = 10 * 60_000;

const INT8 = 20;
const DEADLOCK = '40P01';
const SERIALIZATION = '40001';

/** Nothing is connected yet. @param onError hears of connections that broke while nobody used them */
export function openPostgres(url: string, password: string | undefined, onError: (error: unknown) => void): Database {
  const withPassword = new URL(url);
  if (password !== undefined) withPassword.password = encodeURIComponent(password);
  const { hostname, port, pathname } = new URL(url);
  const location = `postgres://${hostname}${port ? `:${port}` : ''}${pathname}`;
  const connect = (connections: number, answerMs: number): Kysely<Tables> => {
    const pool = poolOf(withPassword.href, connections, answerMs);
    // Without listeners a connection that breaks would end this process, idle or in use.
    pool.on('error', onError);
    pool.on('connect', (client) => client.on('error', onError));
    return new Kysely<Tables>({ dialect: new PostgresDialect({ pool: discarding(pool) }) });
  };
  const db = connect(CONNECTIONS, ANSWER_MS);
  const longReads = connect(LONG_CONNECTIONS, LONG_MS);
  return {
    dialect: 'postgres',
    location,
    writes: db,
    reads: db,
    longReads,
    snapshot: (work) =>
      longReads.transaction().setIsolationLevel('repeatable read').setAccessMode('read only').execute(work),
    migrate: () => migrateToLatest(db, 'postgres'),
    isPassing: (error) =>
      error instanceof pg.DatabaseError && (error.code === DEADLOCK || error.code === SERIALIZATION),
    unavailable: (error) => unavailableBy(error, location),
    close: async () => {
      await Promise.all([db.destroy(), longReads.destroy()]);
    },
  };
}

const poolOf = (connectionString: string, max: number, answerMs: number): pg.Pool =>
  new pg.Pool({
    connectionString,
    application_name: 'salvor',
    max,
    connectionTimeoutMillis: ANSWER_MS,
    statement_timeout: answerMs,
    // Of our own clock, for a database that hangs keeps no time.
    query_timeout: answerMs + 1_000,
    keepAlive: true,
    // Sums and positions stay far below 2^53.
    types: {
      getTypeParser: (oid: number, format?: 'text' | 'binary') =>
        oid === INT8 ? Number : pg.types.getTypeParser(oid, format as 'text'),
    },
  });

/**
 * The pool, less what a connection may do once an answer did not come in time: it goes on waiting for it, for a quarter of
 * an hour where the network swallowed it, and so would whatever is asked on it next. It is closed instead, so that the next
 * one is new.
 */
const discarding = (pool: pg.Pool): PostgresPool => ({
  options: pool.options,
  connect: async () => {
    const client = await pool.connect();
    let given: Error | undefined;
    const query = async (text: string, values: readonly unknown[]): Promise<unknown> => {
      if (given !== undefined) throw given;
      try {
        return await client.query(text, [...values]);
      } catch (error) {
        if (error instanceof Error && error.message === NO_ANSWER) given = error;
        throw error;
      }
    };
    return {
      // Cursors are not used.
      query: query as unknown as PostgresPoolClient['query'],
      release: (destroy) => client.release(given ?? destroy),
    };
  },
  end: () => pool.end(),
});

/** What the client itself says after `query_timeout`. */
const NO_ANSWER = 'Query read timeout';

/** By the class of the SQLSTATE, or the state itself. */
const ADVICE: Record<string, string> = {
  '08': 'look whether it runs and can be reached from here',
  '28': 'look at the user, and at audit.passwordFile or audit.passwordEnv',
  '3D': 'create the database, or correct audit.url',
  '42501': 'give its user the right to create and use tables in it',
  '3F': 'give its user a schema in which it may create tables',
  '25006': 'audit.url leads to a read-only copy: name the primary',
  '53': 'give it more room: disk, memory or connections',
  '57': 'look whether it runs, or is overloaded',
  '58': 'look at its disk and its log',
  '40': 'other transactions are always in its way: look what else uses it',
};

function unavailableBy(error: unknown, location: string): StoreUnavailableError | undefined {
  if (!(error instanceof Error)) return undefined;
  const code = (error as { code?: unknown }).code;
  const state = typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) && error instanceof pg.DatabaseError ? code : '';
  const ofState = ADVICE[state] ?? ADVICE[state.slice(0, 2)];
  const fromNetwork = typeof code === 'string' && /^E[A-Z_]{2,}$/.test(code);
  const lost = /timeout|Connection terminated|connection error|not queryable|server does not support SSL|discarded/i;
  const advice = ofState ?? (state === '' && (fromNetwork || lost.test(error.message)) ? ADVICE['08'] : undefined);
  if (advice === undefined) return undefined;
  // All addresses of a name refused: the error of each is inside.
  const why = error.message || (error as AggregateError).errors?.map(String).join(', ');
  return new StoreUnavailableError(location, `cannot be reached: ${why}`, advice, { cause: error });
}
