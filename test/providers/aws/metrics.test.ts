// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the places of dimensions are written so
import { CloudWatchClient, type MetricDatum, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest';
import type { CloudWatchQuery } from '../../../model/scaling/options.ts';
import { Aws } from '../../../providers/aws/provider.ts';
import { FinalError, UnavailableError } from '../../../providers/errors.ts';
import type { SignalWindow } from '../../../providers/signals.ts';
import { signalsOf } from '../../../providers/signals-of.ts';
import { credentials, REGION } from '../../support/aws.ts';
import { World } from './support.ts';

const MINUTE = 60_000;
/** A boundary of a period, some time ago. */
const NOW = Math.floor(Date.now() / MINUTE) * MINUTE - MINUTE;
/** It ends in the midst of a period. */
const WINDOW: SignalWindow = { from: NOW - 10 * MINUTE, to: NOW + 30_000, step: 15_000 };

const world = new World();
let cloudwatch: CloudWatchClient;
beforeAll(async () => {
  await world.start();
  cloudwatch = new CloudWatchClient({ region: REGION, endpoint: world.moto.url, credentials });
}, 300_000);
afterAll(async () => {
  cloudwatch?.destroy();
  await world.stop();
});

const signals = () => signalsOf({ accounts: new Map([['main', world.provider]]) });
const read = (query: CloudWatchQuery, values = {}, window = WINDOW, signal?: AbortSignal) =>
  signals().read({ cloudwatch: query }, values, window, signal);

/** The depth of a queue of its own, as SQS tells of it. */
function depthOf(queue: string, over: Partial<CloudWatchQuery> = {}): CloudWatchQuery {
  return {
    ...{ namespace: 'AWS/SQS', metric: 'ApproximateNumberOfMessagesVisible', dimensions: { QueueName: queue } },
    ...{ statistic: 'Average', period: MINUTE, aws: 'main' },
    ...over,
  };
}

/** Publishes values; times are milliseconds after NOW. */
async function put({ namespace, metric, dimensions }: CloudWatchQuery, points: [number, number][]): Promise<void> {
  const MetricData = points.map(
    ([after, Value]): MetricDatum => ({
      MetricName: metric,
      Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
      Timestamp: new Date(NOW + after),
      Value,
    }),
  );
  await cloudwatch.send(new PutMetricDataCommand({ Namespace: namespace, MetricData }));
}

const queue = () => `jobs-${crypto.randomUUID().slice(0, 8)}`;
const at = (minutes: number, value: number) => ({ at: NOW + minutes * MINUTE, value });
const askedFor = (name: string) =>
  world.moto.proxy.requests.filter(
    ({ action, by, parameters }) => action === 'GetMetricData' && by === 'salvor' && parameters['Body']?.includes(name),
  );

test('the depth of a queue: each ended period in the window, and the middle of it as its time', async () => {
  const depth = depthOf(queue());
  const other = depthOf(queue());
  await put(other, [[-MINUTE, 1_000]]);
  await put(depth, [
    [-3 * MINUTE + 1_000, 10],
    [-3 * MINUTE + 31_000, 30],
    [-MINUTE, 50],
    [10_000, 70],
    [-20 * MINUTE, 1],
  ]);
  expect(await read(depth), 'a gap stays one, and a period that still runs is left out').toEqual({
    samples: [at(-2.5, 20), at(-0.5, 50)],
  });
  const [request, ...more] = askedFor(depth.dimensions['QueueName']!);
  expect(more).toEqual([]);
  expect(JSON.parse(request?.parameters['Body'] ?? '')).toMatchObject({
    StartTime: (NOW - 10 * MINUTE) / 1000,
    EndTime: NOW / 1000,
  });
  const sums = await read({ ...depth, statistic: 'Sum' });
  expect(sums.samples?.map(({ value }) => value)).toEqual([40, 50]);
  const highest = await read({ ...depth, statistic: 'Maximum' });
  expect(highest.samples?.map(({ value }) => value)).toEqual([30, 50]);
});

test('the response time of a load balancer, as a percentile, of what stands in the target', async () => {
  const name = queue();
  const time: CloudWatchQuery = {
    ...{ namespace: 'AWS/ApplicationELB', metric: 'TargetResponseTime', period: MINUTE, aws: 'main' },
    ...{ dimensions: { LoadBalancer: 'app/${group}/50dc6c495c0c9188' }, statistic: 'p90' },
  };
  const real = { ...time, dimensions: { LoadBalancer: `app/${name}/50dc6c495c0c9188` } };
  await put(
    real,
    Array.from({ length: 20 }, (_, i): [number, number] => [-MINUTE + i * 1_000, (i + 1) / 10]),
  );
  expect(await read(time, { group: name })).toEqual({ samples: [at(-0.5, 1.8)] });
  await expect(read(time)).rejects.toMatchObject({
    type: 'Invalid',
    message: expect.stringContaining('the target has no group'),
  });
});

test('what comes in pages is read to its end', async () => {
  const depth = depthOf(queue());
  await put(
    depth,
    Array.from({ length: 9 }, (_, i): [number, number] => [-(i + 1) * MINUTE, i]),
  );
  world.moto.proxy.page(4);
  onTestFinished(() => world.moto.proxy.page(Number.POSITIVE_INFINITY));
  const { samples } = await read(depth);
  expect(samples?.map(({ value }) => value)).toEqual([8, 7, 6, 5, 4, 3, 2, 1, 0]);
  expect(askedFor(depth.dimensions['QueueName']!)).toHaveLength(3);
});

test('a metric that is not there, or is old, is a reason and no number', async () => {
  const depth = depthOf(queue());
  const name = `Average of AWS/SQS ApproximateNumberOfMessagesVisible{QueueName="${depth.dimensions['QueueName']}"}`;
  expect(await read(depth)).toEqual({
    problem: expect.stringMatching(/ gives no data point since 20.*these dimensions in eu-west-1/),
  });
  await put(depth, [[-7 * MINUTE, 4]]);
  const { problem } = await read(depth);
  expect(problem).toBe(
    `${name} is stale: its last value is of ${new Date(NOW - 6.5 * MINUTE).toISOString()}, 420 s ago`,
  );
});

test('an answer of which a part is missing is a reason, and one with an error is tried again', async () => {
  const depth = depthOf(queue());
  await put(depth, [[-MINUTE, 4]]);
  world.moto.proxy.answerMetrics('PartialData');
  expect(await read(depth)).toEqual({
    problem: expect.stringMatching(/ gives only a part of its data points \(PartialData\)$/),
  });
  world.moto.proxy.answerMetrics('InternalError');
  await expect(read(depth)).rejects.toBeInstanceOf(UnavailableError);
  expect(await read(depth)).toEqual({ samples: [at(-0.5, 4)] });
});

test('that AWS throttles, or does not answer, is to be tried again; that it refuses is final', async () => {
  const depth = depthOf(queue());
  const refuse = (code: string, status = 400) =>
    world.moto.proxy.throttle(1, { action: 'GetMetricData', code, status });
  refuse('ThrottlingException');
  await expect(read(depth)).rejects.toMatchObject({
    name: 'UnavailableError',
    message: expect.stringMatching(
      /^cannot GetMetricData Average of AWS\/SQS .* in AWS account main \(eu-west-1\): Throttl.*limits the rate/,
    ),
  });
  refuse('InternalServiceFault', 500);
  await expect(read(depth)).rejects.toBeInstanceOf(UnavailableError);
  world.moto.proxy.lose('GetMetricData');
  await expect(read(depth)).rejects.toBeInstanceOf(UnavailableError);
  refuse('AccessDenied', 403);
  await expect(read(depth)).rejects.toMatchObject({
    name: 'FinalError',
    type: 'Forbidden',
    message: expect.stringContaining('Allow cloudwatch:GetMetricData to Salvor'),
  });
  refuse('InvalidParameterValue');
  await expect(read(depth)).rejects.toBeInstanceOf(FinalError);
});

test('it is not waited for once the caller wants no more', async () => {
  const depth = depthOf(queue());
  const stall = world.moto.proxy.stall('GetMetricData', 'before');
  const caller = new AbortController();
  const given = read(depth, {}, WINDOW, caller.signal).catch((error: unknown) => error);
  await stall.reached;
  caller.abort(new Error('enough'));
  expect(await given).toEqual(new Error('enough'));
  stall.release();
});

test('an account that is not configured is final', async () => {
  const messages = [
    [depthOf('a', { aws: 'other' }), 'no account "other" is configured (aws: main)'],
    [{ ...depthOf('a'), aws: undefined } as unknown as CloudWatchQuery, 'expected the name of an account'],
  ] as const;
  for (const [query, message] of messages)
    await expect(read(query)).rejects.toMatchObject({ type: 'Invalid', message: expect.stringContaining(message) });
});

test('it may have an address of its own, and is asked with the credentials of the account', async () => {
  const config = { name: 'main', region: REGION, endpoint: 'http://127.0.0.1:9', cloudwatchEndpoint: world.moto.url };
  const aws = new Aws(config);
  onTestFinished(() => aws.close());
  const depth = depthOf(queue());
  await put(depth, [[-MINUTE, 4]]);
  expect(await aws.metrics.range(depth, WINDOW)).toEqual({ samples: [at(-0.5, 4)] });
  expect(askedFor(depth.dimensions['QueueName']!)).toHaveLength(1);
  const none = new Aws({ ...config, profile: 'none' });
  onTestFinished(() => none.close());
  await expect(none.metrics.range(depth, WINDOW)).rejects.toMatchObject({
    name: 'UnavailableError',
    message: expect.stringContaining('renew them if this lasts'),
  });
});
