import {
  ActivityCancellationType,
  CancellationScope,
  condition,
  isCancellation,
  patched,
  proxyActivities,
} from '@temporalio/workflow';
import type { HushActivities, HushRequest } from '../model/herald.ts';
import { explain } from './failures.ts';
import { ownWatchQueue } from './waits.ts';

/** The end of the silence holds nothing back for longer: where it hangs, the silence ends by itself within a minute. */
const PATIENCE = '10 seconds';

const hushing = (): HushActivities =>
  proxyActivities<HushActivities>({
    summary: 'keep the alert silent while it is worked on',
    taskQueue: ownWatchQueue(),
    // For as long as the remediation takes; a worker that dies is noticed by its heartbeats.
    startToCloseTimeout: '365 days',
    heartbeatTimeout: '10 seconds',
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    retry: { initialInterval: '1 second', maximumInterval: '30 seconds' },
  });

/** The silence of the alert, kept beside the runbook until it is handed over or its end, whatever that is. */
export class Hush {
  readonly #scope: CancellationScope;
  #over = false;

  /** @param say told where it cannot be kept: the remediation goes on without it */
  constructor(request: HushRequest, say: (text: string) => void) {
    // Outside of the scope that a person's cancel ends, for the alert stays silent while it is undone.
    this.#scope = new CancellationScope({ cancellable: true, parent: new CancellationScope({ cancellable: false }) });
    void this.#scope
      .run(() => hushing().hush(request))
      .then(
        // It has left the alert alone, and says why.
        say,
        (error: unknown) => {
          if (!isCancellation(error)) say(`the alert could not be kept silent: ${explain(error)}; the healing goes on`);
        },
      )
      .finally(() => {
        this.#over = true;
      });
  }

  /** What was healed does not fire any more; what fires all the same, or again, is to be heard. */
  async handOver(): Promise<void> {
    if (patched('hush-until-handed-over')) await this.end();
  }

  async end(): Promise<void> {
    this.#scope.cancel();
    if (!this.#over) await condition(() => this.#over, PATIENCE, { summary: 'wait for the end of the silence' });
  }
}
