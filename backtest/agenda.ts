interface Planned<E> {
  at: number;
  rank: number;
  /** Of what has the same time and rank, what was planned first comes first. */
  number: number;
  event: E;
}

/** What is to happen, by time (milliseconds since the epoch): a binary heap. */
export class Agenda<E> {
  readonly #heap: Planned<E>[] = [];
  #count = 0;

  add(at: number, rank: number, event: E): void {
    const heap = this.#heap;
    const planned = { at, rank, number: this.#count++, event };
    let place = heap.length;
    for (let above = (place - 1) >> 1; place > 0 && isBefore(planned, heap[above]); above = (place - 1) >> 1) {
      heap[place] = heap[above] as Planned<E>;
      place = above;
    }
    heap[place] = planned;
  }

  /** All that happens at the next moment, in order; undefined where nothing is left. */
  next(): { at: number; events: E[] } | undefined {
    const at = this.#heap[0]?.at;
    if (at === undefined) return undefined;
    const events: E[] = [];
    while (this.#heap[0]?.at === at) events.push(this.#take());
    return { at, events };
  }

  #take(): E {
    const heap = this.#heap;
    const first = heap[0] as Planned<E>;
    const last = heap.pop() as Planned<E>;
    if (heap.length === 0) return first.event;
    let place = 0;
    for (;;) {
      const left = 2 * place + 1;
      const below = isBefore(heap[left + 1], heap[left]) ? left + 1 : left;
      if (!isBefore(heap[below], last)) break;
      heap[place] = heap[below] as Planned<E>;
      place = below;
    }
    heap[place] = last;
    return first.event;
  }
}

function isBefore<E>(a: Planned<E> | undefined, b: Planned<E> | undefined): boolean {
  if (!a || !b) return a !== undefined;
  return (a.at - b.at || a.rank - b.rank || a.number - b.number) < 0;
}
