import { randomUUID } from 'node:crypto';
import { Client, type Connection } from '@temporalio/client';
import { Registry } from 'prom-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Config, parseConfig } from '../../model/config.ts';
import { countsOf, type DriftClass } from '../../model/drift/difference.ts';
import { DRIFT_MEMO, type DriftStanding } from '../../model/drift/standing.ts';
import { proposalId, remediationId, WORKFLOW } from '../../model/names.ts';
import { readDrift, type StackStanding } from '../../providers/temporal/drift.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { driftGauges, driftOf, intervalsOf } from '../../workers/drift.ts';
import { connectTo } from '../support/connection.ts';
import { eventually } from '../support/wait.ts';

const standing = (at: string, classes: DriftClass[] = [], more: Partial<DriftStanding> = {}): DriftStanding => ({
  ...{ at, verdict: classes.length > 0 ? 'differs' : 'same', counts: countsOf(classes.map((one) => ({ class: one }))) },
  ...more,
});
const [EARLY, LATE] = ['2026-02-01T08:00:00.000Z', '2026-02-01T09:00:00.000Z'];

describe('the gauges of drift', () => {
  async function told(all: StackStanding[] | Error, intervals = {}): Promise<string[]> {
    const registry = new Registry();
    const read = async () => {
      if (all instanceof Error) throw all;
      return all;
    };
    driftGauges(registry, read, intervals);
    return (await registry.metrics()).split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  }

  it('tell of each class, of the oldest and of the last check', async () => {
    const oldest = new Date(Date.now() - 90_000).toISOString();
    const lines = await told([
      { stack: 'net', standing: standing(EARLY, ['reversible', 'reversible', 'held'], { oldest }) },
    ]);
    expect(lines).toContain('salvor_drift_addresses{stack="net",class="reversible"} 2');
    expect(lines).toContain('salvor_drift_addresses{stack="net",class="held"} 1');
    expect(lines.filter((line) => line.startsWith('salvor_drift_addresses') && line.endsWith(' 0'))).toHaveLength(6);
    expect(lines).toContain(`salvor_drift_last_check_timestamp_seconds{stack="net"} ${Date.parse(EARLY) / 1_000}`);
    expect(lines).toContain('salvor_drift_refused{stack="net"} 0');
    const age = lines.find((line) => line.startsWith('salvor_drift_oldest_seconds{stack="net"}'))?.split(' ')[1];
    expect(Number(age)).toBeGreaterThanOrEqual(90);
    expect(await told([{ stack: 'net', standing: standing(EARLY) }])).toContain(
      'salvor_drift_oldest_seconds{stack="net"} 0',
    );
  });

  it('tell nothing of a stack that was never compared, and of one that could not be, no numbers', async () => {
    expect(await told([{ stack: 'net' }])).toEqual([]);
    expect(await told(new Error('Temporal does not answer'), { net: 300 })).toEqual([
      'salvor_drift_interval_seconds{stack="net"} 300',
    ]);
    const refused = standing(EARLY, [], { verdict: 'refused' });
    expect(await told([{ stack: 'net', standing: refused }])).toEqual([
      'salvor_drift_refused{stack="net"} 1',
      `salvor_drift_last_check_timestamp_seconds{stack="net"} ${Date.parse(EARLY) / 1_000}`,
    ]);
  });
});

/** Rules of stacks, as a parsed file has them. */
function configOf(...rules: { name: string; stack: string; schedule?: string }[]): Pick<Config, 'stacks' | 'rules'> {
  const stacks = [...new Set(rules.map(({ stack }) => stack))];
  const parsed = parseConfig(
    `clusters: [{ name: prod }]
stacks:${stacks.map((name) => `\n  - { name: ${name}, manifests: { folder: ./x, cluster: prod } }`).join('')}
rules:${rules
      .map(
        ({ name, stack, schedule }) =>
          `\n  - { name: ${name}, runbook: revert-drift, target: stack/${stack}, ${schedule ? `schedule: '${schedule}'` : 'match: [a=b]'} }`,
      )
      .join('')}\n`,
    'salvor.yaml',
  );
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
  return parsed.config;
}

it('how often a stack is compared is what its rules say, the shortest', () => {
  const config = configOf(
    { name: 'often', stack: 'net', schedule: 'every 5m' },
    { name: 'nightly', stack: 'net', schedule: '0 3 * * *' },
    { name: 'weekdays', stack: 'shop', schedule: '0 3 * * MON-FRI' },
    { name: 'hourly', stack: 'web', schedule: '*/20 * * * *' },
    { name: 'alerts', stack: 'mail' },
  );
  expect(intervalsOf(config)).toEqual({ net: 300, shop: 7 * 86_400, web: 3_600 });
});

describe('how a stack stands', () => {
  let sandbox: Sandbox<'temporal'>;
  let connection: Connection;
  let client: Client;
  beforeAll(async () => {
    sandbox = await startSandbox({ parts: ['temporal'], temporal: { headless: true } });
    connection = await connectTo(sandbox.temporal.address);
    client = new Client({ connection });
  });
  afterAll(async () => {
    await connection?.close();
    await sandbox?.stop();
  });

  /** Nobody works on it: what it would tell stands in its memo. */
  const open = (workflowId: string, drift?: DriftStanding) =>
    client.workflow.start(WORKFLOW.remediation, {
      workflowId,
      taskQueue: `nobody-${randomUUID()}`,
      memo: { rule: 'any', ...(drift && { [DRIFT_MEMO]: drift }) },
    });

  it('is what its latest run has left, of whichever rule and mode; a run that has only begun says nothing yet', async () => {
    const config = configOf(
      { name: 'acts', stack: 'net' },
      { name: 'looks', stack: 'net' },
      { name: 'never', stack: 'shop' },
    );
    expect(await readDrift(client, config)).toEqual([{ stack: 'net' }, { stack: 'shop' }]);

    await open(proposalId('looks', 'stack/net'), standing(EARLY, ['mixed']));
    expect(await readDrift(client, config)).toEqual([
      { stack: 'net', standing: standing(EARLY, ['mixed']) },
      { stack: 'shop' },
    ]);

    const run = await open(remediationId('stack/net'), standing(LATE));
    expect((await readDrift(client, config))[0]).toEqual({ stack: 'net', standing: standing(LATE) });

    await client.workflow.getHandle(run.workflowId).terminate();
    await open(remediationId('stack/net'));
    await eventually('what the run before has left is found', async () => {
      const [net] = await readDrift(client, config);
      return net?.standing?.at === LATE;
    });
  });

  it('is asked for once by all that look at the same time', async () => {
    const read = driftOf(client, configOf({ name: 'acts', stack: 'net' }));
    const [first, second] = [read(), read()];
    expect(second).toBe(first);
    await first;
    expect(read()).toBe(first);
  });
});
