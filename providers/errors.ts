import type { INSTANCE_ERRORS } from '../model/ports/instance.ts';

export type FinalErrorType = (typeof INSTANCE_ERRORS)[keyof typeof INSTANCE_ERRORS];

/** An error that trying again cannot mend; its type is one of those that the ports name. */
export class FinalError extends Error {
  override readonly name = 'FinalError';
  readonly type: FinalErrorType;

  constructor(message: string, options: ErrorOptions & { type: FinalErrorType }) {
    super(message, options);
    this.type = options.type;
  }
}

/** The API gave no answer, or none that can be used now; trying again may mend it. */
export class UnavailableError extends Error {
  override readonly name = 'UnavailableError';
}
