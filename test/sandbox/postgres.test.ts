import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import pg from 'pg';
import { expect, onTestFinished, test } from 'vitest';
import { startPostgres } from '../../sandbox/postgres.ts';
import { eventually } from '../support/wait.ts';
import { processesWith } from './processes.ts';

async function query(url: string, password: string, text: string): Promise<unknown[]> {
  const address = new URL(url);
  address.password = password;
  const client = new pg.Client({ connectionString: address.href });
  try {
    await client.connect();
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

test('a PostgreSQL keeps what was committed when it is killed, and leaves nothing when it is stopped', async () => {
  const postgres = await startPostgres();
  const folder = dirname(postgres.logFile);
  onTestFinished(() => postgres.stop());
  const { password } = postgres;
  const url = await postgres.createDatabase('of the "test"');
  await expect(query(url, 'wrong', 'select 1')).rejects.toThrow(/password/);
  await query(url, password, 'create table kept as select 42 as answer');

  await postgres.kill();
  expect(postgres.pid).toBeUndefined();
  await expect(query(url, password, 'select 1')).rejects.toThrow();
  await postgres.start();
  expect(await query(url, password, 'select answer from kept')).toEqual([{ answer: 42 }]);

  // A client that does not go away does not keep it from going down.
  const address = new URL(url);
  address.password = password;
  const client = new pg.Client({ connectionString: address.href });
  client.on('error', () => undefined);
  await client.connect();
  await postgres.shutDown();
  expect(postgres.pid).toBeUndefined();
  await postgres.start();
  expect(await query(url, password, 'select answer from kept')).toEqual([{ answer: 42 }]);

  await postgres.stop();
  expect(existsSync(folder)).toBe(false);
  await eventually('its processes are gone', async () => (await processesWith(folder)).length === 0);
});
