/** Gets a component; tells the first phase of the progress at once, and each phase and where it is in the end. */
import type { ComponentName } from '../../../sandbox/catalogue.ts';
import { findComponent } from '../../../sandbox/components.ts';
import type { Progress } from '../../../sandbox/progress.ts';

const phases = new Set<string>();
const onProgress = ({ phase }: Progress): void => {
  if (phases.size === 0) process.send?.(phase);
  phases.add(phase);
};
const path = await findComponent(process.argv[2] as ComponentName, { onProgress });
process.send?.({ path, phases: [...phases] });
process.disconnect();
