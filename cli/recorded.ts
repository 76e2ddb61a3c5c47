import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import type { AuditStore, StreamSummary } from '../audit/store.ts';
import { WORKFLOW } from '../model/names.ts';
import type { Recorded } from '../workers/replay.ts';
import { findRun, shortId } from './runs.ts';
import { CliError, EXIT } from './status.ts';

/** Histories, and how many there are where that is known beforehand. */
export interface Source {
  total?: number;
  histories: AsyncIterable<Recorded>;
}

/** A filter of Temporal's lists: Salvor's own workflows. */
const OURS = `WorkflowType IN ('${WORKFLOW.remediation}', '${WORKFLOW.responder}')`;

/** All that were open at some time since then. @param since ISO time */
export const openSince = (since: string): string =>
  `${OURS} AND (ExecutionStatus = 'Running' OR CloseTime >= '${since}')`;

/** All that are open. */
export const OPEN = `${OURS} AND ExecutionStatus = 'Running'`;

/** All that are open and not pinned to a build: what the next build takes over; and what has ended since then. */
export function comingOnto(since: string | undefined): string {
  const free = `TemporalWorkflowVersioningBehavior IS NULL OR TemporalWorkflowVersioningBehavior != 'Pinned'`;
  const open = `ExecutionStatus = 'Running' AND (${free})`;
  return `${OURS} AND ${since ? `((${open}) OR CloseTime >= '${since}')` : open}`;
}

/** What the server's list gives for a query. */
export async function fromServer(client: Client, query: string): Promise<Source> {
  const { count } = await client.workflow.count(query);
  const histories = async function* (): AsyncGenerator<Recorded> {
    for await (const { workflowId, runId } of client.workflow.list({ query, pageSize: 200 }))
      yield recordedRun(client, workflowId, runId);
  };
  return { total: count, histories: histories() };
}

function recordedRun(client: Client, workflowId: string, runId: string): Recorded {
  return {
    workflowId,
    source: `run ${runId}`,
    load: async () => {
      try {
        return await client.workflow.getHandle(workflowId, runId).fetchHistory();
      } catch (error) {
        // Its retention has just ended.
        if (error instanceof WorkflowNotFoundError) return undefined;
        throw error;
      }
    },
  };
}

/** The files of a folder and of those in it. @throws CliError where it cannot be read, or holds none */
export async function fromFolder(folder: string): Promise<Source> {
  const entries = await readdir(folder, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new CliError(`the folder ${folder} cannot be read (${error.code})`, { status: EXIT.usage, cause: error });
  });
  const files = entries.filter((file) => file.endsWith('.json')).sort();
  if (files.length === 0) throw new CliError(`${folder} holds no .json files`, { status: EXIT.usage });
  const recorded = files.map((file) => ({ source: file, load: () => readFile(join(folder, file), 'utf8') }));
  return sourceOf(recorded);
}

export function sourceOf(recorded: Recorded[]): Source {
  const histories = async function* (): AsyncGenerator<Recorded> {
    yield* recorded;
  };
  return { total: recorded.length, histories: histories() };
}

/** All whose history the audit store keeps. @param from ISO time */
export function fromStore(store: AuditStore, from?: string): Source {
  const histories = async function* (): AsyncGenerator<Recorded> {
    for await (const { stream, workflowId, json } of store.histories({ ...(from !== undefined && { from }) }))
      yield { workflowId, source: keptAs(stream), load: async () => json };
  };
  return { histories: histories() };
}

const keptAs = (stream: string): string => `audit ${stream}`;

/** Begins of Workflow IDs, which are names too; a target key begins otherwise. */
const WORKFLOW_ID = /^(responder|remediation|proposal)\//;

/** The run that a person means, of those that Temporal still has. @throws CliError as {@link findRun} does */
export async function meantRun(client: Client, meant: string): Promise<Recorded> {
  if (!WORKFLOW_ID.test(meant)) {
    const { workflowId, id } = await findRun(client, meant);
    return recordedRun(client, workflowId, id);
  }
  try {
    const { runId } = await client.workflow.getHandle(meant).describe();
    return recordedRun(client, meant, runId);
  } catch (error) {
    if (!(error instanceof WorkflowNotFoundError)) throw error;
    throw new CliError(`Temporal has no workflow ${meant}`, { status: EXIT.failed, cause: error });
  }
}

/**
 * Likewise, of those that the audit store has; undefined where it has none.
 *
 * @throws CliError where more than one is meant, or its history is not there
 */
export async function meantStream(store: AuditStore, meant: string): Promise<Recorded | undefined> {
  const found = await streamsOf(store, meant);
  const [stream, other] = found;
  if (!stream) return undefined;
  if (other) {
    const which = found.map(({ id, workflowId }) => `\n  ${id}  ${workflowId}`).join('');
    throw new CliError(`"${meant}" begins the ID of more than one run:${which}`, { status: EXIT.usage });
  }
  if (!stream.hasHistory) {
    throw new CliError(`the audit store has no history of ${shortId(stream.id)} (${stream.workflowId})`, {
      status: EXIT.failed,
      advice: 'It is kept when a remediation has ended, soon after.',
    });
  }
  const { id, workflowId } = stream;
  const load = async (): Promise<string | undefined> => {
    for await (const { json } of store.histories({ stream: id })) return json;
    return undefined;
  };
  return { workflowId, source: keptAs(id), load };
}

async function streamsOf(store: AuditStore, meant: string): Promise<StreamSummary[]> {
  if (!meant.includes('/')) return await store.findStreams(meant);
  return await store.streams({ target: meant.replace(/^remediation\//, ''), limit: 1 });
}
