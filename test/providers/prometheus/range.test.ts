// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the places of queries are written so
import type { RequestListener } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FinalError, UnavailableError } from '../../../providers/errors.ts';
import { Prometheus } from '../../../providers/prometheus/client.ts';
import type { Signals, SignalWindow } from '../../../providers/signals.ts';
import { signalsOf } from '../../../providers/signals-of.ts';
import { failureOf, type Scraped, serve, startScraped } from '../../support/servers.ts';
import { eventually, inTime } from '../../support/wait.ts';

let scraped: Scraped;
let prometheus: Prometheus;
let signals: Signals;
/** What the exporter has to tell: name to value. */
let exposed: Record<string, number> = {};
const exposition = (): string =>
  Object.entries(exposed)
    .map(([name, value]) => `${name} ${value}\n`)
    .join('');

beforeAll(async () => {
  exposed = { backlog: 7, 'jobs{queue="a"}': 1, 'jobs{queue="b"}': 2 };
  scraped = await startScraped(exposition);
  prometheus = new Prometheus(scraped.url);
  signals = signalsOf({ prometheus: scraped, accounts: new Map() });
  await eventually('a scrape', async () => (await prometheus.number('count(jobs)')).value === 2);
});
afterAll(() => scraped?.stop());

/** What stands in the place of a Prometheus, until the end of the test. */
const standIn = async (answer: RequestListener): Promise<Prometheus> => new Prometheus(await serve(answer));

/** Ten minutes long ago: of what needs no samples Prometheus can tell at any time. */
const LONG_AGO: SignalWindow = { from: 1_700_000_000_000, to: 1_700_000_600_000, step: 60_000 };
const MIDDLE = 1_700_000_300;

const lately = (ms = 60_000): SignalWindow => ({ from: Date.now() - ms, to: Date.now(), step: 5_000 });

describe('a range of a real Prometheus', () => {
  it('has the value at each step, the last at its end', async () => {
    const odd = { ...LONG_AGO, from: LONG_AGO.from + 30_500 };
    const { samples } = await inTime(() => prometheus.range('vector(time())', odd));
    expect(samples?.map(({ at }) => at)).toEqual(
      Array.from({ length: 10 }, (_, i) => LONG_AGO.from + (i + 1) * 60_000),
    );
    expect(samples?.every(({ at, value }) => value === at / 1000)).toBe(true);
    const instant = { from: LONG_AGO.to, to: LONG_AGO.to, step: 15_000 };
    expect(await inTime(() => prometheus.range('scalar(vector(3))', instant))).toEqual({
      samples: [{ at: LONG_AGO.to, value: 3 }],
    });
  });

  it('has gaps where there was nothing, or no number', async () => {
    const missing = await inTime(() => prometheus.range(`vector(time()) > ${MIDDLE}`, LONG_AGO));
    expect(missing.samples?.map(({ value }) => value - 1_700_000_000)).toEqual([360, 420, 480, 540, 600]);
    const zero = `(vector(time()) > bool ${MIDDLE})`;
    const none = await inTime(() => prometheus.range(`${zero} / ${zero}`, LONG_AGO));
    expect(none.samples?.map(({ at, value }) => [at, value])).toEqual(
      [360, 420, 480, 540, 600].map((s) => [(1_700_000_000 + s) * 1000, 1]),
    );
  });

  it.each([
    ['nosuch', /^gives no series, expected 1$/],
    ['jobs', /^gives 2 series, expected 1: jobs\{.*queue="a"\}, jobs\{.*queue="b"\}$/],
    ['vector(0) / 0', /^gives NaN and no number in all of that time$/],
    ['vector(1) / 0', /^gives \+Inf and no number/],
  ])('says why it is none to go by: %s', async (query, problem) => {
    const answer = await inTime(() => prometheus.range(query, lately()));
    expect(answer).toEqual({ problem: expect.stringMatching(problem) });
  });

  it.each([
    ['backlog{', /answered 400: .*parse error/],
    ['"text"', /answered 400: .*string/],
  ])('that it cannot answer is final: %s', async (query, message) => {
    const error = await failureOf(inTime(() => prometheus.range(query, lately())));
    expect(error).toBeInstanceOf(FinalError);
    expect(error).toMatchObject({ type: 'Invalid', message: expect.stringMatching(message) });
  });

  it('of more points than it gives is final', async () => {
    const error = await failureOf(inTime(() => prometheus.range('backlog', { from: 0, to: 12_000_000, step: 1000 })));
    expect(error).toMatchObject({ type: 'Invalid', message: expect.stringContaining('11,000 points') });
  });
});

