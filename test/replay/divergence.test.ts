import { beforeAll, describe, expect, it } from 'vitest';
import type { Assessment } from '../../model/ports/instance.ts';
import type { Batch } from '../../model/request.ts';
import { bundleWorkflows, withoutStacks } from '../../workers/bundle.ts';
import type { Replayed } from '../../workers/replay.ts';
import { bundleOf } from './builds/index.ts';
import { change, type Event, eventWith, type File, files, fresh, replay, startOf } from './recorded.ts';

let today: string;
beforeAll(async () => {
  ({ code: today } = await bundleWorkflows());
});

/** What today's code makes of one history. */
async function look(history: File, code = today): Promise<Replayed> {
  const { [history.file]: replayed } = await replay(code, [history]);
  return replayed!;
}

const number = ({ eventId }: Event): number => Number(eventId);

/** The result, or the description, that a local activity left in its marker. */
const inMarker = (event: Event, what: 'result' | 'data') =>
  event.markerRecordedEventAttributes?.details[what]?.payloads?.[0];

describe('a history that the code of today would not make', () => {
  it('is named with its event and step where it scheduled another activity', async () => {
    const tampered = fresh('drain-instance-recovered');
    const scheduled = eventWith(tampered, 'activityTaskScheduledEventAttributes');
    scheduled.activityTaskScheduledEventAttributes.activityType.name = 'slash';
    expect(await look(tampered)).toMatchObject({
      workflowId: startOf(tampered).workflowId,
      verdict: 'diverges',
      divergence: {
        event: { id: number(scheduled), type: 'ActivityTaskScheduled', step: 'slash (cut its traffic)' },
        recorded: 'schedules the activity slash (cut its traffic)',
        code: 'schedules the activity cut',
      },
    });
  });

  it('is named with the very event, where the SDK names none and an event before it is of the same kind', async () => {
    const tampered = fresh('drain-instance-remediated');
    const [first, second] = tampered.events.filter((event) => event.activityTaskScheduledEventAttributes);
    expect(first!.activityTaskScheduledEventAttributes!.activityType.name).toBe('cut');
    second!.activityTaskScheduledEventAttributes!.activityType.name = 'cut';
    expect(await look(tampered)).toMatchObject({
      divergence: { event: { id: number(second!) }, code: 'schedules the activity hold' },
    });
  });

  it('is named where it ran another local activity, the second of its kind', async () => {
    const tampered = fresh('drain-instance-remediated');
    const looks = tampered.events.filter((event) => {
      let type = '';
      const data = inMarker(event, 'data');
      if (data)
        type = (JSON.parse(Buffer.from(data.data, 'base64').toString()) as { activity_type: string }).activity_type;
      return type === 'assess';
    });
    change<object>(inMarker(looks[1]!, 'data'), (data) => ({ ...data, activity_type: 'glance' }));
    expect(await look(tampered)).toMatchObject({
      divergence: {
        event: { id: number(looks[1]!), type: 'MarkerRecorded', step: 'glance (look at its live state)' },
        recorded: 'runs the local activity glance (look at its live state)',
        code: 'runs the local activity assess',
      },
    });
  });

  it('is named where a look found something else, upon which the code does not act', async () => {
    const tampered = fresh('drain-instance-recovered');
    const marker = eventWith(tampered, 'markerRecordedEventAttributes');
    change<Assessment>(inMarker(marker, 'result'), () => ({ verdict: 'healthy', why: 'so it says now' }));
    const scheduled = eventWith(tampered, 'activityTaskScheduledEventAttributes');
    expect(await look(tampered)).toMatchObject({
      divergence: {
        event: { id: number(scheduled), step: 'cut (cut its traffic)' },
        recorded: 'schedules the activity cut (cut its traffic)',
        code: 'sets search attributes',
      },
    });
  });

  it('is named where the code does something where nothing was done: which activity it would be', async () => {
    const tampered = fresh('drain-instance-recovered');
    const scheduled = eventWith(tampered, 'activityTaskScheduledEventAttributes') as Partial<Event>;
    delete scheduled.activityTaskScheduledEventAttributes;
    scheduled.eventType = 'EVENT_TYPE_TIMER_STARTED';
    scheduled.timerStartedEventAttributes = { timerId: '1', startToFireTimeout: '5s' };
    expect(await look(tampered)).toMatchObject({
      divergence: { event: { type: 'TimerStarted' }, recorded: 'starts a timer', code: 'schedules the activity cut' },
    });
  });

  it('is named where a responder was told of nothing and admitted something all the same', async () => {
    const tampered = fresh('responder-ended');
    const signal = eventWith(tampered, 'workflowExecutionSignaledEventAttributes');
    change<Batch>(signal.workflowExecutionSignaledEventAttributes.input.payloads?.[0], (batch) => ({
      ...batch,
      requests: [],
    }));
    const marker = eventWith(tampered, 'markerRecordedEventAttributes');
    expect(await look(tampered)).toMatchObject({
      verdict: 'diverges',
      divergence: {
        event: { id: number(marker) },
        // Whether it is of a version that looks before it decides.
        recorded: 'asks for a patch',
      },
    });
  });

  it('is named where it ended another way', async () => {
    const tampered = fresh('drain-instance-recovered');
    const last = tampered.events.at(-1)! as Event & Record<string, unknown>;
    delete last.workflowExecutionCompletedEventAttributes;
    last.eventType = 'EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED';
    last['workflowExecutionCanceledEventAttributes'] = {};
    expect(await look(tampered)).toMatchObject({
      divergence: { event: { id: number(last) }, recorded: 'ends as cancelled', code: 'completes' },
    });
  });

  it('is named although it is open: its last event is its own doing', async () => {
    const open = fresh('drain-instance-recovered');
    const scheduled = eventWith(open, 'activityTaskScheduledEventAttributes');
    open.events.length = number(scheduled);
    expect(await look(open)).toMatchObject({ verdict: 'same' });
    scheduled.activityTaskScheduledEventAttributes.activityType.name = 'slash';
    expect(await look(open)).toMatchObject({ divergence: { event: { id: number(scheduled) } } });
  });

  it('is named although it is open, and the code does only more than it has', async () => {
    const open = fresh('drain-instance-recovered');
    const scheduled = eventWith(open, 'activityTaskScheduledEventAttributes');
    open.events.length = number(scheduled) - 1;
    expect(await look(open)).toMatchObject({
      verdict: 'diverges',
      divergence: {
        event: { id: number(scheduled) - 1, type: 'MarkerRecorded', step: expect.stringContaining('assess') },
        recorded: 'does nothing more after it',
        code: 'schedules the activity cut',
      },
    });
  });

  it('is the same where nothing was decided yet, and where a local activity is under way', async () => {
    const young = { ...fresh('drain-instance-recovered'), file: 'young' };
    young.events.length = 2;
    expect(await look(young)).toMatchObject({ verdict: 'same' });
    const looking = { ...fresh('drain-instance-recovered'), file: 'looking' };
    looking.events.length = number(eventWith(looking, 'markerRecordedEventAttributes')) - 1;
    expect(await look(looking)).toMatchObject({ verdict: 'same' });
  });

  it('is the same at each moment at which it was open and its last task was done', async () => {
    const histories = ['drain-instance-remediated', 'drain-instance-cancelled', 'responder-waited'].flatMap((name) => {
      const whole = fresh(name);
      const tasks = whole.events.flatMap((event, at) =>
        event.eventType.endsWith('WORKFLOW_TASK_SCHEDULED') ? [at] : [],
      );
      return tasks.slice(1).map((at) => ({ file: `${name} until ${at}`, events: whole.events.slice(0, at) }));
    });
    const replayed = await replay(today, histories, 2);
    expect(histories.length).toBeGreaterThan(10);
    expect(Object.values(replayed).filter(({ verdict }) => verdict !== 'same')).toEqual([]);
  });
});

