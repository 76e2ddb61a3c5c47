import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, isGrpcServiceError } from '@temporalio/client';
import type { Version } from '../workers/versioning.ts';
import type { Context } from './command.ts';
import { note, paint, print, printJson, table } from './output.ts';
import { comingOnto, fromServer, OPEN } from './recorded.ts';
import { linesOf, replaySource, summary, type Tally } from './replaying.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';
import { person, type Session, withTemporal } from './temporal.ts';
import { dateAndTime, zone } from './times.ts';

export interface Promotion {
  deployment: string;
  buildId: string;
  /** ISO time: what has ended since then is replayed too. */
  since?: string;
  /** Promote whatever the replay says. */
  force?: boolean;
  jobs: number;
}

/** gRPC statuses by what they mean here. */
const [NOT_FOUND, FAILED_PRECONDITION] = [5, 9];

/** `salvor deploy promote`: replays with this build what would come onto it, and makes it current. */
export async function promote(context: Context, options: Promotion): Promise<ExitStatus> {
  return await withTemporal(context, async (session) => {
    const { client } = session;
    const { current } = await find(session, options);
    const tally = await replaySource(context, await fromServer(client, comingOnto(options.since)), options);
    const refused = tally.others.length > 0 && !options.force;
    if (!refused && current !== options.buildId) await setCurrent(session, options, current);
    tell(context, options, { tally, refused, previous: current });
    return refused ? EXIT.failed : EXIT.done;
  });
}

/** What Temporal knows of the deployment. @throws CliError where it does not know the build */
async function find({ client, namespace }: Session, { deployment, buildId }: Version) {
  const { conflictToken, workerDeploymentInfo: info } = await describe(client, namespace, deployment).catch((error) => {
    throw isStatus(error, NOT_FOUND) ? notPolled({ deployment, buildId }) : error;
  });
  const known = info?.versionSummaries?.some(({ deploymentVersion }) => deploymentVersion?.buildId === buildId);
  if (!known) throw notPolled({ deployment, buildId });
  return { conflictToken, current: info?.routingConfig?.currentDeploymentVersion?.buildId ?? undefined };
}

const describe = (client: Client, namespace: string, deploymentName: string) =>
  client.workflowService.describeWorkerDeployment({ namespace, deploymentName });

const notPolled = ({ deployment, buildId }: Version): CliError =>
  new CliError(`Temporal has not seen a worker of build ${buildId} of the deployment ${deployment}`, {
    status: EXIT.failed,
    advice:
      'Nothing was changed. Start the new workers beside those that run: ' +
      `salvor worker --deployment ${deployment} --build-id ${buildId}`,
  });

/** Milliseconds that the server may take to have heard of all that the new workers poll. */
const HEARD_WITHIN = 15_000;

/** @throws CliError where the server will not have it: its workers do not poll, or somebody else promoted meanwhile */
async function setCurrent(session: Session, version: Version, before: string | undefined): Promise<void> {
  const { client, namespace } = session;
  const { deployment, buildId } = version;
  const deadline = Date.now() + HEARD_WITHIN;
  for (;;) {
    const { current, conflictToken } = await find(session, version);
    if (current !== before)
      throw notCurrent(version, `it is ${current ?? 'none'} now, which it was not when the replay began`);
    try {
      await client.workflowService.setWorkerDeploymentCurrentVersion({
        namespace,
        deploymentName: deployment,
        buildId,
        conflictToken,
        identity: person(),
      });
      return;
    } catch (error) {
      if (!isStatus(error, FAILED_PRECONDITION)) throw error;
      if (Date.now() > deadline) throw notCurrent(version, error.details, error);
      await sleep(1_000);
    }
  }
}

const notCurrent = ({ deployment, buildId }: Version, why: string, cause?: unknown): CliError =>
  new CliError(`build ${buildId} of ${deployment} is not made current: ${why}`, {
    status: EXIT.failed,
    advice:
      'Nothing was changed. See that its workers run (`salvor deploy status` shows what there is), and try again.',
    cause,
  });

interface Result {
  tally: Tally;
  refused: boolean;
  previous: string | undefined;
}

