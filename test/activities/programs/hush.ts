/** A worker that hushes, to be killed: it is sent the address of an Alertmanager and the request, and says when it has begun. */
import { once } from 'node:events';
import { Client, Connection } from '@temporalio/client';
import { MockActivityEnvironment } from '@temporalio/testing';
import { type HushTiming, hushActivities } from '../../../activities/hush.ts';
import type { HushRequest } from '../../../model/herald.ts';
import { Alertmanager } from '../../../providers/alertmanager/client.ts';

const [order] = (await once(process, 'message')) as [
  { url: string; request: HushRequest; timing: Partial<HushTiming> },
];
// Nobody is told, so no connection is made.
const client = new Client({ connection: Connection.lazy({ address: '127.0.0.1:1' }) });
const { hush } = hushActivities({ alertmanagers: [new Alertmanager(order.url)], client, timing: order.timing });
const environment = new MockActivityEnvironment();
environment.on('heartbeat', (details) => process.send?.(details));
await environment.run(hush, order.request);
