import type { ScalePoint } from '../../model/ports/scalable.ts';
import { type Drawn, drawnOf, gapOf, isKnown, type SeriesName, scaleOf, short, summaryOf } from './plot.ts';
import type { Format, Style } from './text.ts';

/**
 * The picture of scale-on-backlog for a terminal: backlog and its forecast above, replicas below, over the same time. What
 * is filled is what there is; what is a line is what is expected or asked for, so that nothing is told by colour alone.
 */

const EIGHTHS = ['', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/** Below so many columns a picture shows nothing. */
const NARROWEST = 16;

type Series = (number | null)[];
type Cell = { text: string; format: Format } | undefined;

interface Panel extends Pick<Drawn, 'title' | 'unit' | 'steps'> {
  height: number;
  top: number;
  area: { name: string; values: Series; format: Format };
  line: { name: string; values: Series } | undefined;
}

const LINE: Format = 'yellow';

/** @returns no line where there is nothing to draw; one sentence where there is too little of it, or no room */
export function chartText(points: readonly ScalePoint[] = [], style: Style): string[] {
  const { paint, width } = style;
  const [first, last] = [points[0], points.at(-1)];
  if (!first || !last) return [];
  const drawn = drawnOf(points);
  const gutter = Math.max(...drawn.map((one) => short(scaleOf(points, one)).length)) + 2;
  const columns = width - gutter - 2;
  if (last.at <= first.at || columns < NARROWEST) return ['', ...wrapped(summaryOf(points).split(' '), ' ', width)];
  const shown = columnsOf(points, columns);
  const panels = drawn.map((one, at): Panel => {
    const [height, format] = at === 0 ? ([8, 'cyan'] as const) : ([5, 'green'] as const);
    const line = one.line && { name: one.line, values: valuesOf(shown, one.line) };
    const area = { name: one.area, values: valuesOf(shown, one.area), format };
    return { ...one, height, top: scaleOf(points, one), area, line };
  });
  return [
    ...panels.flatMap((panel) => ['', ...panelText(panel, gutter, style)]),
    paint('dim', `${' '.repeat(gutter + 1)}${timeAxis(first.at, last.at, columns, style)}`),
  ];
}

function panelText(panel: Panel, gutter: number, style: Style): string[] {
  const { height, top, area } = panel;
  const { paint } = style;
  const columns = area.values.length;
  const rows = Array.from({ length: height }, (): Cell[] => Array.from({ length: columns }));
  fill(rows, panel);
  draw(rows, panel);
  const label = (row: number): string => (row === height - 1 ? short(top) : row === 0 ? '0' : '');
  return [
    ...legendText(panel, style),
    ...rows
      .map((cells, row) => `${paint('dim', `${label(row).padStart(gutter)}│`)}${rowText(cells, paint)}`.trimEnd())
      .reverse(),
    paint('dim', `${' '.repeat(gutter)}└${'─'.repeat(columns)}`),
  ];
}

/** Its title, and what stands for what. */
function legendText({ title, unit, area, line, steps }: Panel, { paint, width }: Style): string[] {
  const lines = wrapped(
    [
      ...[title, ...(unit ? [unit] : []), `█ ${area.name}`, ...(line ? [`${steps ? '─' : '•'} ${line.name}`] : [])],
      ...(area.values.includes(null) ? ['(blank: not known)'] : []),
    ],
    '  ',
    width,
  );
  return lines.map((text, at) =>
    at === 0 ? `${paint('bold', title)}${paint('dim', text.slice(title.length))}` : paint('dim', text),
  );
}

/** From the ground up; nothing at all is a thin line, for a blank means that it is not known. */
function fill(rows: Cell[][], { height, top, area: { values, format } }: Panel): void {
  values.forEach((value, column) => {
    if (value === null) return;
    const eighths = Math.max(1, Math.round((value / top) * height * 8));
    for (let row = 0; row * 8 < eighths && row < height; row += 1) {
      const text = EIGHTHS[Math.min(8, eighths - row * 8)] ?? '';
      put(rows, row, column, { text, format });
    }
  });
}

function draw(rows: Cell[][], { height, top, steps, line }: Panel): void {
  const rowOf = (value: number): number =>
    Math.min(height - 1, Math.max(0, Math.ceil((value / top) * height - 1e-9) - 1));
  line?.values.forEach((value, column) => {
    if (value === null) return;
    const row = rowOf(value);
    const before = line.values[column - 1];
    const from = steps && typeof before === 'number' ? rowOf(before) : row;
    put(rows, row, column, { text: steps ? corner(row - from, true) : '•', format: LINE });
    if (from === row) return;
    put(rows, from, column, { text: corner(row - from, false), format: LINE });
    for (let at = Math.min(row, from) + 1; at < Math.max(row, from); at += 1)
      put(rows, at, column, { text: '│', format: LINE });
  });
}

/** Of a step up or down, where it arrives and where it leaves. */
function corner(rise: number, arrives: boolean): string {
  if (rise === 0) return '─';
  if (rise > 0) return arrives ? '┌' : '┘';
  return arrives ? '└' : '┐';
}

function put(rows: Cell[][], row: number, column: number, cell: NonNullable<Cell>): void {
  const cells = rows[row];
  if (cells) cells[column] = cell;
}

/** Neighbours of one colour are painted at once, so that a picture is not mostly escape sequences. */
function rowText(cells: Cell[], paint: Style['paint']): string {
  let text = '';
  for (let at = 0; at < cells.length; ) {
    const format = cells[at]?.format;
    let end = at;
    while (end < cells.length && cells[end]?.format === format) end += 1;
    const run = cells.slice(at, end).map((cell) => cell?.text ?? ' ');
    text += format ? paint(format, run.join('')) : run.join('');
    at = end;
  }
  return text;
}

/** The looks that each column shows: its own; between two looks, the one before; none where it is not known. */
function columnsOf(points: readonly ScalePoint[], columns: number): ScalePoint[][] {
  const start = points[0]?.at ?? 0;
  const span = Math.max(1, (points.at(-1)?.at ?? 0) - start);
  const gap = gapOf(points);
  let next = 0;
  return Array.from({ length: columns }, (_, column) => {
    const end = start + (span * (column + 1)) / columns;
    const within: ScalePoint[] = [];
    for (let point = points[next]; point && (point.at < end || column === columns - 1); point = points[next]) {
      within.push(point);
      next += 1;
    }
    if (within.length > 0) return within;
    const before = points[next - 1];
    // A stretch without looks ends with the next one: what lies between is not known.
    return before && (points[next]?.at ?? before.at) - before.at <= gap ? [before] : [];
  });
}

/** Of a signal the highest, so that no peak is lost; of replicas the latest. */
const valuesOf = (columns: ScalePoint[][], name: SeriesName): Series =>
  columns.map((looks) =>
    name === 'desired' || name === 'ready' ? (looks.at(-1)?.[name] ?? null) : highest(looks.map((one) => one[name])),
  );

function highest(values: Series): number | null {
  const known = values.filter(isKnown);
  return known.length > 0 ? Math.max(...known) : null;
}

/** Begin and end, and the middle where there is room for it. */
export function timeAxis(from: number, to: number, columns: number, { clock, dateAndTime, zone }: Style): string {
  const iso = (at: number): string => new Date(at).toISOString();
  const sameDay = dateAndTime(iso(from)).split(' ')[0] === dateAndTime(iso(to)).split(' ')[0];
  const name = (at: number): string => (sameDay ? clock(iso(at)) : dateAndTime(iso(at)).slice(5, 16));
  const [first, middle, last] = [from, (from + to) / 2, to].map(name) as [string, string, string];
  const end = columns >= 60 ? `${last} ${zone}` : last;
  const room = columns - first.length - end.length;
  if (room < 1) return first;
  const before = Math.floor((columns - middle.length) / 2) - first.length;
  const after = room - before - middle.length;
  return before < 2 || after < 2
    ? `${first}${' '.repeat(room)}${end}`
    : `${first}${' '.repeat(before)}${middle}${' '.repeat(after)}${end}`;
}

/** Lines of whole parts, none longer than the width unless one part is. */
export function wrapped(parts: string[], between: string, width: number): string[] {
  const lines = [''];
  for (const part of parts) {
    const line = lines.at(-1) ?? '';
    if (line !== '' && line.length + between.length + part.length > width) lines.push(part);
    else lines[lines.length - 1] = line === '' ? part : `${line}${between}${part}`;
  }
  return lines;
}
