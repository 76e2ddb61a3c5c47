import type { Change, Held } from '../model/change.ts';

/** How a change is taken back. */
export interface Undo {
  what: string;
  undo: () => Promise<Change[]>;
  held: Held[];
  /** What is to be undone has been recorded. */
  reported: boolean;
}

/** What must have been made before, for it was given back: by an attempt that died before it could report it. */
export function unreported({ held, reported }: Undo, back: readonly Change[]): Change[] {
  if (reported) return [];
  return back.flatMap((change) => {
    const made = held.find(({ field, set }) => field === change.field && set === change.before);
    if (!made) return [];
    const { before, set } = made;
    const what = `${made.field}: ${before} → ${set}, by an attempt that could not report it`;
    return [{ step: 'cut', what, object: change.object, field: made.field, before, after: set, at: change.at }];
  });
}
