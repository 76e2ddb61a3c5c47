import type { AuditRecord, StreamSummary } from '../audit/store.ts';
import type { AuditEntry } from '../model/audit.ts';
import type { Held } from '../model/change.ts';
import type { Outcome } from '../model/outcome.ts';
import type { Story } from '../model/remediation.ts';
import { wordsOf } from './audit-text.ts';
import type { Run } from './runs.ts';

/** A remediation of the audit store, as lists show runs. */
export function runOf(stream: StreamSummary): Run {
  const { id, workflowId, target = '?', rule, runbook = '?', mode = '?', outcome, reason, startedAt, endedAt } = stream;
  return {
    id,
    workflowId,
    target,
    rule,
    runbook,
    mode,
    outcome,
    ...(reason !== undefined && { reason }),
    startedAt,
    ...(endedAt !== undefined && { endedAt }),
  };
}

/** The story of a run as its records tell it, for when Temporal knows it no more. */
export function storyOfRecords(run: Run, records: AuditRecord[]): Story {
  const story: Story = {
    target: run.target,
    rule: run.rule,
    runbook: run.runbook,
    phase: run.outcome,
    lines: [],
    changes: [],
    held: [],
  };
  for (const { at, entry } of records) {
    if (entry.kind === 'ended') end(story, entry);
    // What the end tells again need not be told twice; what came after it, a person did.
    else if (entry.kind !== 'history' && entry.kind !== 'held') story.lines.push({ at, text: wordsOf(entry) });
    if (entry.kind === 'change') story.changes.push(entry.change);
    if (entry.kind === 'held') story.held = [...story.held.filter((held) => !isSame(held, entry.held)), entry.held];
    if (entry.kind === 'released') story.held = story.held.filter((held) => !isSame(held, entry));
  }
  return story;
}

/** The end has all lines of the story, as the remediation told it itself. */
function end(story: Story, { lines, outcome, reason, plan, ...drawn }: Extract<AuditEntry, { kind: 'ended' }>): void {
  if (lines.length > 0) story.lines = [...lines];
  if (drawn.chart) story.chart = drawn.chart;
  if (drawn.breaker) story.breaker = drawn.breaker;
  story.phase = outcome;
  if (outcome === 'terminated') return;
  story.ending = { outcome: outcome satisfies Outcome, reason, changes: story.changes, ...(plan && { plan }) };
}

const isSame = ({ object, field }: Held, released: Pick<Held, 'object' | 'field'>): boolean =>
  object.uid === released.object.uid && field === released.field;
