import { InputError } from '../model/input-error.ts';
import { QUERY_VALUES, type QueryValues, renderQuery } from '../model/promql.ts';
import type { CloudWatchQuery } from '../model/scaling/options.ts';
import { nameOf } from './aws/metrics.ts';
import type { Aws } from './aws/provider.ts';
import { FinalError } from './errors.ts';
import { Prometheus } from './prometheus/client.ts';
import type { SignalAnswer, Signals, SignalWindow } from './signals.ts';

/** Where signals can be read. */
export interface SignalSources {
  /** Absent where none is configured. */
  prometheus?: { url: string } | undefined;
  /** By the name under `aws`. */
  accounts: ReadonlyMap<string, Pick<Aws, 'metrics'>>;
}

/** Milliseconds, at least: storage that answers late, and on purpose, is not stale. */
const FRESH_MS = { promql: 60_000, cloudwatch: 300_000 };
/** Steps or periods that may be missing at the end before a signal is stale. */
const MISSING = 3;

/** One reader for all sources: which one a signal comes from is said by its query. */
export function signalsOf({ prometheus: at, accounts }: SignalSources): Signals {
  const prometheus = at && new Prometheus(at.url);
  return {
    async read(query, values, window, signal) {
      if ('cloudwatch' in query) {
        const asked = { ...query.cloudwatch, dimensions: renderDimensions(query.cloudwatch.dimensions, values) };
        const answer = await metricsOf(accounts, asked).range(asked, window, signal);
        return told(nameOf(asked), answer, window, Math.max(FRESH_MS.cloudwatch, MISSING * asked.period));
      }
      if (!prometheus) throw invalid(`no Prometheus is configured to ask for ${query.promql}: expected prometheus.url`);
      const text = rendered(() => renderQuery(query.promql, values));
      const answer = await prometheus.range(text, window, signal);
      return told(text, answer, window, Math.max(FRESH_MS.promql, MISSING * window.step));
    },
  };
}

/** The answer, or what is wrong with it, with the name of what was asked for. */
function told(name: string, answer: SignalAnswer, { to }: SignalWindow, freshFor: number): SignalAnswer {
  if (answer.problem !== undefined) return { problem: `${name} ${answer.problem}` };
  const last = answer.samples.at(-1);
  if (last === undefined || to - last.at <= freshFor) return answer;
  const age = Math.round((to - last.at) / 1000);
  return { problem: `${name} is stale: its last value is of ${new Date(last.at).toISOString()}, ${age} s ago` };
}

function metricsOf(accounts: SignalSources['accounts'], query: CloudWatchQuery): Aws['metrics'] {
  const account = accounts.get(query.aws ?? '');
  if (account) return account.metrics;
  const names = [...accounts.keys()].join(', ') || 'none';
  throw invalid(
    query.aws === undefined
      ? `${nameOf(query)}: expected the name of an account as aws of the query (aws: ${names})`
      : `${nameOf(query)}: no account "${query.aws}" is configured (aws: ${names})`,
  );
}

const PLACE = /\$\{([^}]*)\}/g;

/** A dimension is a text: what stands in it needs no escaping. */
function renderDimensions(dimensions: Record<string, string>, values: QueryValues): Record<string, string> {
  const render = (text: string) =>
    text.replaceAll(PLACE, (place, name: string) => {
      const known = QUERY_VALUES.find((one) => one === name);
      const value = known && values[known];
      if (value !== undefined) return value;
      throw invalid(`the target has no ${name}, which ${place} in the dimension ${text} asks for`);
    });
  return Object.fromEntries(Object.entries(dimensions).map(([name, text]) => [name, render(text)]));
}

function rendered(render: () => string): string {
  try {
    return render();
  } catch (error) {
    if (error instanceof InputError) throw new FinalError(error.message, { type: 'Invalid', cause: error });
    throw error;
  }
}

const invalid = (message: string): FinalError => new FinalError(message, { type: 'Invalid' });
