import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { WorkflowHandle } from '@temporalio/client';
import { historyToJSON } from '@temporalio/common/lib/proto-utils.js';
import type { Verdict } from '../../model/approval.ts';
import { MESSAGE } from '../../model/names.ts';
import type { Story } from '../../model/remediation.ts';
import { salvor } from '../cli/salvor.ts';
import { PATIENCE } from '../e2e/support.ts';
import { eventually } from '../support/wait.ts';

/** One recording: the histories of a scenario, by the names of their files. */
export type Recording = () => Promise<Record<string, WorkflowHandle>>;

/** Recordings on one world, which is started for them. */
export interface Group {
  start(): Promise<void>;
  stop(): Promise<void>;
  recordings: Record<string, Recording>;
}

export const named =
  (name: string, scenario: () => Promise<WorkflowHandle>): Recording =>
  async () => ({ [name]: await scenario() });

/** Recordings of one history each, whose names begin alike. */
export const namedAll = (prefix: string, scenarios: Record<string, () => Promise<WorkflowHandle>>) =>
  Object.fromEntries(
    Object.entries(scenarios).map(([name, scenario]) => [`${prefix}-${name}`, named(`${prefix}-${name}`, scenario)]),
  );

/** Resolves when the run has ended, in whatever way. */
export async function end(handle: WorkflowHandle): Promise<void> {
  await eventually(
    `the end of ${handle.workflowId}`,
    async () => {
      const { status } = await handle.describe();
      return status.name !== 'RUNNING';
    },
    PATIENCE,
  );
}

/** Resolves when the remediation says that it is in this phase. */
export async function inPhase(handle: WorkflowHandle, phase: string): Promise<void> {
  const look = async () => (await handle.query<Story>(MESSAGE.story)).phase === phase;
  await eventually(`in ${phase}`, look, PATIENCE);
}

/** A person has decided, and the proposal has ended. */
export async function answered(proposal: WorkflowHandle, answer: Verdict['answer']): Promise<void> {
  const { plan } = await proposal.query<Story>(MESSAGE.story);
  const verdict = { answer, by: 'person:ada', groups: [], digest: plan?.digest ?? '', comment: 'as discussed' };
  await proposal.executeUpdate<void, [Verdict]>(MESSAGE.decide, { args: [verdict] });
  await end(proposal);
}

/** A command of a person on this machine. */
export async function byHand(config: string, args: string[]): Promise<void> {
  const { status, stderr } = await salvor(['--config', config, ...args]);
  if (status !== 0) throw new Error(`salvor ${args.join(' ')}: ${stderr}`);
}

const ROOT = join(import.meta.dirname, '..', '..');

/** How the names of folders with the sources of stacks begin, in the folder for what is temporary. */
export const STACKS = 'salvor-stacks-';
const OWN_STACKS = new RegExp(`${join(tmpdir(), STACKS)}\\w+`, 'g');

/** What a workflow was given, as if the sources of its stacks were where they are on a server. */
function elsewhere(data: string): string {
  const decoded = Buffer.from(data, 'base64').toString();
  const moved = decoded.replaceAll(OWN_STACKS, '/srv/stacks');
  return moved === decoded ? data : Buffer.from(moved).toString('base64');
}

/** Takes out what belongs to this machine and matters to no replay. */
function sanitized(history: string): { events: unknown[] } {
  // Identities, and the sticky queues that are named after them, begin so.
  const self = new RegExp(`\\d+@${hostname()}`, 'g');
  const text = JSON.stringify(JSON.parse(history), (key, value) =>
    key === 'stackTrace' ? undefined : key === 'data' && typeof value === 'string' ? elsewhere(value) : value,
  ).replaceAll(self, 'salvor');
  const decoded = text.replaceAll(/"data":"([^"]*)"/g, (_, data: string) => Buffer.from(data, 'base64').toString());
  for (const own of [ROOT, `@${hostname()}`, tmpdir()])
    if (decoded.includes(own)) throw new Error(`a history names ${own}, of this machine`);
  return JSON.parse(text) as { events: unknown[] };
}

/** As it is kept. */
export async function textOf(handle: WorkflowHandle): Promise<string> {
  const { events } = sanitized(historyToJSON(await handle.fetchHistory()));
  // An event a line.
  return `{"events":[\n${events.map((event) => JSON.stringify(event)).join(',\n')}\n]}\n`;
}
