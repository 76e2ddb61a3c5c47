import { gunzipSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AuditEntry } from '../../model/audit.ts';
import { all, at, DATABASES, decisions, type Place, places, remediation } from './support.ts';

const given = places();

const TABLES = ['streams', 'records', 'held', 'log', 'tail', 'histories'];

/** All that the database holds, as text. */
async function everything({ sql }: Place): Promise<string> {
  const parts: string[] = [];
  for (const table of TABLES)
    for (const row of await sql(`select * from ${table}`))
      for (const value of Object.values(row))
        parts.push(value instanceof Uint8Array ? gunzipSync(value).toString('utf8') : String(value));
  return parts.join('\n');
}

const letters = fc.string({
  unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789'),
  minLength: 24,
  maxLength: 40,
});
/** A secret as it stands in a text: each way has a pattern that must find it. */
const written = fc.tuple(letters, fc.nat(9)).map(([secret, way]) => {
  const base64 = Buffer.from(`ada:${secret}`).toString('base64');
  const ways: [secret: string, text: string][] = [
    [secret, `login failed for ada, password=${secret}, again`],
    [secret, `{"user":"ada","api_key":"${secret}"}`],
    [secret, `GET / Authorization: Bearer ${secret}`],
    [base64, `Authorization: Basic ${base64}`],
    [secret, `postgres://ada:${secret}@db.example:5432/shop`],
    [secret, `remote: https://ghp_${secret}@git.example`],
    [secret, `xoxb-${secret}`],
    [secret, `eyJ${secret}.${secret}.${secret}`],
    [secret, `-----BEGIN PRIVATE KEY-----\n${secret}\n-----END PRIVATE KEY-----`],
    [secret, `--token ${secret}`],
  ];
  return ways[way]!;
});

describe.each(DATABASES)('a store on %s', (kind) => {
  test('never has a secret in any column, wherever it was planted', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    let count = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(written, { minLength: 11, maxLength: 11 }), letters, async (planted, bare) => {
        const text = (index: number) => planted[index]![1];
        const name = `web-${count++}`;
        const page = remediation({
          name,
          since: count,
          reason: text(0),
          labels: { password: bare, summary: text(1), [text(2)]: 'x' },
        });
        const entries: AuditEntry[] = [
          {
            kind: 'evidence',
            what: text(3),
            verdict: 'sick',
            why: text(4),
            facts: { log: [text(5)], clientSecret: bare },
          },
          {
            kind: 'change',
            change: {
              step: 'x',
              what: text(6),
              object: page.held.object,
              field: 'data.token',
              before: bare,
              after: text(7),
              at: at(1),
            },
          },
          { kind: 'held', held: { ...page.held, field: 'other', before: text(8) } },
        ];
        await store.append(page);
        await store.append({ ...page, notes: entries.map((entry, i) => ({ key: `x${i}`, at: at(i), entry })) });
        const asked = decisions(name);
        const [first] = asked.notes;
        const decision = first!.entry as Extract<AuditEntry, { kind: 'decision' }>;
        const scope = text(9);
        const refused = { answer: 'refuse' as const, gate: 'x', reason: text(10) };
        await store.append({
          stream: { ...asked.stream, scope },
          notes: [{ ...first!, entry: { ...decision, scope, decision: refused } }],
        });
        const payload = {
          metadata: { encoding: 'anNvbi9wbGFpbg==' },
          data: Buffer.from(JSON.stringify({ password: bare, why: text(0) })).toString('base64'),
        };
        const failure = { message: text(1), stackTrace: text(2) };
        await store.keepHistory(page.stream.id, {
          json: JSON.stringify({ events: [{ input: { payloads: [payload] }, failure }] }),
          events: 1,
        });
        const stored = await everything(place);
        for (const [secret] of [...planted, [bare] as const]) {
          expect(stored).not.toContain(secret);
          expect(stored).not.toContain(Buffer.from(secret).toString('base64').slice(4, -4));
        }
      }),
      { numRuns: 12 },
    );
    await store.seal();
    expect((await store.verify()).faults).toEqual([]);
  });

  test('keeps of a history what is no secret, byte for byte', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const page = remediation({ name: 'web-0' });
    await store.append(page);
    const payload = (value: unknown) => ({
      metadata: { encoding: 'anNvbi9wbGFpbg==' },
      data: Buffer.from(JSON.stringify(value, null, 1)).toString('base64'),
    });
    const bytes = {
      metadata: { encoding: 'YmluYXJ5' },
      data: Buffer.from([0xff, 0xfe, 0x00, 0x80]).toString('base64'),
    };
    const history = (secret: string) => ({
      events: [
        {
          eventId: '1',
          eventTime: at(0),
          taskToken: 'CiQ0Zg==',
          input: { payloads: [payload({ a: 1, b: [true, null] }), bytes] },
        },
        { eventId: '2', identity: '1@host', result: { payloads: [payload({ token: secret, kept: 'yes' })] } },
      ],
    });
    const json = JSON.stringify(history('s3cr3t'));
    await store.keepHistory(page.stream.id, { json, events: 2 });
    const [kept] = await all(store.histories({ stream: page.stream.id }));
    const { events } = JSON.parse(kept!.json) as ReturnType<typeof history>;
    expect(events[0]).toEqual(history('x').events[0]);
    const result = events[1]?.result?.payloads[0];
    expect(JSON.parse(Buffer.from(String(result?.data), 'base64').toString())).toEqual({
      token: '[redacted]',
      kept: 'yes',
    });
  });
});
