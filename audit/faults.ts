import type { Fault } from './store.ts';

/** The first fault of each stream, and the first of the log. */
export class Faults {
  readonly #ofStreams = new Map<string, Fault>();
  readonly #ofLog: Fault[] = [];

  has(stream: string): boolean {
    return this.#ofStreams.has(stream);
  }

  inStream(stream: string, fault: Omit<Fault, 'stream'>): void {
    if (!this.has(stream)) this.#ofStreams.set(stream, { ...fault, stream });
  }

  get hasOfLog(): boolean {
    return this.#ofLog.some(({ kind }) => kind !== 'anchor');
  }

  inLog(fault: Omit<Fault, 'stream'>): void {
    // What differs from the anchor is told besides: it says more than where the chain breaks.
    if (fault.kind === 'anchor' || !this.hasOfLog) this.#ofLog.push(fault);
  }

  all(): Fault[] {
    return [...this.#ofLog, ...this.#ofStreams.values()];
  }
}

/** A link of a chain as it is found, and what it should be by those before it. */
export interface Break {
  seq: number;
  hash: string;
  expected: { seq: number; previous: string };
  /** Its hash if it were the link of this number. */
  hashAs(seq: number): string;
  /** Number of another link that follows the one before it. */
  successor(): Promise<number | undefined>;
  /** Hash of the link that has this number now. */
  hashAt(seq: number): Promise<string | undefined>;
  /** How far from its place its own number is looked for. */
  most: number;
}

/** Says what was done where a link does not follow. @param noun `record` or `entry` */
export async function explain(noun: string, found: Break): Promise<Omit<Fault, 'stream'>> {
  const { seq, expected } = found;
  if (seq > expected.seq)
    return { kind: 'missing', seq: expected.seq, message: `${noun} ${expected.seq} is missing: ${seq} comes next` };
  const written = writtenAs(found);
  const other = await found.successor();
  if (written === seq) {
    if (other !== undefined)
      return {
        kind: 'reordered',
        seq,
        message: `${noun} ${seq} is not in its place: ${noun} ${other} should be there`,
      };
    // It is whole, and chained to another one than is there now.
    return seq === 1
      ? { kind: 'missing', seq, message: `${noun} 1 does not begin the chain: something before it is missing` }
      : {
          kind: 'altered',
          seq: seq - 1,
          message: `${noun} ${seq - 1} was altered and given a new hash: ${noun} ${seq} was chained to another one`,
        };
  }
  if (written === undefined) {
    return other === undefined
      ? { kind: 'altered', seq, message: `${noun} ${seq} was altered: its hash is not that of what it says` }
      : { kind: 'inserted', seq, message: `${noun} ${seq} was inserted: ${noun} ${other} follows the one before it` };
  }
  if (written > seq)
    return other === undefined
      ? { kind: 'missing', seq, message: `${noun} ${seq} is missing: what has its number was written as ${written}` }
      : { kind: 'reordered', seq, message: `${noun} ${seq} was written as ${noun} ${written}: they were reordered` };
  // All before it were in their places: either it is a copy of one of them, or what came in between has shifted it.
  const isCopy = (await found.hashAt(written)) === found.hash;
  return isCopy
    ? { kind: 'inserted', seq, message: `${noun} ${seq} was inserted: it is a copy of ${noun} ${written}` }
    : {
        kind: 'inserted',
        seq: seq - 1,
        message: `${noun} ${seq - 1} was inserted: what follows it was written as ${noun} ${written}`,
      };
}

function writtenAs({ seq, hash, hashAs, most }: Break): number | undefined {
  if (hashAs(seq) === hash) return seq;
  for (let distance = 1; distance <= most; distance++)
    for (const other of [seq - distance, seq + distance]) if (other > 0 && hashAs(other) === hash) return other;
  return undefined;
}
