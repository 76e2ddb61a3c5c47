import { describe, expect, it } from 'vitest';
import type { Change, Held } from '../../model/change.ts';
import type { Story } from '../../model/remediation.ts';
import { remediationDetails } from '../../workflows/details.ts';

const object = { key: 'k8s/prod/shop/pod/web-0', uid: 'uid-1' };
const field = 'metadata.labels[salvor.dev/traffic]';

const change = (overrides: Partial<Change> = {}): Change => ({
  step: 'cut',
  what: 'label salvor.dev/traffic: on → off',
  object,
  field,
  before: 'on',
  after: 'off',
  at: '2026-03-01T02:00:03.120Z',
  ...overrides,
});

const held: Held = {
  object,
  field,
  before: 'on',
  set: 'off',
  remediation: 'run-1',
  runbook: 'drain-instance',
  until: '2026-03-01T02:15:00Z',
};

const story = (overrides: Partial<Story> = {}): Story => ({
  target: object.key,
  rule: 'pod-unready',
  runbook: 'drain-instance',
  mode: 'act',
  alert: { name: 'PodUnable', startsAt: '2026-03-01T01:58:00Z' },
  phase: 'hold',
  why: 'not Ready since 01:57',
  next: { what: 'give its traffic back, or replace it', until: '2026-03-01T02:05:00Z' },
  lines: [{ at: '2026-03-01T02:00:02Z', text: 'not Ready since 01:57' }],
  changes: [change()],
  held: [held],
  ...overrides,
});

/** The words of it, as a reader of plain text has them. */
const words = (markdown: string): string => markdown.replaceAll(/\\(?=[^\w\s])|[*`]/g, '');

describe('the details of a remediation', () => {
  it('say what it is about, why, where it stands, what comes next until when, what it holds and what it changed', () => {
    const text = words(remediationDetails(story()));
    expect(text).toContain('drain-instance of k8s/prod/shop/pod/web-0');
    expect(text).toContain('alert PodUnable since 2026-03-01 01:58:00 · rule pod-unready · mode act');
    expect(text).toContain('phase hold');
    expect(text).toContain('why: not Ready since 01:57');
    expect(text).toContain('next: give its traffic back, or replace it, until 02:05:00 UTC');
    expect(text).toMatch(/Held now \(1\)\n\n- metadata.labels\[salvor.dev\/traffic\]: "on" → "off", until 02:15:00/);
    expect(text).toMatch(/Changes \(1\)\n\n- 02:00:03 label salvor.dev\/traffic: on → off/);
    expect(text).toMatch(/Latest first\n\n- 02:00:02 not Ready since 01:57/);
  });

  it('at its end say the outcome, and that nothing comes next', () => {
    const ending = { outcome: 'recovered', reason: 'healthy for 30s', changes: [change()] } as const;
    const text = words(remediationDetails(story({ ending: { ...ending, changes: [] }, phase: 'recovered', held: [] })));
    expect(text).toContain('recovered: healthy for 30s');
    expect(text).not.toContain('next:');
    expect(text).not.toContain('Held now');
  });

  it('of a proposal say what is to be approved, by whom, until when, and how', () => {
    const waits = { until: '2026-03-03T02:00:00Z', approvers: ['ada', 'group:sre'] };
    const plan = { steps: ['cut its traffic', 'evict it'], changes: [], digest: 'd-1' };
    const next = { what: 'wait for an approval of plan d-1: salvor approve 1234abcd --digest d-1', until: waits.until };
    const text = words(remediationDetails(story({ mode: 'propose', phase: 'propose', held: [], plan, waits, next })));
    expect(text).toContain('salvor approve 1234abcd --digest d-1, until 2026-03-03 02:00:00 UTC');
    expect(text).toMatch(/Plan d-1, to be approved by ada, group:sre\n\n- cut its traffic\n- evict it/);
    const anybody = words(remediationDetails(story({ plan, waits: { ...waits, approvers: [] } })));
    expect(anybody).toContain('to be approved by everybody who is known');
    // Once it acts the plan is no longer a question.
    expect(words(remediationDetails(story({ plan })))).not.toContain('to be approved');
  });

  it('take what the story does not know yet for nothing', () => {
    const { mode: _, alert: __, why: ___, next: ____, ...bare } = story({ changes: [], held: [], lines: [] });
    const text = words(remediationDetails({ ...bare, phase: 'diagnose' }));
    expect(text).toContain('phase diagnose');
    expect(text).not.toMatch(/undefined|Changes|Latest|next:|why:/);
  });

  it('let no text of strangers become Markdown or HTML', () => {
    const hostile = '<img src=x onerror=alert(1)> [click](https://evil.example) **bold** `code`\n# heading';
    const text = remediationDetails(
      story({
        why: hostile,
        alert: { name: hostile, startsAt: '2026-03-01T01:58:00Z' },
        lines: [{ at: '2026-03-01T02:00:02Z', text: hostile }],
        changes: [change({ what: hostile, object: { key: 'k8s/`**x**`', uid: 'u' } })],
      }),
    );
    expect(text).not.toMatch(/(?<!\\)<img/);
    expect(text).not.toMatch(/(?<!\\)\[click/);
    expect(text).not.toMatch(/(?<!\\)\*(?!\*)bold/);
    expect(text).not.toMatch(/^# heading/m);
    expect(text).toContain("of `k8s/'**x**'`");
  });

  it('stay small, whatever happened, and keep the latest', () => {
    const many = Array.from({ length: 400 }, (_, at) => at);
    const text = remediationDetails(
      story({
        why: 'w'.repeat(5_000),
        lines: many.map((at) => ({ at: '2026-03-01T02:00:02Z', text: `line ${at} ${'x'.repeat(500)}` })),
        changes: many.map((at) => change({ what: `change ${at}` })),
        held: many.map(() => held),
      }),
    );
    expect(text.length).toBeLessThanOrEqual(4_000);
    expect(text).toContain('line 399');
    expect(text).toContain('change 399');
    expect(text).toContain('… and 392 before');
  });
});
