import type { BreakerPhase } from '../../model/breaker/machine.ts';
import { type StateSpan, sumsOf } from '../states.ts';
import { roughly } from '../timeline.ts';
import { timeAxis, wrapped } from './chart-text.ts';
import type { Format, Style } from './text.ts';

/** Each is told by its form too: the fuller, the less gets through. */
const LOOKS: Record<BreakerPhase, { text: string; format: Format }> = {
  closed: { text: '▁', format: 'green' },
  confirming: { text: '░', format: 'yellow' },
  'half-open': { text: '▒', format: 'cyan' },
  open: { text: '█', format: 'red' },
};
/** Below so many columns a row shows nothing. */
const NARROWEST = 16;

/** The states of a breaker as one row over time, with how often and how long it was in each. */
export function statesText(spans: readonly StateSpan[] = [], style: Style): string[] {
  const { paint, width } = style;
  const [first, last] = [spans[0], spans.at(-1)];
  if (!first || !last) return [];
  const sums = sumsOf(spans).map(
    ({ state, times, ms }) => `${LOOKS[state].text} ${state} ${roughly(ms)}${times > 1 ? ` (${times} times)` : ''}`,
  );
  const [head = '', ...more] = wrapped(['Breaker', ...sums], '  ', width);
  const legend = [`${paint('bold', 'Breaker')}${head.slice('Breaker'.length)}`, ...more];
  const columns = width - 2;
  if (last.to <= first.from || columns < NARROWEST) return ['', ...legend];
  return [
    '',
    ...legend,
    `  ${rowOf(spans, columns, paint)}`,
    paint('dim', `  ${timeAxis(first.from, last.to, columns, style)}`),
  ];
}

function rowOf(spans: readonly StateSpan[], columns: number, paint: Style['paint']): string {
  const states = statesOf(spans, columns);
  let row = '';
  for (let at = 0; at < columns; ) {
    const state = states[at] ?? 'closed';
    let end = at;
    while (end < columns && states[end] === state) end += 1;
    row += paint(LOOKS[state].format, LOOKS[state].text.repeat(end - at));
    at = end;
  }
  return row;
}

/** In each column the state that takes most of it. */
function statesOf(spans: readonly StateSpan[], columns: number): (BreakerPhase | undefined)[] {
  const start = spans[0]?.from ?? 0;
  const wide = ((spans.at(-1)?.to ?? 0) - start) / columns;
  return Array.from({ length: columns }, (_, column) => {
    const [from, to] = [start + column * wide, start + (column + 1) * wide];
    const within = spans.map((span) => ({ span, ms: Math.min(span.to, to) - Math.max(span.from, from) }));
    return within.toSorted((a, b) => b.ms - a.ms)[0]?.span.state;
  });
}
