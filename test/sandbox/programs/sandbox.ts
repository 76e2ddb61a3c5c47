/** Starts a sandbox with the parts named as arguments, tells its folder, and stays. */
import { type Part, startSandbox } from '../../../sandbox/sandbox.ts';

const sandbox = await startSandbox({ parts: process.argv.slice(2) as Part[] });
process.send?.(sandbox.folder);
setInterval(() => undefined, 60_000);