describe('a range that nobody can rely on', () => {
  const data = { resultType: 'matrix', result: [{ metric: {}, values: [[1, '1']] }] };
  const body = (over: object) => JSON.stringify({ status: 'success', data, ...over });

  it.each([
    [{ warnings: ['remote_read: refused'] }, /with warnings: remote_read: refused$/],
    [{ isPartial: true }, /with warnings: the answer is partial$/],
    [{ data: { ...data, result: [{ metric: {}, histograms: [] }] } }, /^gives a histogram/],
  ])('is a problem: %j', async (over, problem) => {
    const server = await standIn((_, response) => response.end(body(over)));
    expect(await server.range('up', LONG_AGO)).toEqual({ problem: expect.stringMatching(problem) });
  });

  it('as too large', async () => {
    const server = await standIn((_, response) => response.end('x'.repeat(5 * 1024 * 1024)));
    expect(await server.range('up', LONG_AGO)).toEqual({ problem: 'gives more than 4 MiB, expected 1 series' });
  });

  it('is tried again where it took too long, or came from nobody', async () => {
    const late = { status: 'error', errorType: 'timeout', error: 'query timed out in expression evaluation' };
    const server = await standIn((_, response) => response.writeHead(503).end(JSON.stringify(late)));
    const error = await failureOf(server.range('up', LONG_AGO));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error).toMatchObject({ message: expect.stringMatching(/answered 503: query timed out/) });
    const nobody = new Prometheus('http://127.0.0.1:9');
    expect(await failureOf(nobody.range('up', LONG_AGO))).toBeInstanceOf(UnavailableError);
  });

  it('is waited for until the caller wants no more', async () => {
    const asked = Promise.withResolvers<void>();
    const server = await standIn(() => asked.resolve());
    const caller = new AbortController();
    const given = failureOf(server.range('up', LONG_AGO, caller.signal));
    await asked.promise;
    caller.abort(new Error('enough'));
    expect(await given).toEqual(new Error('enough'));
  });
});

describe('a signal of Prometheus', () => {
  it('is what was scraped, for the target', async () => {
    const of = (promql: string, namespace: string) => signals.read({ promql }, { namespace }, lately());
    expect((await inTime(() => of('backlog', 'x'))).samples?.at(-1)?.value).toBe(7);
    expect((await inTime(() => of('jobs{queue="${namespace}"}', 'b'))).samples?.at(-1)?.value).toBe(2);
    expect(await inTime(() => of('jobs{queue="${namespace}"}', 'c'))).toEqual({
      problem: 'jobs{queue="c"} gives no series, expected 1',
    });
  });

  it('that ended is stale', async () => {
    const answer = await inTime(() => signals.read({ promql: `vector(time()) < ${MIDDLE}` }, {}, LONG_AGO));
    expect(answer).toEqual({
      problem: `vector(time()) < ${MIDDLE} is stale: its last value is of 2023-11-14T22:17:20.000Z, 360 s ago`,
    });
    const within = await inTime(() => signals.read({ promql: `vector(time()) < ${MIDDLE + 180}` }, {}, LONG_AGO));
    expect(within.samples?.at(-1)?.at, 'a few may be missing').toBe(1_700_000_420_000);
  });

  it('that can never be answered is final', async () => {
    await expect(signals.read({ promql: 'up{pod="${pod}"}' }, {}, LONG_AGO)).rejects.toMatchObject({
      type: 'Invalid',
      message: expect.stringContaining('the target has no pod'),
    });
    await expect(signalsOf({ accounts: new Map() }).read({ promql: 'up' }, {}, LONG_AGO)).rejects.toMatchObject({
      type: 'Invalid',
      message: 'no Prometheus is configured to ask for up: expected prometheus.url',
    });
  });
});
