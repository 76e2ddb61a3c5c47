// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the places of queries are written so
import type { RequestListener } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { renderQuery } from '../../../model/promql.ts';
import { FinalError, UnavailableError } from '../../../providers/errors.ts';
import { Prometheus } from '../../../providers/prometheus/client.ts';
import { failureOf, listen, type Scraped, serve, startScraped } from '../../support/servers.ts';
import { eventually, inTime } from '../../support/wait.ts';

/** Names that would do harm where they were not escaped; each is a label value of the exporter. */
const NASTY = [
  'web-0',
  'a"} or vector(0) or x{y="',
  'back\\slash\\',
  'new\nline',
  '.*',
  '${pod}',
  '$1',
  "quote'`s",
  '# no comment',
  'ü🙂\u0000\u001f\u007f\u2028',
];

const exposition = (): string =>
  [
    'load{pod="one"} 0.25',
    'load{pod="two"} 3',
    'odd{kind="nan"} NaN',
    'odd{kind="more"} +Inf',
    'odd{kind="less"} -Inf',
    ...NASTY.map((value, i) => `nasty{pod="${value.replaceAll(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"} ${i}`),
    '',
  ].join('\n');

let scraped: Scraped;
let prometheus: Prometheus;

beforeAll(async () => {
  scraped = await startScraped(exposition);
  prometheus = new Prometheus(`${scraped.url}/`);
  await eventually('a scrape', async () => (await prometheus.number('sum(up)')).value === 1);
});
afterAll(() => scraped?.stop());

/** What stands in the place of a Prometheus, until the end of the test. */
const standIn = async (answer: RequestListener): Promise<Prometheus> => new Prometheus(await serve(answer));

