import type { CloudWatchClient, GetMetricDataInput, MetricDataResult } from '@aws-sdk/client-cloudwatch';
import type { AwsConfig } from '../../model/config.ts';
import type { CloudWatchQuery } from '../../model/scaling/options.ts';
import { UnavailableError } from '../errors.ts';
import type { SignalAnswer, SignalWindow } from '../signals.ts';
import { clientConfig } from './client.ts';
import { asProviderError } from './errors.ts';

/** One page has 100,800 data points: a window of a few hours never needs as many. */
const MOST_PAGES = 20;

interface Connected {
  sdk: typeof import('@aws-sdk/client-cloudwatch');
  client: CloudWatchClient;
}

type Page = Pick<MetricDataResult, 'Timestamps' | 'Values' | 'StatusCode' | 'Messages'> & { next: string | undefined };

/** The metrics in CloudWatch of one account and region. It connects when it is first asked, for few accounts ever are. */
export class Metrics {
  readonly #config: AwsConfig;
  #connected: Promise<Connected> | undefined;

  constructor(config: AwsConfig) {
    this.#config = config;
  }

  /**
   * The data points of a metric whose periods lie within the window; a period that has not ended yet is not looked at, for its sum
   * is a part of one. Each stands for its period, and has the middle of it as its time.
   *
   * @throws UnavailableError where nobody can tell, throttled among it; FinalError `Forbidden`, `Invalid`
   */
  async range(query: CloudWatchQuery, window: SignalWindow, signal?: AbortSignal): Promise<SignalAnswer> {
    const input = inputOf(query, window);
    const points = new Map<number, number>();
    let page: Page | undefined;
    for (let n = 1; ; n += 1) {
      page = await this.#page(query, { ...input, ...(page?.next !== undefined && { NextToken: page.next }) }, signal);
      for (const [i, at] of (page.Timestamps ?? []).entries())
        points.set(at.getTime() + query.period / 2, page.Values?.[i] ?? Number.NaN);
      if (page.next === undefined) break;
      if (n === MOST_PAGES) return { problem: `gives more than ${MOST_PAGES} pages of data points` };
    }
    if (page.StatusCode === 'InternalError')
      throw new UnavailableError(`cannot tell ${nameOf(query)}: CloudWatch has an error of its own; it is tried again`);
    if (page.StatusCode !== undefined && page.StatusCode !== 'Complete') return { problem: halfOf(page) };
    const samples = [...points]
      .filter(([, value]) => Number.isFinite(value))
      .map(([at, value]) => ({ at, value }))
      .sort((a, b) => a.at - b.at);
    if (samples.length > 0) return { samples };
    const since = new Date(window.from).toISOString();
    return {
      problem: `gives no data point since ${since}: nothing was published, or no metric has exactly this name and these dimensions in ${this.#config.region} (CloudWatch tells neither apart)`,
    };
  }

  async close(): Promise<void> {
    const connected = await this.#connected?.catch(() => undefined); // then there is nothing to be closed
    connected?.client.destroy();
  }

  async #page(query: CloudWatchQuery, input: GetMetricDataInput, signal: AbortSignal | undefined): Promise<Page> {
    const { name, region } = this.#config;
    const asked = {
      account: name,
      region,
      service: 'cloudwatch',
      call: 'GetMetricData',
      about: nameOf(query),
    } as const;
    try {
      this.#connected ??= connect(this.#config);
      const { sdk, client } = await this.#connected;
      const options = signal ? { abortSignal: signal } : {};
      const answer = await client.send(new sdk.GetMetricDataCommand(input), options);
      const result = answer.MetricDataResults?.[0];
      return { ...result, Messages: [...(result?.Messages ?? []), ...(answer.Messages ?? [])], next: answer.NextToken };
    } catch (error) {
      // The caller's own wish to stop is thrown on as it is.
      if (signal?.aborted) throw signal.reason;
      throw asProviderError(error, asked);
    }
  }
}

async function connect(config: AwsConfig): Promise<Connected> {
  const [sdk, options] = await Promise.all([
    import('@aws-sdk/client-cloudwatch'),
    clientConfig(config, config.cloudwatchEndpoint ?? config.endpoint),
  ]);
  return { sdk, client: new sdk.CloudWatchClient(options) };
}

/** From one boundary of a period to another: what begins elsewhere CloudWatch would round by itself. */
function inputOf(query: CloudWatchQuery, { from, to }: SignalWindow): GetMetricDataInput {
  const { namespace, metric, dimensions, statistic, period } = query;
  const end = Math.floor(to / period) * period;
  const start = Math.min(Math.floor(from / period) * period, end - period);
  return {
    MetricDataQueries: [
      {
        Id: 'signal',
        MetricStat: {
          Metric: {
            Namespace: namespace,
            MetricName: metric,
            Dimensions: Object.entries(dimensions).map(([Name, Value]) => ({ Name, Value })),
          },
          Period: period / 1000,
          Stat: statistic,
        },
      },
    ],
    StartTime: new Date(start),
    EndTime: new Date(end),
    ScanBy: 'TimestampAscending',
  };
}

/** For messages: `p99 of AWS/ApplicationELB TargetResponseTime{LoadBalancer="…"}`. */
export function nameOf({ namespace, metric, dimensions, statistic }: CloudWatchQuery): string {
  const pairs = Object.entries(dimensions).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `${statistic} of ${namespace} ${metric}{${pairs.join(', ')}}`;
}

function halfOf({ StatusCode, Messages = [] }: Page): string {
  const said = Messages.map(({ Value }) => Value)
    .filter(Boolean)
    .join('; ');
  return `gives only a part of its data points (${StatusCode}${said && `: ${said}`})`;
}
