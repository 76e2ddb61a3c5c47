import type { Change, FieldValue, Held } from '../model/change.ts';
import { code, plain } from '../model/markdown.ts';
import type { Story } from '../model/remediation.ts';
import type { ResponderState } from '../model/responder.ts';

/**
 * What Temporal's UI shows of a workflow beside its events, in Markdown. It costs no history. The UI hands it to its
 * renderer in an address, and a server keeps a few kilobytes of it, so everything here is bounded.
 */

/** Lines of a responder's list. */
const MOST = 20;
/** Steps of a plan. */
const MOST_STEPS = 10;
/** Fields that are held, changes and lines of a remediation's story: the latest. */
const MOST_HELD = 5;
const MOST_CHANGES = 8;
const MOST_LINES = 10;
/** Characters of all. */
const MOST_CHARACTERS = 4_000;

/** What a responder has in hand. */
export function detailsOf({ open, queue, tally, rule }: ResponderState): string {
  const underWay = Object.entries(open).map(([target, { since }]) => `${code(target)}, since ${clock(since)}`);
  const waiting = Object.values(queue).map(
    ({ target, since, gate, reason }) => `${code(target)}, since ${clock(since)} (${gate}): ${plain(reason)}`,
  );
  const { admit, wait, refuse, coalesce } = tally;
  return [
    `mode **${rule?.mode}** · started ${admit} · made to wait ${wait} · refused ${refuse} · said nothing new ${coalesce}`,
    ...section(`Under way (${underWay.length})`, firstOf(underWay, MOST)),
    ...section(`Waiting (${waiting.length})`, firstOf(waiting, MOST)),
  ].join('\n');
}

/**
 * How a remediation stands: what it is about, why, what it does and what comes next, what it holds, what it changed.
 *
 * @param next what comes next, and the ISO time until when; by default what the story itself says
 */
export function remediationDetails(story: Story, next = story.next): string {
  const { target, held, changes, lines } = story;
  const head = [...headOf(story), ...(story.ending ? [] : nextOf(next, lines.at(-1)?.at))];
  const rest = [
    ...(story.waits ? proposed(story.plan, story.waits) : []),
    ...section(
      `Held now (${held.length})`,
      lastOf(
        held.map((one) => heldLine(one, target)),
        MOST_HELD,
      ),
    ),
    ...section(
      `Changes (${changes.length})`,
      lastOf(
        changes.map((one) => changeLine(one, target)),
        MOST_CHANGES,
      ),
    ),
  ];
  // The latest lines take what is left; the last one first, for a reader may see no more than the beginning.
  const latest = lines.slice(-MOST_LINES).map(({ at, text }) => `\`${timeOf(at)}\` ${plain(text)}`);
  latest.reverse();
  const all = () => [...head, ...rest, ...section('Latest first', latest)].join('\n');
  while (latest.length > 1 && all().length > MOST_CHARACTERS) latest.pop();
  return all().slice(0, MOST_CHARACTERS);
}

function headOf({ target, runbook, rule, mode, alert, phase, why, ending }: Story): string[] {
  const about = [
    ...(alert ? [`alert **${plain(alert.name)}** since ${dateOf(alert.startsAt)}`] : []),
    `rule **${plain(rule)}**`,
    ...(mode ? [`mode **${mode}**`] : []),
  ];
  return [
    `**${runbook}** of ${code(target)}`,
    '',
    about.join(' · '),
    '',
    ending ? `**${ending.outcome}**: ${plain(ending.reason)}` : `phase **${plain(phase)}**`,
    ...(why && why !== ending?.reason ? ['', `why: ${plain(why)}`] : []),
  ];
}

/** @param now ISO time: what is until another day is said with its day */
function nextOf(next: Story['next'], now = ''): string[] {
  if (!next) return [];
  const { what, until } = next;
  const by = until && (until.slice(0, 10) === now.slice(0, 10) ? timeOf(until) : dateOf(until));
  return ['', `next: ${plain(what)}${by ? `, until **${by}** UTC` : ''}`];
}

/** What a person is asked to approve. */
function proposed(plan: Story['plan'], { approvers }: NonNullable<Story['waits']>): string[] {
  if (!plan) return [];
  const steps = plan.steps.map((step) => plain(step));
  const who = approvers.length > 0 ? approvers.map(plain).join(', ') : 'everybody who is known';
  return section(`Plan ${plain(plan.digest)}, to be approved by ${who}`, firstOf(steps, MOST_STEPS));
}

const heldLine = ({ object, field, before, set, until }: Held, target: string): string =>
  `${code(field)}${elsewhere(object.key, target)}: ${value(before)} → ${value(set)}, until ${timeOf(until)}`;

const changeLine = ({ at, what, object }: Change, target: string): string =>
  `\`${timeOf(at)}\` ${plain(what)}${elsewhere(object.key, target)}`;

/** The object of a change, where it is not the target itself. */
const elsewhere = (key: string, target: string): string => (key === target ? '' : ` of ${code(key)}`);

const value = (field: FieldValue): string => (field === null ? '*absent*' : code(JSON.stringify(field)));

const clock = (at: number): string => timeOf(new Date(at).toISOString());

/** `03:17:42`, in UTC: what a workflow knows of time zones. */
const timeOf = (iso: string): string => iso.slice(11, 19);

/** `2026-03-01 03:17:42`, likewise: for what may have been long ago. */
const dateOf = (iso: string): string => `${iso.slice(0, 10)} ${timeOf(iso)}`;

function section(title: string, lines: string[]): string[] {
  return lines.length === 0 ? [] : ['', `**${title}**`, '', ...lines.map((line) => `- ${line}`)];
}

const firstOf = (lines: string[], most: number): string[] =>
  lines.length > most ? [...lines.slice(0, most), `… and ${lines.length - most} more`] : lines;

const lastOf = (lines: string[], most: number): string[] =>
  lines.length > most ? [`… and ${lines.length - most} before`, ...lines.slice(-most)] : lines;
