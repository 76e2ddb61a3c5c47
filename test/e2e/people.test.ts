import { createHash, randomUUID } from 'node:crypto';
import { expect, test } from 'vitest';
import { MESSAGE, proposalId } from '../../model/names.ts';
import type { Story } from '../../model/remediation.ts';
import { example, inbox, type Seen, type SeenSilence, silencesOf } from '../providers/alertmanager/support.ts';
import { budget, deployment, nameOf, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import type { Complaint } from './exporter.ts';
import { PATIENCE, useStack } from './support.ts';

/** What people see, decide and stop, through the gateway and by the built `salvor`; and what keeps them asleep. */

const TOKENS = { ada: randomUUID(), bob: randomUUID() };
const tokenHash = (token: string): string => createHash('sha256').update(token).digest('hex');
const UI = 'http://temporal.example.com:8233';
const AT_ONCE = { recoverWithin: '1s', stableFor: '1s', quietFor: '1s' };
const PATIENT = { recoverWithin: '30m', stableFor: '1s' };
/** Two pods of a namespace of four are sick, each of a Deployment of its own. */
const TWO_OF_FOUR = { maxInFlight: 2, storm: { above: '50%' } };

const stack = useStack(
  {
    asked: { mode: 'propose', approvers: ['group:sre'], with: AT_ONCE },
    replaced: { with: AT_ONCE, gates: TWO_OF_FOUR },
    recovers: { with: PATIENT, gates: TWO_OF_FOUR },
    /** Two of four pods are above 40%; it is never calm for so long. */
    stormy: { with: AT_ONCE, gates: { maxInFlight: 2, maxUnavailable: '100%', storm: { settleFor: '1h' } } },
    hushed: { hush: true, with: PATIENT },
    hopeless: { hush: true, with: { ...AT_ONCE, replace: false } },
  },
  {
    temporal: { ui: UI },
    gateway: {
      people: [
        { name: 'ada', groups: ['sre'], tokenHash: tokenHash(TOKENS.ada) },
        { name: 'bob', tokenHash: tokenHash(TOKENS.bob) },
      ],
    },
  },
);

/** Deployments of two pods that get traffic whether they are ready or not; of each the first pod. */
async function workloads<const Names extends readonly string[]>(rule: string, ...names: Names) {
  const namespace = await stack.cluster.namespace('people');
  const pods = await Promise.all(
    names.map(async (name) => {
      await stack.cluster.create(stack.exposed(namespace, name), deployment({ namespace, name, trafficLabel: true }));
      const [sick] = await stack.cluster.readyPods(namespace, name, 2);
      return { it: { namespace, pod: nameOf(sick!), rule }, uid: uidOf(sick!) };
    }),
  );
  return {
    namespace,
    prefix: `k8s/sandbox/${namespace}`,
    pods: pods as { [At in keyof Names]: (typeof pods)[number] },
  };
}

const targetOf = ({ namespace, pod }: Complaint): string => stack.cluster.target(namespace, pod);
const ada = (...args: string[]) => stack.salvor(args, TOKENS.ada);
const bob = (...args: string[]) => stack.salvor(args, TOKENS.bob);

/** What a person is asked, as Alertmanager has it. */
const approvalsOf = (it: Complaint): Promise<Seen[]> =>
  stack.alerts({ alertname: 'SalvorApproval', salvor_target: targetOf(it) });
async function untilAsked(it: Complaint) {
  const [seen] = await eventually(
    `SalvorApproval of ${it.pod}`,
    async () => {
      const found = await approvalsOf(it);
      return found.length > 0 && found;
    },
    PATIENCE,
  );
  const { command = '', deny = '' } = seen?.annotations ?? {};
  const words = (text: string) => text.split(' ').slice(1);
  const proposal = stack.client.workflow.getHandle(proposalId(it.rule, targetOf(it)));
  return { seen, approve: words(command), deny: words(deny), proposal };
}

test('a plan is acted on when the right person has approved that very plan, and not before', async () => {
  const { namespace, pods } = await workloads('asked', 'web');
  const [{ it, uid }] = pods;
  await stack.breakPod(it);
  const { seen, approve, proposal } = await untilAsked(it);
  expect(seen?.labels).toMatchObject({ alert: 'PodUnable', namespace, pod: it.pod, salvor_rule: 'asked' });
  expect(seen?.generatorURL, 'the link to the run').toMatch(new RegExp(`^${UI}/namespaces/default/workflows/`));
  const digest = approve.at(-1) ?? '';
  expect(approve).toEqual(['approve', expect.any(String), '--digest', digest]);
  const isListed = async () => (await stack.salvor(['list'])).stdout.includes(`wait for an approval of plan ${digest}`);
  await eventually('what it waits for is listed', isListed, PATIENCE);

  expect(await bob(...approve)).toMatchObject({ status: 3, stderr: expect.stringContaining('group:sre') });
  expect(await stack.salvor(approve, randomUUID()), 'nobody who is known').toMatchObject({ status: 3 });
  const stale = await ada(...approve.with(-1, 'stale'));
  expect(stale).toMatchObject({ status: 3, stderr: expect.stringContaining(`plan that waits now is ${digest}`) });
  expect(await stack.requests(namespace), 'nothing is touched').toEqual([]);
  await expect(stack.remediation(it).describe(), 'and no target is held').rejects.toThrow('not found');

  const approved = await ada(...approve, '--comment', 'go ahead');
  expect(approved).toMatchObject({ status: 0, stdout: expect.stringContaining('approved by person:ada') });
  expect(await proposal.result()).toMatchObject({ outcome: 'observed', changes: [] });
  expect(await stack.ending(it)).toMatchObject({ outcome: 'remediated' });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `eviction ${uid}`]);
  await eventually('nobody is asked any more', async () => (await approvalsOf(it)).length === 0, PATIENCE);
  expect(await ada(...approve), 'once').toMatchObject({ status: 3 });

  for (const { runId: id } of await Promise.all([proposal.describe(), stack.remediation(it).describe()])) {
    const { status, stdout } = await stack.salvor(['audit', 'show', id]);
    expect(status).toBe(0);
    for (const part of ['person:ada', 'go ahead', digest]) expect(stdout).toContain(part);
  }
  stack.exporter.set(it, false);
});

