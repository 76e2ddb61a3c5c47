import { CancellationScope, isCancellation } from '@temporalio/workflow';

/**
 * Runs two waits until one of them has ended, and cancels the other, whose end is awaited too, for it may have come to
 * something in the same moment.
 *
 * @returns what each came to; undefined of one that was cancelled for the other's sake
 * @throws what either failed with; a CancelledFailure where the whole was cancelled before one of them had ended
 */
export async function untilOneEnds<A, B>(
  first: () => Promise<A>,
  second: () => Promise<B>,
): Promise<[A | undefined, B | undefined]> {
  const scope = new CancellationScope();
  const waits = scope.run(async () => {
    const both = [first(), second()] as const;
    await Promise.race(both).catch(() => undefined); // what it failed with is looked at below
    scope.cancel();
    return await Promise.allSettled(both);
  });
  const [one, other] = await waits;
  // The first that ended by itself tells; where neither did, all of it was cancelled.
  const failure = [one, other].find(
    (end): end is PromiseRejectedResult => end.status === 'rejected' && !isCancellation(end.reason),
  );
  if (failure) throw failure.reason;
  if (one.status === 'rejected' && other.status === 'rejected') throw one.reason;
  return [one.status === 'fulfilled' ? one.value : undefined, other.status === 'fulfilled' ? other.value : undefined];
}
