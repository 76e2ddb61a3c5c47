import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { defaultPayloadConverter } from '@temporalio/common';
import { describe, expect, it } from 'vitest';
import { storyOfRecords } from '../../cli/audit-story.ts';
import { storyOf } from '../../cli/history.ts';
import { reportPage } from '../../cli/report/page.ts';
import { statesText } from '../../cli/report/states-text.ts';
import { PLAIN, reportText } from '../../cli/report/text.ts';
import { beatOf, joinedStates, spansOf } from '../../cli/states.ts';
import { timelineOfRecords, timelineOfStory } from '../../cli/timeline.ts';
import type { BreakerPhase, Transition } from '../../model/breaker/machine.ts';
import type { Story } from '../../model/remediation.ts';
import { openPage, startBrowser } from '../support/browser.ts';
import { rule } from '../support/workflows.ts';
import { drained, recordsOf } from './records.ts';

const START = Date.parse('2026-03-01T02:00:00Z');

/** State, and seconds from the start. */
function states(...of: [BreakerPhase, number][]): Transition[] {
  return of.map(([to, seconds], place) => ({
    ...{ at: START + seconds * 1000, from: of[place - 1]?.[0] ?? 'closed', to },
    ...{ cause: 'time' as const, reason: `<${to}>`, until: null, relapses: 0 },
  }));
}

/** Opened, tried in vain, opened for twice as long, and closed. */
const RELAPSED = states(
  ['confirming', 0],
  ['open', 10],
  ['half-open', 40],
  ['open', 50],
  ['half-open', 110],
  ['closed', 120],
);
const END = START + 180_000;
const text = (width: number, timeline = RELAPSED): string[] => statesText(spansOf(timeline, END), { ...PLAIN, width });

describe('the states of a breaker, in a terminal', () => {
  it('are a row over time, each told by its form, with how often and how long', () => {
    expect(text(38)).toEqual([
      '',
      'Breaker  ░ confirming 10s',
      '█ open 1m30s (2 times)',
      '▒ half-open 20s (2 times)  ▁ closed 1m',
      '  ░░██████▒▒████████████▒▒▁▁▁▁▁▁▁▁▁▁▁▁',
      '  02:00:00      02:01:30      02:03:00',
    ]);
  });

  it('are words alone where there is no room, and nothing where there are none', () => {
    expect(text(17).at(-1)).toBe('▁ closed 1m');
    expect(statesText([], PLAIN)).toEqual([]);
    expect(statesText(spansOf(states(['open', 0]), START), PLAIN)).toEqual(['', 'Breaker  █ open 0s']);
  });

  it.each([20, 80, 200])('are no wider than %i columns, and last is what lasts', (width) => {
    const many = Array.from({ length: 200 }, (_, n): [BreakerPhase, number] => [n % 2 ? 'half-open' : 'open', n * 7]);
    for (const line of text(width, states(...many))) expect(line.length).toBeLessThanOrEqual(Math.max(width, 31));
    expect(text(width, states(['open', 0], ['closed', 179])).join('')).toMatch(/█{10}/);
  });
});

const BREAKER: NonNullable<Story['breaker']> = {
  state: {
    ...{ phase: 'closed', since: START + 120_000, reason: 'well', until: null, relapses: 1 },
    tries: { made: 0, successes: 0, failures: 0, next: 0 },
  },
  timeline: RELAPSED,
};

function recorded() {
  const { remediation } = drained();
  const notes = remediation.notes.map((one) =>
    one.entry.kind === 'ended' ? { ...one, entry: { ...one.entry, breaker: BREAKER } } : one,
  );
  return recordsOf({ ...remediation, notes });
}

