/** `npm run components`: gets every component, two at a time, for machines that must have them before the tests run. */
import { COMPONENTS, type ComponentName } from './catalogue.ts';
import { findComponent } from './components.ts';
import { consoleProgress } from './progress.ts';

const onProgress = consoleProgress();
// In the order of the catalogue: the longest builds first, and those that share packages one after the other.
const queue: ComponentName[] = [...COMPONENTS];
const failures: string[] = [];

async function work(): Promise<void> {
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    try {
      console.log(`${name}: ${await findComponent(name, { onProgress })}`);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
  }
}

await Promise.all([work(), work()]);
for (const failure of failures) console.error(failure);
process.exitCode = failures.length === 0 ? 0 : 1;
