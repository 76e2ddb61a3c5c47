import type { Alert } from '../../model/alertmanager.ts';
import { labelFingerprint } from '../../model/alertmanager.ts';
import type { AuditEntry, AuditPage, AuditStream } from '../../model/audit.ts';
import { type Config, parseConfig } from '../../model/config.ts';
import type { DispatchRequest, Started } from '../../model/dispatch.ts';
import { holds } from '../../model/gates.ts';
import { remediationId, responderId } from '../../model/names.ts';
import type { Outcome } from '../../model/outcome.ts';
import { batches, route } from '../../model/routing.ts';
import { windowAt } from '../../model/windows.ts';
import { Admission } from '../../workflows/admission.ts';
import { allIsWell } from '../support/evidence.ts';

/** How a remediation goes; a proposal takes as long, and comes to `observed`. */
export interface Course {
  /** Milliseconds. */
  takes: number;
  outcome: Outcome | 'terminated';
}

export interface Incident {
  config: Config;
  /** Webhooks, at milliseconds since the epoch. */
  deliveries: { at: number; alerts: Alert[] }[];
  /** How the remediation of a target goes. */
  goes: (target: string) => Course;
  /** Milliseconds from a decision to the begin of what it started. */
  latency?: number;
}

/** What responders and remediations note of an incident: the responders' own admission, on a clock of the test's. */
export function record(incident: Incident): AuditPage[] {
  const recorder = new Recorder(incident);
  recorder.run();
  return recorder.pages;
}

type Event = { at: number; happens: (now: number) => void };

class Recorder {
  readonly pages: AuditPage[] = [];
  readonly #incident: Incident;
  readonly #events: Event[] = [];
  readonly #responders = new Map<string, { admission: Admission; due: number }>();
  readonly #open = new Map<string, { runId: string; by: string }>();
  #now = 0;

  constructor(incident: Incident) {
    this.#incident = incident;
    incident.deliveries.forEach(({ at, alerts }, i) => {
      this.#events.push({ at, happens: () => this.#deliver(`delivery-${i}`, alerts) });
    });
  }

  run(): void {
    for (;;) {
      this.#events.sort((a, b) => a.at - b.at);
      const event = this.#events.shift();
      if (!event) return;
      this.#now = event.at;
      event.happens(event.at);
    }
  }

