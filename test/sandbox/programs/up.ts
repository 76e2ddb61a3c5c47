/** What `salvor sandbox up` does; tells the state, or the error, and by which signal it was ended. */
import { sandboxUp } from '../../../sandbox/commands.ts';

try {
  const signal = await sandboxUp({ onUp: (state) => void process.send?.(state) });
  process.send?.({ signal });
} catch (error) {
  process.send?.({ error: error instanceof Error ? error.name : String(error) });
}
process.disconnect();
