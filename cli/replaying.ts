import type { AuditStore } from '../audit/store.ts';
import { consoleProgress } from '../sandbox/progress.ts';
import { bundleToReplay, type Recorded, type Replayed, replayAll } from '../workers/replay.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { note, paint, print, printJson } from './output.ts';
import {
  fromFolder,
  fromServer,
  fromStore,
  meantRun,
  meantStream,
  openSince,
  type Source,
  sourceOf,
} from './recorded.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { reached, withStore } from './store.ts';
import { type Session, withTemporal } from './temporal.ts';

export interface ReplayCommand {
  /** ISO time. */
  since?: string;
  dir?: string;
  fromAudit?: boolean;
  jobs: number;
}

/** What came of a replay. */
export interface Tally {
  replayed: number;
  same: number;
  /** Those that did not go the same way, in the order in which they were found. */
  others: Replayed[];
  seconds: number;
}

/** `salvor replay`. */
export async function replayMeant(context: Context, ids: string[], options: ReplayCommand): Promise<ExitStatus> {
  const run = async (source: Source): Promise<ExitStatus> =>
    tell(context, await replaySource(context, source, options));
  const { since, dir, fromAudit } = options;
  if (dir !== undefined) return await run(await fromFolder(dir));
  if (fromAudit) {
    const { config } = await loadConfig(context);
    return await withStore(config, async (store) => {
      if (ids.length === 0) return await run(fromStore(store, since));
      return await run(sourceOf(await meantStreams(store, ids, 'the audit store has no')));
    });
  }
  return await withTemporal(context, async (session) =>
    since ? await run(await fromServer(session.client, openSince(since))) : await runIds(session, ids, run),
  );
}

/** Where Temporal has forgotten a run, the audit store is asked. */
async function runIds(
  { client, config }: Session,
  ids: string[],
  run: (source: Source) => Promise<ExitStatus>,
): Promise<ExitStatus> {
  const forgotten = new Map<string, CliError>();
  const found = await Promise.all(
    ids.map((id) =>
      meantRun(client, id).catch((error: unknown) => {
        if (!(error instanceof CliError) || error.status === EXIT.usage) throw error;
        forgotten.set(id, error);
        return id;
      }),
    ),
  );
  const known = found.filter((one) => typeof one !== 'string');
  const [first] = forgotten.values();
  if (!first) return await run(sourceOf(known));
  const kept = await reached(
    withStore(config, async (store) => {
      const streams = await meantStreams(store, [...forgotten.keys()], 'neither Temporal nor the audit store has a');
      return await run(sourceOf([...known, ...streams]));
    }),
  );
  if (kept.out) throw first;
  return kept.answer;
}

async function meantStreams(store: AuditStore, ids: string[], hasNo: string): Promise<Recorded[]> {
  return await Promise.all(
    ids.map(async (id) => {
      const found = await meantStream(store, id);
      if (found) return found;
      throw new CliError(`${hasNo} run "${id}"`, {
        status: EXIT.failed,
        advice: '`salvor list` and `salvor audit list` show the runs that there are.',
      });
    }),
  );
}

/** Replays with a bar on a terminal, plain lines elsewhere, and nothing of it with `--json`. */
export async function replaySource(context: Context, source: Source, { jobs }: { jobs: number }): Promise<Tally> {
  const began = performance.now();
  const code = await bundleToReplay();
  const tally: Tally = { replayed: 0, same: 0, others: [], seconds: 0 };
  const progress = context.json ? undefined : new Bar(source.total);
  await replayAll(source.histories, { code, jobs }, (one) => {
    tally.replayed += 1;
    if (one.verdict === 'same') tally.same += 1;
    else tally.others.push(one);
    progress?.show(tally);
  });
  tally.seconds = (performance.now() - began) / 1000;
  progress?.end();
  return tally;
}

/** Milliseconds between two looks of the bar, and, where there is no terminal, between two lines. */
const REDRAW = 100;
const AGAIN = 10_000;

class Bar {
  readonly #total: number | undefined;
  readonly #onProgress = consoleProgress();
  readonly #every = process.stderr.isTTY ? REDRAW : AGAIN;
  #shown = performance.now();

  constructor(total: number | undefined) {
    this.#total = total;
  }

  show({ replayed, others }: Tally): void {
    const now = performance.now();
    if (now - this.#shown < this.#every) return;
    this.#shown = now;
    const [total, fraction] = this.#total ? [` of ${this.#total}`, replayed / this.#total] : ['', undefined];
    const differ = others.length > 0 ? `, ${others.length} not the same` : '';
    this.#onProgress({ component: 'replay', phase: 'wait', message: `${replayed}${total}${differ}`, fraction });
  }

  /** Takes the bar away: what follows says it all. */
  end(): void {
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
  }
}

function tell(context: Context, tally: Tally): ExitStatus {
  if (context.json) printJson(tally);
  else if (tally.replayed === 0) note('there is nothing to replay');
  else print(...tally.others.flatMap(linesOf), summary(tally));
  return tally.others.length > 0 ? EXIT.failed : EXIT.done;
}

/** `18 histories replayed in 0.9 s: 17 the same, 1 diverging` */
export function summary({ replayed, same, others, seconds }: Tally): string {
  const count = (verdict: Replayed['verdict']): number => others.filter((one) => one.verdict === verdict).length;
  const parts = [
    `${same} the same`,
    ...(['diverges', 'throws', 'unreadable'] as const).flatMap((verdict) =>
      count(verdict) > 0 ? [paint('red', `${count(verdict)} ${WORDS[verdict]}`)] : [],
    ),
  ];
  const histories = `${replayed} ${replayed === 1 ? 'history' : 'histories'}`;
  return `${histories} replayed in ${seconds.toFixed(1)} s: ${parts.join(', ')}`;
}

const WORDS = { diverges: 'diverging', throws: 'throwing', unreadable: 'unreadable' } as const;

/** What is to be said of one that did not go the same way. */
export function linesOf(one: Replayed): string[] {
  const title = (word: string): string => `${paint('red', word)} ${paint('bold', one.workflowId)} (${one.source})`;
  switch (one.verdict) {
    case 'same':
      return [];
    case 'unreadable':
      return [title('cannot be read'), `  ${one.message}`];
    case 'throws':
      return [title('throws'), ...(one.stack || one.message).split('\n').map((line) => `  ${line}`)];
    case 'diverges': {
      const { event, recorded, code, message } = one.divergence;
      const at = event ? `event ${event.id} ${event.type}${event.step ? `, step ${event.step}` : ''}` : 'an event';
      return [
        `${title('diverges')} at ${at}`,
        `  history: ${recorded}`,
        `  code:    ${code}`,
        paint('dim', `  ${message}`),
      ];
    }
  }
}
