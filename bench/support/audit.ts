import { open } from 'node:fs/promises';
import type { AuditEvent } from '../../sandbox/audit-log.ts';
import type { Kubernetes } from '../../sandbox/kubernetes.ts';
import { timeOf } from './clock.ts';

/** A mutating request that the API server had from Salvor and carried out. */
export interface Mutation {
  namespace: string;
  pod: string;
  verb: string;
  subresource?: string;
  /** When the API server received it, milliseconds since the epoch with fractions. */
  at: number;
}

/**
 * Follows the audit log of the API server, which is the witness of what was done. It reads only what is new: the log has
 * every mutation of the whole control plane.
 */
export class Audit {
  readonly #file: string;
  readonly #read: () => Promise<unknown>;
  #offset = 0;
  #rest = '';
  readonly mutations: Mutation[] = [];
  /** Requests of Salvor that the API server turned down, such as a second write on an old version. */
  refused = 0;

  constructor({ auditLog, readAudit }: Kubernetes) {
    this.#file = auditLog;
    this.#read = () => readAudit({ user: 'nobody' });
  }

  /** Takes in what the log has by now. */
  async look(): Promise<Mutation[]> {
    const file = await open(this.#file);
    try {
      for (;;) {
        const { bytesRead, buffer } = await file.read(Buffer.alloc(1 << 20), 0, 1 << 20, this.#offset);
        if (bytesRead === 0) return this.mutations;
        this.#offset += bytesRead;
        // The log is ASCII: Go's JSON escapes nothing else here, for all names are Kubernetes names.
        const lines = (this.#rest + buffer.toString('latin1', 0, bytesRead)).split('\n');
        this.#rest = lines.pop() ?? '';
        for (const line of lines) this.#take(line);
      }
    } finally {
      await file.close();
    }
  }

  /** As {@link look}, when every request that was answered before this call is in the log. */
  async all(): Promise<Mutation[]> {
    await this.#read();
    return await this.look();
  }

  /** Forgets what was, so that the next block begins with nothing. */
  async clear(): Promise<void> {
    await this.look();
    this.mutations.length = 0;
    this.refused = 0;
  }

  #take(line: string): void {
    if (!line.includes('"username":"salvor"')) return;
    const event = JSON.parse(line) as AuditEvent;
    const { namespace = '', name = '', subresource, resource } = event.objectRef ?? {};
    if (resource !== 'pods') return;
    if ((event.responseStatus?.code ?? 0) >= 300) this.refused += 1;
    else {
      const at = timeOf(event.requestReceivedTimestamp);
      this.mutations.push({ namespace, pod: name, verb: event.verb, ...(subresource && { subresource }), at });
    }
  }
}
