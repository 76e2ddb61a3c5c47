import type { Scale } from '../ports/scalable.ts';

/**
 * The size as it was found, of what is written to set it. Where nobody has said how many: of an autoscaler its own least, of what is
 * scaled itself as many as there were.
 */
export const sizeBefore = ({ by, object, desired }: Scale): number =>
  by.value ?? (by.object.uid === object.uid ? desired : 1);
