import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import pg from 'pg';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import type { AuditStore, AuditStoreOptions } from '../../audit/store.ts';
import type { AuditEntry, AuditPage, AuditStream } from '../../model/audit.ts';
import type { Held } from '../../model/change.ts';
import { BUILT_IN_GATES } from '../../model/config-schema.ts';
import { remediationId, responderId } from '../../model/names.ts';
import type { ResolvedRule } from '../../model/rule.ts';
import { RUNBOOK_SPECS } from '../../model/runbooks.ts';
import { type Postgres, startPostgres } from '../../sandbox/postgres.ts';

export const DATABASES = ['sqlite', 'postgres'] as const;

/** An empty database, which is one test's own. */
export interface Place {
  options: AuditStoreOptions;
  /** As many stores as wanted; all are closed with the test. */
  open(options?: Partial<AuditStoreOptions>): Promise<AuditStore>;
  /** Runs a statement behind the store's back. */
  sql(text: string, parameters?: (string | number | null | Uint8Array)[]): Promise<Record<string, unknown>[]>;
}

/** For the tests of one file: makes places, with one PostgreSQL for all of them. */
export function places(): { new: (kind: (typeof DATABASES)[number]) => Promise<Place>; readonly postgres: Postgres } {
  let postgres: Postgres;
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'salvor-audit-test-'));
    postgres = await startPostgres();
  });
  afterAll(async () => {
    await postgres?.stop();
    await rm(folder, { recursive: true, force: true });
  });
  const opener = (own: AuditStoreOptions) => async (options?: Partial<AuditStoreOptions>) => {
    const store = await openAuditStore({ ...own, ...options });
    onTestFinished(() => store.close());
    return store;
  };
  return {
    get postgres() {
      return postgres;
    },
    async new(kind) {
      if (kind === 'sqlite') {
        const path = join(folder, randomUUID(), 'audit.db');
        const options = { url: `file:${path}` };
        return { options, open: opener(options), sql: async (...given) => sqlite(path, ...given) };
      }
      const url = await postgres.createDatabase(`test-${randomUUID()}`);
      const options = { url, password: postgres.password };
      return { options, open: opener(options), sql: (...given) => postgresql(url, postgres.password, ...given) };
    },
  };
}

function sqlite(path: string, text: string, parameters: (string | number | null | Uint8Array)[] = []) {
  const database = new DatabaseSync(path, { timeout: 5_000 });
  try {
    return database.prepare(text).all(...parameters);
  } finally {
    database.close();
  }
}

async function postgresql(url: string, password: string, text: string, parameters: unknown[] = []) {
  const { hostname, port, username, pathname } = new URL(url);
  const database = pathname.slice(1);
  const client = new pg.Client({ host: hostname, port: Number(port), user: username, database, password });
  await client.connect();
  try {
    let count = 0;
    return (
      await client.query(
        text.replaceAll('?', () => `$${++count}`),
        parameters,
      )
    ).rows as Record<string, unknown>[];
  } finally {
    await client.end();
  }
}

const START = Date.parse('2026-11-01T12:00:00.000Z');
/** ISO time, so many seconds after the beginning. */
export const at = (seconds: number): string => new Date(START + seconds * 1000).toISOString();

const rule = (name: string): ResolvedRule => ({
  name,
  runbook: 'drain-instance',
  mode: 'act',
  with: RUNBOOK_SPECS['drain-instance'].options.parse({}),
  gates: { ...BUILT_IN_GATES, maxInFlight: 2 },
  onFailure: { escalate: false },
  hush: false,
  approvers: [],
  approveWithin: 86_400_000,
});

export interface About {
  name: string;
  rule?: string;
  namespace?: string;
  by?: string;
  /** Seconds after the beginning. */
  since?: number;
  labels?: Record<string, string>;
  reason?: string;
  outcome?: 'remediated' | 'recovered' | 'failed';
}

/** A remediation from its beginning to its end: 8 notes. */
export function remediation(about: About): AuditPage & { held: Held } {
  const { name, rule: ruleName = 'pod-unready', namespace = 'shop', since = 0 } = about;
  const id = randomUUID();
  const target = `k8s/prod/${namespace}/pod/${name}`;
  const scope = `prod/${namespace}`;
  const of = rule(ruleName);
  const stream: AuditStream = {
    id,
    kind: 'remediation',
    workflowId: remediationId(target),
    rule: ruleName,
    target,
    runbook: 'drain-instance',
    mode: of.mode,
    scope,
  };
  const object = { key: target, uid: `uid-of-${name}` };
  const field = 'metadata.labels[salvor.dev/traffic]';
  const held: Held = {
    object,
    field,
    before: 'on',
    set: 'off',
    remediation: id,
    runbook: 'drain-instance',
    until: at(since + 600),
  };
  const change = { what: 'label salvor.dev/traffic', object, field, requestId: randomUUID() };
  const entries: AuditEntry[] = [
    {
      kind: 'begun',
      target,
      rule: of,
      ruleDigest: '0123456789abcdef',
      scope,
      alert: {
        fingerprint: '89abcdef01234567',
        startsAt: at(since - 60),
        alertname: 'KubePodNotReady',
        digest: 'fedcba9876543210',
        by: about.by ?? 'alertmanager',
        labels: about.labels ?? { namespace, pod: name },
      },
      episode: `${ruleName}/${id}`,
    },
    { kind: 'evidence', what: 'diagnosis', verdict: 'sick', why: 'not Ready since 5m', facts: { restarts: 3 } },
    { kind: 'held', held },
    { kind: 'change', change: { ...change, step: 'cut', before: 'on', after: 'off', at: at(since + 2) } },
    { kind: 'evidence', what: 'hold', verdict: 'recovered', why: 'Ready for 30s' },
    { kind: 'change', change: { ...change, step: 'restore', before: 'off', after: 'on', at: at(since + 90) } },
    { kind: 'released', object, field },
    {
      kind: 'ended',
      outcome: about.outcome ?? 'recovered',
      reason: about.reason ?? 'it was Ready again for 30s',
      lines: [{ at: at(since), text: 'KubePodNotReady' }],
    },
  ];
  const notes = entries.map((entry, index) => ({ key: String(index + 1), at: at(since + index), entry }));
  return { stream, notes, held };
}

/** A responder that refused one request and lets another wait. */
export function decisions(name: string, since = 0, namespace = 'shop'): AuditPage {
  const scope = `prod/${namespace}`;
  const about = { scope, rule: 'pod-unready', ruleDigest: '0123456789abcdef', mode: 'act' as const, since: at(since) };
  const target = `k8s/prod/${namespace}/pod/${name}`;
  const alert = {
    fingerprint: '89abcdef01234567',
    startsAt: at(since - 60),
    alertname: 'KubePodNotReady',
    digest: 'fedcba9876543210',
    by: 'alertmanager',
  };
  const stream: AuditStream = {
    id: randomUUID(),
    kind: 'responder',
    workflowId: responderId('pod-unready', scope),
    rule: 'pod-unready',
    scope,
  };
  const entry = (answer: 'wait' | 'refuse', gate: string, reason: string): AuditEntry => ({
    kind: 'decision',
    ...about,
    target,
    alert,
    decision: { answer, gate, reason },
  });
  return {
    stream,
    notes: [
      { key: '1', at: at(since), entry: entry('wait', 'in-flight', '2 of at most 2 remediations are open') },
      { key: '2', at: at(since + 1), entry: entry('refuse', 'retry-budget', '4 remediations of the scope FAILED') },
    ],
  };
}

export async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const got: T[] = [];
  for await (const item of items) got.push(item);
  return got;
}
