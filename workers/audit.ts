import type { Client } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Registry } from 'prom-client';
import { startKeeper } from '../audit/keeper.ts';
import { AuditMetrics } from '../audit/metrics.ts';
import { openAuditStore } from '../audit/open.ts';
import type { AuditStore, AuditStoreOptions } from '../audit/store.ts';
import type { AuditStream } from '../model/audit.ts';
import { currentOf } from '../providers/temporal/chain.ts';
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
    isOver: async ({ workflowId, id }) =>
      (await currentOf(client, { workflowId, runId: id }))?.status.name !== 'RUNNING',
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
  const { workflowId, id } = stream;
  const current = await currentOf(client, { workflowId, runId: id });
  if (current?.status.name === 'RUNNING') return 'running';
  if (current === undefined) return 'gone';
  // Of several runs the last: it begins with what those before it had come to.
  const history = await client.workflow.getHandle(workflowId, current.runId).fetchHistory();
  return { json: historyToJSON(history), events: history.events?.length ?? 0 };
}
