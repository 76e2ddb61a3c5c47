/**
 * Appends the notes of pages one at a time, many at once, trying again for as long as the store is down, and says of each
 * that it is durable. It is sent the options of the store, and the pages.
 */
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { openAuditStore } from '../../../audit/open.ts';
import type { AuditStoreOptions } from '../../../audit/store.ts';
import { StoreUnavailableError } from '../../../audit/unavailable.ts';
import type { AuditPage } from '../../../model/audit.ts';

const [order] = (await once(process, 'message')) as [{ options: AuditStoreOptions; pages: AuditPage[] }];
const store = await openAuditStore(order.options);

async function append(page: AuditPage): Promise<void> {
  for (;;) {
    try {
      await store.append(page);
      return;
    } catch (error) {
      if (!(error instanceof StoreUnavailableError)) throw error;
      await sleep(20);
    }
  }
}

async function all({ stream, notes }: AuditPage): Promise<void> {
  for (const note of notes) {
    await append({ stream, notes: [note] });
    process.send?.([stream.id, note.key]);
  }
}

await Promise.all(order.pages.map(all));
await store.seal();
await store.close();
process.send?.('done');
process.disconnect();
