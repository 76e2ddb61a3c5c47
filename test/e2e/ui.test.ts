import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Timeline } from '../../cli/timeline.ts';
import { salvor } from '../cli/salvor.ts';
import { openPage, startBrowser, textOf } from '../support/browser.ts';
import { nameOf, statefulSet } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import type { Complaint } from './exporter.ts';
import { PATIENCE, Stack } from './support.ts';

/** A folder; `SALVOR_PICTURES=docs/images npx vitest run test/e2e/ui.test.ts` takes the pictures of the README anew. */
const pictures = process.env['SALVOR_PICTURES'];
const RULE = 'pod-unready';

const stack = new Stack();
let browser: Browser;

beforeAll(async () => {
  browser = await startBrowser();
  await stack.start({ [RULE]: { with: { recoverWithin: '5m', stableFor: '1s' } } }, { headless: false });
});
afterAll(async () => {
  await browser?.close();
  await stack.stop();
});

async function workload(): Promise<Complaint> {
  const namespace = await stack.cluster.namespace('shop');
  await stack.cluster.create(
    stack.exposed(namespace, 'web'),
    statefulSet({ namespace, name: 'web', trafficLabel: true }),
  );
  const [sick] = await stack.cluster.readyPods(namespace, 'web', 2);
  return { namespace, pod: nameOf(sick!), rule: RULE };
}

/** Opens a part of a run's page in Temporal's UI. */
async function open(page: Page, complaint: Complaint, part: string): Promise<void> {
  const { workflowId, runId } = await stack.remediation(complaint).describe();
  const run = `${encodeURIComponent(workflowId)}/${runId}`;
  await page.goto(`${stack.sandbox.temporal.uiUrl}/namespaces/default/workflows/${run}/${part}`);
}

