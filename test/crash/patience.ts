import { eventually } from '../support/wait.ts';

/** Milliseconds that anything may take, the chaos being what it is. */
const PATIENCE = 10 * 60_000;
const LOOK_EVERY = 1_000;

/** Looks once a second until `look` answers something other than undefined or false; where it throws, it looks again. */
export const patiently = <T>(what: string, look: () => Promise<T | undefined | false>, within = PATIENCE): Promise<T> =>
  eventually(what, look, within, LOOK_EVERY);