test('what is denied is not done', async () => {
  const { namespace, pods } = await workloads('asked', 'web');
  const [{ it }] = pods;
  await stack.breakPod(it);
  const { deny, proposal } = await untilAsked(it);
  expect(await bob(...deny)).toMatchObject({ status: 3 });
  expect(await ada(...deny, '--comment', 'not now')).toMatchObject({ status: 0 });
  expect(await proposal.result()).toMatchObject({
    outcome: 'refused',
    reason: expect.stringMatching(/denied by person:ada.*not now/),
  });
  await eventually('nobody is asked any more', async () => (await approvalsOf(it)).length === 0, PATIENCE);
  expect(await stack.requests(namespace)).toEqual([]);
  await expect(stack.remediation(it).describe()).rejects.toThrow('not found');
  stack.exporter.set(it, false);
});

test('a pause holds back the eviction, and whatever comes; after the resume both go on', async () => {
  const { namespace, prefix, pods } = await workloads('replaced', 'web', 'api');
  const [web, api] = pods;
  await stack.cluster.create(budget(namespace, 'web', 2));
  await stack.breakPod(web.it);
  const isPutOff = async () => {
    const evictions = await stack.requests(namespace, { subresource: 'eviction' });
    return evictions.some(({ responseStatus }) => responseStatus?.code === 429);
  };
  await eventually('its disruption budget puts the eviction off', isPutOff, PATIENCE);

  const paused = await ada('pause', prefix, '--reason', 'load test');
  expect(paused).toMatchObject({
    status: 0,
    stdout: expect.stringContaining(`${prefix} is paused by person:ada (load test)`),
  });
  await stack.untilAt(web.it, 'untilCleared');
  const before = await stack.requests(namespace);
  // Nothing but the pause is in its way.
  await stack.setMinAvailable(namespace, 'web', 1);
  await stack.breakPod(api.it);
  const waits = async () => {
    const gates = Object.values((await stack.responder(api.it)).queue).map(({ gate }) => gate);
    return gates.length > 0 && gates;
  };
  expect(await eventually('the other one waits', waits, PATIENCE)).toEqual(['paused']);
  const waiting = new RegExp(`waiting +replaced +${targetOf(api.it)} +paused: `);
  const listed = await eventually(
    'the wait is listed',
    async () => {
      const { stdout } = await stack.salvor(['list']);
      return waiting.test(stdout) && stdout;
    },
    PATIENCE,
  );
  expect(listed).toContain(`${prefix} is paused by person:ada (load test)`);
  expect(await stack.requests(namespace), 'nothing is even tried').toEqual(before);

  expect(await ada('resume', prefix)).toMatchObject({ status: 0 });
  expect(await stack.ending(web.it)).toMatchObject({ outcome: 'remediated' });
  expect(await stack.ending(api.it)).toMatchObject({ outcome: 'remediated' });
  const both = pods.flatMap(({ uid }) => [`traffic off ${uid}`, `eviction ${uid}`]);
  expect((await stack.changes(namespace)).sort()).toEqual(both.sort());
  expect((await stack.salvor(['list'])).stdout).not.toContain('is paused by');
  for (const { it } of pods) stack.exporter.set(it, false);
});

