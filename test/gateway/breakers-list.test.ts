import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { remediationId, WORKFLOW } from '../../model/names.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { eventually } from '../support/wait.ts';
import { countingClient, startTestGateway, type TestGateway, testConfig } from './harness.ts';

const MANY = 40;
const dependencies = Array.from({ length: MANY }, (_, at) => ({
  name: `d${at}`,
  switch: { envoy: { admin: ['http://127.0.0.1:1'], envoyCluster: `d${at}` } },
  probe: { tcp: { host: '127.0.0.1', port: 1 } },
}));

let sandbox: Sandbox<'temporal'>;
let client: Client;
let gateway: TestGateway;
/** How often Temporal was asked for one breaker. */
let asked: () => number;
beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  ({ client, asked } = await countingClient(sandbox.temporal.address));
  gateway = await startTestGateway(testConfig({ address: sandbox.temporal.address }, {}, dependencies), client);
});
afterAll(async () => {
  await gateway?.close();
  await client?.connection.close();
  await sandbox?.stop();
});

async function list() {
  const answer = await gateway.get('/v1/breakers');
  expect(answer.status).toBe(200);
  return ((await answer.json()) as { breakers: { dependency: string; switch: string }[] }).breakers;
}

it('the list asks only for those of which a remediation is open, and one that nobody can tell of does not keep back the others', async () => {
  expect(await list()).toHaveLength(MANY);
  expect(asked()).toBe(MANY);
  // No worker ever takes it.
  await client.workflow.start(WORKFLOW.remediation, {
    ...{ workflowId: remediationId('dependency/d7'), taskQueue: 'nobody', args: [] },
  });
  const unknown = await eventually('it is known to be open', async () => {
    const found = (await list()).filter((one) => one.switch === 'unknown');
    return found.length > 0 && found;
  });
  expect(unknown).toMatchObject([{ dependency: 'd7', reason: expect.stringMatching(/only a worker can tell/) }]);
  const before = asked();
  await eventually('it was looked at again', async () => {
    expect(await list()).toHaveLength(MANY);
    return asked() > before + 1;
  });
  expect(asked() - MANY).toBeLessThan(MANY / 2);
}, 60_000);