describe('where they come from', () => {
  it('is the end of a run on record, when Temporal knows it no more', () => {
    const records = recorded();
    const timeline = timelineOfRecords(records);
    if (!timeline) throw new Error('no timeline');
    expect(timeline.states?.map(({ state }) => state)).toEqual(RELAPSED.map(({ to }) => to));
    expect(reportText(timeline).join('\n')).toContain('█ open 1m30s (2 times)');
    const story = storyOfRecords({ ...timeline, workflowId: 'w' }, records);
    expect(story.breaker).toEqual(BREAKER);
    expect(timelineOfStory(timeline, story, 'audit').states).toEqual(timeline.states);
  });

  it('is the heartbeat of what drives it, for what the workflow does not know yet', () => {
    const beat = { state: BREAKER.state, transitions: RELAPSED.slice(2), changes: [] };
    const beating = (name: string, details: unknown) => [
      { activityType: { name }, heartbeatDetails: { payloads: [defaultPayloadConverter.toPayload(details)] } },
    ];
    expect(beatOf(beating('driveBreaker', beat))).toEqual(beat);
    for (const other of ['later', { state: {} }, null]) expect(beatOf(beating('driveBreaker', other))).toBeUndefined();
    expect(beatOf(beating('verify', beat))).toBeUndefined();
    const known = { ...BREAKER, timeline: RELAPSED.slice(0, 3) };
    expect(joinedStates(known, beat).timeline).toEqual(RELAPSED);
    expect(joinedStates(undefined, { ...beat, transitions: RELAPSED })).toEqual(BREAKER);
  });

  it('is what the drives answered, where no worker tells the story', () => {
    const payloads = (value: unknown) => ({ payloads: [defaultPayloadConverter.toPayload(value)] });
    const input = { target: 'dependency/payments', rule: rule('fails'), alert: { alertname: 'Fails' } };
    const drive = (eventId: number, transitions: Transition[]) => [
      { eventId, activityTaskScheduledEventAttributes: { activityType: { name: 'driveBreaker' } } },
      {
        activityTaskCompletedEventAttributes: {
          scheduledEventId: eventId,
          result: payloads({ state: BREAKER.state, transitions, changes: [] }),
        },
      },
    ];
    const events = [
      { workflowExecutionStartedEventAttributes: { input: payloads(input) } },
      ...drive(5, RELAPSED.slice(0, 2)),
      ...drive(11, RELAPSED.slice(2)),
    ];
    expect(storyOf({ events: events as never })?.breaker).toEqual(BREAKER);
  });

  it('goes on to the time at which it is read, while it lasts', () => {
    const about = { id: 'r', target: 't', rule: 'r', runbook: 'circuit-breaker', mode: 'act', outcome: 'running' };
    const story = { ...storyOfRecords({ ...about, workflowId: 'w', startedAt: '' }, []), breaker: BREAKER };
    const running = { ...about, startedAt: new Date(START).toISOString() };
    const now = new Date(END).toISOString();
    expect(timelineOfStory(running, story, 'worker', [], now).states?.at(-1)?.to).toBe(END);
  });
});

it('the page draws them as bars of a height of their own, named, and escapes what they say', async () => {
  const timeline = timelineOfRecords(recorded());
  if (!timeline) throw new Error('no timeline');
  const folder = mkdtempSync(join(tmpdir(), 'salvor-states-'));
  const browser = await startBrowser();
  try {
    writeFileSync(join(folder, 'page.html'), reportPage(timeline));
    const { page, errors } = await openPage(browser, { viewport: { width: 375, height: 812 } });
    await page.goto(pathToFileURL(join(folder, 'page.html')).href);
    const drawn = page.getByRole('img', { name: /^States of the breaker: confirming 10s, open 30s, half-open 10s/ });
    expect(await drawn.locator('rect:not(.ground)').count()).toBe(RELAPSED.length);
    const height = async (state: string) => (await drawn.locator(`.s-${state}`).first().boundingBox())?.height ?? 0;
    expect(await height('open')).toBeGreaterThan(await height('half-open'));
    expect(await height('half-open')).toBeGreaterThan(await height('confirming'));
    expect(await height('confirming')).toBeGreaterThan(await height('closed'));
    expect(await drawn.locator('.s-open title').first().textContent()).toBe('open 30s: <open>');
    const legend = await page.locator('section', { hasText: 'The breaker' }).locator('.legend li').allTextContents();
    expect(legend.map((one) => one.replaceAll(/\s+/g, ' ').trim())).toContainEqual(
      expect.stringMatching(/^open, 2 times 1m30s \d+ %$/),
    );
    expect(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')).toBe(0);
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
