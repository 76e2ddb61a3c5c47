import { FinalError, UnavailableError } from '../errors.ts';
import { lastLines, redacted } from '../processes/redact.ts';

/** Who has the lock of a state, as OpenTofu tells it. */
export interface LockInfo {
  id: string;
  who?: string;
  operation?: string;
  created?: string;
}

/** The lock that kept a command from working; undefined: it was something else. */
export function lockIn(text: string): LockInfo | undefined {
  if (!/Error acquiring the state lock|state (?:is )?(?:already )?locked/i.test(text)) return undefined;
  const field = (name: string) => new RegExp(`^[\\s│|]*${name}:[ \\t]+(\\S.*?)\\s*$`, 'm').exec(text)?.[1];
  return { id: field('ID') ?? '', who: field('Who'), operation: field('Operation'), created: field('Created') };
}

export function locked(stack: string, { id, who, operation, created }: LockInfo, waitedMs: number): FinalError {
  const by = who === undefined ? 'somebody else' : who;
  const what = operation === undefined ? '' : ` for ${operation}`;
  const since = created === undefined ? '' : ` since ${created}`;
  const unlock =
    id === '' ? '' : ` If nothing is at work there any more, a person can end the lock: force-unlock ${id}.`;
  return new FinalError(
    `stack ${stack}: its state is locked by ${by}${what}${since}; it was waited for ${Math.round(waitedMs / 1000)} s, and nothing was touched.${unlock}`,
    { type: 'Locked' },
  );
}

/** What is wrong with the source, or with what it was given: trying again will not mend it. */
const FINAL =
  /Error: (?:Invalid|Unsupported|Argument or block|Missing (?:required|newline)|Unclosed|Duplicate|Reference to undeclared|No value for required variable|Unreadable module|Module not installed|Inconsistent dependency lock|Provider dependency changes|Failed to read variables|Given variables file|Value for undeclared|Backend initialization required|Backend configuration (?:changed|block)|Unterminated|Incorrect attribute)/;

/** Why a command has failed. */
export function failed(stack: string, command: string, text: string, secrets: readonly string[]): Error {
  const said = lastLines(withoutSource(redacted(text, secrets)));
  const message = `stack ${stack}: ${command} failed, and nothing was touched (${said})`;
  return FINAL.test(text)
    ? new FinalError(`${message}. Correct the source, or the stack`, { type: 'Invalid' })
    : new UnavailableError(message);
}

/** Without the lines of the source that it shows, in which anything may stand, and without its frame. */
export const withoutSource = (text: string): string =>
  text
    .split('\n')
    .map((line) => line.replace(/^[╷│╵|\s]+/, ''))
    .filter((line) => !/^[0-9]+:/.test(line))
    .join('\n');
