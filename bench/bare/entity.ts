import {
  allHandlersFinished,
  condition,
  continueAsNew,
  defineSignal,
  defineUpdate,
  setHandler,
} from '@temporalio/workflow';

/** As often as Salvor's do. */
const MAX_UPDATES = 1_500;

/** An entity that keeps nothing: it answers each update with what it was asked, and ends when it is told to. */
export async function entity(): Promise<void> {
  let [updates, ended] = [0, false];
  setHandler(defineUpdate<unknown, [unknown]>('ask'), (question) => {
    updates += 1;
    return question;
  });
  setHandler(defineSignal('end'), () => {
    ended = true;
  });
  await condition(() => ended || updates >= MAX_UPDATES);
  await condition(allHandlersFinished);
  if (!ended) await continueAsNew<typeof entity>();
}
