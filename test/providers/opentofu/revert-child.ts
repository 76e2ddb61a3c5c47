/** A worker of its own, to be killed: `node revert-child.ts JSON`. */
import type { Difference } from '../../../model/drift/difference.ts';
import type { Stack } from '../../../model/drift/options.ts';
import { providerOf } from './support.ts';

const { stack, reviewed } = JSON.parse(process.argv[2] ?? '') as { stack: Stack; reviewed: Difference[] };
await providerOf({ stack }).revert(reviewed);
