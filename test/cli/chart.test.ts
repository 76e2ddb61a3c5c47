import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { defaultPayloadConverter } from '@temporalio/common';
import type { Browser, BrowserContextOptions } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import { storyOfRecords } from '../../cli/audit-story.ts';
import { storyOf } from '../../cli/history.ts';
import { joined, looksOf } from '../../cli/looks.ts';
import { chartText } from '../../cli/report/chart-text.ts';
import { reportPage } from '../../cli/report/page.ts';
import { PLAIN, reportText } from '../../cli/report/text.ts';
import { type Timeline, timelineOfRecords, timelineOfStory } from '../../cli/timeline.ts';
import type { AuditPage } from '../../model/audit.ts';
import type { ScalePoint } from '../../model/ports/scalable.ts';
import { openPage, startBrowser, textOf, type Watched } from '../support/browser.ts';
import { rule } from '../support/workflows.ts';
import { flood, look } from './looks.ts';
import { drained, recordsOf } from './records.ts';
import { type Ended, salvor } from './salvor.ts';

const text = (points: ScalePoint[], width: number): string[] => chartText(points, { ...PLAIN, width });

/** Eight looks, a quarter of a minute apart. */
const RISE = [0, 10, 20, 40, 80, 40, 20, 0].map((backlog, i) =>
  look(i * 15, { backlog, forecast: Math.max(0, backlog * 2 - 10), desired: i < 3 ? 2 : 4, ready: i < 5 ? 2 : 4 }),
);

describe('the chart of a terminal', () => {
  it('draws what there is as areas, and what is expected or asked for as lines', () => {
    expect(text(RISE, 32)).toEqual([
      '',
      'Backlog  items  █ backlog',
      '• forecast',
      '  150│              •••',
      '     │',
      '     │',
      '     │              ▂▂▂',
      '     │          ••••███••••',
      '     │          ▁▁▁▁███▁▁▁▁',
      '     │       •••███████████•••',
      '    0│•••••••█████████████████•',
      '     └─────────────────────────',
      '',
      'Replicas  █ ready  ─ desired',
      '    4│          ┌──────────────',
      '     │          │      ████████',
      '     │──────────┘▄▄▄▄▄▄████████',
      '     │█████████████████████████',
      '    0│█████████████████████████',
      '     └─────────────────────────',
      '      02:00:00         02:01:45',
    ]);
  });

  it('leaves blank what is not known, and says so; nothing at all is a line on the ground', () => {
    const gap = RISE.map((point, i) => ({
      ...point,
      ...(i === 0 && { forecast: null }),
      ...((i === 3 || i === 4) && { backlog: null, forecast: null }),
    }));
    expect(text(gap, 62).slice(1, 11)).toEqual([
      'Backlog  items  █ backlog  • forecast  (blank: not known)',
      '  80│',
      '    │                                        ••••••••',
      '    │',
      '    │',
      '    │                                        ████████',
      '    │                ••••••••                ████████•••••••',
      '    │                ████████                ███████████████',
      '   0│▁▁▁▁▁▁▁▁••••••••████████                ███████████████•',
      '    └────────────────────────────────────────────────────────',
    ]);
  });

  it('leaves blank the time without any look', () => {
    const late = RISE.map((point, i) => (i < 4 ? point : { ...point, at: point.at + 600_000 }));
    const ready = text(late, 60).find((line) => line.includes('0│█')) ?? '';
    expect(ready).toMatch(/│█+ {20,}█+$/);
  });

  it('says in words what is too little to draw, or has no room', () => {
    expect(text([], 80)).toEqual([]);
    expect(text([look(0, { backlog: 12, latency: 0.4 })], 200)).toEqual([
      '',
      '1 look; at the last one backlog 12, forecast 0, desired 2, ready 2, latency 0.4s; at most backlog 12, desired 2, ready 2',
    ]);
    const narrow = text(RISE, 20);
    expect(narrow.slice(0, 3)).toEqual(['', '8 looks; at the last', 'one backlog 0,']);
    for (const line of narrow) expect(line.length).toBeLessThanOrEqual(20);
  });

  it.each([24, 40, 80, 200])('is no wider than %i columns, whatever the numbers', (width) => {
    for (const points of [flood(), RISE, RISE.map((one) => ({ ...one, backlog: 9e300, desired: 123_456 }))])
      for (const line of text(points, width)) expect(line.length).toBeLessThanOrEqual(width);
  });

  it('draws huge numbers and hostile ones', () => {
    const huge = [look(0, { backlog: 1e22 }), look(15, { backlog: Number.POSITIVE_INFINITY }), look(30)];
    expect(text(huge, 60).join('\n')).toContain('1.0e+22│');
    expect(text([look(0, { backlog: 0.2 }), look(15)], 60).join('\n')).toContain('1│');
  });

  it('draws the latency where no backlog is asked for', () => {
    const slow = RISE.map((one, i) => ({ ...one, backlog: null, forecast: null, latency: i }));
    expect(text(slow, 40)[1]).toBe('Latency  seconds  █ latency');
  });

  it('paints in colours where it is told to', () => {
    const painted = chartText(RISE, { ...PLAIN, paint: (format, of) => `<${format}>${of}</>` }).join('\n');
    for (const format of ['cyan', 'green', 'yellow', 'bold', 'dim']) expect(painted).toContain(`<${format}>`);
  });
});

