/**
 * What the proxy before moto (aws-proxy.ts) adds to CloudWatch, as its API reference
 * (https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html) says:
 *
 * - percentiles (`p99`) in GetMetricData, on which moto fails: by the nearest rank of what was put
 * - on demand, pages of GetMetricData (the status of all but the last is PartialData), and another status of its results
 */

interface Metric {
  Namespace?: string;
  MetricName?: string;
  Dimensions?: { Name: string; Value: string }[];
}

interface Datum extends Metric {
  Timestamp: number;
  Value?: number;
  Values?: number[];
}

interface MetricQuery {
  Id: string;
  MetricStat?: { Metric: Metric; Period: number; Stat: string };
}

interface Result {
  Id: string;
  Timestamps: number[];
  Values: (number | null)[];
  StatusCode: string;
}

interface Asked {
  MetricDataQueries?: MetricQuery[];
  NextToken?: string;
}

export class CloudWatch {
  readonly #put: (Datum & { key: string })[] = [];
  #pageSize = Number.POSITIVE_INFINITY;
  #status: string | undefined;

  /** Answers have so many data points at most from now on. */
  page(size: number): void {
    this.#pageSize = size;
  }

  /** The next answer has this status, whatever it tells. */
  status(next: string): void {
    this.#status = next;
  }

  /** Of PutMetricData. */
  took(body: string): void {
    const { Namespace, MetricData = [] } = JSON.parse(body) as { Namespace: string; MetricData?: Datum[] };
    for (const datum of MetricData) this.#put.push({ ...datum, key: keyOf({ ...datum, Namespace }) });
  }

  /** Of GetMetricData: the request, as moto can answer it. */
  known(body: string): string {
    return body.replaceAll(/"Stat":"p[\d.]+"/g, '"Stat":"Maximum"');
  }

  /** Of GetMetricData: moto's answer, with what it lacks. */
  completed(body: string, answer: string): string {
    const asked = JSON.parse(body) as Asked;
    const { MetricDataResults, ...rest } = JSON.parse(answer) as { MetricDataResults: Result[] };
    const whole = MetricDataResults.map((result) => this.#withPercentile(result, asked));
    const from = Number(asked.NextToken ?? 0);
    const end = from + this.#pageSize;
    const last = whole.every(({ Values }) => Values.length <= end);
    const status = this.#status ?? (last ? 'Complete' : 'PartialData');
    this.#status = undefined;
    const results = whole.map((result) => ({
      ...result,
      Timestamps: result.Timestamps.slice(from, end),
      Values: result.Values.slice(from, end),
      StatusCode: status,
    }));
    return JSON.stringify({ ...rest, MetricDataResults: results, ...(!last && { NextToken: String(end) }) });
  }

  #withPercentile(result: Result, { MetricDataQueries = [] }: Asked): Result {
    const stat = MetricDataQueries.find(({ Id }) => Id === result.Id)?.MetricStat;
    const percent = Number(/^p([\d.]+)$/.exec(stat?.Stat ?? '')?.[1]);
    if (!stat || Number.isNaN(percent)) return result;
    const key = keyOf(stat.Metric);
    const put = this.#put.filter((datum) => datum.key === key);
    const values = result.Timestamps.map((start) => {
      const within = put.filter(({ Timestamp }) => start <= Timestamp && Timestamp < start + stat.Period);
      const all = within.flatMap(({ Value, Values = [] }) => (Value === undefined ? Values : [Value, ...Values]));
      return all.sort((a, b) => a - b)[Math.max(0, Math.ceil((all.length * percent) / 100) - 1)] ?? null;
    });
    return { ...result, Values: values };
  }
}

const keyOf = ({ Namespace, MetricName, Dimensions = [] }: Metric): string =>
  JSON.stringify([Namespace, MetricName, Dimensions.map(({ Name, Value }) => `${Name}=${Value}`).sort()]);
