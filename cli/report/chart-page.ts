import type { ScalePoint } from '../../model/ports/scalable.ts';
import type { Timeline } from '../timeline.ts';
import { html, type Markup } from './html.ts';
import {
  type Drawn,
  drawnOf,
  isKnown,
  type SeriesName,
  scaleOf,
  short,
  stretches,
  summaryOf,
  wordsOfPoint,
} from './plot.ts';
import { PLAIN, printable } from './text.ts';

/**
 * The picture of scale-on-backlog for the page: the same two panels as in a terminal. The SVG is stretched to the width of
 * the page, so that the words of its axes stand beside it and stay as large on a phone. What is filled is what there is; what
 * is dashed is expected, what is a bare line is asked for: nothing is told by colour alone.
 */

/** The size of a panel in its own units. */
const WIDE = 1_000;
const HIGH = 200;
/** As many looks can be pointed at. */
const POINTED = 240;

interface Frame {
  x(at: number): number;
  y(value: number): number;
}

/** @returns undefined where there is nothing to draw */
export function scaleCharts(timeline: Timeline): Markup | undefined {
  const points = timeline.chart ?? [];
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return undefined;
  const [signal, replicas] = drawnOf(points);
  return html`<section class="scale"><h2>${signal.title} and replicas</h2>
<p class="quiet">${summaryOf(points)}.${first.at < last.at && html` Times in UTC; a dotted line across is a change, and where a line is broken nothing is known.`}</p>
${first.at < last.at && [signal, replicas].map((drawn) => panel(timeline, points, drawn))}</section>`;
}

function panel(timeline: Timeline, points: ScalePoint[], drawn: Drawn): Markup {
  const { title, unit, area, line, steps } = drawn;
  const [start, end] = [points[0]?.at ?? 0, points.at(-1)?.at ?? 0];
  const top = scaleOf(points, drawn);
  const frame: Frame = {
    x: (at) => round(((at - start) / (end - start)) * WIDE),
    y: (value) => round(HIGH - (value / top) * HIGH),
  };
  const known = stretches(points);
  const runsOf = (name: SeriesName): ScalePoint[][] => known.flatMap((stretch) => runs(stretch, name));
  const areas = runsOf(area).map((run) => areaOf(run, area, frame, steps));
  const edges = runsOf(area).map((run) => pathOf(run, area, frame, steps));
  const lines = line ? runsOf(line).map((run) => pathOf(run, line, frame, steps)) : [];
  const id = `chart-${area}`;
  return html`<figure class="panel"><figcaption>${title}${unit && html`, ${unit}`}
<span class="key"><span class="swatch area ${area}"></span>${area}</span>${line && html`<span class="key"><span class="swatch line ${line}"></span>${line}</span>`}</figcaption>
<div class="plot"><div class="scale-y" aria-hidden="true"><span>${short(top)}</span><span>${short(top / 2)}</span><span>0</span></div>
<svg viewBox="0 0 ${WIDE} ${HIGH}" preserveAspectRatio="none" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${title}${line && html` with ${line}`} over time</title><desc id="${id}-desc">${summaryOf(points)}</desc>
<path class="grid" d="M0 0H${WIDE}M0 ${HIGH / 2}H${WIDE}M0 ${HIGH}H${WIDE}"/>
${areas.map((d) => html`<path class="area ${area}" d="${d}"/>`)}
${edges.map((d) => html`<path class="edge ${area}" d="${d}"/>`)}
${lines.map((d) => html`<path class="line ${line ?? ''}" d="${d}"/>`)}
${marksOf(timeline, start, end, frame)}
${lookedAt(points, frame)}</svg>
<div class="scale-x" aria-hidden="true">${[start, (start + end) / 2, end].map((at) => html`<span>${stampOf(at, start, end)}</span>`)}</div></div></figure>`;
}

/** Looks next to each other at which it is known. */
function runs(points: ScalePoint[], name: SeriesName): ScalePoint[][] {
  const all: ScalePoint[][] = [];
  let current: ScalePoint[] = [];
  for (const point of points) {
    if (isKnown(point[name])) current.push(point);
    else if (current.length > 0) {
      all.push(current);
      current = [];
    }
  }
  return current.length > 0 ? [...all, current] : all;
}

function pathOf(run: ScalePoint[], name: SeriesName, { x, y }: Frame, steps: boolean): string {
  const parts = run.map((point, i) => {
    const [px, py] = [x(point.at), y(point[name] ?? 0)];
    if (i === 0) return `M${px} ${py}`;
    return steps ? `H${px}V${py}` : `L${px} ${py}`;
  });
  // A look on its own is a point, which only a line of some length shows.
  return run.length === 1 ? `${parts.join('')}h1` : parts.join('');
}

const areaOf = (run: ScalePoint[], name: SeriesName, frame: Frame, steps: boolean): string =>
  `${pathOf(run, name, frame, steps)}V${HIGH}H${frame.x(run[0]?.at ?? 0)}Z`;

/** The changes that were made, where they fall into the time that is drawn. */
const marksOf = ({ entries }: Timeline, start: number, end: number, { x }: Frame): Markup[] =>
  entries
    .filter(({ part, at }) => part === 'change' && Date.parse(at) >= start && Date.parse(at) <= end)
    .map(
      ({ at, text }) =>
        html`<path class="mark" d="M${x(Date.parse(at))} 0V${HIGH}"><title>${PLAIN.clock(at)}: ${printable(text)}</title></path>`,
    );

/** What a reader sees who points at it. */
function lookedAt(points: ScalePoint[], { x }: Frame): Markup {
  const every = Math.ceil(points.length / POINTED);
  const some = points.filter((_, i) => i % every === 0);
  const rects = some.map((point, i) => {
    const [from, to] = [x(point.at), x(some[i + 1]?.at ?? point.at)];
    return html`<rect class="look" x="${from}" y="0" width="${Math.max(1, round(to - from))}" height="${HIGH}"><title>${PLAIN.clock(isoOf(point.at))} UTC: ${wordsOfPoint(point)}</title></rect>`;
  });
  return html`${rects}`;
}

/** The time of day; over more than a day, with the date. */
function stampOf(at: number, start: number, end: number): string {
  const day = (of: number): string => isoOf(of).slice(0, 10);
  return day(start) === day(end) ? PLAIN.clock(isoOf(at)) : PLAIN.dateAndTime(isoOf(at)).slice(5, 16);
}

const isoOf = (at: number): string => new Date(at).toISOString();

const round = (value: number): number => Math.round(value * 10) / 10;
