import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { Client } from '@temporalio/client';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import type { AuditLine, AuditRecord, StreamSummary, Verification } from '../../audit/store.ts';
import { mergeRefusals } from '../../cli/pending.ts';
import type { AuditEntry, AuditPage } from '../../model/audit.ts';
import { WORKFLOW } from '../../model/names.ts';
import { startPostgres } from '../../sandbox/postgres.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';
import { at, drained } from './records.ts';
import { type Ended, salvor as invoke } from './salvor.ts';

/** Every command is a process of its own, on a real store; without Temporal, but where the merging of both is tested. */
let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'salvor-audit-'));
  configure('127.0.0.1:9');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const configure = (temporal: string): void =>
  writeFileSync(
    join(folder, 'salvor.yaml'),
    `temporal: { address: ${temporal} }\naudit: { url: file:./audit.db }\nclusters: [{ name: prod, kubeconfig: ./none }]\n`,
  );
const salvor = (...args: string[]): Promise<Ended> => invoke(args, { cwd: folder });
const file = (): string => join(folder, 'audit.db');

async function record(...pages: AuditPage[]): Promise<void> {
  const store = await openAuditStore({ url: `file:${file()}` });
  for (const page of pages) await store.append(page);
  await store.seal();
  await store.close();
}

async function json<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, status } = await salvor(...args, '--json');
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as T;
}

/** A remediation of another target and rule, by a person, that failed later. */
function failed(): AuditPage {
  const { remediation } = drained();
  const target = 'k8s/prod/pay/pod/api-0';
  const page: AuditPage = structuredClone(remediation);
  Object.assign(page.stream, { target, rule: 'run:drain-instance', workflowId: `remediation/${target}` });
  for (const note of page.notes) {
    note.at = new Date(Date.parse(note.at) + 86_400_000).toISOString();
    if (note.entry.kind === 'begun') note.entry.alert.by = 'person:ada';
    if (note.entry.kind === 'ended')
      Object.assign(note.entry, { outcome: 'failed', reason: 'its Disruption Budget allows no eviction' });
  }
  return page;
}

/** A responder's decision to refuse. */
function refusal(target: string, seconds = 60): AuditPage {
  const { responder } = drained();
  const [note] = responder.notes;
  const entry = structuredClone(note!.entry) as AuditEntry & { kind: 'decision' };
  entry.target = target;
  entry.decision = { answer: 'refuse', gate: 'retries', reason: 'the retry budget is spent' };
  return { ...responder, notes: [{ key: '1', at: at(seconds), entry }] };
}

describe('salvor audit list', () => {
  it('shows remediations and decisions, the latest first, by every filter', async () => {
    const { remediation, responder } = drained();
    const other = failed();
    await record(remediation, responder, other);
    const [id, otherId] = [remediation.stream.id, other.stream.id];
    const ids = async (...args: string[]): Promise<string[]> =>
      (await json<AuditLine[]>('audit', 'list', ...args)).map(({ stream }) => stream);

    expect(await ids()).toEqual([otherId, id, responder.stream.id]);
    expect(await ids('--limit', '1')).toEqual([otherId]);
    expect(await ids('--since', '2026-03-01T12:00:00Z')).toEqual([otherId]);
    expect(await ids('--until', '2026-03-01T12:00:00Z')).toEqual([id, responder.stream.id]);
    expect(await ids('--since', '1m')).toEqual([]);
    expect(await ids('--rule', 'run:drain-instance')).toEqual([otherId]);
    expect(await ids('--runbook', 'drain-instance')).toEqual([otherId, id]);
    expect(await ids('--target', 'k8s/prod/pay/pod/api-0')).toEqual([otherId]);
    expect(await ids('--outcome', 'remediated')).toEqual([id]);
    expect(await ids('--outcome', 'waiting')).toEqual([responder.stream.id]);
    expect(await ids('--by', 'ada')).toEqual([otherId]);
    expect(await ids('--reason', 'disruption budget')).toEqual([otherId]);
    expect(await ids('--reason', 'nothing of the kind')).toEqual([]);

    const { stdout } = await salvor('audit', 'list');
    expect(stdout).toMatch(/failed +run:drain-instance +k8s\/prod\/pay\/pod\/api-0 +person:ada +its Disruption Budget/);
    expect(stdout).toMatch(/waiting +pod-unready .* in-flight: 1 of at most 1/);
  });

  it('says what a time may look like, and that a store is not there', async () => {
    expect(await salvor('audit', 'list', '--since', 'yesterday')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('such as 30d or 2h'),
    });
    expect(await salvor('audit', 'list')).toMatchObject({
      status: 4,
      stdout: '',
      stderr: expect.stringContaining('does not exist'),
    });
  });
});

