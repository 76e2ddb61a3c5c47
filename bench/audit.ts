import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { Registry } from 'prom-client';
import { AuditMetrics } from '../audit/metrics.ts';
import { openAuditStore } from '../audit/open.ts';
import type { AuditStore } from '../audit/store.ts';
import type { AuditEntry, AuditPage } from '../model/audit.ts';
import { BUILT_IN_GATES } from '../model/config-schema.ts';
import { remediationId } from '../model/names.ts';
import { RUNBOOK_SPECS } from '../model/runbooks.ts';
import { type Postgres, startPostgres } from '../sandbox/postgres.ts';
import type { Benchmark } from './support/benchmark.ts';
import { median, ratios, spread, table } from './support/numbers.ts';

const DATABASES = ['SQLite', 'PostgreSQL'] as const;
type Name = (typeof DATABASES)[number];
/** Remediations that are written by so many appenders at once. */
const LOADS = [
  { appenders: 1, pages: 300 },
  { appenders: 8, pages: 1_200 },
  { appenders: 64, pages: 4_000 },
] as const;
const QUICK = 20;

/** A record as both sides write it. */
type Row = [
  stream: string,
  seq: number,
  key: string,
  at: string,
  kind: string,
  entry: string,
  previous: string,
  hash: string,
];
const COLUMNS = ['stream', 'seq', 'key', 'at', 'kind', 'entry', 'previous', 'hash'] as const;
const CREATE = `create table bare (stream text, seq integer, key text, at text, kind text, entry text, previous text, hash text, primary key (stream, seq))`;

/** Figures of one round, all a second. */
interface Round {
  appended: number;
  bare: number;
  /** Records in one transaction, the median. */
  together: number;
  sealed: number;
  verified: number;
  /** Reading the same rows and hashing their text, with nothing compared. */
  read: number;
}

/** Records per second: appended, sealed and verified, beside bare inserts and bare reads of the same rows. */
export const audit: Benchmark = async ({ rounds, quick, say }) => {
  const folder = await mkdtemp(join(tmpdir(), 'salvor-bench-'));
  const postgres = await startPostgres();
  const figures = new Map<string, Round[]>();
  try {
    for (let round = 1; round <= rounds; round++)
      for (const name of DATABASES)
        for (const { appenders, pages } of LOADS) {
          const place = await placeOf(name, folder, postgres);
          const measured = await measure(place, appenders, quick ? QUICK : pages);
          const key = `${name} ${appenders}`;
          figures.set(key, [...(figures.get(key) ?? []), measured]);
          say(`round ${round}, ${key}: ${JSON.stringify(measured)}`);
        }
  } finally {
    await postgres.stop();
    await rm(folder, { recursive: true, force: true });
  }
  return report(figures);
};

/** An empty database, as the store opens it, and the same one by the bare driver. */
interface Place {
  url: string;
  password?: string;
  bare(): Promise<Bare>;
}

interface Bare {
  /** Runs a statement. */
  run(text: string): Promise<void>;
  rows(): Promise<Row[]>;
  /** Inserts in one transaction. */
  insert(rows: readonly Row[]): Promise<void>;
  close(): Promise<void>;
}

async function placeOf(name: Name, folder: string, postgres: Postgres): Promise<Place> {
  if (name === 'SQLite') {
    const path = join(folder, `${randomUUID()}.db`);
    return { url: `file:${path}`, bare: async () => bareSqlite(path) };
  }
  const url = await postgres.createDatabase(randomUUID());
  return { url, password: postgres.password, bare: () => barePostgres(url, postgres.password) };
}

const SELECT = `select ${COLUMNS.join(', ')} from records order by position`;

function bareSqlite(path: string): Bare {
  const database = new DatabaseSync(path);
  database.exec('pragma journal_mode = wal; pragma synchronous = full');
  let insert: ReturnType<DatabaseSync['prepare']> | undefined;
  return {
    run: async (text) => database.exec(text),
    rows: async () =>
      database
        .prepare(SELECT)
        .all()
        .map((row) => Object.values(row) as Row),
    insert: async (rows) => {
      insert ??= database.prepare('insert into bare values (?, ?, ?, ?, ?, ?, ?, ?)');
      database.exec('begin immediate');
      for (const row of rows) insert.run(...row);
      database.exec('commit');
    },
    close: async () => database.close(),
  };
}

async function barePostgres(url: string, password: string): Promise<Bare> {
  const address = new URL(url);
  address.password = password;
  const client = new pg.Client({ connectionString: address.href });
  await client.connect();
  const types = COLUMNS.map((name, index) => `$${index + 1}::${name === 'seq' ? 'integer' : 'text'}[]`);
  return {
    run: async (text) => {
      await client.query(text);
    },
    rows: async () => (await client.query<Row>({ text: SELECT, rowMode: 'array' })).rows,
    insert: async (rows) => {
      const columns = COLUMNS.map((_, index) => rows.map((row) => row[index]));
      await client.query({
        name: 'insert',
        text: `insert into bare select * from unnest(${types.join(', ')})`,
        values: columns,
      });
    },
    close: () => client.end(),
  };
}