it('what is no history, or has lost an event, is said to be so, and the others are replayed all the same', async () => {
  const lost = fresh('drain-instance-recovered');
  lost.events.splice(5, 1);
  const none: File = { file: 'empty.json', events: [] };
  const replayed = await replay(today, [lost, none, fresh('drain-instance-remediated')]);
  expect(replayed[lost.file]).toMatchObject({ verdict: 'unreadable', message: 'event 6 is missing or out of order' });
  expect(replayed[none.file]).toMatchObject({ verdict: 'unreadable', message: expect.stringContaining('no history') });
  expect(Object.values(replayed).filter(({ verdict }) => verdict === 'same')).toHaveLength(1);
});

describe('with the code of another build', () => {
  it('that says it in other words, all go the same way', async () => {
    const replayed = await replay(await bundleOf('previous'), files);
    expect(Object.values(replayed).filter(({ verdict }) => verdict !== 'same')).toEqual([]);
  });

  it('that begins with a timer, every one diverges at its first own event', async () => {
    const replayed = await replay(await bundleOf('slower'), files, 2);
    for (const history of files) {
      const one = replayed[history.file];
      expect(one, history.file).toMatchObject({
        verdict: 'diverges',
        divergence: { event: { id: expect.any(Number) } },
      });
      const { event } = (one as Replayed & { verdict: 'diverges' }).divergence;
      const own = history.events.find(({ eventType }) =>
        /MARKER_RECORDED|ACTIVITY_TASK_SCHEDULED|UPDATE_ACCEPTED/.test(eventType),
      );
      expect(event?.id, history.file).toBe(number(own!));
    }
  });

  it('that has a bug, the stack of the workflow shows where, although the build for production leaves stacks out', async () => {
    const replayed = await look(fresh('drain-instance-recovered'), withoutStacks(await bundleOf('broken')));
    expect(replayed).toMatchObject({ verdict: 'throws', message: expect.stringContaining('toUpperCase') });
    expect((replayed as Replayed & { verdict: 'throws' }).stack).toMatch(
      /^TypeError: [^\n]+toUpperCase[^\n]+\n {4}at [^\n]+builds\/broken\.ts:9:/,
    );
  });
});