test('while it is paused, what recovers gets its traffic back; with --undo, all that is held does', async () => {
  const { namespace, prefix, pods } = await workloads('recovers', 'web', 'api');
  const [web, api] = pods;
  for (const { it } of pods) await stack.breakPod(it);
  for (const { it } of pods) await stack.untilTraffic(it, 'off');

  expect(await ada('pause', prefix)).toMatchObject({ status: 0 });
  await stack.mendPod(web.it);
  expect(await stack.ending(web.it)).toMatchObject({ outcome: 'recovered' });
  expect(await stack.cluster.trafficLabel(namespace, api.it.pod), 'a pause alone undoes nothing').toBe('off');

  expect(await ada('pause', prefix, '--undo', '--reason', 'hands off')).toMatchObject({ status: 0 });
  await stack.untilTraffic(api.it, 'on');
  await expect(stack.remediation(api.it).result()).rejects.toThrow();
  const { status, runId } = await stack.remediation(api.it).describe();
  expect(status.name).toBe('CANCELLED');
  expect((await stack.salvor(['audit', 'show', runId])).stdout).toContain('cancelled by person:ada: hands off');
  expect(await stack.cluster.held(namespace, api.it.pod)).toEqual([]);
  const all = pods.flatMap(({ uid }) => [`traffic off ${uid}`, `traffic on ${uid}`]);
  expect((await stack.changes(namespace)).sort()).toEqual(all.sort());
  expect(await ada('resume', prefix)).toMatchObject({ status: 0 });
  stack.exporter.set(api.it, false);
});

test('a person ends a storm: what it held is healed, and that as much is unhealthy is no new one', async () => {
  const { namespace, prefix, pods } = await workloads('stormy', 'web', 'api');
  const ofStorm = { alertname: 'SalvorEscalation', salvor_scope: `sandbox/${namespace}` };
  for (const { it } of pods) await stack.cluster.setUnready(namespace, it.pod, true);
  for (const { it } of pods) stack.exporter.set(it, true);
  const isHeld = async () => {
    const { storm, queue } = await stack.responder(pods[0].it);
    return storm !== undefined && Object.keys(queue).length === 2;
  };
  await eventually('both are held by a storm', isHeld, PATIENCE);
  await eventually('people are told', async () => (await stack.alerts(ofStorm)).length === 1, PATIENCE);
  expect(await stack.requests(namespace)).toEqual([]);

  expect(await ada('resume', prefix, '--reason', 'it is known')).toMatchObject({ status: 0 });
  for (const { it } of pods) expect(await stack.ending(it)).toMatchObject({ outcome: 'remediated' });
  await eventually('its escalation is over', async () => (await stack.alerts(ofStorm)).length === 0, PATIENCE);
  const both = pods.flatMap(({ uid }) => [`traffic off ${uid}`, `eviction ${uid}`]);
  expect((await stack.changes(namespace)).sort()).toEqual(both.sort());
  for (const { it } of pods) stack.exporter.set(it, false);
});

/** The times of examples/alertmanager.yml, shorter; the pager still waits for longer than a busy machine needs to hush. */
const TIMES = { '2m': '30s', '5m': '1s', '1m': '1s', '10s': '300ms', '1s': '100ms', '0s': '0s' };

/** Alertmanager has the routes of the example; the pager's webhook is the test's own. */
async function paging() {
  const [pager, approvals] = await Promise.all([inbox(), inbox()]);
  const webhook = (url: string) => [{ url, send_resolved: true }];
  const config = example(TIMES, (receiver) => {
    if (receiver.name === 'salvor') return stack.receiver;
    return { ...receiver, webhook_configs: webhook((receiver.name === 'pager' ? pager : approvals).url) };
  });
  await stack.sandbox.alertmanager.reload(config);
  return pager;
}

const silences = (it: Complaint): Promise<SeenSilence[]> =>
  silencesOf(stack.sandbox.alertmanager.url, `works on ${targetOf(it)} `);

