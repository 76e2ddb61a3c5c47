import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openAuditStore } from '../../audit/open.ts';
import { reportPage } from '../../cli/report/page.ts';
import { reportText } from '../../cli/report/text.ts';
import { type Timeline, timelineOfRecords, timelineOfStory } from '../../cli/timeline.ts';
import { openPage, startBrowser, textOf, type Watched } from '../support/browser.ts';
import { at, drained, HOSTILE, recordsOf } from './records.ts';
import { type Ended, salvor } from './salvor.ts';

const folder = mkdtempSync(join(tmpdir(), 'salvor-report-'));
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

function timelineWith(labels: Record<string, string> = {}): Timeline {
  const { remediation, responder } = drained(labels);
  const timeline = timelineOfRecords(recordsOf(remediation), recordsOf(responder));
  if (!timeline) throw new Error('no timeline');
  return timeline;
}

describe('the timeline of a remediation', () => {
  it('tells alert, decisions by gate, what was found, changes, what was held and the outcome, in order', () => {
    const { entries, held, outcome, reason } = timelineWith();
    const parts = entries.map(({ part }) => part);
    expect(parts.slice(0, 3)).toEqual(['alert', 'decision', 'decision']);
    expect(parts.at(-1)).toBe('outcome');
    expect(entries.map(({ at: time }) => Date.parse(time))).toEqual(
      entries.map(({ at: time }) => Date.parse(time)).toSorted((a, b) => a - b),
    );
    expect(entries[1]?.text).toBe('waits for in-flight: 1 of at most 1 remediations are open in the scope');
    expect(entries[2]?.text).toMatch(/^admitted: no gate objects in prod\/shop/);
    expect(entries.filter(({ part }) => part === 'change')).toMatchObject([
      { at: at(0.4), change: { before: 'on', after: 'off', requestId: 'req-1' } },
      { at: at(318), change: { field: 'eviction', requestId: 'req-2' } },
    ]);
    expect(held).toMatchObject([{ from: at(0.2), to: at(318.2), held: { before: 'on', set: 'off' } }]);
    expect({ outcome, reason }).toEqual({ outcome: 'remediated', reason: 'web-new is Ready' });
  });

  it('says nothing twice: a line of the story that a record tells better is left out, what only it tells is kept', () => {
    const texts = timelineWith().entries.map(({ text }) => text);
    expect(texts.filter((text) => text.includes('not Ready for 5m'))).toHaveLength(1);
    expect(texts.filter((text) => text.includes('label salvor.dev/traffic: on → off'))).toHaveLength(1);
    expect(texts.filter((text) => text.startsWith('remediated:'))).toHaveLength(1);
    expect(texts).toContain('waiting up to 5m for it to recover');
  });

  it('knows the phases, without a gap, and which of them waited', () => {
    const { phases } = timelineWith();
    expect(phases.map(({ name, waits }) => `${name} ${waits}`)).toEqual([
      'queue true',
      'diagnose false',
      'cut false',
      'hold true',
      'replace true',
      'verify true',
    ]);
    phases.slice(1).forEach(({ from }, place) => {
      expect(from).toBe(phases[place]?.to);
    });
    expect(phases.at(-1)?.to).toBe(at(330));
  });

  it('takes the phases from the evidence while a remediation has not ended', () => {
    const { remediation } = drained();
    const timeline = timelineOfRecords(recordsOf({ ...remediation, notes: remediation.notes.slice(0, 5) }));
    expect(timeline).toMatchObject({
      outcome: 'running',
      phases: [{ name: 'diagnose' }, { name: 'cut' }, { name: 'hold', to: at(300) }],
      held: [{ from: at(0.2) }],
    });
    expect(timeline?.held[0]).not.toHaveProperty('to');
    expect(timeline).not.toHaveProperty('endedAt');
  });

  it('is made of a story alike', () => {
    const { entries, phases, ...records } = timelineWith();
    const changes = entries.flatMap(({ change }) => change ?? []);
    const ending = { outcome: 'remediated', reason: 'web-new is Ready', changes } as const;
    const lines = [
      { at: at(0), phase: 'diagnose', text: 'PodUnable' },
      { at: at(0.5), phase: 'cut', text: 'label salvor.dev/traffic: on → off' },
      { at: at(318), phase: 'replace', text: 'evicted' },
      { at: at(330), phase: 'remediated', text: 'remediated: web-new is Ready' },
    ];
    const about = { ...records, endedAt: at(330) };
    const story = { ...about, phase: 'remediated', lines, held: [], changes, ending: { ...ending, changes } };
    const told = timelineOfStory(about, { ...story, mode: 'act', alert: undefined, plan: undefined }, 'worker');
    expect(told.entries.map(({ part, text }) => `${part}: ${text}`)).toEqual([
      'alert: PodUnable',
      'change: label salvor.dev/traffic: on → off',
      'change: evicted',
      'outcome: remediated: web-new is Ready',
    ]);
    expect(told.phases.map(({ name }) => name)).toEqual(['diagnose', 'cut', 'replace']);
  });
});

