import { setTimeout as sleep } from 'node:timers/promises';
import type { AuditPage, AuditStream } from '../model/audit.ts';
import { Batcher } from './batcher.ts';
import { bytesHash } from './chain.ts';
import type { Database } from './database.ts';
import { compress, expand, redactHistory } from './history.ts';
import type { AuditMetrics, Operation } from './metrics.ts';
import { openPostgres } from './postgres.ts';
import * as read from './read.ts';
import { HISTORY } from './schema.ts';
import { countUnsealed, seal } from './seal.ts';
import { openSqlite } from './sqlite.ts';
import type {
  AuditFilter,
  AuditRecord,
  AuditStore,
  AuditStoreOptions,
  StoredHistory,
  StoreState,
  Verification,
} from './store.ts';
import { StoreUnavailableError } from './unavailable.ts';
import { parseAnchor, verify } from './verify.ts';
import { type PreparedPage, prepare, write } from './write.ts';

/** Notes in one transaction. */
const MOST = 2_000;
/** Milliseconds for which an operation is tried again where another transaction is in its way. */
const PATIENCE = 5_000;

/**
 * Opens the store and brings its tables up to date. A PostgreSQL that cannot be reached now is no error, unless the store
 * must exist: it is tried again with every operation, for remediation goes on without its audit.
 *
 * @throws StoreUnavailableError where a file cannot be opened, or the store must exist and does not
 */
export async function openAuditStore(options: AuditStoreOptions, metrics?: AuditMetrics): Promise<AuditStore> {
  const { url, password, mustExist } = options;
  const database = url.startsWith('file:')
    ? await openSqlite(url.slice('file:'.length), { mustExist })
    : openPostgres(url, password, () => metrics?.errors.inc({ operation: 'read' }));
  const store = new Store(database, mustExist ?? false, metrics);
  try {
    await store.ping();
  } catch (error) {
    if (database.dialect === 'postgres' && !mustExist && error instanceof StoreUnavailableError) return store;
    await store.close();
    throw error;
  }
  return store;
}

class Store implements AuditStore {
  readonly #database: Database;
  readonly #mustExist: boolean;
  readonly #metrics: AuditMetrics | undefined;
  readonly #batcher: Batcher<PreparedPage>;
  #ready: Promise<void> | undefined;
  #state: StoreState = { up: true };
  /** Whether what failed last was to write: that a file or a database can be read does not say that it takes anything. */
  #takesNothing = false;

