import type { Change } from '../../model/change.ts';
import { type Entry, type Holding, lasted, type Timeline } from '../timeline.ts';
import { scaleCharts } from './chart-page.ts';
import { heldChart, phaseChart, stateChart, timeChart } from './charts.ts';
import { html, Markup } from './html.ts';
import { STYLE } from './style.ts';
import { colourOf, PLAIN, printable, show, stamp } from './text.ts';

const TONES: Partial<Record<ReturnType<typeof colourOf>, string>> = {
  green: 'good',
  yellow: 'fair',
  red: 'bad',
  cyan: 'info',
};

/**
 * A report as one page of HTML: it loads nothing, runs nothing, and is the same on every machine (times in UTC). What comes
 * from labels and APIs is escaped; the page's own policy forbids whatever might be in it to load or to run.
 */
export function reportPage(timeline: Timeline): string {
  const { target, outcome } = timeline;
  const page = html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>${printable(target)}: ${outcome}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
${headerOf(timeline)}
<main>
${factsOf(timeline)}
${scaleCharts(timeline)}
${stateChart(timeline.states)}
${chartsOf(timeline)}
${changesOf(timeline)}
${heldOf(timeline)}
${planOf(timeline)}
<section><h2>Timeline</h2><ol class="timeline">${timeline.entries.map((entry) => entryOf(entry, timeline.startedAt))}</ol></section>
</main>
${footerOf(timeline)}
</body>
</html>
`;
  return page.text;
}

function headerOf({ target, runbook, outcome, reason, startedAt, endedAt }: Timeline): Markup {
  const took = endedAt ? html`, took ${lasted(startedAt, endedAt)}` : html`, not ended yet`;
  return html`<header>
<p class="quiet">Salvor, report of a remediation</p>
<h1>${printable(target)}</h1>
<p><span class="badge ${TONES[colourOf(outcome)] ?? 'bad'}">${outcome}</span> ${runbook}${took}</p>
${reason !== undefined && html`<p class="lead">${sentence(reason)}</p>`}
</header>`;
}

function factsOf({ id, rule, mode, scope, alert, startedAt, endedAt }: Timeline): Markup {
  const labels = Object.entries(alert?.labels ?? {});
  const annotations = Object.entries(alert?.annotations ?? {});
  return html`<section><h2>What it was about</h2><dl class="facts">
${alert && fact('Alert', html`${printable(alert.alertname)}, firing since ${time(alert.startsAt)}`)}
${alert?.by !== undefined && fact('Asked for by', printable(alert.by))}
${fact('Rule', html`${rule}, mode ${mode}`)}
${scope !== undefined && fact('Scope', printable(scope))}
${fact('Started', time(startedAt))}
${endedAt !== undefined && fact('Ended', time(endedAt))}
${fact('ID', html`<code>${id}</code>`)}
${labels.length > 0 && fact('Labels', pairs(labels))}
${annotations.length > 0 && fact('Annotations', pairs(annotations))}
</dl></section>`;
}

const sentence = (text: string): string => PLAIN.sentence(printable(text));

const fact = (name: string, value: Markup | string): Markup => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;

const pairs = (of: [string, string][]): Markup =>
  html`<ul>${of.map(([name, value]) => html`<li><code>${printable(name)}=${printable(value)}</code></li>`)}</ul>`;

const time = (at: string): Markup => html`<time datetime="${at}">${PLAIN.dateAndTime(at)} UTC</time>`;

function chartsOf(timeline: Timeline): Markup | undefined {
  const phases = phaseChart(timeline);
  return phases && html`<section><h2>Where the time went</h2>${phases}${timeChart(timeline)}</section>`;
}

function changesOf({ entries, outcome, plan }: Timeline): Markup | undefined {
  const changes = entries.flatMap(({ change }) => change ?? []);
  // What a run would have done says better that it has done nothing.
  if (changes.length === 0 && plan) return undefined;
  const none = outcome === 'running' ? 'None so far.' : 'None: nothing was altered.';
  return html`<section><h2>Changes</h2>${
    changes.length === 0
      ? html`<p>${none}</p>`
      : html`<ol class="timeline">${changes.map((change) => html`<li><time datetime="${change.at}">${PLAIN.clock(change.at)}</time><span class="part change">${change.step}</span><div>${printable(change.what)}${exactly(change)}</div></li>`)}</ol>`
  }</section>`;
}

const exactly = ({ object, field, before, after, requestId }: Change): Markup => html`<div class="exact">
<code>${printable(object.key)}</code> <code>${printable(field)}</code><br>
<b>before</b> <code>${show(before)}</code> → <b>after</b> <code>${show(after)}</code>
<br><span class="quiet">object ${printable(object.uid)}${requestId !== undefined && html`, request ${printable(requestId)}`}</span></div>`;

function heldOf(timeline: Timeline): Markup | undefined {
  const { held } = timeline;
  if (held.length === 0) return undefined;
  const open = held.some(({ to }) => to === undefined);
  return html`<section><h2>${open ? 'Held, to be given back' : 'Held and released'}</h2><ul class="held">${held.map((one) => holdingOf(timeline, one))}</ul></section>`;
}

function holdingOf(timeline: Timeline, holding: Holding): Markup {
  const { held, from, to, by } = holding;
  const { object, field, before, set, until } = held;
  const end =
    to === undefined
      ? html`<b class="bad">still altered</b>, at the latest until ${time(until)}`
      : html`released ${time(to)}${by !== undefined && html` by ${printable(by)}`}`;
  return html`<li><code>${printable(object.key)}</code> <code>${printable(field)}</code>: <code>${show(before)}</code> → <code>${show(set)}</code>
${heldChart(timeline, holding)}<p class="quiet">from ${time(from)}, ${end}</p></li>`;
}

const planOf = ({ plan }: Timeline): Markup | undefined =>
  plan &&
  html`<section><h2>It would have</h2><ol class="plan">${plan.map((step) => html`<li>${sentence(step)}</li>`)}</ol></section>`;

function entryOf({ at, part, text, facts }: Entry, startedAt: string): Markup {
  return html`<li><time datetime="${at}">${stamp(at, startedAt, PLAIN)}</time><span class="part ${part}">${part !== 'note' && part}</span><div>${sentence(text)}${facts && knownOf(facts)}</div></li>`;
}

/** What a decision rests on: names as paths, values as JSON. */
const knownOf = (facts: Record<string, unknown>): Markup =>
  html`<dl class="known exact">${flat(facts).map(([name, value]) => html`<dt>${printable(name)}</dt><dd><code>${printable(value)}</code></dd>`)}</dl>`;

function flat(value: unknown, path = ''): [string, string][] {
  if (Array.isArray(value)) return value.flatMap((inner: unknown, at) => flat(inner, `${path} ${at + 1}`));
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).flatMap(([name, inner]) => flat(inner, path ? `${path}.${name}` : name));
  return [[path, typeof value === 'string' ? value : JSON.stringify(value)]];
}

function footerOf({ source: { from, kept }, id }: Timeline): Markup {
  if (kept)
    return html`<footer><p>From ${kept.records} records of the audit store, stream <code>${id}</code>, whose last hash is <code>${kept.head}</code>. <code>salvor audit verify</code> tells whether any was altered.</p></footer>`;
  const teller = {
    audit: 'the audit store',
    worker: 'what a worker tells',
    history: "the execution's history in Temporal",
  };
  return html`<footer><p>From ${teller[from]}, which no chain of hashes proves.</p></footer>`;
}
