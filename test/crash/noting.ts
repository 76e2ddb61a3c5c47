import { proxySinks } from '@temporalio/workflow';
import type { AuditEntry } from '../../model/audit.ts';
import { Notes } from '../../workflows/record.ts';
import type { NotingSinks } from './notes.ts';

/**
 * Salvor's workflows, which also tell what they note: replayed on a history, they say what must be on record, whatever
 * the activities made of it.
 */
export { remediation, responder } from '../../workflows/index.ts';

const { audit } = proxySinks<NotingSinks>();
const { add } = Notes.prototype;

Notes.prototype.add = function (this: Notes, entry: AuditEntry): void {
  add.call(this, entry);
  const note = this.pending.at(-1);
  if (note) audit.noted(this.stream.id, note);
};
