import { setTimeout as sleep } from 'node:timers/promises';
import type { OperatorService, WorkflowService } from '@temporalio/client';
import type { Logger } from 'pino';
import { SEARCH_ATTRIBUTES } from '../model/names.ts';

/** `temporal.api.enums.v1.IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD`. */
const KEYWORD = 2;

/** Milliseconds that a cluster may take until all its hosts know a new attribute; they look every few seconds. */
const SPREAD_WITHIN = 20_000;

/** What both `Connection` and `NativeConnection` have. */
export interface Services {
  operatorService: OperatorService;
  workflowService: WorkflowService;
}

/**
 * Registers Salvor's search attributes where the namespace lacks them.
 *
 * @returns whether runs can carry them; false where the server does not allow it (Temporal Cloud has its own tool, an
 *   operator may have forbidden it), which is logged once with what a person can do, and harms nothing but the filters
 *   of `salvor list` and of Temporal's UI.
 */
export async function ensureSearchAttributes(services: Services, namespace: string, log: Logger): Promise<boolean> {
  try {
    const { customAttributes } = await services.operatorService.listSearchAttributes({ namespace });
    const missing = SEARCH_ATTRIBUTES.filter((name) => customAttributes[name] !== KEYWORD);
    if (missing.length === 0) return true;
    await services.operatorService.addSearchAttributes({
      namespace,
      searchAttributes: Object.fromEntries(missing.map((name) => [name, KEYWORD])),
    });
    await spread(services, namespace);
    log.info({ namespace, registered: missing }, 'registered search attributes');
    return true;
  } catch (error) {
    if (await known(services, namespace)) return true;
    const commands = SEARCH_ATTRIBUTES.map((name) => `--name ${name}`).join(' ');
    log.warn(
      { namespace, reason: error instanceof Error ? error.message : String(error) },
      'the server does not take search attributes from Salvor, so runs start without them; to have them: ' +
        `temporal operator search-attribute create --namespace ${namespace} ${commands} --type Keyword`,
    );
    return false;
  }
}

/** Waits until a query by the attributes is understood: before that, starting a workflow with them is an error. */
async function spread(services: Services, namespace: string): Promise<void> {
  const deadline = Date.now() + SPREAD_WITHIN;
  while (!(await known(services, namespace))) {
    if (Date.now() > deadline) throw new Error(`registered, but not known after ${SPREAD_WITHIN / 1000} s`);
    await sleep(250);
  }
}

async function known(services: Services, namespace: string): Promise<boolean> {
  const query = SEARCH_ATTRIBUTES.map((name) => `${name} = 'none'`).join(' OR ');
  try {
    await services.workflowService.countWorkflowExecutions({ namespace, query });
    return true;
  } catch {
    // The server's only way of saying that it does not know a name in a query.
    return false;
  }
}