/** A remediation that ends with something to draw. */
function ending(chart: ScalePoint[]): AuditPage {
  const { remediation } = drained();
  const notes = remediation.notes.map((one) =>
    one.entry.kind === 'ended' ? { ...one, entry: { ...one.entry, chart } } : one,
  );
  return { ...remediation, notes };
}

/** As the audit store would tell it. */
function scaled(points: ScalePoint[] = flood()): Timeline {
  const remediation = ending(points);
  const records = recordsOf(remediation);
  const timeline = timelineOfRecords(records);
  if (!timeline) throw new Error('no timeline');
  const { workflowId } = remediation.stream;
  const story = storyOfRecords({ ...timeline, workflowId }, records);
  expect(timelineOfStory(timeline, story, 'audit').chart).toEqual(points);
  return timeline;
}

describe('what there is to draw', () => {
  it('comes with the end of a run from the audit store, and is part of its text', () => {
    expect(scaled().chart).toHaveLength(240);
    expect(reportText(scaled()).join('\n')).toContain('Replicas  █ ready  ─ desired');
    expect(reportText(scaled([])).join('\n')).not.toContain('Replicas');
  });

  it('is each look once, where a watch under way tells what the story has already', () => {
    expect(joined(RISE.slice(0, 5), RISE.slice(2))).toEqual(RISE);
    expect(joined(undefined, RISE)).toEqual(RISE);
    expect(joined(RISE, undefined)).toEqual(RISE);
  });

  it('is read from the heartbeat of the watch, and from nothing that holds something else', () => {
    const beating = (name: string, details: unknown) => [
      { activityType: { name }, heartbeatDetails: { payloads: [defaultPayloadConverter.toPayload(details)] } },
    ];
    expect(looksOf(beating('watchBacklog', { state: {}, points: RISE }))).toEqual(RISE);
    expect(looksOf(beating('watchBacklog', { state: {} }))).toBeUndefined();
    expect(looksOf(beating('watchBacklog', 'later'))).toBeUndefined();
    expect(looksOf(beating('verify', { points: RISE }))).toBeUndefined();
    expect(looksOf([{ activityType: { name: 'watchBacklog' } }])).toBeUndefined();
  });

  it('is what the watches answered, where no worker tells the story', () => {
    const payloads = (value: unknown) => ({ payloads: [defaultPayloadConverter.toPayload(value)] });
    const input = { target: 'k8s/prod/shop/deployment/web', rule: rule('flood'), alert: { alertname: 'Flood' } };
    const watch = (eventId: number, points: ScalePoint[]) => [
      { eventId, activityTaskScheduledEventAttributes: { activityType: { name: 'watchBacklog' } } },
      {
        activityTaskCompletedEventAttributes: {
          scheduledEventId: eventId,
          result: payloads({ verdict: 'scale', to: 4, why: 'it rises', points }),
        },
      },
    ];
    const events = [
      { workflowExecutionStartedEventAttributes: { input: payloads(input) } },
      ...watch(5, RISE.slice(0, 3)),
      ...watch(11, RISE.slice(3)),
    ];
    const story = storyOf({ events: events as never });
    expect(story?.chart).toEqual(RISE);
    expect(story?.lines.map(({ text: said }) => said)).toContain('watchBacklog: scale: it rises');
  });
});

