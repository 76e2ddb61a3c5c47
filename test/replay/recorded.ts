import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Recorded, type Replayed, replayAll } from '../../workers/replay.ts';

export const FOLDER = join(import.meta.dirname, '..', 'histories');

export interface Payload {
  metadata: Record<string, string>;
  data: string;
}
export interface Payloads {
  payloads?: Payload[];
}
/** The parts of a history's JSON at which tests look. */
export interface Event {
  eventId: string;
  eventType: string;
  workflowExecutionStartedEventAttributes?: {
    workflowId: string;
    workflowType: { name: string };
    firstExecutionRunId: string;
  };
  workflowExecutionCompletedEventAttributes?: { result?: Payloads };
  workflowExecutionFailedEventAttributes?: { failure: { applicationFailureInfo?: { details?: Payloads } } };
  workflowExecutionSignaledEventAttributes?: { input: Payloads };
  markerRecordedEventAttributes?: { details: Record<string, Payloads> };
  activityTaskScheduledEventAttributes?: { activityType: { name: string } };
  timerStartedEventAttributes?: object;
}
export interface File {
  /** `<version>/<runbook>-<outcome>.json` */
  file: string;
  events: Event[];
}

/** All that `npm run histories` has recorded, of every version. */
export const files: File[] = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.json'))
  .sort()
  .map((file) => ({ file, events: (JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as File).events }));

/** A copy of the one of that name, which a test may change. */
export function fresh(name: string): File {
  const found = files.findLast(({ file }) => file.endsWith(`/${name}.json`));
  if (!found) throw new Error(`there is no history ${name}.json in test/histories; npm run histories records it`);
  return structuredClone(found);
}

export const startOf = ({ events }: File) => events[0]!.workflowExecutionStartedEventAttributes!;

/** The first event that has these attributes. */
export function eventWith<K extends keyof Event>(
  { file, events }: File,
  attributes: K,
): Event & Required<Pick<Event, K>> {
  const found = events.find((event) => event[attributes] !== undefined);
  if (!found) throw new Error(`${file} has no ${attributes}`);
  return found as Event & Required<Pick<Event, K>>;
}

/** Changes the value in a payload. */
export function change<T>(payload: Payload | undefined, how: (before: T) => T): void {
  if (!payload) throw new Error('the history has no such payload');
  const before = JSON.parse(Buffer.from(payload.data, 'base64').toString()) as T;
  payload.data = Buffer.from(JSON.stringify(how(before))).toString('base64');
}

/** What a build's code makes of histories, by their files. */
export async function replay(code: string, histories: File[], jobs = 1): Promise<Record<string, Replayed>> {
  const replayed: Record<string, Replayed> = {};
  const source = async function* (): AsyncGenerator<Recorded> {
    for (const { file, events } of histories) yield { source: file, load: async () => JSON.stringify({ events }) };
  };
  await replayAll(source(), { code, jobs }, (one) => {
    replayed[one.source] = one;
  });
  return replayed;
}