describe('the report as text', () => {
  it('is plain, in UTC, and obeys no control character of a label', () => {
    const timeline = timelineWith();
    const text = reportText({ ...timeline, reason: `web-new ${HOSTILE}`, target: `k8s/${HOSTILE}` }).join('\n');
    expect(text).not.toMatch(/[^\P{Cc}\n]|\p{Bidi_Control}/u);
    expect(text).toContain('started 2026-03-01 02:00:00 (UTC), took 5m30s');
    expect(text).toMatch(/02:00:00 {2}change {4}label salvor\.dev\/traffic: on → off\n.*"on" → "off" {2}request req-1/);
    expect(text).toMatch(/Time: 6m waiting, 500ms working/);
    expect(text).toMatch(/hold {6}█{15,} +5m$/m);
    expect(text).not.toContain('Still altered');
  });

  it('names what is still altered', () => {
    const { remediation } = drained();
    const timeline = timelineOfRecords(recordsOf({ ...remediation, notes: remediation.notes.slice(0, 4) }));
    const text = reportText(timeline!).join('\n');
    expect(text).toMatch(/Still altered\n {2}k8s\/\S+ {2}metadata\S+: "on" → "off", until 2026-03-01 02:30:00/);
  });
});

async function seen(html: string, options: BrowserContextOptions = {}): Promise<Watched> {
  const file = join(folder, 'report.html');
  writeFileSync(file, html);
  const watched = await openPage(browser, options);
  await watched.page.goto(pathToFileURL(file).href);
  return watched;
}

async function picture(page: Page, name: string): Promise<void> {
  if (pictures) await page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
}

/** How far the content reaches beyond the window, in CSS pixels. */
const OVERFLOW = 'document.documentElement.scrollWidth - document.documentElement.clientWidth';

