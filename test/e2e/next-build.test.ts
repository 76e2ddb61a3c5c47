import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeAll, expect, test } from 'vitest';
import { loadConfig } from '../../cli/configuration.ts';
import { auditOptions } from '../../cli/store.ts';
import { responderId } from '../../model/names.ts';
import { type RunningWorker, startWorker } from '../../workers/worker.ts';
import { ROOT, salvor } from '../cli/salvor.ts';
import { bundleOf } from '../replay/builds/index.ts';
import { deployment, nameOf, uidOf } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import type { Complaint } from './exporter.ts';
import { PATIENCE, useStack } from './support.ts';

const DEPLOYMENT = 'salvor';

/** Both pods of a workload are sick at once. */
const ALL_AT_ONCE = { maxInFlight: 2, cooldown: '1s', maxUnavailable: '100%', storm: { above: '100%' } };

const stack = useStack({
  recovers: { with: { recoverWithin: '5m', stableFor: '1s' }, gates: ALL_AT_ONCE },
});
/** The build before today's: other code that goes the same way. */
let previous: string;
const today = join(ROOT, 'dist', 'workflow-bundle.js');
const workers: RunningWorker[] = [];

beforeAll(async () => {
  previous = join(stack.sandbox.folder, 'previous-build.js');
  await writeFile(previous, await bundleOf('previous'));
  await stack.worker?.stop();
});
afterEach(() => Promise.all(workers.splice(0).map((worker) => worker.stop())));

/** A worker of a build; without an ID it takes anything. */
async function start(bundlePath: string, buildId?: string): Promise<RunningWorker> {
  const { config } = await loadConfig({ config: { file: stack.configFile, named: true } });
  const version = buildId === undefined ? undefined : { deployment: DEPLOYMENT, buildId };
  const logger = pino({ level: 'silent' });
  const worker = await startWorker({ config, audit: auditOptions(config), logger, bundlePath, version });
  workers.push(worker);
  // A worker runs before the server has heard of its build.
  if (version) await eventually(`Temporal has seen build ${buildId}`, () => isKnown(version), PATIENCE);
  return worker;
}

async function isKnown({ deployment: deploymentName, buildId }: { deployment: string; buildId: string }) {
  const request = { namespace: 'default', deploymentName };
  const { workerDeploymentInfo: info } = await stack.client.workflowService.describeWorkerDeployment(request);
  return info?.versionSummaries?.some(({ deploymentVersion }) => deploymentVersion?.buildId === buildId);
}

async function promote(buildId: string): Promise<void> {
  const args = ['deploy', 'promote', '--deployment', DEPLOYMENT, '--build-id', buildId];
  const { status, stdout, stderr } = await salvor(['--config', stack.configFile, ...args]);
  expect(stderr).toBe('');
  expect(stdout).toContain(`build ${buildId} of ${DEPLOYMENT} is current`);
  expect(status).toBe(0);
}

async function workload() {
  const namespace = await stack.cluster.namespace('build');
  await stack.cluster.create(
    stack.exposed(namespace, 'web'),
    deployment({ namespace, name: 'web', trafficLabel: true }),
  );
  const pods = await stack.cluster.readyPods(namespace, 'web', 2);
  const sick = pods.map((pod) => ({ uid: uidOf(pod), it: { namespace, pod: nameOf(pod), rule: 'recovers' } }));
  return { namespace, first: sick[0]!, second: sick[1]! };
}

/** Behaviour and build, as Temporal has them: `PINNED A`. */
async function versionOf(workflowId: string): Promise<string> {
  const { raw } = await stack.client.workflow.getHandle(workflowId).describe();
  const { behavior, deploymentVersion } = raw.workflowExecutionInfo?.versioningInfo ?? {};
  return behavior ? `${['', 'PINNED', 'AUTO_UPGRADE'][behavior]} ${deploymentVersion?.buildId}` : 'unversioned';
}
const untilVersion = (workflowId: string, version: string): Promise<boolean> =>
  eventually(`${workflowId} is ${version}`, async () => (await versionOf(workflowId)) === version, PATIENCE);

/** The builds whose workers have done tasks of a remediation. */
async function buildsOf(it: Complaint): Promise<string[]> {
  const { events } = await stack.remediation(it).fetchHistory();
  const builds = events?.flatMap(({ workflowTaskCompletedEventAttributes: done }) =>
    done ? [done.deploymentVersion?.buildId ?? 'unversioned'] : [],
  );
  return [...new Set(builds)];
}

test('without versions: what the previous build began ends under the next', async () => {
  const { namespace, first } = await workload();
  const before = await start(previous);
  await stack.breakPod(first.it);
  await stack.untilAt(first.it, 'hold');
  expect(await stack.remediation(first.it).query('build')).toBe('previous');
  workers.splice(workers.indexOf(before), 1);
  await before.stop();

  await start(today);
  await stack.mendPod(first.it);
  expect(await stack.ending(first.it)).toMatchObject({
    outcome: 'recovered',
    changes: [{ after: 'off' }, { after: 'on' }],
  });
  expect(await stack.changes(namespace)).toEqual([`traffic off ${first.uid}`, `traffic on ${first.uid}`]);
});

test('with versions: a drain ends on the build that it began with, new ones and the responder go on under the next', async () => {
  const { namespace, first, second } = await workload();
  const responder = responderId('recovers', `sandbox/${namespace}`);
  const remediation = (it: Complaint): string => stack.remediation(it).workflowId;
  await start(previous, 'A');
  await promote('A');
  await stack.breakPod(first.it);
  await stack.untilAt(first.it, 'hold');
  expect(await versionOf(remediation(first.it))).toBe('PINNED A');
  expect(await versionOf(responder)).toBe('AUTO_UPGRADE A');
  const { runId } = await stack.client.workflow.getHandle(responder).describe();

  await start(today, 'B');
  await promote('B');
  await stack.breakPod(second.it);
  await stack.untilAt(second.it, 'hold');
  await untilVersion(remediation(second.it), 'PINNED B');
  await untilVersion(responder, 'AUTO_UPGRADE B');
  expect((await stack.client.workflow.getHandle(responder).describe()).runId).toBe(runId);

  await stack.mendPod(first.it);
  expect(await stack.ending(first.it)).toMatchObject({ outcome: 'recovered' });
  await stack.mendPod(second.it);
  expect(await stack.ending(second.it)).toMatchObject({ outcome: 'recovered' });
  expect(await buildsOf(first.it)).toEqual(['A']);
  expect(await buildsOf(second.it)).toEqual(['B']);
  const changes = [first, second].flatMap(({ uid }) => [`traffic off ${uid}`, `traffic on ${uid}`]);
  expect((await stack.changes(namespace)).sort()).toEqual(changes.sort());
});
