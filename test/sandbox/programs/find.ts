/** Gets a component, and tells each phase of the progress and where it is in the end. */
import type { ComponentName } from '../../../sandbox/catalogue.ts';
import { findComponent } from '../../../sandbox/components.ts';

const phases = new Set<string>();
const path = await findComponent(process.argv[2] as ComponentName, { onProgress: ({ phase }) => phases.add(phase) });
process.send?.({ path, phases: [...phases] });
process.disconnect();
