/** The database of the audit store cannot be reached, or does not take or give anything just now. */
export class StoreUnavailableError extends Error {
  override readonly name = 'StoreUnavailableError';
  /** `file:/path/audit.db` or `postgres://host/db`, without credentials. */
  readonly location: string;
  /** What a person can do about it. */
  readonly advice: string;

  constructor(location: string, what: string, advice: string, options?: ErrorOptions) {
    super(`the audit store ${location} ${what}; ${advice}`, options);
    this.location = location;
    this.advice = advice;
  }
}
