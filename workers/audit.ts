import type { Client } from '@temporalio/client';
import { WorkflowNotFoundError } from '@temporalio/common';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Registry } from 'prom-client';
import { startKeeper } from '../audit/keeper.ts';
import { AuditMetrics } from '../audit/metrics.ts';
import { openAuditStore } from '../audit/open.ts';
import type { AuditStore, AuditStoreOptions } from '../audit/store.ts';
import type { AuditStream } from '../model/audit.ts';
import type { Logger } from './logging.ts';

export interface Audit {
  store: AuditStore;
  /** Ends sealing and closes the store: when nothing writes any more. */
  close(): Promise<void>;
}

export interface AuditSettings {
  options: AuditStoreOptions;
  client: Client;
  registry: Registry;
  logger: Logger;
}

/**
 * The audit store of a worker, and its keeper: it seals what was written, and keeps the histories of what has ended.
 *
 * @throws StoreUnavailableError where a file cannot be opened; a database that is down is waited for
 */
export async function openAudit({ options, client, registry, logger }: AuditSettings): Promise<Audit> {
  const metrics = new AuditMetrics(registry);
  const store = await openAuditStore(options, metrics);
  const { up, error } = store.state();
  if (!up)
    logger.warn({ audit: store.location, error }, 'the audit store is down: remediation goes on, the record follows');
  const keeper = startKeeper({
    store,
    fetchHistory: (stream) => historyOf(client, stream),
    isOver: async (stream) => (await statusOf(client, stream)) !== 'RUNNING',
    logger,
    metrics,
  });
  return {
    store,
    close: async () => {
      await keeper.stop();
      await store.close();
    },
  };
}

async function historyOf(
  client: Client,
  stream: AuditStream,
): Promise<{ json: string; events: number } | 'running' | 'gone'> {
  const status = await statusOf(client, stream);
  if (status === 'RUNNING') return 'running';
  if (status === undefined) return 'gone';
  const history = await client.workflow.getHandle(stream.workflowId, stream.id).fetchHistory();
  return { json: historyToJSON(history), events: history.events?.length ?? 0 };
}

/** @returns undefined where Temporal has forgotten it */
async function statusOf(client: Client, { workflowId, id }: AuditStream): Promise<string | undefined> {
  try {
    return (await client.workflow.getHandle(workflowId, id).describe()).status.name;
  } catch (error) {
    if (error instanceof WorkflowNotFoundError) return undefined;
    throw error;
  }
}
