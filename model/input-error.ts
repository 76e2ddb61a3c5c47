/** A text that a person or another program wrote is not what it should be; the message says what would be right. */
export class InputError extends Error {
  override readonly name = 'InputError';
}

/** A value as it may be shown in a message: quoted, control characters escaped, at most 60 characters of it. */
export const shown = (value: string): string =>
  JSON.stringify(value.length > 60 ? `${value.slice(0, 60).toWellFormed()}… (${value.length} characters)` : value);
