import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { Story } from '../../model/remediation.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { DIGEST, type Ordered, startOrdered } from '../support/proposals.ts';
import { eventually } from '../support/wait.ts';
import { type Ended, salvor as invoke } from './salvor.ts';

let sandbox: Sandbox<'temporal'>;
let ordered: Ordered;
const folder = mkdtempSync(join(tmpdir(), 'salvor-approve-'));
let id: string;

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
  ordered = await startOrdered({ address: sandbox.temporal.address, searchAttributes: true });
  const temporal = { address: sandbox.temporal.address, taskQueue: ordered.taskQueue };
  writeFileSync(join(folder, 'salvor.yaml'), JSON.stringify({ temporal, audit: { url: 'file:./audit.db' } }));
});
afterAll(async () => {
  await ordered?.stop();
  await sandbox?.stop();
  rmSync(folder, { recursive: true, force: true });
});
beforeEach(() => {
  id = `t${randomUUID().slice(0, 8)}`;
});

const salvor = (...args: string[]): Promise<Ended> => invoke(args, { cwd: folder });
const handle = (workflowId: string) => ordered.client.workflow.getHandle(workflowId);
const submitted = (target: string) => ordered.submitted.filter(({ requests }) => requests[0]?.target === target);

/** A proposal that waits and is listed. */
async function proposed(more?: Parameters<Ordered['propose']>[1]) {
  const run = await ordered.propose(`${id}-a`, more);
  await eventually('it waits', async () => (await handle(run.workflowId).query<Story>('story')).waits !== undefined);
  const query = `RunId = '${run.id}' AND SalvorReason IS NOT NULL`;
  await eventually('it is listed', async () => (await ordered.client.workflow.count(query)).count === 1);
  return run;
}

describe('a proposal that waits', () => {
  it('is listed first, with what it waits for; shown with its plan, who may, and the command', async () => {
    const run = await proposed({ approvers: ['ada', 'group:sre'] });
    const later = await ordered.propose(`${id}-b`, { mode: 'observe', name: 'observe-it' });
    await handle(later.workflowId).result();
    const listed = await eventually('both are listed', async () => {
      const { stdout } = await salvor('list');
      return stdout.includes(later.target) && stdout;
    });
    const [, first = ''] = listed.split('\n');
    expect(first).toMatch(new RegExp(`^${run.id.slice(0, 18)}.*running.*wait for an approval of plan ${DIGEST}`));

    const shown = (await salvor('show', run.target)).stdout;
    for (const part of [
      'waits for an approval, until',
      'label salvor.dev/traffic: on → off',
      'Who may: ada, group:sre',
    ])
      expect(shown).toContain(part);
    expect(shown).toContain(`salvor approve ${run.id.slice(0, 18)} --digest ${DIGEST}`);
    expect(JSON.parse((await salvor('show', run.id, '--json')).stdout)).toMatchObject({
      proposal: { plan: { digest: DIGEST }, approvers: ['ada', 'group:sre'] },
    });
  });

  it('is not approved where nobody can be asked: its plan and digest are told', async () => {
    const run = await proposed();
    const asked = await salvor('approve', run.target);
    expect(asked.status).toBe(2);
    expect(asked.stdout).toContain('label salvor.dev/traffic: on → off');
    expect(asked.stderr).toContain(`--digest ${DIGEST}`);
    const asJson = await salvor('approve', run.target, '--json');
    expect(asJson.status).toBe(2);
    expect(JSON.parse(asJson.stdout)).toMatchObject({ error: { status: 2 }, proposal: { plan: { digest: DIGEST } } });
    expect((await handle(run.workflowId).describe()).status.name).toBe('RUNNING');
    expect(submitted(run.target)).toEqual([]);
  });

  it('is approved by the digest that was shown, once', async () => {
    const run = await proposed();
    const approved = await salvor('approve', run.id.slice(0, 18), '--digest', DIGEST, '--comment', 'go');
    expect(approved).toMatchObject({ status: 0, stdout: expect.stringMatching(/approved by unverified:\S+: k8s/) });
    await handle(run.workflowId).result();
    expect(submitted(run.target)).toMatchObject([{ requests: [{ approval: { digest: DIGEST, comment: 'go' } }] }]);
    const again = await salvor('approve', run.id, '--digest', DIGEST);
    expect(again).toMatchObject({ status: 3, stderr: expect.stringContaining('nothing waits') });
    expect((await salvor('approve', run.id)).status).toBe(3);
  });

  it('is not approved by the digest of another plan', async () => {
    const run = await proposed();
    const { status, stderr } = await salvor('approve', run.id, '--digest', 'another', '--json');
    expect({ status, stderr }).toEqual({ status: 3, stderr: expect.not.stringMatching(/\n\s+at /) });
    expect(submitted(run.target)).toEqual([]);
    expect((await handle(run.workflowId).describe()).status.name).toBe('RUNNING');
  });

  it('is not approved by whoever says himself who he is, where the rule names who may', async () => {
    const run = await proposed({ approvers: ['ada'] });
    const { status, stderr } = await salvor('approve', run.id, '--digest', DIGEST);
    expect(status).toBe(3);
    expect(stderr).toContain('ada');
    expect(submitted(run.target)).toEqual([]);
  });

  it('is denied, whatever its plan', async () => {
    const run = await proposed();
    expect(await salvor('deny', run.target, '--comment', 'not now')).toMatchObject({ status: 0 });
    expect(await handle(run.workflowId).result()).toMatchObject({
      outcome: 'refused',
      reason: expect.stringContaining('not now'),
      changes: [],
    });
    expect(submitted(run.target)).toEqual([]);
  });
});

it('what an observing rule would have done is listed', async () => {
  const run = await ordered.propose(`${id}-a`, { mode: 'observe', name: 'observe-it' });
  await handle(run.workflowId).result();
  const listed = await eventually('it is listed', async () => {
    const { stdout } = await salvor('list', '--outcome', 'observed', '--target', run.target);
    return stdout.includes(run.target) && stdout;
  });
  expect(listed).toContain('it would: label salvor.dev/traffic: on → off; evict');
  const [row] = JSON.parse((await salvor('list', '--outcome', 'observed', '--target', run.target, '--json')).stdout);
  expect(row).toMatchObject({ plan: ['label salvor.dev/traffic: on → off', 'evict'] });
});

it('says so where there is no such run', async () => {
  expect(await salvor('approve', '00000000', '--digest', DIGEST)).toMatchObject({ status: 1 });
  expect(await salvor('deny', 'abc', '--digest', DIGEST)).toMatchObject({ status: 2 });
});
