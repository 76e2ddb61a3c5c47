import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Alertmanager, AlertmanagerError, sameLabels } from '../../../providers/alertmanager/client.ts';
import { UnavailableError } from '../../../providers/errors.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import { alertsOf, fire, gateTo, silenceOf, utf8Names } from './support.ts';

let sandbox: Sandbox<'alertmanager'>;
let url: string;
let client: Alertmanager;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['alertmanager'] });
  url = sandbox.alertmanager.url;
  // As people write it.
  client = new Alertmanager(`${url}/`);
});
afterAll(() => sandbox?.stop());

const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();
const own = (): Record<string, string> => ({ alertname: 'A', test: randomUUID() });
const silence = (labels: Record<string, string>) => ({
  matchers: Object.entries(labels).map(([name, value]) => ({ name, value, isRegex: false, isEqual: true }) as const),
  startsAt: inMs(0),
  endsAt: inMs(60_000),
  createdBy: 'test',
  comment: 'of the test',
});

/** Values and names that a stranger may choose. */
const ODD: Record<string, string> = {
  quotes: 'say "hi" and \'bye\'',
  backslash: 'C:\\temp\\n',
  lines: 'one\ntwo\ttabbed',
  unicode: 'Grüße, 世界 🚢',
  syntax: '{a="b"},~!=#&+ %25',
  long: 'x'.repeat(900),
};

describe('alerts', () => {
  it('posts one and ends it', async () => {
    const labels = own();
    const alert = { labels, annotations: { summary: 's' }, startsAt: inMs(-1_000), endsAt: inMs(60_000) };
    await client.post([alert]);
    expect(await alertsOf(url, labels)).toMatchObject([{ labels, annotations: { summary: 's' } }]);
    await client.post([{ ...alert, endsAt: inMs(-10) }]);
    expect(await alertsOf(url, labels)).toEqual([]);
    await client.post([]);
  });

  it('finds the one with exactly these labels, whatever their values', async () => {
    const labels = { ...own(), ...ODD };
    await fire(url, labels);
    await fire(url, { ...labels, pod: 'a-sibling' });
    const { quotes: _, ...fewer } = labels;
    await fire(url, fewer);
    expect((await client.alerts(labels)).map((alert) => alert.labels)).toEqual([labels]);
    expect(await client.alerts({ ...labels, quotes: 'other' })).toEqual([]);
  });

  it('finds one whose labels have names of UTF-8', async () => {
    const labels = { ...own(), ...(await utf8Names(url)) };
    await fire(url, labels);
    expect((await client.alerts(labels)).map((alert) => alert.labels)).toEqual([labels]);
    expect(await client.alerts({ ...labels, 'k8s.pod/name': 'other' })).toEqual([]);
  });

  it('says what Alertmanager refuses, which takes the others of the call', async () => {
    const [good, bad] = [own(), { ...own(), '': 'a label without a name' }];
    const times = { annotations: {}, startsAt: inMs(-1_000), endsAt: inMs(60_000) };
    const error = await client
      .post([
        { labels: bad, ...times },
        { labels: good, ...times },
      ])
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(AlertmanagerError);
    expect(error).toMatchObject({
      status: 400,
      message: expect.stringContaining(`cannot post 2 alerts: Alertmanager ${url} answered 400`),
    });
    expect(await alertsOf(url, good)).toHaveLength(1);
  });
});

describe('silences', () => {
  it('are made, found, extended in place and ended; ending twice is no error', async () => {
    const labels = { ...own(), ...ODD };
    const id = await client.setSilence(silence(labels));
    const [found] = await client.silences(labels);
    expect(found).toMatchObject({ id, status: { state: 'active' } });
    const endsAt = inMs(120_000);
    expect(await client.setSilence({ ...silence(labels), id, startsAt: found!.startsAt, endsAt })).toBe(id);
    expect(Date.parse((await client.silence(id))!.endsAt)).toBe(Date.parse(endsAt));
    await client.expire(id);
    expect((await silenceOf(url, id)).status.state).toBe('expired');
    await client.expire(id);
  });

  it('that are not there are said to be not there, and need no end', async () => {
    const id = randomUUID();
    expect(await client.silence(id)).toBeUndefined();
    await client.expire(id);
  });

  it('that Alertmanager refuses are told with its words', async () => {
    const past = { ...silence(own()), startsAt: inMs(-9_000), endsAt: inMs(-5_000) };
    await expect(client.setSilence(past)).rejects.toThrow(/cannot make a silence: .* answered 400: .*past/);
  });
});

describe('an Alertmanager that does not answer', () => {
  it('is told as unavailable, with its address and what was asked of it', async () => {
    const gate = await gateTo(url, 'down');
    const error = await new Alertmanager(gate.url).alerts(own()).catch((e: unknown) => e);
    expect(error).toBeInstanceOf(UnavailableError);
    expect(String(error)).toContain(`cannot read alerts: no answer from Alertmanager ${gate.url}: `);
  });

  it('holds nobody for longer than its caller wishes', async () => {
    const gate = await gateTo(url, 'hangs');
    const stop = new AbortController();
    const asked = new Alertmanager(gate.url).alerts(own(), stop.signal);
    const wish = new Error('enough');
    stop.abort(wish);
    await expect(asked).rejects.toBe(wish);
  });
});

it('an empty label is one that is missing', () => {
  expect(sameLabels({ a: '1', b: '' }, { a: '1' })).toBe(true);
  expect(sameLabels({ a: '1' }, { a: '1', b: '2' })).toBe(false);
  expect(sameLabels({ a: '1', b: '2' }, { a: '1', c: '2' })).toBe(false);
});
