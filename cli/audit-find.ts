import type { AuditStore, StreamSummary } from '../audit/store.ts';
import { CliError, EXIT } from './status.ts';

/**
 * Finds the stream that a person means: a target key means its latest remediation, anything else the beginning of an ID.
 *
 * @returns undefined where none is meant
 * @throws CliError where more than one is meant, or too little of an ID is given
 */
export async function findStream(store: AuditStore, meant: string): Promise<StreamSummary | undefined> {
  if (meant.includes('/')) return (await store.streams({ target: meant, limit: 1 }))[0];
  if (!/^[0-9a-f-]{8,36}$/.test(meant)) {
    throw new CliError(`"${meant}" names no run`, {
      status: EXIT.usage,
      advice: 'Give a target key (k8s/prod/shop/pod/web-0) or at least 8 characters of an ID from `salvor audit list`.',
    });
  }
  const found = await store.findStreams(meant);
  const exact = found.find(({ id }) => id === meant);
  if (!exact && found.length > 1) {
    const which = found
      .slice(0, 5)
      .map(({ id, target, workflowId, outcome }) => `  ${id}  ${outcome}  ${target ?? workflowId}`);
    throw new CliError(`"${meant}" begins more than one ID:\n${which.join('\n')}`, {
      status: EXIT.usage,
      advice: 'Give more characters of it.',
    });
  }
  return exact ?? found[0];
}
