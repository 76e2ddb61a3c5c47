/** Processes that must end by themselves: to kill one leaves something half done, of which nobody else knows how far it is. */
const running = new Set<Promise<unknown>>();

/** Counts it until it has ended. */
export async function unfinished<T>(work: Promise<T>): Promise<T> {
  running.add(work);
  try {
    return await work;
  } finally {
    running.delete(work);
  }
}

/**
 * Until all of them have ended. Whoever ends this process waits for that: in a container, and under systemd, all that it has started is
 * killed with it.
 */
export async function allFinished(): Promise<void> {
  while (running.size > 0) await Promise.allSettled(running);
}
