/** Takes the lock `name` in `folder`, tells so, and keeps it. */
import { lock } from '../../../sandbox/locks.ts';

const [folder = '', name = ''] = process.argv.slice(2);
await lock(folder, [name], () => process.send?.('waits'));
process.send?.('holds');
setInterval(() => undefined, 60_000);
