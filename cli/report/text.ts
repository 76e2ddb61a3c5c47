import type { FieldValue } from '../../model/change.ts';
import { shownValue } from '../audit-text.ts';
import {
  between,
  type Entry,
  type Holding,
  lasted,
  type Phase,
  roughly,
  type Timeline,
  timeSpent,
} from '../timeline.ts';
import { chartText } from './chart-text.ts';
import { statesText } from './states-text.ts';

export type Format = 'bold' | 'dim' | 'red' | 'yellow' | 'green' | 'cyan';

/** How the text is to look where it is read. */
export interface Style {
  paint(format: Format, text: string): string;
  /** Of an ISO time, without its date and with it. */
  clock(at: string): string;
  dateAndTime(at: string): string;
  /** The ISO times within a sentence. */
  sentence(text: string): string;
  /** The zone of all times. */
  zone: string;
  /** Columns that a picture may take. */
  width: number;
}

/** Without colours and in UTC, which all who read it understand alike: for mail, chat, tickets, files. */
export const PLAIN: Style = {
  paint: (_, text) => text,
  clock: (at) => utc(at).slice(11),
  dateAndTime: (at) => utc(at),
  sentence: (text) => text.replaceAll(/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/g, (iso) => `${utc(iso)} UTC`),
  zone: 'UTC',
  width: 80,
};

const utc = (at: string): string => new Date(at).toISOString().slice(0, 19).replace('T', ' ');

const COLOURS: Record<string, Format> = {
  remediated: 'green',
  recovered: 'green',
  'not-needed': 'green',
  observed: 'cyan',
  running: 'cyan',
  refused: 'yellow',
  waiting: 'yellow',
  paused: 'yellow',
  resumed: 'green',
};
export const colourOf = (outcome: string): Format => COLOURS[outcome] ?? 'red';

/** A report as text, one line each: what a terminal shows, and what can go along with a message to people. */
export function reportText(timeline: Timeline, style = PLAIN): string[] {
  return [
    ...headText(timeline, style),
    '',
    ...entriesText(timeline, style),
    ...chartText(timeline.chart, style),
    ...statesText(timeline.states, style),
    ...timeText(timeline, style),
    ...heldText(timeline, style),
    ...planText(timeline.plan, style),
    ...sourceText(timeline, style),
  ];
}

function headText(timeline: Timeline, { paint, dateAndTime, sentence, zone }: Style): string[] {
  const { id, target, rule, runbook, mode, scope, outcome, reason, startedAt, endedAt, alert } = timeline;
  const took = endedAt ? `, took ${lasted(startedAt, endedAt)}` : '';
  const read = timeline.source.from === 'history' ? ['no worker answers; read from the history'] : [];
  const by = alert?.by === undefined ? '' : `, by ${printable(alert.by)}`;
  return [
    `${paint('bold', printable(target))}  ${runbook}  ${paint(colourOf(outcome), outcome)}`,
    ...(reason === undefined ? [] : [sentence(printable(reason))]),
    paint('dim', `id ${id}  rule ${rule}  mode ${mode}${scope === undefined ? '' : `  scope ${printable(scope)}`}`),
    paint('dim', `started ${dateAndTime(startedAt)} (${zone})${took}`),
    ...(alert
      ? [paint('dim', `alert ${printable(alert.alertname)}, firing since ${dateAndTime(alert.startsAt)}${by}`)]
      : []),
    ...read.map((line) => paint('yellow', line)),
  ];
}

/** Time, kind, what; a change with the object and the field, before and after. */
const entriesText = ({ entries, startedAt }: Timeline, style: Style): string[] =>
  entries.flatMap((entry) => entryText(entry, startedAt, style));

function entryText({ at, part, text, change }: Entry, startedAt: string, style: Style): string[] {
  const { paint, sentence } = style;
  const line = `  ${paint('dim', stamp(at, startedAt, style))}  ${(part === 'note' ? '' : part).padEnd(8)}  ${sentence(printable(text))}`;
  if (!change) return [line];
  const { object, field, before, after, requestId } = change;
  const request = requestId === undefined ? '' : `  request ${printable(requestId)}`;
  const exactly = `${printable(object.key)}  ${printable(field)}: ${show(before)} → ${show(after)}${request}`;
  return [line, paint('dim', `${' '.repeat(22)}${exactly}`)];
}

/** The time of day, with the date where it is not that of the start: an alert may have been firing for long. */
export function stamp(at: string, startedAt: string, { clock, dateAndTime }: Style): string {
  const day = (of: string): string | undefined => dateAndTime(of).split(' ')[0];
  return day(at) === day(startedAt) ? clock(at) : dateAndTime(at);
}

const BAR = 24;

/** How long each phase took, as bars in proportion. */
function timeText(timeline: Timeline, { paint }: Style): string[] {
  const { phases } = timeline;
  const { waiting, working } = timeSpent(timeline);
  const all = waiting + working;
  if (all === 0) return [];
  const widest = Math.max(...phases.map(({ name }) => name.length));
  return [
    '',
    paint('bold', `Time: ${roughly(waiting)} waiting, ${roughly(working)} working`),
    ...phases.map(({ name, from, to }: Phase) => {
      const bar = '█'.repeat(Math.round((between(from, to) / all) * BAR)) || '▏';
      return `  ${name.padEnd(widest)}  ${bar.padEnd(BAR)}  ${lasted(from, to)}`;
    }),
  ];
}

function heldText({ held, source }: Timeline, style: Style): string[] {
  const open = held.filter(({ to }) => to === undefined);
  if (open.length === 0) return [];
  const title = source.from === 'history' ? 'Still altered, as far as the history tells' : 'Still altered';
  return ['', style.paint('bold', title), ...open.map((holding) => `  ${holdingText(holding, style)}`)];
}

function holdingText({ held: { object, field, before, set, until } }: Holding, { dateAndTime }: Style): string {
  const where = `${printable(object.key)}  ${printable(field)}`;
  return `${where}: ${show(before)} → ${show(set)}, until ${dateAndTime(until)}`;
}

/** What a run that only observes would have done. */
export const planText = (plan: string[] | undefined, { paint }: Pick<Style, 'paint'>): string[] =>
  plan ? ['', paint('bold', 'It would have'), ...plan.map((step, at) => `  ${at + 1}. ${printable(step)}`)] : [];

const sourceText = ({ source: { kept }, id }: Timeline, { paint }: Style): string[] =>
  kept
    ? [
        '',
        paint('dim', `${kept.records} records of the audit store, stream ${id}, last hash ${kept.head.slice(0, 16)}…`),
      ]
    : [];

/** A value as its API holds it. */
export const show = (value: FieldValue): string => printable(shownValue(value));

/** Text of strangers, such as a label, without what a terminal or a page would obey: controls and turns of direction. */
export const printable = (text: string): string => text.replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, '\u{fffd}');
