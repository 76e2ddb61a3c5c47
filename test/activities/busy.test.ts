import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { busyOf, evidenceActivities } from '../../activities/evidence.ts';
import type { TargetEvidence } from '../../model/evidence.ts';
import { remediationId } from '../../model/names.ts';
import type { EvidenceProvider } from '../../providers/evidence.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { type Entities, standIn, startEntities, terminate } from '../support/entities.ts';
import { rule } from '../support/workflows.ts';

let sandbox: Sandbox<'temporal'>;
let entities: Entities;
beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  entities = await startEntities(sandbox.temporal.address);
});
afterAll(async () => {
  await entities.stop();
  await sandbox.stop();
});

const HELD = 'metadata.labels[salvor.dev/traffic] is held by remediation another';

async function look(target: string, held: string | undefined): Promise<TargetEvidence | undefined> {
  const provider: EvidenceProvider = {
    look: async () => ({ targets: { [target]: held === undefined ? {} : { held } }, workloads: {} }),
    workload: () => Promise.reject(new Error('nobody asks for it')),
    excluded: () => Promise.reject(new Error('nobody asks for it')),
  };
  const { look: ask } = evidenceActivities({
    registry: { evidence: () => provider, canonical: async (key) => key },
    pauses: async () => [],
    lease: async () => ({ granted: 0 }),
    busy: busyOf(entities.client),
  });
  const about = { responder: 'responder/r/s', scope: 's', rule: rule('r'), leases: {}, question: randomUUID() };
  return (await ask({ ...about, targets: [target], suspects: [target] })).targets[target];
}

it('a target that is held by its own open remediation is busy, and held for as long as it is by anybody else', async () => {
  const target = `k8s/test/shop/pod/${randomUUID()}`;
  expect(await look(target, HELD)).toEqual({ held: HELD });
  await standIn(entities, remediationId(target), { rule: 'theirs' });
  expect(await look(target, HELD)).toEqual({ held: HELD, busy: 'rule theirs has an open remediation of the target' });
  expect(await look(target, undefined), 'nobody is asked about what is not held').toEqual({});
  await terminate(entities, remediationId(target));
  expect(await look(target, HELD)).toEqual({ held: HELD });
});
