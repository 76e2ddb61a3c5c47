import { join } from 'node:path';
import type { History } from '@temporalio/common/lib/proto-utils.js';
import { bundleWorkflowCode, DefaultLogger, type InjectedSinks, Runtime, Worker } from '@temporalio/worker';
import type { Sinks } from '@temporalio/workflow';
import type { AuditNote } from '../../model/audit.ts';

export interface NotingSinks extends Sinks {
  audit: { noted(stream: string, note: AuditNote): void };
}

export interface Noted {
  /** By stream, then by key, in the order in which they were noted. */
  notes: Map<string, Map<string, AuditNote>>;
  problems: string[];
}

let quieted = false;
let bundle: Promise<{ code: string }> | undefined;

/** What the workflows noted, told by nothing but their histories. */
export async function notesOf(histories: { workflowId: string; history: History }[]): Promise<Noted> {
  // Temporal takes one logger per process.
  if (!quieted) Runtime.install({ logger: new DefaultLogger('ERROR') });
  quieted = true;
  const logger = new DefaultLogger('ERROR');
  bundle ??= bundleWorkflowCode({ workflowsPath: join(import.meta.dirname, 'noting.ts'), logger });
  const notes: Noted['notes'] = new Map();
  const sinks: InjectedSinks<NotingSinks> = {
    audit: {
      noted: {
        fn: (_, stream, note) => {
          const of = notes.get(stream) ?? new Map<string, AuditNote>();
          notes.set(stream, of.set(note.key, note));
        },
        callDuringReplay: true,
      },
    },
  };
  const problems: string[] = [];
  for await (const { workflowId, error } of Worker.runReplayHistories(
    { workflowBundle: await bundle, sinks },
    histories,
  ))
    if (error) problems.push(`${workflowId}: its history cannot be replayed: ${error.message}`);
  return { notes, problems };
}
