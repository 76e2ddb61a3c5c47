import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defaultPayloadConverter } from '@temporalio/common';
import { DefaultLogger, type ReplayResult, Runtime, Worker } from '@temporalio/worker';
import { DeterminismViolationError } from '@temporalio/workflow';
import { beforeAll, describe, expect, it } from 'vitest';
import { OUTCOMES, type Outcome } from '../../model/outcome.ts';
import type { Assessment } from '../../model/ports/instance.ts';
import type { Ending } from '../../model/remediation.ts';
import type { Batch } from '../../model/request.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';

const FOLDER = join(import.meta.dirname, '..', 'histories');

interface Payload {
  metadata: Record<string, string>;
  data: string;
}
interface Payloads {
  payloads?: Payload[];
}
/** The parts of a history's JSON at which these tests look. */
interface Event {
  eventId: string;
  eventType: string;
  workflowExecutionStartedEventAttributes?: { workflowId: string; workflowType: { name: string } };
  workflowExecutionCompletedEventAttributes?: { result?: Payloads };
  workflowExecutionFailedEventAttributes?: { failure: { applicationFailureInfo?: { details?: Payloads } } };
  workflowExecutionSignaledEventAttributes?: { input: Payloads };
  markerRecordedEventAttributes?: { details: Record<string, Payloads> };
  activityTaskScheduledEventAttributes?: { activityType: { name: string } };
}
interface Recorded {
  /** `<version>/<runbook>-<outcome>.json` */
  file: string;
  events: Event[];
}

const recorded: Recorded[] = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.json'))
  .sort()
  .map((file) => ({ file, events: (JSON.parse(readFileSync(join(FOLDER, file), 'utf8')) as Recorded).events }));

const fresh = (name: string): Recorded => {
  const found = recorded.find(({ file }) => file.endsWith(`/${name}.json`));
  if (!found) throw new Error(`there is no history ${name}.json in test/histories; npm run histories records it`);
  return structuredClone(found);
};

const startOf = ({ events }: Recorded) => events[0]!.workflowExecutionStartedEventAttributes!;

let workflowBundle: Awaited<ReturnType<typeof bundleWorkflows>>;
beforeAll(async () => {
  // Divergence is what some of these tests ask for: it is no news to be logged.
  Runtime.install({
    logger: new DefaultLogger('ERROR', () => undefined),
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
  });
  workflowBundle = await bundleWorkflows();
});

/** What today's code says of the histories, by file. */
async function replay(histories: Recorded[]): Promise<Record<string, ReplayResult['error']>> {
  const results = Worker.runReplayHistories(
    { workflowBundle },
    histories.map((one) => ({ workflowId: startOf(one).workflowId, history: { events: one.events } })),
  );
  const errors: Record<string, ReplayResult['error']> = {};
  let at = 0;
  // They come in the order of the histories, one at a time.
  for await (const { error } of results) errors[histories[at++]!.file] = error;
  expect(at, 'every history was replayed').toBe(histories.length);
  return errors;
}

describe('the recorded histories', () => {
  it('go the same way with the code of today', async () => {
    const errors = Object.entries(await replay(recorded)).filter(([, error]) => error);
    expect(errors).toEqual([]);
  });

  it('end in every outcome that there is', () => {
    const outcomes = recorded.filter((one) => startOf(one).workflowType.name === 'remediation').map(outcomeOf);
    expect(new Set(outcomes)).toEqual(new Set(OUTCOMES));
  });
});

/** What a remediation came to: its result, or what its failure carries. */
function outcomeOf({ file, events }: Recorded): Outcome {
  const last = events.at(-1);
  if (last?.eventType === 'EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED') return 'cancelled';
  const carried =
    last?.workflowExecutionCompletedEventAttributes?.result ??
    last?.workflowExecutionFailedEventAttributes?.failure.applicationFailureInfo?.details;
  const [payload] = carried?.payloads ?? [];
  if (!payload) throw new Error(`${file} has no end`);
  const bytes = (text: string) => Buffer.from(text, 'base64');
  const metadata = Object.fromEntries(Object.entries(payload.metadata).map(([key, text]) => [key, bytes(text)]));
  return defaultPayloadConverter.fromPayload<Ending>({ metadata, data: bytes(payload.data) }).outcome;
}

describe('a history that the code of today would not make', () => {
  const diverges = async (tampered: Recorded) => {
    const { [tampered.file]: error } = await replay([tampered]);
    expect(error).toBeInstanceOf(DeterminismViolationError);
    return error?.message;
  };

  it('is reported where it ran another activity', async () => {
    const tampered = fresh('drain-instance-recovered');
    const scheduled = tampered.events.find((event) => event.activityTaskScheduledEventAttributes);
    expect(scheduled?.activityTaskScheduledEventAttributes?.activityType.name).toBe('cut');
    scheduled!.activityTaskScheduledEventAttributes!.activityType.name = 'slash';
    expect(await diverges(tampered)).toContain('slash');
  });

  it('is reported where a look found something else', async () => {
    const tampered = fresh('drain-instance-recovered');
    const marker = tampered.events.find((event) => event.markerRecordedEventAttributes);
    const look = marker?.markerRecordedEventAttributes?.details['result']?.payloads?.[0];
    change<Assessment>(look, () => ({ verdict: 'healthy', why: 'so it says now' }));
    expect(await diverges(tampered)).toContain('Nondeterminism');
  });

  it('is reported where a responder was told of nothing and admitted something all the same', async () => {
    const tampered = fresh('responder-ended');
    const signal = tampered.events.find((event) => event.workflowExecutionSignaledEventAttributes);
    const told = signal?.workflowExecutionSignaledEventAttributes?.input.payloads?.[0];
    change<Batch>(told, (batch) => ({ ...batch, requests: [] }));
    expect(await diverges(tampered)).toContain('Nondeterminism');
  });

  it('is reported where an event is missing', async () => {
    const tampered = fresh('drain-instance-recovered');
    const scheduled = tampered.events.findIndex((event) => event.activityTaskScheduledEventAttributes);
    tampered.events.splice(scheduled, 1);
    const { [tampered.file]: error } = await replay([tampered]);
    expect(error?.message).toContain('History is out of order');
  });
});

function change<T>(payload: Payload | undefined, how: (before: T) => T): void {
  if (!payload) throw new Error('the history has no such payload');
  const before = JSON.parse(Buffer.from(payload.data, 'base64').toString()) as T;
  payload.data = Buffer.from(JSON.stringify(how(before))).toString('base64');
}
