import type { Running as Run } from '../model/dispatch.ts';
import { alertKey } from '../model/gates.ts';
import { COOLS, SETTLES } from '../model/outcome.ts';
import type { EndReport } from '../model/remediation.ts';
import type { Open } from '../model/responder.ts';
import { drop, keep } from './decisions.ts';
import type { Desk, Wait } from './desk.ts';
import { TOLD_TWICE } from './memory.ts';
import { backoff } from './queue.ts';

/** What becomes of the end of what a responder has started. The same report twice changes nothing more. */
export function settle(desk: Desk, report: EndReport, now: number): void {
  const { state, queue, memory, rule } = desk;
  const { target, outcome, episode, alert } = report;
  if (report.memory) memory.remember(target, report.memory);
  // The episode of a proposal is its alert.
  if (episode.startsWith(alertKey(alert))) {
    settleProposal(desk, report, now);
    return;
  }
  queue.wake('end');
  const open = state.open[target]?.episode === episode ? state.open[target] : undefined;
  if (open) delete state.open[target];
  if (report.again) {
    putOff(desk, report, open, now);
    return;
  }
  const at = Date.parse(report.at);
  const { cooldown } = rule.gates;
  if (COOLS.has(outcome)) state.cooling[target] = at + cooldown;
  const known = state.settled[alertKey(alert)];
  // What its proposal settled is open again until it has ended well.
  if (known?.outcome === 'observed') delete state.settled[alertKey(alert)];
  if (SETTLES.has(outcome) && !state.settled[alertKey(alert)])
    memory.settle(alert, outcome, now, open?.scheduled ? TOLD_TWICE : open?.resolved && cooldown);
  const attempts = state.attempts[target] ?? [];
  if (outcome === 'failed' && !attempts.some((attempt) => attempt.episode === episode))
    state.attempts[target] = [...attempts, { episode, at }];
}

/** Found over when it was looked at: it ended without a word. */
export function free(desk: Desk, { target, runId, proposal }: Run, now: number): void {
  const { state, queue, memory, running, rule } = desk;
  const over = proposal ? state.proposed?.[target] : state.open[target];
  if (over?.runId !== runId) return;
  if (proposal) {
    running.proposalEnded({ target, runId, episode: over.episode });
    // A repeat of its alert would start nothing, for the server knows its episode.
    memory.settle(over, 'terminated', now);
    return;
  }
  queue.wake('end');
  delete state.open[target];
  // Whoever terminated it wants the target left alone.
  state.cooling[target] = now + rule.gates.cooldown;
}

/** It changed nothing, so it neither cools nor counts; and however it ended, a repeat of its alert proposes nothing again. */
function settleProposal({ state, running, memory, rule }: Desk, report: EndReport, now: number): void {
  const { target, alert, outcome } = report;
  const key = alertKey(alert);
  const proposed = running.proposalEnded(report);
  const open = state.open[target];
  // What was approved is decided, or under way, by now.
  if (state.settled[key] || state.queue[key] || (open && alertKey(open) === key)) return;
  memory.settle(alert, outcome, now, proposed?.resolved && rule.gates.cooldown);
}

/** It ended before it acted, for it was not its time: its request waits again, and nothing else is remembered of it. */
function putOff(desk: Desk, { again, target, runId, at }: EndReport, open: Open | undefined, now: number): void {
  if (!again || desk.memory.wasDropped(runId)) return;
  const { state, queue, memory } = desk;
  const { gate, reason, request } = again;
  const key = alertKey(request);
  const settled = state.settled[key];
  if (settled?.outcome === 'observed') delete state.settled[key];
  else if (settled) return;
  const other = state.open[target];
  // Told before.
  if (queue.has(request) || (other && alertKey(other) === key)) return;
  // A plan that is no longer the approved one is proposed anew.
  const approval = gate === 'plan-changed' ? undefined : open?.approval;
  const waiting = { ...request, target, delivery: runId, ...(approval && { approval }) };
  if (open?.resolved) {
    memory.dropped(runId, now);
    drop(desk, waiting, `its alert was resolved, and its remediation had not acted: ${reason}`);
    return;
  }
  const tries = open?.tries ?? 0;
  const notBefore = gate === 'plan-changed' ? now : now + backoff(tries);
  const since = open?.asked ?? Date.parse(at);
  const about = { since, now, notBefore, tries, after: runId };
  const wait: Wait = { answer: 'wait', gate, reason };
  // What is proposed anew waits for a person anyhow.
  keep(desk, waiting, wait, gate === 'plan-changed' ? about : { ...about, putOff: true });
}
