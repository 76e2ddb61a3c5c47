import type { FieldValue } from './change.ts';
import type { OwnAlert } from './herald.ts';
import { shortId } from './names.ts';
import type { Plan, PlannedChange } from './plan.ts';
import type { RecordedAlert } from './request.ts';

/** What an escalation or a request for approval is about. */
export interface About {
  rule: string;
  scope: string;
  /** Absent: it is about the whole scope. */
  target?: string;
  /** The original alert, where there is one: its labels are kept. */
  alert?: RecordedAlert;
  /** A remediation or a proposal; or the responder, where none was started. */
  run: { workflowId: string; runId: string };
  /** ISO time. */
  at: string;
}

/** A person is needed: what happened, and what was tried, line by line. `id` names it (of a run: its run ID). */
export function escalation(about: About & { id: string; reason: string; tried: string[] }): OwnAlert {
  const { id, reason, tried, target } = about;
  return {
    ...common(about),
    id,
    alertname: 'SalvorEscalation',
    annotations: { summary: cut(reason, SUMMARY), description: latest(tried), look: lookAt(about) },
    ...(target !== undefined && { target }),
  };
}

/** A person is asked: the plan, until when (ISO time), who may answer, and the commands that answer. */
export function approvalRequest(
  about: About & {
    plan: Plan;
    why: string;
    until: string;
    /** Of the rule; empty: everybody who is known. */
    approvers?: readonly string[];
  },
): OwnAlert {
  const { plan, why, until, run, target, approvers = [] } = about;
  const id = shortId(run.runId);
  return {
    ...common(about),
    id: run.runId,
    alertname: 'SalvorApproval',
    annotations: {
      summary: cut(`${target ?? about.scope}: ${why}`, SUMMARY),
      description: firstOf([...plan.steps, ...plan.changes.map(changeLine)]),
      command: `salvor approve ${id} --digest ${plan.digest}`,
      deny: `salvor deny ${id}`,
      look: lookAt(about),
      until,
      ...(approvers.length > 0 && { approvers: cut(approvers.join(', '), SUMMARY) }),
    },
    until,
  };
}

function common({ rule, scope, target, alert, run, at }: About): Pick<OwnAlert, 'labels' | 'run' | 'startsAt'> {
  // Without the name of an alert of Salvor's own, which the gateway takes no alert with.
  const { alertname, salvor_id: _, ...labels } = alert?.labels ?? {};
  return {
    labels: {
      ...labels,
      ...(alert && { alert: alertname ?? alert.alertname }),
      salvor_rule: rule,
      salvor_scope: scope,
      ...(target !== undefined && { salvor_target: target }),
    },
    run,
    startsAt: at,
  };
}

/** The command that shows more. */
const lookAt = ({ run, rule }: About): string =>
  /^(?:remediation|proposal)\//.test(run.workflowId)
    ? `salvor show ${shortId(run.runId)}`
    : `salvor audit list --rule ${rule}`;

/** What alters no field, such as an eviction, is said by its words. */
const changeLine = ({ what, field, before, after }: PlannedChange): string =>
  before === after ? what : `${what} [${field}: ${shown(before)} → ${shown(after)}]`;

const shown = (value: FieldValue): string => (value === null ? 'nothing' : String(value));

/** Characters: what a pager or a chat shows, and 500 open alerts still are one request. */
const SUMMARY = 500;
const LINE = 300;
const DESCRIPTION = 4_000;

const cut = (text: string, most: number): string =>
  text.length > most ? `${text.slice(0, most - 1).toWellFormed()}…` : text;

/** As many lines as have room, from the first. */
function firstOf(all: readonly string[]): string {
  const lines = all.map((line) => cut(line, LINE));
  const fit = fitting(lines);
  return [...lines.slice(0, fit), ...(fit < lines.length ? [`… and ${lines.length - fit} more`] : [])].join('\n');
}

/** As many lines as have room, from the last, for what came of it is told last. */
function latest(all: readonly string[]): string {
  const lines = all.map((line) => cut(line, LINE)).reverse();
  const fit = fitting(lines);
  const kept = lines.slice(0, fit).reverse();
  return [...(fit < lines.length ? [`${lines.length - fit} lines before …`] : []), ...kept].join('\n');
}

function fitting(lines: readonly string[]): number {
  let room = DESCRIPTION;
  const end = lines.findIndex((line) => {
    room -= line.length + 1;
    return room < 0;
  });
  return end === -1 ? lines.length : end;
}