describe('salvor audit show', () => {
  it('shows all records of a run, by its ID, the beginning of it, or its target', async () => {
    const { remediation } = drained();
    await record(remediation);
    const { id, target } = remediation.stream;
    const shown = await salvor('audit', 'show', id);
    expect(shown.status).toBe(0);
    for (const { entry } of remediation.notes)
      expect(shown.stdout).toMatch(new RegExp(`^ +\\d+ .* ${entry.kind} `, 'm'));
    expect(shown.stdout).toContain('cut: label salvor.dev/traffic: on → off');
    expect((await salvor('audit', 'show', id.slice(0, 8))).stdout).toBe(shown.stdout);
    expect((await salvor('audit', 'show', target ?? '')).stdout).toBe(shown.stdout);

    const raw = await json<StreamSummary & { recorded: AuditRecord[] }>('audit', 'show', id);
    expect(raw).toMatchObject({ id, outcome: 'remediated', records: remediation.notes.length });
    expect(raw.recorded.map(({ seq }) => seq)).toEqual(remediation.notes.map((_, place) => place + 1));
    for (const [place, { previous }] of raw.recorded.entries())
      expect(previous).toBe(raw.recorded[place - 1]?.hash ?? '0'.repeat(64));
    expect(raw.recorded.at(-1)?.hash).toBe(raw.head);
  });

  it('says so where nothing, or more than one, is meant', async () => {
    const pages = ['0', '1'].map((last) => {
      const { remediation } = drained();
      const id = `abcdef01-0000-4000-8000-00000000000${last}`;
      return { ...remediation, stream: { ...remediation.stream, id } };
    });
    await record(...pages);
    expect(await salvor('audit', 'show', 'abcdef01')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('more than one'),
    });
    expect(await salvor('audit', 'show', 'abc')).toMatchObject({ status: 2 });
    expect(await salvor('audit', 'show', 'ffffffff')).toMatchObject({ status: 1 });
    expect(await salvor('audit', 'show', 'k8s/prod/shop/pod/none')).toMatchObject({ status: 1 });
  });
});

