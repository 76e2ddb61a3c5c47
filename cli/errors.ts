import { note, paintError, printJson } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

/** Says what went wrong, in words, on standard error (with `--json` also as a document), and answers the exit status. */
export function report(error: unknown, json: boolean): ExitStatus {
  const known = error instanceof CliError;
  const message = error instanceof Error ? error.message : String(error);
  const status = known ? error.status : EXIT.failed;
  const advice = known ? error.advice : undefined;
  if (json) {
    printJson({ error: { status, message, ...(advice !== undefined && { advice }) } });
    return status;
  }
  note(`${paintError('red', 'salvor:')} ${message}`);
  if (advice !== undefined) note(paintError('dim', advice));
  // An error that nobody foresaw is reported best with its trace.
  if (!known && error instanceof Error && error.stack) note(paintError('dim', error.stack));
  return status;
}