describe('the report as a page', () => {
  it('shows all of it, loads nothing but itself and has no errors', async () => {
    const { page, requests, errors } = await seen(reportPage(timelineWith()), {
      viewport: { width: 1280, height: 900 },
    });
    const text = await textOf(page);
    for (const said of [
      'remediated',
      'PodUnable',
      'severity=page',
      'waits for in-flight',
      'evicted',
      'req-2',
      'released',
    ])
      expect(text).toContain(said);
    expect(text).toMatch(/before "on" → after "off"/);
    expect(text).toMatch(/hold \(waits\) 5m 83 %/);
    expect(await page.locator('svg').count()).toBe(3);
    const sizes = await page.locator('svg').evaluateAll((all) => all.map((one) => one.clientWidth * one.clientHeight));
    for (const size of sizes) expect(size).toBeGreaterThan(10_000);
    expect(await page.locator('svg .tick').count()).toBe(2);
    expect(errors).toEqual([]);
    expect(requests).toEqual([page.url()]);
    await picture(page, 'report-desktop');
    await page.context().close();
  });

  it('takes labels, reasons and values for data, whatever they hold', async () => {
    const { remediation, responder } = drained({ 'x"><b>': HOSTILE, [HOSTILE]: 'y' });
    const hostile = JSON.parse(
      JSON.stringify(recordsOf(remediation)).replaceAll('not Ready for 5m', JSON.stringify(HOSTILE).slice(1, -1)),
    );
    const timeline = timelineOfRecords(hostile, recordsOf(responder))!;
    const markup = reportPage({ ...timeline, target: HOSTILE, reason: HOSTILE, plan: [HOSTILE] });
    const { page, requests, errors } = await seen(markup, { viewport: { width: 375, height: 700 } });
    expect(await page.title()).toMatch(/^<\/style><\/script><script>.*: remediated$/);
    expect(await page.locator('script, img, b:has-text("owned")').count()).toBe(0);
    expect(await page.textContent('h1')).toContain('<img src=//evil.example/x onerror=alert(1)>"\' &');
    expect(await page.textContent('h1')).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u);
    expect(await page.evaluate(OVERFLOW)).toBe(0);
    expect(errors).toEqual([]);
    expect(requests).toEqual([page.url()]);
    await page.context().close();
  });

  it('would run nothing, even if something had come through', async () => {
    const html = reportPage(timelineWith()).replace('</body>', `<script>document.title = 'owned'</script></body>`);
    const { page } = await seen(html);
    expect(await page.title()).not.toBe('owned');
    await page.context().close();
  });

  it('is read on a phone without scrolling sideways, in the light and in the dark', async () => {
    const labels = { pod: 'web-5d9c7b6f8d-'.repeat(12), summary: 'W'.repeat(300) };
    const html = reportPage(timelineWith(labels));
    const grounds = new Set<unknown>();
    for (const colorScheme of ['light', 'dark'] as const) {
      const phone = { viewport: { width: 375, height: 812 }, deviceScaleFactor: 2, colorScheme };
      const { page } = await seen(html, phone);
      expect(await page.evaluate(OVERFLOW)).toBe(0);
      expect(await page.evaluate('parseFloat(getComputedStyle(document.body).fontSize)')).toBeGreaterThanOrEqual(16);
      grounds.add(await page.evaluate('getComputedStyle(document.body).backgroundColor'));
      await picture(page, `report-phone-${colorScheme}`);
      await page.context().close();
    }
    expect(grounds.size).toBe(2);
  });

  it('is printed in black on white, also by a reader who likes it dark', async () => {
    const { page } = await seen(reportPage(timelineWith()), { colorScheme: 'dark' });
    await page.emulateMedia({ media: 'print' });
    expect(await page.evaluate('getComputedStyle(document.body).color')).toBe('rgb(0, 0, 0)');
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe('rgb(255, 255, 255)');
    const pdf = await page.pdf({ format: 'A4' });
    expect(pdf.subarray(0, 5).toString()).toBe('%PDF-');
    await picture(page, 'report-print');
    await page.context().close();
  });
});

describe('salvor report', () => {
  const { remediation, responder } = drained();
  const { id, target = '' } = remediation.stream;
  const run = (...args: string[]): Promise<Ended> => salvor(args, { cwd: folder });

  beforeAll(async () => {
    const url = `file:${join(folder, 'audit.db')}`;
    // Nothing listens there: Temporal is gone.
    writeFileSync(join(folder, 'salvor.yaml'), `temporal: { address: 127.0.0.1:9 }\naudit: { url: ${url} }\n`);
    const store = await openAuditStore({ url });
    await store.append(responder);
    await store.append(remediation);
    await store.close();
  });

  it('tells it from the audit store with Temporal gone: by ID, by target, as text', async () => {
    for (const meant of [id, id.slice(0, 8), target]) {
      const { status, stdout, stderr } = await run('report', meant, '--text');
      expect({ status, stderr }).toMatchObject({
        status: 0,
        stderr: expect.stringContaining('what the audit store has'),
      });
      expect(stdout).toContain(`${target}  drain-instance  remediated`);
      expect(stdout).toContain('waits for in-flight');
      expect(stdout).toContain(`${remediation.notes.length} records of the audit store, stream ${id}`);
    }
  });

  it('writes the page into a file, or to standard output, and the timeline as JSON', async () => {
    const file = join(folder, 'page.html');
    expect(await run('report', id, '--html', file)).toMatchObject({ status: 0, stdout: '' });
    const page = readFileSync(file, 'utf8');
    expect(page).toContain(target);
    expect((await run('report', id, '--html', '-')).stdout).toBe(page);
    const timeline = JSON.parse((await run('report', id, '--json')).stdout) as Timeline;
    expect(timeline).toMatchObject({ id, outcome: 'remediated', source: { from: 'audit' } });
    expect(timeline.entries.filter(({ part }) => part === 'change')).toHaveLength(2);
  });

  it('says so where nobody knows of it, or the file cannot be written', async () => {
    const nobody = await run('report', '00000000-0000');
    expect(nobody).toMatchObject({ status: 4, stderr: expect.stringContaining('127.0.0.1:9') });
    const nowhere = await run('report', id, '--html', join(folder, 'none', 'page.html'));
    expect(nowhere).toMatchObject({ status: 1, stderr: expect.stringContaining('could not be written') });
  });
});
