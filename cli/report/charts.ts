import { type StateSpan, sumsOf } from '../states.ts';
import { between, type Holding, type Phase, roughly, type Timeline, timeSpent } from '../timeline.ts';
import { html, type Markup } from './html.ts';
import { PLAIN, printable } from './text.ts';

/**
 * Small charts, as SVG within the page. They are stretched to its width, so that all words stand beside them as text, and
 * none of what they show is told by colour alone.
 */

/** The width of a chart in its own units. */
const WIDE = 1_000;
/** What is too short to be seen is shown all the same. */
const LEAST = 3;
const COLOURS = 6;

interface Bar {
  /** Milliseconds since the epoch. */
  from: number;
  to: number;
  className: string;
  title: string;
  /** Of the height; all of it, where nothing is said. */
  part?: number;
}

function chart(label: string, [start, end]: readonly [number, number], bars: Bar[], ticks: Bar[] = []): Markup {
  const scale = WIDE / Math.max(1, end - start);
  const place = (at: number): number => Math.min(WIDE, Math.max(0, Math.round((at - start) * scale * 10) / 10));
  const rect = ({ from, to, className, title }: Bar, y: number, height: number): Markup => {
    const x = Math.min(place(from), WIDE - LEAST);
    const width = Math.max(LEAST, Math.round((place(to) - x) * 10) / 10);
    return html`<rect class="${className}" x="${x}" y="${y}" width="${width}" height="${height}"><title>${title}</title></rect>`;
  };
  return html`<svg viewBox="0 0 ${WIDE} 30" preserveAspectRatio="none" role="img" aria-label="${label}">
<rect class="ground" x="0" y="5" width="${WIDE}" height="20"/>${bars.map((bar) => rect(bar, 25 - 20 * (bar.part ?? 1), 20 * (bar.part ?? 1)))}${ticks.map((tick) => rect(tick, 0, 30))}</svg>`;
}

const rangeOf = ({ startedAt, endedAt, phases, entries, held }: Timeline): readonly [number, number] => {
  const starts = [startedAt, ...phases.map(({ from }) => from)].map(Date.parse);
  const last = endedAt ?? [
    ...phases.map(({ to }) => to),
    ...held.flatMap(({ to = [] }) => to),
    entries.at(-1)?.at ?? '',
  ];
  const ends = [last].flat().map(Date.parse).filter(Number.isFinite);
  return [Math.min(...starts), Math.max(...ends, ...starts)];
};

/** The phases in the order in which they came, with a tick for each change that was made. */
export function phaseChart(timeline: Timeline): Markup | undefined {
  const { phases, entries } = timeline;
  if (phases.length === 0) return undefined;
  const bars = phases.map((phase, at) => ({
    from: Date.parse(phase.from),
    to: Date.parse(phase.to),
    className: colourOf(at),
    title: `${phase.name}: ${lengthOf(phase)}`,
  }));
  const ticks = entries
    .filter(({ part }) => part === 'change')
    .map(({ at, text }) => ({ from: Date.parse(at), to: Date.parse(at), className: 'tick', title: printable(text) }));
  const all = phases.reduce((ms, { from, to }) => ms + between(from, to), 0);
  return html`<figure><figcaption>Phases${ticks.length > 0 && html`; a line across is a change`}</figcaption>
${chart(`Phases: ${phases.map((phase) => `${phase.name} ${lengthOf(phase)}`).join(', ')}`, rangeOf(timeline), bars, ticks)}
<ul class="legend">${phases.map((phase, at) => legend(colourOf(at), `${phase.name}${phase.waits ? ' (waits)' : ''}`, between(phase.from, phase.to), all))}</ul></figure>`;
}

/** How high its bar is: the higher, the less gets through. */
const HEIGHTS = { closed: 0.2, confirming: 0.4, 'half-open': 0.7, open: 1 };

/** The states of a breaker, one after the other. */
export function stateChart(spans: readonly StateSpan[] = []): Markup | undefined {
  const [first, last] = [spans[0], spans.at(-1)];
  if (!first || !last) return undefined;
  const bars = spans.map(({ state, from, to, reason }) => {
    const title = printable(`${state} ${roughly(to - from)}: ${PLAIN.sentence(reason)}`);
    return { from, to, className: `s-${state}`, title, part: HEIGHTS[state] };
  });
  const sums = sumsOf(spans);
  const all = sums.reduce((sum, { ms }) => sum + ms, 0);
  const label = `States of the breaker: ${spans.map(({ state, from, to }) => `${state} ${roughly(to - from)}`).join(', ')}`;
  const named = (state: string, times: number) => (times > 1 ? `${state}, ${times} times` : state);
  const clock = (at: number) => PLAIN.dateAndTime(new Date(at).toISOString());
  return html`<section><h2>The breaker</h2><figure><figcaption>States from ${clock(first.from)} to ${clock(last.to)} UTC; the higher, the less gets through</figcaption>
${chart(label, [first.from, last.to], bars)}
<ul class="legend">${sums.map(({ state, times, ms }) => legend(`s-${state}`, named(state, times), ms, all))}</ul></figure></section>`;
}

/** How much of the time was waited, and how much worked. */
export function timeChart(timeline: Timeline): Markup | undefined {
  const { waiting, working } = timeSpent(timeline);
  const all = waiting + working;
  if (all === 0) return undefined;
  const bars: Bar[] = [
    { from: 0, to: waiting, className: 'waits', title: `waiting ${roughly(waiting)}` },
    { from: waiting, to: all, className: 'works', title: `working ${roughly(working)}` },
  ];
  return html`<figure><figcaption>Time waited and worked</figcaption>
${chart(`waiting ${roughly(waiting)}, working ${roughly(working)}`, [0, all], bars)}
<ul class="legend">${legend('waits', 'waiting', waiting, all)}${legend('works', 'working', working, all)}</ul></figure>`;
}

/** When each field was held, over the time of the remediation. */
export function heldChart(timeline: Timeline, { held, from, to }: Holding): Markup {
  const range = rangeOf(timeline);
  const [start, end] = [Date.parse(from), to === undefined ? range[1] : Date.parse(to)];
  const length = `${roughly(Math.max(0, end - start))}${to === undefined ? ' so far' : ''}`;
  const bar = { from: start, to: end, className: to === undefined ? 'open' : 'works', title: `held for ${length}` };
  return chart(`${printable(held.field)} held for ${length}`, range, [bar]);
}

const lengthOf = ({ from, to }: Phase): string => roughly(between(from, to));

const colourOf = (at: number): string => `p${at % COLOURS}`;

const legend = (className: string, name: string, ms: number, all: number): Markup =>
  html`<li><span class="swatch ${className}"></span>${name} <b>${roughly(ms)}</b> <span class="quiet">${share(ms, all)}</span></li>`;

function share(ms: number, all: number): string {
  const percent = (ms / Math.max(1, all)) * 100;
  return percent > 0 && percent < 1 ? 'less than 1 %' : `${Math.round(percent)} %`;
}
