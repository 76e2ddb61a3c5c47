import { WorkflowNotFoundError } from '@temporalio/client';
import type { AuditStore } from '../audit/store.ts';
import type { AuditNote, AuditStream } from '../model/audit.ts';
import type { Config } from '../model/config.ts';
import { UnavailableError } from '../providers/errors.ts';
import type { Release } from '../providers/instance.ts';
import { ApiError } from '../providers/kubernetes/errors.ts';
import type { HoldingRegistry } from '../providers/registry.ts';
import { type Altered, messageOf } from './audit-held.ts';
import { readRun } from './runs.ts';
import { reached } from './store.ts';
import { withClient } from './temporal.ts';

/** What came of one field. */
export interface Released extends Omit<Release, 'result'> {
  altered: Altered;
  /**
   * As {@link Release}; or `running`: its remediation still runs, so it was left to it; `unreached`: the API gave no
   * answer; `failed`: it refused.
   */
  result: Release['result'] | 'running' | 'unreached' | 'failed';
  /** Whether the audit store has it. */
  recorded: boolean;
}

/** A first run ID. Whatever else a note names, Temporal does not know it. */
const RUN_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Asks Temporal which of the remediations still run.
 *
 * @returns their IDs; or, where Temporal cannot be asked, why
 */
export async function stillRunning(config: Config, altered: Altered[]): Promise<ReadonlySet<string> | string> {
  const asked = await reached(
    withClient(config, async (client) => {
      const running = new Set<string>();
      for (const { id, runId, workflowId } of runsOf(altered)) {
        if (!RUN_ID.test(runId)) continue;
        try {
          if ((await readRun(client, workflowId, runId)).outcome === 'running') running.add(id);
        } catch (error) {
          if (!(error instanceof WorkflowNotFoundError)) throw error;
        }
      }
      return running;
    }),
  );
  return asked.answer ?? asked.out.message;
}

/** Each run once. A remediation that was reset runs under another ID than its first, by which it holds. */
function runsOf(altered: Altered[]): { id: string; runId: string; workflowId: string }[] {
  const runs = altered.flatMap(({ held: { remediation: id }, stream = id, workflowId }) =>
    [id, stream].map((runId) => ({ id, runId, workflowId })),
  );
  return [...new Map(runs.map((run) => [`${run.id} ${run.runId}`, run])).values()];
}

/** Gives one field back, whatever became of its remediation. Never throws: one that fails must not keep the others. */
export async function releaseOne(
  registry: HoldingRegistry,
  altered: Altered,
  dryRun: boolean,
): Promise<Omit<Released, 'recorded'>> {
  const { held } = altered;
  try {
    return { altered, ...(await registry.release(held, dryRun)) };
  } catch (error) {
    // Of the API's own answers a refusal stands until somebody changes something; the others may be better in a while.
    const silent =
      error instanceof UnavailableError || (error instanceof ApiError && (error.status >= 500 || error.status === 429));
    return { altered, result: silent ? 'unreached' : 'failed', why: messageOf(error), changes: [] };
  }
}

/** Whether nothing is left to be given back. */
export const isOver = ({ result }: Pick<Released, 'result'>): boolean =>
  result === 'given-back' || result === 'as-before' || result === 'kept' || result === 'gone';

/** Puts on record what is given back, each in the stream of its remediation. */
export class Recorder {
  readonly #store: AuditStore;
  readonly #by: string;
  readonly #streams = new Map<string, AuditStream | undefined>();

  constructor(store: AuditStore, by: string) {
    this.#store = store;
    this.#by = by;
  }

  /** @returns whether it is on record; not so where the store knows nothing of the remediation */
  async record({ altered, why, changes }: Omit<Released, 'recorded'>): Promise<boolean> {
    const { held, since } = altered;
    const stream = await this.#streamOf(altered.stream ?? held.remediation);
    if (!stream) return false;
    const { object, field } = held;
    // A field may be held again by the same remediation: what is given back is named by the hold.
    const key = `release:${object.key}:${field}${since === undefined ? '' : `:${since}`}`;
    const at = new Date().toISOString();
    const made = changes.map(
      (change, place): AuditNote => ({
        key: `${key}:change${place + 1}`,
        at: change.at,
        entry: { kind: 'change', change },
      }),
    );
    const notes: AuditNote[] = [...made, { key, at, entry: { kind: 'released', object, field, by: this.#by, why } }];
    await this.#store.append({ stream, notes });
    return true;
  }

  async #streamOf(id: string): Promise<AuditStream | undefined> {
    if (this.#streams.has(id)) return this.#streams.get(id);
    const found = (await this.#store.findStreams(id)).find((one) => one.id === id);
    const stream = found && streamOf(found);
    this.#streams.set(id, stream);
    return stream;
  }
}

const streamOf = ({ id, kind, workflowId, rule, target, runbook, mode, scope }: AuditStream): AuditStream => ({
  id,
  kind,
  workflowId,
  rule,
  ...(target !== undefined && { target }),
  ...(runbook !== undefined && { runbook }),
  ...(mode !== undefined && { mode }),
  scope,
});
