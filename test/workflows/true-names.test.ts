import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import type { Evidence, LookRequest } from '../../model/evidence.ts';
import { MESSAGE, proposalId, remediationId } from '../../model/names.ts';
import type { HoldResult, InstancePort } from '../../model/ports/instance.ts';
import type { ResponderState } from '../../model/responder.ts';
import { type Sandbox, startSandbox } from '../../sandbox/sandbox.ts';
import { Admission } from '../../workflows/admission.ts';
import { allIsWell } from '../support/evidence.ts';
import { door, eventually } from '../support/wait.ts';
import { type Bench, batch, deliver, request, rule, startBench, stateOf } from '../support/workflows.ts';
import { worldOf } from './support.ts';

/** A machine that is a node goes by two names, and is one target. */

const worlds = new Map<string, Partial<InstancePort>>();
let sandbox: Sandbox<'temporal'>;
let bench: Bench;
/** Of the rule, the node, and the group of its machine. */
let name: string;

const nodeKey = (of: string): string => `k8s/test/node/${of}`;
const machineKey = (of: string): string => `asg/test/${of}/i-0123456789abcdef0`;
const trueName = (key: string): string => (key.startsWith('asg/') ? nodeKey(key.split('/')[2] ?? '') : key);

function look(asked: LookRequest): Evidence {
  const seen = allIsWell(asked);
  const targets = asked.targets.map((key) => [key, key === trueName(key) ? {} : { canonical: trueName(key) }]);
  return { ...seen, targets: Object.fromEntries(targets) };
}

beforeAll(async () => {
  sandbox = await startSandbox({ parts: ['temporal'] });
  bench = await startBench(sandbox.temporal.address, worldOf(worlds), { look: async (asked) => look(asked) });
});
afterAll(async () => {
  await bench.stop();
  await sandbox.stop();
});
beforeEach(() => {
  name = `t${randomUUID().slice(0, 8)}`;
});

const ofMachine = (more = {}) =>
  request(name, { fingerprint: `machine-${name}`, target: machineKey(name), alertname: 'InstanceSick', ...more });
const ofNode = () => request(name, { fingerprint: `node-${name}`, target: nodeKey(name), alertname: 'NodeSick' });
const callsOf = () => bench.calls.filter((call) => call.endsWith(` ${name}`)).map((call) => call.split(' ')[0]);

it('two alerts, one by each name, are one remediation; and so are repeats and the word that it is resolved', async () => {
  const held = door<HoldResult>();
  worlds.set(name, { hold: () => held.opened });
  const limits = { maxInFlight: 5 };
  const r = { ...rule(name, { maxInFlight: 5 }), limits };
  await deliver(bench, batch(r, [ofMachine(), ofNode()]));
  const handle = bench.client.workflow.getHandle(remediationId(nodeKey(name)));
  await eventually('started', () => handle.describe());
  await eventually('held', () => callsOf().includes('hold'));
  const state = await eventually('the other waits', async () => {
    const now = await stateOf(bench, name);
    return Object.keys(now.queue).length > 0 && now;
  });
  expect(Object.keys(state.open)).toEqual([nodeKey(name)]);
  expect(Object.values(state.queue)).toMatchObject([{ gate: 'target-busy', target: nodeKey(name) }]);
  expect(state.tally).toMatchObject({ admit: 1, wait: 1 });
  expect(await bench.client.workflow.count(`WorkflowId = '${remediationId(machineKey(name))}'`)).toMatchObject({
    count: 0,
  });
  // It has a slot of the limits of its cluster, not of its account.
  expect(state.slots).toEqual({ 'k8s/test': 1 });

  const [open] = Object.values(state.open);
  const mine = open?.fingerprint === ofMachine().fingerprint ? ofMachine : ofNode;
  await deliver(bench, batch(r, [mine()]));
  await eventually('it says nothing new', async () => (await stateOf(bench, name)).tally.coalesce === 1);
  await deliver(
    bench,
    batch(r, [
      { ...ofMachine(), status: 'resolved' },
      { ...ofNode(), status: 'resolved' },
    ]),
  );
  await eventually('it is told that it is resolved', async () => {
    const { events } = await handle.fetchHistory();
    return events?.some(({ workflowExecutionSignaledEventAttributes: told }) => told?.signalName === MESSAGE.resolved);
  });
  held.open({ verdict: 'recovered', why: 'healthy', changes: [] });
  expect(await handle.result()).toMatchObject({ outcome: 'recovered' });
  await eventually('its responder knows', async () => Object.keys((await stateOf(bench, name)).open).length === 0);
  expect((await stateOf(bench, name)).cooling).toEqual({ [nodeKey(name)]: expect.any(Number) });
});

it('the alert of the machine alone is told when it is resolved, and its repeats say nothing new', async () => {
  const held = door<HoldResult>();
  worlds.set(name, { hold: () => held.opened });
  const r = rule(name);
  await deliver(bench, batch(r, [ofMachine()]));
  const handle = bench.client.workflow.getHandle(remediationId(nodeKey(name)));
  await eventually('held', () => callsOf().includes('hold'));
  await eventually('its run is known', async () => Object.values((await stateOf(bench, name)).open)[0]?.runId);
  const looks = bench.looks.filter(({ rule: of }) => of.name === name).length;
  expect(looks, 'once by each name').toBe(2);
  await deliver(bench, batch(r, [ofMachine()]));
  await eventually('it says nothing new', async () => (await stateOf(bench, name)).tally.coalesce === 1);
  expect(bench.looks.filter(({ rule: of }) => of.name === name)).toHaveLength(looks);
  await deliver(bench, batch(r, [ofMachine({ status: 'resolved' })]));
  await eventually('looked again', () => callsOf().filter((call) => call === 'assess').length === 2);
  held.open({ verdict: 'recovered', why: 'healthy', changes: [] });
  await handle.result();
});

it('what only observes is a proposal of the node', async () => {
  await deliver(bench, batch(rule(name, {}, 'observe'), [ofMachine()]));
  const handle = bench.client.workflow.getHandle(proposalId(name, nodeKey(name)));
  await eventually('started', () => handle.describe());
  expect(await handle.result()).toMatchObject({ outcome: 'observed' });
});

it('what waits is decided by its true name as soon as that is known, and takes as much room as it has', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  const { status: _, ...alert } = ofMachine();
  const r = rule(name, { maxInFlight: 1 });
  const queued = { ...alert, delivery: 'd', since: now, gate: 'storm', reason: 'all is held' };
  const state: ResponderState = {
    ...{ rule: r, ruleDigest: 'd', open: {}, settled: {}, cooling: {}, attempts: {} },
    queue: { [`${alert.fingerprint}@${alert.startsAt}`]: queued },
    tally: { admit: 0, wait: 1, refuse: 0, coalesce: 0 },
  };
  const about = { workflowId: 'responder/r/shop', runId: 'run', firstExecutionRunId: 'run', startTime: new Date(now) };
  const admission = new Admission({ rule: name, scope: 'shop', state }, about);
  const first = admission.hear(now);
  expect(first?.targets).toEqual([machineKey(name)]);
  expect(admission.decide(now, first && look(first))).toBeUndefined();
  const second = admission.hear(now);
  expect(second?.targets).toEqual([nodeKey(name)]);
  const work = admission.decide(now, second && look(second));
  expect(work?.starts).toMatchObject([{ request: { target: nodeKey(name) } }]);
  expect(admission.hear(now)).toBeUndefined();
});
