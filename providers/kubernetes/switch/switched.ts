import type { JsonObject } from '../../../model/breaker/patch.ts';
import type { FieldValue, Held } from '../../../model/change.ts';
import { type Form, shownText } from './form.ts';
import { slotOf } from './notes.ts';
import type { ObjectWriter } from './writer.ts';

/** An object that is switched: its form, how to reach it, and its target key. */
export interface Switched {
  writer: ObjectWriter;
  form: Form;
  key: string;
}

/** The object as it was before these were set, as far as nobody else has changed it. */
export const putBackAll = (form: Form, live: JsonObject, held: readonly Pick<Held, 'field' | 'before' | 'set'>[]) =>
  held.map(slotOf).reduce((object, slot) => form.putBack(object, slot), live);

export const describe = (form: Form, field: string, from: FieldValue, to: FieldValue): string =>
  `${form.title}: ${field}: ${shownText(from)} → ${shownText(to)}`;