/** RFC 4180, as a spreadsheet reads it. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  for (let row: string[] = [], rest = text; rest !== ''; ) {
    const cell = /^(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/.exec(rest);
    if (!cell) throw new Error(`not a cell: ${rest.slice(0, 80)}`);
    row.push(cell[1]?.replaceAll('""', '"') ?? cell[2] ?? '');
    if (cell[3] === '\r\n') {
      rows.push(row);
      row = [];
    }
    rest = rest.slice(cell[0].length);
  }
  return rows;
}

describe('salvor audit export', () => {
  it('writes every record as it is, one a line, and only those that a filter lets through', async () => {
    const { remediation, responder } = drained();
    const other = failed();
    await record(remediation, responder, other);
    const exported = async (...args: string[]): Promise<AuditRecord[]> => {
      const { stdout, status } = await salvor('audit', 'export', ...args);
      expect(status).toBe(0);
      return stdout
        .split('\n')
        .filter(Boolean)
        .map((line) => JSON.parse(line) as AuditRecord);
    };
    const all = await exported();
    expect(all).toHaveLength(remediation.notes.length + responder.notes.length + other.notes.length);
    expect(all.map(({ key, at: time, entry }) => ({ key, at: time, entry }))).toEqual(
      [remediation, responder, other].flatMap(({ notes }) => notes),
    );
    expect((await exported('--by', 'ada')).map(({ stream }) => stream)).toEqual(other.notes.map(() => other.stream.id));

    const { stdout, stderr } = await salvor('audit', 'export', '--output', 'out.jsonl');
    expect(stdout).toBe('');
    expect(stderr).toContain(`${all.length} records in out.jsonl`);
    expect(readFileSync(join(folder, 'out.jsonl'), 'utf8')).toBe(
      `${all.map((one) => JSON.stringify(one)).join('\n')}\n`,
    );
    expect(await salvor('audit', 'export', '-o', 'no/such/folder')).toMatchObject({ status: 2 });
  });

  it('writes CSV that a spreadsheet takes, and does not take for formulas', async () => {
    const { remediation } = drained();
    const evil = ['=1+1', '+1', '-1', '@x', '\t=1', 'a "quoted", "cell"\r\nof two lines'];
    const notes = evil.map((by, place) => ({
      key: `${place}`,
      at: at(place),
      entry: { kind: 'cancel', by, reason: '=x' } as const,
    }));
    await record({
      ...remediation,
      notes: [...remediation.notes.slice(0, 1), ...notes.map((note) => ({ ...note, key: `c${note.key}` }))],
    });
    const { stdout } = await salvor('audit', 'export', '--format', 'csv');
    const [head, ...rows] = parseCsv(stdout);
    expect(new Set(rows.map(({ length }) => length))).toEqual(new Set([head!.length]));
    const column = (name: string) => rows.map((row) => row[head!.indexOf(name)]);
    expect(column('by').slice(1)).toEqual(["'=1+1", "'+1", "'-1", "'@x", "'\t=1", evil[5]]);
    expect(new Set(column('target'))).toEqual(new Set([remediation.stream.target]));
    expect(
      column('entry')
        .slice(1)
        .map((entry) => JSON.parse(entry!).by),
    ).toEqual(evil);
  });
});

describe('salvor audit verify', () => {
  const tamper = (sql: string): void => {
    const database = new DatabaseSync(file());
    database.exec(sql);
    database.close();
  };

  it('finds a sound store sound, and gives the head that the next verification compares with', async () => {
    await record(drained().remediation);
    const first = await json<Verification>('audit', 'verify');
    expect(first).toMatchObject({ faults: [], unsealed: 0 });
    await record(drained().remediation);
    const anchor = `${first.head?.number}:${first.head?.hash}`;
    const { stdout, status } = await salvor('audit', 'verify', '--anchor', anchor);
    expect({ status, stdout }).toMatchObject({ status: 0, stdout: expect.stringMatching(/^sound, and goes on from/) });
    // Its output can be kept as it is.
    writeFileSync(join(folder, 'anchor'), /^head .*$/m.exec(stdout)?.[0] ?? '');
    expect(await salvor('audit', 'verify', '--anchor-file', 'anchor')).toMatchObject({ status: 0 });
  });

  it('names what was altered, and a log that was cut off behind the anchor', async () => {
    const [one, two] = [drained().remediation, drained().remediation];
    await record(one);
    await record(two);
    const { head } = await json<Verification>('audit', 'verify');
    tamper(`update records set entry = replace(entry, 'sick', 'well') where stream = '${one.stream.id}' and seq = 2`);
    const altered = await salvor('audit', 'verify');
    expect(altered.status).toBe(1);
    expect(altered.stdout).toContain('altered');
    expect(altered.stdout).toContain(one.stream.id);

    tamper(`update records set entry = replace(entry, 'well', 'sick') where stream = '${one.stream.id}' and seq = 2`);
    expect(await salvor('audit', 'verify')).toMatchObject({ status: 0 });
    rmSync(file());
    await record(one);
    const cut = await salvor('audit', 'verify', '--anchor', `${head?.number}:${head?.hash}`);
    expect(cut).toMatchObject({ status: 1, stdout: expect.stringContaining('anchor') });
  });

  it('says what an anchor is, and where there is no store', async () => {
    expect(await salvor('audit', 'verify', '--anchor', '12')).toMatchObject({ status: 2 });
    expect(await salvor('audit', 'verify', '--anchor-file', 'none')).toMatchObject({ status: 2 });
    expect(await salvor('audit', 'verify')).toMatchObject({ status: 4 });
  });
});

describe('a store in PostgreSQL', () => {
  it('is opened with the password of a file; down, or without it, nobody can tell', async () => {
    const postgres = await startPostgres();
    try {
      const url = await postgres.createDatabase('audit');
      const { remediation } = drained();
      const store = await openAuditStore({ url, password: postgres.password });
      await store.append(remediation);
      await store.seal();
      await store.close();
      writeFileSync(join(folder, 'password'), `${postgres.password}\n`);
      writeFileSync(join(folder, 'salvor.yaml'), JSON.stringify({ audit: { url, passwordFile: './password' } }));
      expect(await json<AuditLine[]>('audit', 'list')).toMatchObject([{ stream: remediation.stream.id }]);
      expect(await salvor('audit', 'verify')).toMatchObject({ status: 0, stdout: expect.stringMatching(/^sound/) });
      rmSync(join(folder, 'password'));
      expect(await salvor('audit', 'list')).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('passwordFile'),
      });
      writeFileSync(join(folder, 'password'), postgres.password);
      await postgres.shutDown();
      const down = await salvor('audit', 'verify');
      expect(down).toMatchObject({ status: 4, stdout: '', stderr: expect.stringContaining('cannot be reached') });
      expect(down.stderr).not.toContain(postgres.password);
    } finally {
      await postgres.stop();
    }
  });
});

describe('refusals', () => {
  it('are told once: by their record, which knows the target and the time, where there is one', () => {
    const refused = { outcome: 'refused', rule: 'r', scope: 'prod/shop' } as const;
    const [kept, known] = ['the queue is full', 'the retry budget is spent'].map((reason) => ({ ...refused, reason }));
    const waiting = { ...refused, outcome: 'waiting', reason: known!.reason } as const;
    const line: AuditLine = {
      stream: 's',
      seq: 1,
      at: at(0),
      kind: 'decision',
      rule: 'r',
      target: 'k8s/prod/shop/pod/web-0',
      outcome: 'refused',
      reason: `retries: ${known!.reason}`,
    };
    const { target, reason } = line;
    const told = { outcome: 'refused', rule: 'r', target, reason, since: at(0) };
    expect(mergeRefusals([kept!, known!, waiting], [line])).toEqual([kept, waiting, told]);
  });
});

interface Row {
  id?: string;
  target: string;
  outcome: string;
  reason?: string;
}

describe('salvor list and show', () => {
  let sandbox: Sandbox<'temporal'>;
  let client: Client;
  beforeAll(async () => {
    sandbox = await startSandbox({ parts: ['temporal'] });
    client = new Client({ connection: await connectTo(sandbox.temporal.address) });
  });
  afterAll(async () => {
    await client?.connection.close();
    await sandbox?.stop();
  });
  beforeEach(() => configure(sandbox.temporal.address));

  /** An open run of a real server, which no worker takes up; and its first record. */
  async function opened(): Promise<{ page: AuditPage; end(): Promise<void> }> {
    const { remediation } = drained();
    const { target, workflowId, rule } = remediation.stream;
    const handle = await client.workflow.start(WORKFLOW.remediation, {
      workflowId,
      taskQueue: `nobody-${randomUUID()}`,
      args: [remediation.notes[0]?.entry],
      memo: { target, rule, runbook: 'drain-instance', mode: 'act' },
    });
    const id = handle.firstExecutionRunId;
    const page = { stream: { ...remediation.stream, id }, notes: remediation.notes };
    return { page, end: async () => void (await handle.terminate('a test')) };
  }
  const begun = (page: AuditPage): AuditPage => ({ ...page, notes: page.notes.slice(0, 4) });
  const list = (...args: string[]): Promise<Row[]> => json<Row[]>('list', '--limit', '1000', ...args);
  const idOf = ({ stream }: AuditPage): string => stream.id;

  it('tell what Temporal has open and what the store has of the others, each once', async () => {
    const [open, over, unrecorded] = [await opened(), await opened(), await opened()];
    await over.end();
    await unrecorded.end();
    const [past, lost, refused] = [
      drained().remediation,
      begun(drained().remediation),
      refusal('k8s/prod/shop/pod/web-0'),
    ];
    await record(begun(open.page), over.page, past, lost, refused);
    const mine = [open.page, over.page, unrecorded.page, past, lost].map(idOf);
    const listed = (status: string, ...pages: AuditPage[]) =>
      client.workflow.count(
        `ExecutionStatus = '${status}' AND (${pages.map((page) => `RunId = '${idOf(page)}'`).join(' OR ')})`,
      );
    await eventually('Temporal lists what is open', async () => (await listed('Running', open.page)).count === 1);
    await eventually(
      'Temporal lists the ends',
      async () => (await listed('Terminated', over.page, unrecorded.page)).count === 2,
    );
    const rows = (await list()).filter(({ id, target }) => (id ? mine.includes(id) : target.endsWith('/web-0')));
    expect(rows.map(({ id }) => id)).toHaveLength(6);
    const found = (page: AuditPage) => rows.find(({ id }) => id === idOf(page));
    expect(found(open.page)).toMatchObject({ outcome: 'running' });
    // Ended without a word as far as Temporal knows; on record with its outcome.
    expect(found(over.page)).toMatchObject({ outcome: 'remediated', reason: 'web-new is Ready' });
    expect(found(unrecorded.page)).toMatchObject({ outcome: 'terminated' });
    expect(found(past)).toMatchObject({ outcome: 'remediated' });
    expect(found(lost)).toMatchObject({ outcome: 'running', reason: expect.stringContaining('knows it no more') });
    expect(rows.filter(({ outcome }) => outcome === 'refused')).toMatchObject([
      { target: 'k8s/prod/shop/pod/web-0', reason: 'retries: the retry budget is spent' },
    ]);
    // What is open comes first.
    expect(rows.slice(0, 2).map(({ outcome }) => outcome)).toEqual(['running', 'running']);

    expect((await list('--outcome', 'remediated')).map(({ id }) => id).toSorted()).toEqual(
      [over.page, past].map(idOf).toSorted(),
    );
    expect(await list('--outcome', 'refused')).toMatchObject([{ outcome: 'refused' }]);
    expect(await list('--target', past.stream.target ?? '')).toMatchObject([{ id: idOf(past) }]);

    const shown = await salvor('show', idOf(past));
    expect(shown).toMatchObject({ status: 0, stderr: expect.stringContaining('told from the audit store') });
    expect(shown.stdout).toContain('remediated');
    expect(await json<object>('show', past.stream.target ?? '')).toMatchObject({
      id: idOf(past),
      source: 'audit',
      outcome: 'remediated',
      story: { changes: [{ step: 'cut' }, { step: 'replace' }], held: [], ending: { outcome: 'remediated' } },
    });
    expect(await salvor('show', 'ffffffff')).toMatchObject({ status: 1 });
    await open.end();
  });

  it('show what Temporal has where the store is not there, and say so in one line', async () => {
    const open = await opened();
    const listed = await eventually('it is listed', async () => {
      const ended = await salvor('list', '--outcome', 'running');
      return ended.stdout.includes(open.page.stream.target ?? '?') && ended;
    });
    expect(listed.status).toBe(0);
    expect(listed.stderr).toMatch(/^the audit store .* does not exist.*: only what Temporal still keeps is shown\n$/);
    await open.end();
  });

  it('show what the store has where Temporal is gone; and 4 only where neither answers', async () => {
    configure('127.0.0.1:9');
    expect(await salvor('list')).toMatchObject({
      status: 4,
      stdout: '',
      stderr: expect.stringMatching(/127\.0\.0\.1:9 cannot be reached, and the audit store .* does not exist/),
    });
    const { remediation } = drained();
    await record(remediation);
    const listed = await salvor('list');
    expect(listed).toMatchObject({ status: 0, stdout: expect.stringContaining('remediated') });
    expect(listed.stderr).toMatch(/^Temporal at 127\.0\.0\.1:9 cannot be reached: .*\n$/);
    const shown = await salvor('show', remediation.stream.id.slice(0, 18));
    expect(shown).toMatchObject({
      status: 0,
      stderr: expect.stringContaining('cannot be reached: told from the audit'),
    });
    expect(await salvor('show', 'ffffffff')).toMatchObject({ status: 4 });
  });
});