describe('the chart of the page', () => {
  const folder = mkdtempSync(join(tmpdir(), 'salvor-chart-'));
  /** Where pictures go that a person wants to look at. */
  const pictures = process.env['SALVOR_PICTURES'];
  let browser: Browser;

  beforeAll(async () => {
    browser = await startBrowser();
    if (pictures) mkdirSync(pictures, { recursive: true });
  });
  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  async function seen(timeline: Timeline, name: string, options: BrowserContextOptions = {}): Promise<Watched> {
    const file = join(folder, 'page.html');
    writeFileSync(file, reportPage(timeline));
    const watched = await openPage(browser, options);
    await watched.page.goto(pathToFileURL(file).href);
    if (pictures) await watched.page.screenshot({ path: join(pictures, `chart-${name}.png`), fullPage: true });
    return watched;
  }

  it('draws backlog, forecast, desired and ready, names them, and loads nothing', async () => {
    const { page, requests, errors } = await seen(scaled(), 'desktop', { viewport: { width: 1280, height: 900 } });
    for (const line of ['.edge.backlog', '.line.forecast', '.edge.ready', '.line.desired']) {
      const boxes = await page.locator(`.plot path${line}`).all();
      expect(boxes.length).toBeGreaterThan(0);
      for (const box of boxes) expect((await box.boundingBox())?.width).toBeGreaterThan(100);
      const colour = `getComputedStyle(document.querySelector('.plot path${line}')).stroke`;
      expect(await page.evaluate(colour)).toMatch(/^rgb/);
    }
    // The minutes without metrics part the backlog, and not the replicas.
    expect(await page.locator('.edge.backlog').count()).toBe(2);
    expect(await page.locator('.edge.ready').count()).toBe(1);
    const names = await page.locator('.key').allTextContents();
    expect(names).toEqual(['backlog', 'forecast', 'ready', 'desired']);
    expect(await page.getByRole('img', { name: 'Backlog with forecast over time' }).count()).toBe(1);
    expect(await page.getByRole('img', { name: 'Replicas with desired over time' }).count()).toBe(1);
    expect(await page.locator('.plot desc').first().textContent()).toMatch(/^240 looks; at the last one backlog/);
    expect(await page.locator('.look title').first().textContent()).toMatch(/^02:00:00 UTC: backlog \d+, forecast/);
    expect(await textOf(page)).toMatch(/02:00:00\s+02:29:52\s+02:59:45/);
    expect(errors).toEqual([]);
    expect(requests).toEqual([page.url()]);
    await page.context().close();
  });

  it.each(['light', 'dark'] as const)(
    'is read on a phone in the %s without scrolling sideways',
    async (colorScheme) => {
      const phone = { viewport: { width: 375, height: 812 }, deviceScaleFactor: 2, colorScheme };
      const { page } = await seen(scaled(), `phone-${colorScheme}`, phone);
      expect(await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')).toBe(
        0,
      );
      expect(await page.evaluate(`document.querySelector('.plot svg').clientWidth`)).toBeGreaterThan(250);
      await page.context().close();
    },
  );

  it('is printed in the ink of the page, no panel torn in two', async () => {
    const { page } = await seen(scaled(), 'print', { colorScheme: 'dark' });
    await page.emulateMedia({ media: 'print' });
    expect(await page.evaluate(`getComputedStyle(document.querySelector('.panel')).breakInside`)).toBe('avoid');
    expect(await page.evaluate(`getComputedStyle(document.querySelector('.edge')).stroke`)).toBe('rgb(59, 111, 181)');
    await page.context().close();
  });

  it('says one look in words, and nothing where there was none', async () => {
    const { page } = await seen(scaled([look(0, { backlog: 7 })]), 'one');
    expect(await textOf(page)).toContain('1 look; at the last one backlog 7');
    expect(await page.locator('.plot').count()).toBe(0);
    await page.context().close();
    expect(reportPage(scaled([]))).not.toContain('class="scale"');
  });
});

describe('salvor show', () => {
  const folder = mkdtempSync(join(tmpdir(), 'salvor-show-'));
  const page = ending(flood());
  const { id } = page.stream;
  const run = (...args: string[]): Promise<Ended> => salvor(args, { cwd: folder });

  beforeAll(async () => {
    const url = `file:${join(folder, 'audit.db')}`;
    // Nothing listens there: Temporal is gone.
    writeFileSync(join(folder, 'salvor.yaml'), `temporal: { address: 127.0.0.1:9 }\naudit: { url: ${url} }\n`);
    const store = await openAuditStore({ url });
    await store.append(page);
    await store.close();
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('draws it from the audit store, plain where it is no terminal, and gives the points as JSON', async () => {
    const { status, stdout } = await run('show', id);
    expect(status).toBe(0);
    expect(stdout).toContain('Backlog  items  █ backlog  • forecast  (blank: not known)');
    expect(stdout).toContain('Replicas  █ ready  ─ desired');
    expect(stdout).not.toMatch(/[^\P{Cc}\n]/u);
    expect(JSON.parse((await run('show', id, '--json')).stdout)).toMatchObject({ story: { chart: flood() } });
  });

  it('writes the page of the report', async () => {
    const file = join(folder, 'page.html');
    expect(await run('show', id, '--html', file)).toMatchObject({ status: 0, stdout: '' });
    expect(readFileSync(file, 'utf8')).toContain('class="line forecast"');
    expect((await run('report', id, '--html', '-')).stdout).toBe(readFileSync(file, 'utf8'));
  });
});