  #deliver(delivery: string, alerts: Alert[]): void {
    const routed = alerts.flatMap((alert) =>
      route(alert, this.#incident.config).map((way) => {
        const { labels, annotations } = alert;
        return way.kind === 'matched' ? { ...way, request: { ...way.request, labels, annotations } } : way;
      }),
    );
    for (const batch of batches(routed, delivery)) {
      const id = responderId(batch.rule.name, batch.scope);
      this.#responder(id, batch.rule.name, batch.scope).admission.take(batch);
      this.#turn(id);
    }
  }

  #responder(id: string, rule: string, scope: string) {
    const known = this.#responders.get(id);
    if (known) return known;
    const page = this.#page({ kind: 'responder', workflowId: id, rule, scope });
    const info = { workflowId: id, runId: id, firstExecutionRunId: id, startTime: new Date(this.#now) };
    const admission = new Admission({ rule, scope }, info, (entry) => this.#note(page, entry, this.#now));
    const responder = { admission, due: Number.POSITIVE_INFINITY };
    this.#responders.set(id, responder);
    return responder;
  }

  #turn(id: string): void {
    const responder = this.#responders.get(id);
    if (!responder) return;
    const { admission } = responder;
    const now = this.#now;
    for (;;) {
      const question = admission.hear(now);
      const evidence = question && { ...allIsWell(question, now), window: windowAt(question.rule.gates.windows, now) };
      const work = admission.decide(now, evidence);
      if (!question && !work) break;
      if (!work) continue;
      const starts = work.starts.map((start) => this.#start(id, work, start));
      const ended = work.check.filter(
        ({ target, runId, proposal }) => !proposal && this.#open.get(target)?.runId !== runId,
      );
      admission.dispatched(work, { starts, ended }, now);
    }
    if (admission.idle) this.#responders.delete(id);
    responder.due = Math.max(now + 1, admission.nextDue(now));
    const { due } = responder;
    if (Number.isFinite(due)) this.#events.push({ at: due, happens: () => responder.due === due && this.#turn(id) });
  }

  #start(
    responder: string,
    work: DispatchRequest,
    { episode, request, since: asked }: DispatchRequest['starts'][number],
  ): Started {
    const { rule, ruleDigest, scope } = work;
    const { target, delivery: _, ...alert } = request;
    const { name, runbook, mode } = rule;
    const acts = holds(rule, request);
    const holder = acts ? this.#open.get(target) : undefined;
    if (holder) return { busy: holder.runId, by: holder.by };
    const workflowId = remediationId(target);
    const page = this.#page({ kind: 'remediation', workflowId, rule: name, target, runbook, mode, scope });
    const runId = page.stream.id;
    const { takes, outcome } = this.#incident.goes(target);
    const since = new Date(asked).toISOString();
    const begun = this.#now + (this.#incident.latency ?? 0);
    const end = begun + takes;
    const at = new Date(end).toISOString();
    this.#note(page, { kind: 'begun', target, rule, ruleDigest, scope, alert, episode, since }, begun);
    this.#note(page, { kind: 'evidence', what: 'diagnosis', verdict: 'sick', why: 'not Ready' }, begun);
    const came = acts ? outcome : 'observed';
    this.#note(page, { kind: 'ended', outcome: came, reason: 'so it ended', lines: [] }, end);
    if (mode === 'observe') return { started: runId };
    if (acts) this.#open.set(target, { runId, by: name });
    this.#events.push({
      at: end,
      happens: () => {
        if (acts) this.#open.delete(target);
        if (came === 'terminated') return;
        const { fingerprint, startsAt } = alert;
        const report = { episode, target, runId, outcome: came, reason: '', at, alert: { fingerprint, startsAt } };
        this.#responder(responder, name, scope).admission.end({ ...report, rule, ruleDigest, scope });
        this.#turn(responder);
      },
    });
    return { started: runId };
  }

  #page(stream: Omit<AuditStream, 'id'>): AuditPage {
    const id = `00000000-0000-7000-8000-${this.pages.length.toString(16).padStart(12, '0')}`;
    const page: AuditPage = { stream: { id, ...stream }, notes: [] };
    this.pages.push(page);
    return page;
  }

  #note(page: AuditPage, entry: AuditEntry, at: number): void {
    page.notes.push({ key: String(page.notes.length + 1), at: new Date(at).toISOString(), entry });
  }
}

/** The notes as the store gives them. */
export const notesOf = (pages: readonly AuditPage[]) =>
  pages.flatMap(({ stream, notes }) => notes.map((note) => ({ stream: stream.id, ...note })));

/** What of a configuration a test is about. */
export interface Written {
  gates?: string;
  mode?: string;
  match?: string[];
  /** More rules, before this one. */
  before?: string;
  /** It begins by itself too, and is about one pod only. */
  schedule?: string;
  target?: string;
}

/** A configuration with the rule `pods`: pods that are not Ready, by namespace. */
export const configText = ({
  gates = '',
  mode = 'act',
  match = [],
  before = '',
  schedule,
  target = `k8s/prod/\${labels.namespace}/pod/\${labels.pod}`,
}: Written = {}): string => `
clusters: [{ name: prod, context: prod }]
rules:
${before}
  - name: pods
    match: ${JSON.stringify(['alertname="PodNotReady"', ...match])}
    runbook: drain-instance
    target: ${target}
    ${schedule === undefined ? '' : `schedule: ${schedule}`}
    mode: ${mode}
    gates: { ${gates} }
`;

export function config(written: Written = {}): Config {
  const parsed = parseConfig(configText(written), 'new.yaml');
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

export const podKey = (name: string, namespace = 'shop'): string => `k8s/prod/${namespace}/pod/${name}`;

/** @param startsAt milliseconds since the epoch */
export function alert(
  pod: string,
  startsAt: number,
  about: { namespace?: string; status?: Alert['status'] } = {},
): Alert {
  const { namespace = 'shop', status = 'firing' } = about;
  const labels = { alertname: 'PodNotReady', namespace, pod };
  return {
    status,
    labels,
    annotations: {},
    startsAt: new Date(startsAt).toISOString(),
    fingerprint: labelFingerprint(labels),
  };
}