async function measure(place: Place, appenders: number, count: number): Promise<Round> {
  const metrics = new AuditMetrics(new Registry());
  const sizes: number[] = [];
  // Called once for each transaction.
  metrics.records.inc = (size) => sizes.push(Number(size));
  const store = await openAuditStore(place, metrics);
  const pages = Array.from({ length: count }, (_, index) => page(index));
  const waiting = [...pages];
  const appending = await seconds(() =>
    Promise.all(
      Array.from({ length: appenders }, async () => {
        for (let next = waiting.pop(); next; next = waiting.pop()) await store.append(next);
      }),
    ),
  );
  const sealing = await seconds(() => sealAll(store));
  const verifying = await seconds(async () => {
    const { faults, records } = await store.verify();
    if (faults.length > 0 || records !== count * NOTES)
      throw new Error(`${records} records, ${JSON.stringify(faults)}`);
  });
  await store.close();
  const { inserting, reading } = await measureBare(place, sizes);
  const records = count * NOTES;
  return {
    appended: records / appending,
    bare: records / inserting,
    together: median(sizes),
    sealed: count / sealing,
    verified: records / verifying,
    read: records / reading,
  };
}

/** The same rows in transactions of the same sizes, by the driver alone; and read again, with a hash of each. */
async function measureBare(place: Place, sizes: readonly number[]): Promise<{ inserting: number; reading: number }> {
  const bare = await place.bare();
  await bare.run(CREATE);
  let rows: Row[] = [];
  const reading = await seconds(async () => {
    rows = await bare.rows();
    for (const row of rows) createHash('sha256').update(row[5]).digest('hex');
  });
  const inserting = await seconds(async () => {
    let from = 0;
    for (const size of sizes) {
      await bare.insert(rows.slice(from, from + size));
      from += size;
    }
  });
  await bare.close();
  return { inserting, reading };
}

async function sealAll(store: AuditStore): Promise<void> {
  let sealed: number | undefined;
  do sealed = await store.seal();
  while (sealed !== 0);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1_000;
}

const NOTES = 8;

/** What a drain that recovers puts on record. */
function page(index: number): AuditPage {
  const id = randomUUID();
  const target = `k8s/prod/shop/pod/web-${index}`;
  const at = new Date().toISOString();
  const object = { key: target, uid: randomUUID() };
  const field = 'metadata.labels[salvor.dev/traffic]';
  const what = { object, field, at, requestId: randomUUID() };
  const rule = {
    name: 'pod-unready',
    runbook: 'drain-instance' as const,
    mode: 'act' as const,
    with: RUNBOOK_SPECS['drain-instance'].options.parse({}),
    gates: { ...BUILT_IN_GATES, maxInFlight: 2 },
    onFailure: { escalate: false },
    hush: false,
    approvers: [],
    approveWithin: 86_400_000,
  };
  const alert = {
    fingerprint: id.slice(0, 16),
    startsAt: at,
    alertname: 'KubePodNotReady',
    digest: id.slice(-12),
    by: 'alertmanager',
    labels: {
      namespace: 'shop',
      pod: `web-${index}`,
      severity: 'warning',
      container: 'app',
      job: 'kube-state-metrics',
    },
    annotations: { summary: `Pod shop/web-${index} is not ready.`, runbook_url: 'https://example.org/runbook' },
  };
  const why = 'Ready is False for 5m: the readiness probe answers 503; 3 of 4 pods of web are ready';
  const plan = ['label salvor.dev/traffic: on → off', 'wait up to 5m for it to recover', 'evict it'];
  const entries: AuditEntry[] = [
    { kind: 'begun', target, rule, ruleDigest: '0123456789abcdef', scope: 'prod/shop', alert, episode: id },
    { kind: 'evidence', what: 'diagnosis', verdict: 'sick', why, facts: { owner: { desired: 4, ready: 3 }, plan } },
    {
      kind: 'held',
      held: { object, field, before: 'on', set: 'off', remediation: id, runbook: rule.runbook, until: at },
    },
    { kind: 'change', change: { ...what, step: 'cut', what: plan[0] ?? '', before: 'on', after: 'off' } },
    { kind: 'evidence', what: 'hold', verdict: 'recovered', why: 'Ready for 30s' },
    { kind: 'change', change: { ...what, step: 'restore', what: 'label off → on', before: 'off', after: 'on' } },
    { kind: 'released', object, field },
    {
      kind: 'ended',
      outcome: 'recovered',
      reason: 'it was Ready again for 30s',
      lines: [why, ...plan, 'Ready for 30s', 'recovered'].map((text) => ({ at, text })),
    },
  ];
  const notes = entries.map((entry, n) => ({ key: String(n + 1), at, entry }));
  const { name, runbook, mode } = rule;
  const workflowId = remediationId(target);
  return {
    stream: { id, kind: 'remediation', workflowId, rule: name, target, runbook, mode, scope: 'prod/shop' },
    notes,
  };
}

function report(figures: ReadonlyMap<string, Round[]>): string {
  const row = (name: Name, appenders: number): string[] => {
    const rounds = figures.get(`${name} ${appenders}`) ?? [];
    const of = (field: keyof Round) => rounds.map((round) => round[field]);
    return [
      `${name}, ${appenders} at once`,
      `**${spread(of('appended'))}**`,
      spread(of('bare')),
      spread(ratios(of('appended'), of('bare'))),
      spread(of('together')),
      spread(of('sealed')),
      spread(of('verified')),
      spread(of('read')),
    ];
  };
  return table(
    [
      '',
      'records appended a second',
      'limit: bare inserts',
      'share of the limit',
      'records in a transaction',
      'heads sealed a second',
      'records verified a second',
      'limit: read and hash',
    ],
    DATABASES.flatMap((name) => LOADS.map(({ appenders }) => row(name, appenders))),
  );
}