  constructor(database: Database, mustExist: boolean, metrics: AuditMetrics | undefined) {
    this.#database = database;
    this.#mustExist = mustExist;
    this.#metrics = metrics;
    this.#batcher = new Batcher({
      write: async (pages) => {
        const added = await this.#do('append', () => write(database, pages));
        metrics?.records.inc(added);
      },
      most: MOST,
      isOfAll: (error) => error instanceof StoreUnavailableError,
    });
  }

  get location(): string {
    return this.#database.location;
  }

  state(): StoreState {
    return this.#state;
  }

  async append(page: AuditPage): Promise<void> {
    await this.#add(prepare(page));
  }

  async seal(limit?: number): Promise<number | undefined> {
    const time = this.#metrics?.sealSeconds.startTimer();
    const sealed = await this.#do('seal', () => seal(this.#database, limit));
    time?.();
    if (this.#metrics) this.#metrics.unsealed.set(await this.#read(() => countUnsealed(this.#database)));
    return sealed;
  }

  list = (filter: AuditFilter) => this.#read(() => read.readLines(this.#database.reads, filter));
  streams = (filter: AuditFilter) => this.#read(() => read.readStreams(this.#database.reads, filter));
  findStreams = (prefix: string) => this.#read(() => read.findStreams(this.#database.reads, prefix));
  records = (stream: string) => this.#read(() => read.readRecords(this.#database.reads, stream));
  held = () => this.#read(() => read.readHeld(this.#database.reads));
  withoutHistory = (limit: number) => this.#read(() => read.withoutHistory(this.#database.reads, limit));
  runningSince = (since: string, limit: number) =>
    this.#read(() => read.runningSince(this.#database.reads, since, limit));

  export(filter: AuditFilter): AsyncIterable<AuditRecord> {
    return this.#stream(() => read.exportRecords(this.#database.longReads, filter));
  }

  histories(filter: AuditFilter & { stream?: string }): AsyncIterable<StoredHistory> {
    const expanded = async function* (rows: ReturnType<typeof read.readHistories>) {
      for await (const { bytes, ...row } of rows) yield { ...row, json: await expand(bytes) };
    };
    return this.#stream(() => expanded(read.readHistories(this.#database.longReads, filter)));
  }

  async verify(anchor?: string): Promise<Verification> {
    const known = anchor === undefined ? undefined : parseAnchor(anchor);
    return await this.#read(() => this.#database.snapshot((db) => verify(db, known)));
  }

  async keepHistory(stream: string, history: { json: string; events: number }): Promise<void> {
    const of = await this.#streamOf(stream);
    const bytes = await compress(redactHistory(history.json));
    const entry = { kind: 'history' as const, sha256: bytesHash(bytes), events: history.events, bytes: bytes.length };
    const note = { key: 'history', at: new Date().toISOString(), entry };
    await this.#add(prepare({ stream: of, notes: [note] }, bytes));
  }

  async historyGone(stream: string): Promise<void> {
    await this.#do('history', () =>
      this.#database.writes
        .updateTable('streams')
        .set({ history: HISTORY.gone })
        .where('id', '=', stream)
        .where('history', '=', HISTORY.none)
        .execute(),
    );
  }

  async ping(): Promise<void> {
    await this.#read(() => this.#database.reads.selectFrom('tail').select('number').execute());
  }

  async close(): Promise<void> {
    await this.#batcher.idle();
    await this.#database.close();
  }

  async #add(page: PreparedPage): Promise<void> {
    const time = this.#metrics?.appendSeconds.startTimer();
    try {
      await this.#batcher.add(page, page.notes.length);
    } finally {
      time?.();
    }
  }

  async #streamOf(id: string): Promise<AuditStream> {
    const row = await this.#read(() =>
      this.#database.reads.selectFrom('streams').selectAll().where('id', '=', id).executeTakeFirst(),
    );
    if (row === undefined) throw new Error(`the audit store ${this.location} has no stream ${id}`);
    return read.streamOf(row);
  }

  #read<T>(work: () => Promise<T>): Promise<T> {
    return this.#do('read', work);
  }

  async *#stream<T>(rows: () => AsyncGenerator<T>): AsyncGenerator<T> {
    // What is taken out between two steps is not ours to count.
    const source = await this.#read(async () => rows());
    for (;;) {
      const next = await this.#read(() => source.next());
      if (next.done) return;
      yield next.value;
    }
  }

  /** Every operation passes here: the tables are there, and errors and state are known. */
  async #do<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    try {
      const answer = await this.#patiently(async () => {
        this.#ready ??= this.#prepare();
        await this.#ready;
        return await work();
      });
      if (operation !== 'read') this.#takesNothing = false;
      if (!this.#takesNothing) {
        this.#state = { up: true };
        this.#metrics?.up.set(1);
      }
      return answer;
    } catch (error) {
      const unavailable = error instanceof StoreUnavailableError ? error : this.#database.unavailable(error);
      this.#metrics?.errors.inc({ operation });
      if (unavailable === undefined) throw error;
      if (operation !== 'read') this.#takesNothing = true;
      this.#metrics?.up.set(0);
      const since = this.#state.since ?? new Date().toISOString();
      this.#state = { up: false, since, error: unavailable.message };
      throw unavailable;
    }
  }

  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (const deadline = Date.now() + PATIENCE; ; await sleep(1 + Math.random() * 10)) {
      try {
        return await work();
      } catch (error) {
        if (!this.#database.isPassing(error) || Date.now() > deadline) throw error;
      }
    }
  }

  async #prepare(): Promise<void> {
    try {
      if (this.#mustExist && !(await this.#exists()))
        throw new StoreUnavailableError(
          this.location,
          'holds nothing yet',
          'nothing was recorded there, or audit.url names another database',
        );
      await this.#database.migrate();
    } catch (error) {
      this.#ready = undefined;
      throw error;
    }
  }

  async #exists(): Promise<boolean> {
    const tables = await this.#database.reads.introspection.getTables();
    return tables.some(({ name }) => name === 'records');
  }
}