describe('a query to a real Prometheus', () => {
  it.each([
    ['load{pod="one"}', { value: 0.25 }],
    ['sum(load)', { value: 3.25 }],
    ['vector(1e300) * 1e10', { value: Number.POSITIVE_INFINITY }],
    ['odd{kind="more"}', { value: Number.POSITIVE_INFINITY }],
    ['odd{kind="less"}', { value: Number.NEGATIVE_INFINITY }],
    ['odd{kind="nan"}', { problem: 'gives NaN, expected a number' }],
    ['load{pod="three"}', { problem: 'gives no series, expected 1' }],
    [
      'load',
      {
        problem: expect.stringMatching(
          /^gives 2 series, expected 1: load\{instance="127\.0\.0\.1:\d+", job="app", pod="one"\}, load\{.*pod="two"\}$/,
        ),
      },
    ],
    ['nasty', { problem: expect.stringMatching(/^gives 10 series, expected 1: nasty\{.*, …$/) }],
    ['scalar(load{pod="one"})', { problem: expect.stringMatching(/^gives a scalar, expected 1 series/) }],
    ['"text"', { problem: expect.stringMatching(/^gives a string, expected 1 series/) }],
    ['load[1m]', { problem: expect.stringMatching(/^gives a range of values, expected 1 series/) }],
  ])('%s', async (query, expected) => {
    expect(await inTime(() => prometheus.number(query))).toEqual(expected);
  });

  it.each([
    ['load{', /^cannot ask for load\{: Prometheus http:.* answered 400: .*parse error/],
    ['load * on(job) load', /answered 422: .*many-to-many/],
    ['nosuch(load)', /answered 400: .*unknown function/],
  ])('that it cannot answer is final: %s', async (query, message) => {
    const error = await failureOf(inTime(() => prometheus.number(query)));
    expect(error).toBeInstanceOf(FinalError);
    expect(error).toMatchObject({ type: 'Invalid', message: expect.stringMatching(message) });
  });

  it('at an address that is not its own is final', async () => {
    const error = await failureOf(new Prometheus(`${scraped.url}/prefix`).number('up'));
    expect(error).toMatchObject({ type: 'Invalid', message: expect.stringMatching(/expected its address in prom/) });
  });
});

describe('an answer that nobody can rely on', () => {
  const body = (over: object) => JSON.stringify({ status: 'success', ...over });
  const one = { resultType: 'vector', result: [{ metric: {}, value: [1, '1'] }] };

  it.each([
    [503, JSON.stringify({ status: 'error', errorType: 'timeout', error: 'query timed out' }), /answered 503: query/],
    [502, '<html>bad\n gateway</html>', /answered 502: <html>bad gateway/],
    [429, '', /answered 429: nothing more/],
    [422, JSON.stringify({ error: 'timeout exceeded during query execution: 30 seconds' }), /answered 422/],
    [422, JSON.stringify({ error: 'x', errorType: 'canceled' }), /answered 422/],
    [200, body({ data: one, warnings: ['remote_read: refused'] }), /answered with warnings: remote_read: refused/],
    [200, body({ data: one, isPartial: true }), /answered with warnings: the answer is partial/],
  ])('is tried again: %i %s', async (status, text, message) => {
    const server = await standIn((_, response) => response.writeHead(status).end(text));
    const error = await failureOf(server.number('up'));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error).toMatchObject({ message: expect.stringMatching(message) });
  });

  it.each([
    [401, 'who are you', 'Forbidden'],
    [403, 'no', 'Forbidden'],
    [302, '', 'Invalid'],
    [200, '<html>log in</html>', 'Invalid'],
    [200, body({}), 'Invalid'],
    [422, JSON.stringify({ error: 'cannot parse "timeout_total{"' }), 'Invalid'],
  ])('is final: %i %s', async (status, text, type) => {
    const server = await standIn((_, response) => response.writeHead(status, { location: '/login' }).end(text));
    expect(await failureOf(server.number('up'))).toMatchObject({ name: 'FinalError', type });
  });

  it('is not read without end', async () => {
    const gone = Promise.withResolvers<void>();
    const server = await standIn((_, response) => {
      response.on('close', gone.resolve);
      const more = (): void => {
        let going = true;
        while (going && !response.destroyed) going = response.write('x'.repeat(65_536));
      };
      response.on('drain', more);
      more();
    });
    expect(await server.number('up')).toEqual({ problem: 'gives more than 4 MiB, expected 1 series' });
    await gone.promise;
  });

  it('of nobody', async () => {
    const server = createTcpServer();
    const address = await listen(server);
    await new Promise((resolve) => server.close(resolve));
    const error = await failureOf(new Prometheus(`http://${address}`).number('up'));
    expect(error).toBeInstanceOf(UnavailableError);
    expect(error).toMatchObject({
      message: expect.stringMatching(/^cannot ask for up: no answer from .*ECONNREFUSED/),
    });
  });

  it('that does not come is waited for some seconds, or until the caller wants no more', async () => {
    const asked = Promise.withResolvers<void>();
    const server = await standIn(() => asked.resolve());
    expect(await failureOf(server.number('up'))).toMatchObject({
      name: 'UnavailableError',
      message: expect.stringMatching(/nothing within 5 s$/),
    });
    const caller = new AbortController();
    const given = failureOf(server.number('up', caller.signal));
    await asked.promise;
    caller.abort(new Error('enough'));
    expect(await given).toEqual(new Error('enough'));
  });
});

describe('a value in a query', () => {
  it.each(NASTY)('means itself and nothing else: %j', async (value) => {
    const i = NASTY.indexOf(value);
    for (const query of ['nasty{pod="${pod}"}', 'nasty{pod=~"${pod}"}', 'nasty{pod=~"(?:${pod}|none)",job!="${pod}"}'])
      expect(await inTime(() => prometheus.number(renderQuery(query, { pod: value }))), query).toEqual({ value: i });
  });

  /** The query as Prometheus writes what it has parsed. */
  async function formatted(query: string): Promise<string> {
    const response = await fetch(`${scraped.url}/api/v1/format_query?${new URLSearchParams({ query })}`);
    const { data, error } = (await response.json()) as { data?: string; error?: string };
    return data ?? expect.fail(error);
  }

  const value = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc
      .array(fc.constantFrom('"', '\\', '}', '\n', ' or ', 'up', '#', '`', "'", '$', '{', '=', ',', 'n', 'x41'), {
        maxLength: 12,
      })
      .map((pieces) => pieces.join('')),
  );

  it('never leaves its quotes: the query has one label with exactly that value', async () => {
    await fc.assert(
      fc.asyncProperty(value, async (pod) => {
        const text = await formatted(renderQuery('up{pod="${pod}"}', { pod }));
        const quoted = /^up\{pod=("(?:[^"\\]|\\.)*")\}$/.exec(text)?.[1];
        expect(unquoted(quoted ?? expect.fail(text))).toBe(pod);
      }),
      { numRuns: 300 },
    );
  });

  it('nor does it in a regular expression, where it is that text', async () => {
    await fc.assert(
      fc.asyncProperty(value, async (pod) => {
        const text = await formatted(renderQuery('up{pod!~"a|${pod}:.+"}', { pod }));
        const quoted = /^up\{pod!~("(?:[^"\\]|\\.)*")\}$/.exec(text)?.[1];
        const pattern = unquoted(quoted ?? expect.fail(text));
        expect(pattern.replaceAll(/\\([\\.+*?()|[\]{}^$])/g, '$1')).toBe(`a|${pod}:.+`);
        expect(pattern.slice(2, -3).replaceAll(/\\[\\.+*?()|[\]{}^$]/g, '')).not.toMatch(/[\\.+*?()|[\]{}^$]/);
      }),
      { numRuns: 300 },
    );
  });
});

const ESCAPES: Record<string, string> = { a: '\u0007', b: '\b', f: '\f', n: '\n', r: '\r', t: '\t', v: '\v' };

/** Reads a string of Go in double quotes; its bytes by `\x` are of characters below 128 here. */
const unquoted = (quoted: string): string =>
  quoted
    .slice(1, -1)
    .replaceAll(/\\(?:x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8})|(.))/g, (_, x, u, U, c: string | undefined) =>
      c === undefined ? String.fromCodePoint(Number.parseInt(x ?? u ?? U, 16)) : (ESCAPES[c] ?? c),
    );
