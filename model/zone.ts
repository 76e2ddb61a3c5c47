import { IANAZone } from 'luxon';
import { InputError, shown } from './input-error.ts';
import { nearest } from './nearest.ts';

/**
 * A time zone of the IANA database. Not for workflows, whose isolate has none.
 *
 * @throws InputError
 */
export function parseZone(name: string): IANAZone {
  if (IANAZone.isValidZone(name)) return IANAZone.create(name);
  const meant = nearest(name, ['UTC', ...Intl.supportedValuesOf('timeZone')]);
  throw new InputError(
    `${shown(name)} is not a time zone${meant ? ` (did you mean ${meant}?)` : ''}: write one of the IANA database, such as Europe/Berlin, or UTC`,
  );
}
