/** What a command's exit status says; scripts rely on it. */
export const EXIT = {
  /** Done, or nothing found. */
  done: 0,
  /** Failed or cancelled, or a check found something. */
  failed: 1,
  /** Wrong use, or an error in the configuration. */
  usage: 2,
  /** Refused by a gate, denied or expired. */
  refused: 3,
  /** Could not find out: Temporal, an API or a store cannot be reached. */
  unknown: 4,
  interrupted: 130,
} as const;
export type ExitStatus = (typeof EXIT)[keyof typeof EXIT];

/** An error for the person at the terminal: what happened, and what can be done about it. No stack trace is shown. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly status: ExitStatus;
  readonly advice: string | undefined;

  constructor(message: string, { status, advice, cause }: { status: ExitStatus; advice?: string; cause?: unknown }) {
    super(message, { cause });
    this.status = status;
    this.advice = advice;
  }
}
