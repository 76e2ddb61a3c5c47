import type { ResponderState } from '../model/responder.ts';

/** Lines of a list; Temporal keeps at most a few kilobytes of details. */
const MOST = 20;

/** What a responder has in hand, in Markdown, for Temporal's UI. Costs no history. */
export function detailsOf({ open, queue, tally, rule }: ResponderState): string {
  const underWay = Object.entries(open).map(([target, { since }]) => `${target}, since ${clock(since)}`);
  const waiting = Object.values(queue).map(
    ({ target, since, gate, reason }) => `${target}, since ${clock(since)} (${gate}): ${reason}`,
  );
  const { admit, wait, refuse, coalesce } = tally;
  return [
    `mode **${rule?.mode}** · started ${admit} · made to wait ${wait} · refused ${refuse} · said nothing new ${coalesce}`,
    ...section('Under way', underWay),
    ...section('Waiting', waiting),
  ].join('\n');
}

const clock = (at: number): string => new Date(at).toISOString().slice(11, 19);

function section(title: string, lines: string[]): string[] {
  if (lines.length === 0) return [];
  const more = lines.length > MOST ? [`- … and ${lines.length - MOST} more`] : [];
  return ['', `**${title}** (${lines.length})`, ...lines.slice(0, MOST).map((line) => `- ${line}`), ...more];
}