async function untilSilenced(it: Complaint): Promise<SeenSilence> {
  const look = async () => (await silences(it)).find(({ status }) => status.state === 'active');
  return eventually(`a silence of ${it.pod}`, look, PATIENCE);
}

test('while Salvor heals it nobody is paged, though its worker is killed in the midst; the silence ends with the work', async () => {
  const pager = await paging();
  const { namespace, pods } = await workloads('hushed', 'web');
  const [{ it, uid }] = pods;
  const labels = { alertname: 'PodUnable', ...it };
  await stack.breakPod(it);
  const silence = await untilSilenced(it);
  const matched = Object.fromEntries(silence.matchers.map(({ name, value }) => [name, value]));
  expect(matched).toEqual({ ...(await stack.alerts(labels))[0]?.labels, salvor_id: '' });
  for (const matcher of silence.matchers) expect(matcher).toMatchObject({ isRegex: false, isEqual: true });
  const isMuted = async () => (await stack.alerts(labels))[0]?.status.state === 'suppressed';
  await eventually('the alert is muted', isMuted, PATIENCE);
  // One that is nobody's work: when the pager has heard of it, it would have heard of the first.
  const other = { namespace, pod: 'nobodys', rule: 'none' };
  stack.exporter.set(other, true);
  await stack.untilTraffic(it, 'off');

  await stack.killWorker();
  const left = (await untilSilenced(it)).endsAt;
  expect(Date.parse(left) - Date.now(), 'it outlives the worker by a minute at most').toBeLessThanOrEqual(60_000);
  await stack.startWorker();
  const isTakenUp = async () => Date.parse((await untilSilenced(it)).endsAt) > Date.parse(left);
  await eventually('the next worker takes it up', isTakenUp, PATIENCE);
  expect(await silences(it), 'the same one').toMatchObject([{ id: silence.id }]);
  await eventually('the pager hears of the other alert', () => pager.of({ ...other }).length > 0, PATIENCE);
  expect(pager.of({ ...it }), 'and of no other').toEqual([]);

  // Alertmanager tells nobody that a silenced alert is resolved: Salvor looks for it.
  stack.exporter.set(it, false);
  const hears = async () => {
    const { lines } = await stack.remediation(it).query<Story>(MESSAGE.story);
    return lines.some(({ text }) => text.startsWith('the alert is resolved; a fresh look says: sick'));
  };
  await eventually('the remediation hears that the alert is resolved', hears, PATIENCE);
  expect(await stack.cluster.trafficLabel(namespace, it.pod), 'which is a hint, and no more').toBe('off');
  await stack.mendPod(it);
  expect(await stack.ending(it)).toMatchObject({ outcome: 'recovered' });
  expect(await silences(it)).toMatchObject([{ id: silence.id, status: { state: 'expired' } }]);
  expect(pager.of({ ...it })).toEqual([]);
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);
  stack.exporter.set(other, false);
}, 300_000);

test('what Salvor could not heal pages: its escalation at once, the alert itself when its silence has ended', async () => {
  const pager = await paging();
  const { namespace, pods } = await workloads('hopeless', 'web');
  const [{ it, uid }] = pods;
  await stack.breakPod(it);
  await untilSilenced(it);
  await expect(
    eventually('it starts', () => stack.remediation(it).describe(), PATIENCE).then(() =>
      stack.remediation(it).result(),
    ),
  ).rejects.toMatchObject({ cause: { type: 'RemediationFailed' } });
  const own = { alertname: 'SalvorEscalation', salvor_target: targetOf(it) };
  const hears = (status: 'firing' | 'resolved', labels: Record<string, string>) =>
    eventually(
      `the pager hears ${status} of ${labels['alertname']}`,
      () => pager.of(labels).find((one) => one.status === status),
      PATIENCE,
    );
  const { alerts } = await hears('firing', own);
  expect(alerts).toMatchObject([
    {
      labels: { alert: 'PodUnable', pod: it.pod },
      annotations: { summary: expect.stringContaining('does not allow to replace') },
    },
  ]);
  for (const one of await silences(it)) expect(one.status.state).toBe('expired');
  await hears('firing', { alertname: 'PodUnable', ...it });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${uid}`, `traffic on ${uid}`]);

  await stack.mendPod(it);
  await hears('resolved', own);
  const toSalvor = stack.exporter.webhooks.filter((body) => body.includes(targetOf(it)));
  expect(toSalvor, 'it never comes back as work').toEqual([]);
}, 300_000);
