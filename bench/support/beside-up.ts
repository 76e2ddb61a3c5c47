import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection } from '@temporalio/client';
import { freePort } from '../../sandbox/ports.ts';
import { startSandbox } from '../../sandbox/sandbox.ts';
import { Alertmanager } from './alerts.ts';
import { Audit } from './audit.ts';
import type { Settings } from './benchmark.ts';
import { Pods } from './pods.ts';
import { configure, startUp } from './product.ts';

/** What a benchmark has beside a `salvor up` on a cluster of its own. */
export interface BesideUp {
  pods: Pods;
  audit: Audit;
  alertmanager: Alertmanager;
  client: Client;
  /** host:port of its Temporal. */
  temporal: string;
}

/** Starts all of it for `measure`, and ends it after that. */
export async function besideUp<T>({ profile }: Settings, measure: (parts: BesideUp) => Promise<T>): Promise<T> {
  const sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users: [{ name: 'salvor' }] } });
  const folder = await mkdtemp(join(tmpdir(), 'salvor-bench-'));
  const pods = new Pods(sandbox.kubernetes);
  await pods.allowSalvor();
  const temporal = `127.0.0.1:${await freePort()}`;
  const config = await configure(folder, { kubernetes: sandbox.kubernetes, temporal });
  const up = await startUp({ folder, config, profile });
  const connection = await Connection.connect({ address: up.temporal });
  const alertmanager = new Alertmanager(config.webhook);
  const audit = new Audit(sandbox.kubernetes);
  try {
    return await measure({ pods, audit, alertmanager, client: new Client({ connection }), temporal: up.temporal });
  } finally {
    await alertmanager.close();
    await connection.close();
    await up.component.stop(30_000);
    await sandbox.stop();
    await rm(folder, { recursive: true, force: true });
  }
}
