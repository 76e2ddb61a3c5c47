import { createHash, randomUUID } from 'node:crypto';
import type { AuditRecord } from '../../audit/store.ts';
import type { AuditEntry, AuditNote, AuditPage } from '../../model/audit.ts';
import type { Change, Held } from '../../model/change.ts';
import type { RecordedAlert } from '../../model/request.ts';
import { rule } from '../support/workflows.ts';

/** What a label may hold that wants to be more than a label, wherever it is shown. */
export const HOSTILE = `</style></script><script>document.title='owned'</script><img src=//evil.example/x onerror=alert(1)>"' & \u{1b}[31m\u{202e}`;

const START = Date.parse('2026-03-01T02:00:00Z');

/** ISO time, so many seconds after the beginning. */
export const at = (seconds: number): string => new Date(START + seconds * 1000).toISOString();

/** A remediation that waited its turn, cut the traffic, waited in vain, and had the pod replaced. */
export function drained(labels: Record<string, string> = {}): { remediation: AuditPage; responder: AuditPage } {
  const id = randomUUID();
  const target = `k8s/prod/shop/pod/web-${id.slice(0, 8)}`;
  const object = { key: target, uid: `uid-${id.slice(0, 8)}` };
  const field = 'metadata.labels[salvor.dev/traffic]';
  const alert: RecordedAlert = {
    fingerprint: id,
    startsAt: at(-60),
    alertname: 'PodUnable',
    digest: '0011223344556677',
    by: 'alertmanager',
    labels: { namespace: 'shop', severity: 'page', ...labels },
    annotations: { summary: 'does not answer its readiness probe' },
  };
  const held: Held = {
    object,
    field,
    before: 'on',
    set: 'off',
    remediation: id,
    runbook: 'drain-instance',
    until: at(1_800),
  };
  const change = (step: string, what: string, seconds: number, rest: Partial<Change>): Change => ({
    step,
    what,
    object,
    field,
    before: 'on',
    after: 'off',
    at: at(seconds),
    requestId: 'req-1',
    ...rest,
  });
  const cut = change('cut', 'label salvor.dev/traffic: on → off', 0.4, {});
  const evict = change('replace', 'evicted', 318, { field: 'eviction', before: null, after: true, requestId: 'req-2' });
  const r = rule('pod-unready');
  const line = (seconds: number, phase: string, text: string) => ({ at: at(seconds), phase, text });
  const facts = { owner: { desired: 3, ready: 2 }, plan: ['label salvor.dev/traffic: on → off', 'evict it'] };
  const entries: [number, AuditEntry][] = [
    [0, { kind: 'begun', target, rule: r, ruleDigest: 'abcdef0123456789', scope: 'prod/shop', alert, episode: id }],
    [0.2, { kind: 'evidence', what: 'diagnosis', verdict: 'sick', why: 'not Ready for 5m', facts }],
    [0.2, { kind: 'held', held }],
    [0.5, { kind: 'change', change: cut }],
    [300, { kind: 'evidence', what: 'hold', verdict: 'sick', why: 'still not Ready' }],
    [318.2, { kind: 'change', change: evict }],
    [318.2, { kind: 'evidence', what: 'replace', verdict: 'replaced', why: 'evicted within its budget' }],
    [318.2, { kind: 'released', object, field }],
    [330, { kind: 'evidence', what: 'verify', verdict: 'verified', why: 'web-new is Ready' }],
    [
      330,
      {
        kind: 'ended',
        outcome: 'remediated',
        reason: 'web-new is Ready',
        lines: [
          line(0, 'diagnose', `PodUnable of ${at(-60)}, rule pod-unready, mode act`),
          line(0.2, 'diagnose', 'not Ready for 5m'),
          line(0.3, 'cut', 'traffic: label (its Services select on it)'),
          line(0.5, 'cut', cut.what),
          line(0.5, 'hold', 'waiting up to 5m for it to recover'),
          line(300, 'hold', 'still not Ready'),
          line(300.1, 'replace', 'asking for its eviction'),
          line(318.2, 'replace', 'evicted'),
          line(318.2, 'verify', 'evicted within its budget'),
          line(330, 'remediated', 'remediated: web-new is Ready'),
        ],
      },
    ],
  ];
  const workflowId = `remediation/${target}`;
  const about = { rule: r.name, scope: 'prod/shop' };
  const waited: AuditEntry = {
    kind: 'decision',
    ...about,
    ruleDigest: 'abcdef0123456789',
    target,
    mode: 'act',
    alert,
    decision: { answer: 'wait', gate: 'in-flight', reason: '1 of at most 1 remediations are open in the scope' },
    since: at(-30),
  };
  return {
    remediation: {
      stream: { id, kind: 'remediation', workflowId, target, runbook: 'drain-instance', mode: 'act', ...about },
      notes: notesOf(entries),
    },
    responder: {
      stream: { id: randomUUID(), kind: 'responder', workflowId: 'responder/pod-unready/prod%2Fshop', ...about },
      notes: notesOf([[-30, waited]]),
    },
  };
}

const notesOf = (entries: [number, AuditEntry][]): AuditNote[] =>
  entries.map(([seconds, entry], place) => ({ key: String(place + 1), at: at(seconds), entry }));

/** As a store would number and chain them; for what only reads them. */
export function recordsOf({ stream, notes }: AuditPage): AuditRecord[] {
  let previous = '0'.repeat(64);
  return notes.map((note, place) => {
    const hash = createHash('sha256').update(previous).update(JSON.stringify(note)).digest('hex');
    const record = { ...note, stream: stream.id, seq: place + 1, previous, hash };
    previous = hash;
    return record;
  });
}
