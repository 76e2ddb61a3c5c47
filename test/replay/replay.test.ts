import { defaultPayloadConverter } from '@temporalio/common';
import { beforeAll, describe, expect, it } from 'vitest';
import { OUTCOMES, type Outcome } from '../../model/outcome.ts';
import type { Ending } from '../../model/remediation.ts';
import { bundleWorkflows } from '../../workers/bundle.ts';
import { type File, files, replay, startOf } from './recorded.ts';

/** Every way in which a responder goes, by the names that test/record-histories.ts gives them. */
const RESPONDERS = [
  'ended',
  'waited',
  'refused',
  'overdue',
  'dropped',
  'run',
  'cancelled',
  'continued-as-new',
  'carried-on',
];

let code: string;
beforeAll(async () => {
  ({ code } = await bundleWorkflows());
});

describe('the recorded histories', () => {
  it('go the same way with the code of today, in parallel', async () => {
    const replayed = await replay(code, files, 2);
    expect(Object.values(replayed).filter(({ verdict }) => verdict !== 'same')).toEqual([]);
    expect(Object.keys(replayed).sort()).toEqual(files.map(({ file }) => file));
  });

  it('are of remediations that ended in every outcome that there is', () => {
    const outcomes = files
      .filter((one) => startOf(one).workflowType.name === 'remediation' && !goesOn(one))
      .map(outcomeOf);
    expect(new Set(outcomes)).toEqual(new Set(OUTCOMES));
  });

  it('are of responders that went every way that there is', () => {
    const names = files.flatMap(({ file }) => /\/responder-(.*)\.json$/.exec(file)?.[1] ?? []);
    expect(new Set(names)).toEqual(new Set(RESPONDERS));
  });
});

/** It has no end of its own: the next run has. */
const goesOn = ({ events }: File): boolean =>
  events.at(-1)?.eventType === 'EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW';

/** What a remediation came to: its result, or what its failure carries. */
function outcomeOf({ file, events }: File): Outcome {
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
