import { CancellationScope, condition, proxyActivities, workflowInfo } from '@temporalio/workflow';
import type { AuditActivities, AuditEntry, AuditNote, AuditPage, AuditStream } from '../model/audit.ts';
import { bytesOf } from './size.ts';
import { ownWatchQueue } from './waits.ts';

/**
 * No local activity: what was noted is certain only when the server has taken the workflow task that noted it. A task that is
 * lost with its worker is run again, at another time and having heard more, and the record would keep what never was. The
 * server tries it again for as long as the store is down, without an event of the history. On the queue of the waits, for a
 * store that hangs holds each try for seconds, and hundreds of them would keep cuts and undos from their slots.
 */
const recording = (): AuditActivities =>
  proxyActivities<AuditActivities>({
    summary: 'put on record what was decided and changed',
    taskQueue: ownWatchQueue(),
    startToCloseTimeout: '10 seconds',
    retry: { initialInterval: '1 second', maximumInterval: '1 minute' },
  });

/** Notes that wait to be put on record before they are, beside what is done. */
const MANY_NOTES = 60;

/** What a workflow notes, numbered; its activities write it down. */
export class Notes {
  readonly stream: AuditStream;
  /** Noted so far. */
  count: number;
  /** Not yet known to be on record. */
  readonly pending: AuditNote[];
  #isWriting = false;

  constructor(
    stream: Omit<AuditStream, 'id' | 'workflowId'> & { id?: string },
    carried = { count: 0, pending: [] as AuditNote[] },
  ) {
    const { firstExecutionRunId, workflowId } = workflowInfo();
    // A remediation names its own, that of its first run. One that is reset begins a stream of its own, for its notes are numbered anew; a run of a responder, or of
    // the control, goes on where the one before it ended.
    this.stream = { ...stream, id: stream.id ?? firstExecutionRunId, workflowId };
    this.count = carried.count;
    this.pending = carried.pending;
  }

  add(entry: AuditEntry): void {
    this.count += 1;
    // The stream of those that go on is that of all their runs; one that was reset counts anew from where it was reset to.
    const key = this.stream.kind === 'remediation' ? String(this.count) : `${workflowInfo().runId}/${this.count}`;
    this.pending.push({ key, at: new Date().toISOString(), entry });
  }

  /** Puts them on record where they have become many. */
  writeMany(): void {
    if (this.pending.length < MANY_NOTES || this.#isWriting) return;
    this.#isWriting = true;
    // Nobody waits for a store that is down: what is not written goes with the next page.
    void CancellationScope.nonCancellable(() => writeDown(this)).finally(() => {
      this.#isWriting = false;
    });
  }

  /**
   * For the next run. The labels of the alerts stay behind, for they would make it too large; of too many notes the oldest
   * do too, and it is noted that they did.
   */
  carry(): { count: number; pending: AuditNote[] } {
    const all = this.pending.map(withoutLabels);
    let room = MOST_CARRIED_BYTES;
    const fits = (note: AuditNote): boolean => {
      room -= bytesOf(note);
      return room >= 0;
    };
    const from = Math.max(all.findLastIndex((note) => !fits(note)) + 1, all.length - MOST_CARRIED);
    const lost = all.slice(0, from);
    if (lost.length === 0) return { count: this.count, pending: all };
    // What is lost now may itself tell of notes that were lost before.
    const count = lost.reduce((sum, { entry }) => sum + (entry.kind === 'lost' ? entry.count : 1), 0);
    this.add({ kind: 'lost', count });
    return { count: this.count, pending: [...this.pending.slice(-1), ...all.slice(from)] };
  }

  /** @param most all, or as many as one activity may be given */
  page(most: 'all' | 'fitting' = 'all'): AuditPage {
    if (most === 'all') return { stream: this.stream, notes: [...this.pending] };
    let bytes = 0;
    const end = this.pending.findIndex((note, at) => {
      bytes += bytesOf(note);
      return at > 0 && (at === PAGE || bytes > PAGE_BYTES);
    });
    return { stream: this.stream, notes: this.pending.slice(0, end === -1 ? undefined : end) };
  }
}

/** In a payload of at most 2 MiB that also carries what the responder remembers. */
const MOST_CARRIED = 1_000;
const MOST_CARRIED_BYTES = 768 * 1024;

function withoutLabels(note: AuditNote): AuditNote {
  const { entry } = note;
  if (entry.kind !== 'decision' && entry.kind !== 'dropped') return note;
  const { labels: _, annotations: __, ...alert } = entry.alert;
  return { ...note, entry: { ...entry, alert } };
}

/** Notes of one page. A decision is about a kilobyte, or twenty with the largest labels, and the server takes 2 MiB. */
const PAGE = 200;
const PAGE_BYTES = 400 * 1024;

/** Puts one page on record. Resolves when it is durable, however long that takes. */
export async function writeDown(notes: Notes): Promise<void> {
  const page = notes.page('fitting');
  await recording().record(page);
  notes.pending.splice(0, page.notes.length);
}

/** Puts notes on record as they come, one page at a time. Never resolves; what is under way is still pending. */
export async function keepRecord(notes: Notes): Promise<never> {
  for (;;) {
    await condition(() => notes.pending.length > 0);
    // Writing it again adds nothing.
    await writeDown(notes);
  }
}
