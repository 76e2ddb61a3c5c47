import type { Client } from '@temporalio/client';
import type { Pause } from '../model/pause.ts';
import { readPauses } from '../providers/temporal/pauses.ts';

/** The pauses that stand, as they were at most `maxAge` milliseconds ago. @throws where Temporal does not answer */
export type Pauses = (maxAge?: number) => Promise<Pause[]>;

/** As {@link readPauses}; those who ask at once share one look. */
export function pausesOf(client: Client): Pauses {
  let latest: { at: number; pauses: Promise<Pause[]> } | undefined;
  return (maxAge = 0) => {
    const now = Date.now();
    if (latest === undefined || now - latest.at > maxAge) {
      const pauses = readPauses(client);
      latest = { at: now, pauses };
      // What failed is not remembered.
      pauses.catch(() => {
        if (latest?.pauses === pauses) latest = undefined;
      });
    }
    return latest.pauses;
  };
}