async function picture(page: Page, name: string): Promise<void> {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`) });
}

/** What a person reads on the page, the frames of rendered Markdown included, once it says all of this. */
function reads(page: Page, ...said: (string | RegExp)[]): Promise<string> {
  let text = '';
  const look = async (): Promise<string | false> => {
    // The UI loads it piece by piece, and a frame may be replaced while it is read.
    text = (await Promise.all(page.frames().map(textOf))).join('\n');
    return said.every((one) => (typeof one === 'string' ? text.includes(one) : one.test(text))) && text;
  };
  return eventually(`the page says ${said.join(', ')}`, look, PATIENCE).catch((error: unknown) => {
    throw new Error(`${error instanceof Error ? error.message : error}; it says:\n${text}`, { cause: error });
  });
}

test("a remediation reads as a story in Temporal's own UI, while it runs and after", async () => {
  const it = await workload();
  const target = stack.cluster.target(it.namespace, it.pod);
  await stack.breakPod(it);
  await stack.untilTraffic(it, 'off');
  await stack.untilAt(it, 'hold');
  const { page } = await openPage(browser, { viewport: { width: 1280, height: 960 } });

  await open(page, it, 'history');
  await reads(page, 'Running', 'cut its traffic', 'wait for it to recover, then give its traffic back');

  await open(page, it, 'user-metadata');
  await reads(
    page,
    `drain-instance ${target} (PodUnable, rule ${RULE}, act)`,
    `drain-instance of ${target}`,
    /alert PodUnable since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d · rule pod-unready · mode act/,
    'phase hold',
    /why: ContainersReady is False since/,
    /next: .+, until \d\d:\d\d:\d\d UTC/,
    /Held now \(1\)\s+metadata.labels\[salvor.dev\/traffic\]: "on" → "off", until/,
    /Changes \(1\)\s+\d\d:\d\d:\d\d label salvor.dev\/traffic: on → off/,
    'waiting up to 5m for it to recover',
  );
  await picture(page, 'temporal-ui');

  await open(page, it, 'search-attributes');
  const attributes = await reads(page, '"SalvorRule"', '"SalvorRunbook"', '"SalvorTarget"', '"SalvorAlert"', target);
  expect(attributes).not.toContain('"SalvorOutcome"');

  await stack.mendPod(it);
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered' });

  const { events = [] } = await stack.remediation(it).fetchHistory();
  const named = (events ?? []).filter(
    (one) => one.activityTaskScheduledEventAttributes ?? one.timerStartedEventAttributes,
  );
  expect(named.length).toBeGreaterThanOrEqual(2);
  for (const { userMetadata } of named) expect(userMetadata?.summary?.data?.length).toBeGreaterThan(2);

  await open(page, it, 'history');
  await reads(page, 'Completed', 'wait for it to recover, then give its traffic back');
  await open(page, it, 'user-metadata');
  const after = await reads(page, 'recovered: ', /Changes \(2\)\s/, 'label salvor.dev/traffic: off → on');
  expect(after).not.toContain('Held now');
  expect(after).not.toContain('next:');
  await open(page, it, 'search-attributes');
  await reads(page, /"SalvorOutcome":\s+"recovered"/, '"SalvorReason"');
  await page.context().close();
});

test('a report of it tells the same from the audit store, from a worker, and from the history alone', async () => {
  const it = await workload();
  const target = stack.cluster.target(it.namespace, it.pod);
  await stack.breakPod(it);
  await stack.untilTraffic(it, 'off');
  await stack.untilAt(it, 'hold');
  await stack.mendPod(it);
  const { reason, changes } = await stack.ending(it);
  // The same configuration, but for an audit store that is not there.
  const withoutStore = join(stack.sandbox.folder, 'without-store.json');
  const config = JSON.parse(readFileSync(stack.configFile, 'utf8')) as object;
  writeFileSync(withoutStore, JSON.stringify({ ...config, audit: { url: 'file:./none.db' } }));

  const audit = await reportOf(target, stack.configFile);
  const worker = await reportOf(target, withoutStore);
  await stack.killWorker();
  const history = await reportOf(target, withoutStore);
  await stack.startWorker();

  expect([audit, worker, history].map(({ source }) => source.from)).toEqual(['audit', 'worker', 'history']);
  for (const report of [audit, worker, history]) {
    expect(report).toMatchObject({ target, outcome: 'recovered', reason, rule: RULE, mode: 'act' });
    expect(report.entries.flatMap(({ change }) => change ?? [])).toEqual(changes);
    expect(report.phases.map(({ name }) => name)).toEqual(expect.arrayContaining(['cut', 'hold']));
    expect(report.entries.at(0)?.part).toBe('alert');
    expect(report.entries.some(({ part, text }) => part === 'outcome' && text === `recovered: ${reason}`)).toBe(true);
  }
  expect(audit.alert).toMatchObject({ by: 'alertmanager', labels: { namespace: it.namespace, pod: it.pod } });
  expect(audit.entries.map(({ part }) => part)).toEqual(
    expect.arrayContaining(['decision', 'found', 'held', 'released']),
  );
  expect(audit.held).toMatchObject([{ held: { before: 'on', set: 'off' }, to: expect.any(String) }]);

  const file = join(stack.sandbox.folder, 'report.html');
  expect(await salvor(['report', target, '--html', file, '--config', stack.configFile])).toMatchObject({ status: 0 });
  const { page, requests, errors } = await openPage(browser, { viewport: { width: 375, height: 800 } });
  await page.goto(pathToFileURL(file).href);
  const text = await textOf(page);
  for (const said of [target, 'recovered', 'label salvor.dev/traffic: on → off', 'hold (waits)', 'released'])
    expect(text).toContain(said);
  expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(375);
  expect({ errors, requests }).toEqual({ errors: [], requests: [page.url()] });
  await page.setViewportSize({ width: 960, height: 1100 });
  await picture(page, 'report');
  await page.context().close();
});

async function reportOf(target: string, configFile: string): Promise<Timeline> {
  const { status, stdout, stderr } = await salvor(['report', target, '--json', '--config', configFile]);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  return JSON.parse(stdout) as Timeline;
}

test('a responder shows what it has in hand', async () => {
  const it = await workload();
  await stack.breakPod(it);
  await stack.untilTraffic(it, 'off');
  const { page } = await openPage(browser, { viewport: { width: 1280, height: 960 } });
  const id = `responder/${it.rule}/${encodeURIComponent(`sandbox/${it.namespace}`)}`;
  const { runId } = await stack.client.workflow.getHandle(id).describe();
  const url = `${stack.sandbox.temporal.uiUrl}/namespaces/default/workflows/${encodeURIComponent(id)}/${runId}`;
  await page.goto(`${url}/user-metadata`);
  await reads(
    page,
    /mode act · started 1 · made to wait 0 · refused 0/,
    new RegExp(`Under way \\(1\\)\\s+${stack.cluster.target(it.namespace, it.pod)}, since`),
  );
  await stack.mendPod(it);
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered' });
  await page.context().close();
});
