import { randomUUID } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { AuditPage } from '../../model/audit.ts';
import { CONTROL_ID } from '../../model/names.ts';
import type { Pause } from '../../model/pause.ts';
import { at, DATABASES, decisions, places } from './support.ts';

const given = places();

/** What the control notes of two orders of people, and of one that ended by itself. */
function orders(): AuditPage {
  const pause = (prefix: string, by: string): Pause => ({ prefix, by, reason: 'a look', since: at(0) });
  const everything = pause('', 'person:ada');
  return {
    stream: { id: randomUUID(), kind: 'control', workflowId: CONTROL_ID, rule: '', scope: '' },
    notes: [
      { key: 'r/1', at: at(0), entry: { kind: 'pause', pause: everything, undo: true } },
      { key: 'r/2', at: at(1), entry: { kind: 'pause', pause: pause('rule/pods', 'unverified:bob'), undo: false } },
      {
        key: 'r/3',
        at: at(2),
        entry: { kind: 'resume', prefix: 'k8s/prod', by: 'person:bob', reason: 'seen', ended: [] },
      },
    ],
  };
}

describe.each(DATABASES)('what people ordered, on %s', (kind) => {
  test('is listed beside the decisions, by who, what and when, and is no remediation', async () => {
    const store = await (await given.new(kind)).open();
    await store.append(orders());
    await store.append(decisions('web-0', 10));
    const listed = (await store.list({})).filter(({ outcome }) => outcome === 'paused' || outcome === 'resumed');
    expect(listed).toMatchObject([
      { at: at(2), outcome: 'resumed', target: 'k8s/prod', reason: 'k8s/prod is resumed by person:bob: seen' },
      { at: at(1), outcome: 'paused', rule: 'pods', by: 'unverified:bob' },
      { at: at(0), outcome: 'paused', rule: '', reason: 'everything is paused by person:ada (a look)' },
    ]);
    expect(await store.list({ by: 'bob' })).toHaveLength(2);
    expect(await store.list({ outcome: 'refused' })).toHaveLength(1);
    expect(await store.streams({})).toEqual([]);
    expect((await store.verify()).faults).toEqual([]);
  });

  test('cannot be passed off as another stream', async () => {
    const place = await given.new(kind);
    const store = await place.open();
    const page = orders();
    await store.append({ ...page, stream: { ...page.stream, kind: 'responder' } });
    const { faults } = await store.verify();
    expect(faults).toMatchObject([{ kind: 'altered', stream: page.stream.id }]);
  });
});
