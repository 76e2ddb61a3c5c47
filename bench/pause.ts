import { setTimeout as sleep } from 'node:timers/promises';
import { pause, resume } from '../providers/temporal/control.ts';
import type { Benchmark, Settings } from './support/benchmark.ts';
import { type BesideUp, besideUp } from './support/beside-up.ts';
import { calibrate, now } from './support/clock.ts';
import { short, spread, table } from './support/numbers.ts';
import { CLUSTER, until } from './support/product.ts';
import { untilNoneOpen } from './support/remediations.ts';

/** Alerts of a round, each about another pod, in one stream: the pause comes in its midst. */
const ALERTS = 200;
const QUICK = 100;
const PER_SECOND = 25;
/** Milliseconds after the stream in which what was under way would still mutate, were it not held back. */
const QUIET = 5_000;
/** Milliseconds until the first mutation: a worker that has just started takes longer. */
const BEGIN_WITHIN = 60_000;
const END_WITHIN = 120_000;

interface Round {
  /** From the order to its answer, milliseconds. */
  order: number;
  before: number;
  /** Mutations that the API server received after the pause was answered, and the last of them, milliseconds after it. */
  after: number;
  last: number;
}

/** `pause` answered → the last mutating call received by the API server, while a stream of alerts is healed. */
export const pauseBenchmark: Benchmark = (settings) => besideUp(settings, (parts) => measure(parts, settings));

async function measure(parts: BesideUp, { rounds, quick, say }: Settings): Promise<string> {
  const results: Round[] = [];
  const count = quick ? QUICK : ALERTS;
  // The first round of a process meets cold code: it is not counted.
  for (let round = 0; round <= rounds; round++) {
    const one = await once(parts, count, `round-${round}`);
    if (round > 0) results.push(one);
    say(
      `round ${round}: order ${short(one.order)} ms, ${one.before} before, ${one.after} after, last ${short(one.last)} ms`,
    );
  }
  const of = (figure: keyof Round) => results.map((one) => one[figure]);
  return table(
    ['', 'pause → last mutation, ms', 'mutations after it', 'mutations before it', 'the order itself, ms'],
    [
      [
        `${count} alerts, ${PER_SECOND} a second`,
        `**${spread(of('last'))}**`,
        spread(of('after')),
        spread(of('before')),
        spread(of('order')),
      ],
    ],
  );
}

async function once({ pods, audit, alertmanager, client }: BesideUp, count: number, scope: string): Promise<Round> {
  const workload = await pods.run(count, { unready: true });
  const { namespace } = workload;
  const prefix = `k8s/${CLUSTER}/${namespace}`;
  const place = { client, taskQueue: 'salvor' };
  await sleep(3_000);
  await audit.clear();
  calibrate();
  const began = performance.now();
  const answers = workload.pods.map(async (pod, n): Promise<void> => {
    await sleep(Math.max(0, began + (n * 1000) / PER_SECOND - performance.now()));
    const status = await alertmanager.send([{ namespace, pod, scope }]);
    if (status !== 200) throw new Error(`the gateway answered ${status}`);
  });
  await sleep((count / PER_SECOND) * 500);
  // What holds nothing back measures nothing.
  await until(
    'the first mutation',
    async () => (await audit.look()).find((one) => one.namespace === namespace),
    BEGIN_WITHIN,
  );
  const ordered = now();
  await pause(place, { prefix, by: 'person:bench', reason: 'to be measured' });
  const answered = now();
  await Promise.all(answers);
  await sleep(QUIET);
  const made = (await audit.all()).filter((one) => one.namespace === namespace).map(({ at }) => at);
  const late = made.filter((at) => at > answered);
  if (made.length - late.length === 0) throw new Error('nothing was changed before the pause: it held nothing back');
  await workload.remove();
  await resume(place, { prefix, by: 'person:bench', reason: 'measured' });
  await untilNoneOpen(client, END_WITHIN);
  return {
    order: answered - ordered,
    before: made.length - late.length,
    after: late.length,
    last: late.length > 0 ? Math.max(...late) - answered : 0,
  };
}