function tell(context: Context, { deployment, buildId, force }: Promotion, { tally, refused, previous }: Result): void {
  if (context.json) {
    printJson({ deployment, buildId, promoted: !refused, previous: previous ?? null, replay: tally });
    return;
  }
  const lines = tally.others.flatMap(linesOf);
  if (tally.replayed > 0) print(...lines, summary(tally));
  if (refused) {
    note(
      `${paint('red', 'not promoted')}: build ${buildId} would break what is open. Nothing was changed.`,
      paint('dim', 'docs/operations.md says what can be done ("How to release"); --force promotes it all the same.'),
    );
    return;
  }
  const before = previous === undefined ? 'unversioned workers' : `build ${previous}`;
  if (previous === buildId) print(`build ${buildId} of ${deployment} is current already`);
  else print(`build ${buildId} of ${deployment} is current; before: ${before}`);
  if (tally.others.length > 0 && force) note(paint('yellow', 'promoted in spite of the replay, as --force says'));
}

/** One build of a deployment, as `salvor deploy status` shows it. */
interface BuildStatus extends Version {
  /** `draining`: open runs are pinned to it; `drained`: its workers may go. */
  state: string;
  /** Open remediations and responders that are on it. */
  openRuns: number;
  /** ISO time at which it was first seen. */
  since?: string;
}

/** `temporal.api.enums.v1.WorkerDeploymentVersionStatus`, by number. */
const STATES = ['unknown', 'inactive', 'current', 'ramping', 'draining', 'drained', 'created'];

export async function status(context: Context, { deployment }: { deployment?: string }): Promise<ExitStatus> {
  return await withTemporal(context, async (session) => {
    const names = deployment === undefined ? await deploymentsOf(session) : [deployment];
    const builds = (await Promise.all(names.map((name) => buildsOf(session, name)))).flat();
    const unversioned = await countOpen(session.client, 'TemporalWorkerDeploymentVersion IS NULL');
    if (context.json) printJson({ builds, unversioned: { openRuns: unversioned } });
    else printStatus(builds, unversioned);
    return EXIT.done;
  });
}

async function deploymentsOf({ client, namespace }: Session): Promise<string[]> {
  const names: string[] = [];
  let nextPageToken: Uint8Array | undefined;
  do {
    const page = await client.workflowService.listWorkerDeployments({ namespace, pageSize: 100, nextPageToken });
    names.push(...page.workerDeployments.flatMap(({ name }) => (name ? [name] : [])));
    nextPageToken = page.nextPageToken?.length ? page.nextPageToken : undefined;
  } while (nextPageToken);
  return names.sort();
}

async function buildsOf({ client, namespace }: Session, deployment: string): Promise<BuildStatus[]> {
  const { workerDeploymentInfo: info } = await describe(client, namespace, deployment).catch((error) => {
    if (!isStatus(error, NOT_FOUND)) throw error;
    throw new CliError(`Temporal knows no deployment ${deployment}`, {
      status: EXIT.failed,
      advice: `It knows one when a worker was started with --deployment ${deployment} --build-id ID.`,
    });
  });
  return await Promise.all(
    (info?.versionSummaries ?? []).map(async ({ deploymentVersion, status: state, createTime }) => {
      const buildId = deploymentVersion?.buildId ?? '';
      const seconds = createTime?.seconds;
      return {
        deployment,
        buildId,
        state: STATES[Number(state ?? 0)] ?? 'unknown',
        openRuns: await countOpen(client, `TemporalWorkerDeploymentVersion = '${deployment}:${buildId}'`),
        ...(seconds && { since: new Date(Number(seconds) * 1000).toISOString() }),
      };
    }),
  );
}

async function countOpen(client: Client, which: string): Promise<number> {
  return (await client.workflow.count(`${OPEN} AND ${which}`)).count;
}

function printStatus(builds: BuildStatus[], unversioned: number): void {
  const head = ['DEPLOYMENT', 'BUILD', 'STATE', 'OPEN RUNS', `SEEN SINCE (${zone()})`];
  const rows = builds.map(({ deployment, buildId, state, openRuns, since }) => [
    deployment,
    buildId,
    state,
    `${openRuns}`,
    since ? dateAndTime(since) : '-',
  ]);
  if (unversioned > 0 || rows.length === 0) rows.push(['-', '-', 'unversioned', `${unversioned}`, '-']);
  print(
    ...table([head, ...rows], (text, column, row) => {
      if (row === 0) return paint('bold', text);
      return column === 2 && text.trim() === 'current' ? paint('green', text) : text;
    }),
  );
}

/** Whether it is what the server says by this gRPC status. */
const isStatus = (error: unknown, code: number): error is Error & { details: string } =>
  isGrpcServiceError(error) && error.code === code;
