import { setTimeout as delay } from 'node:timers/promises';
import { Client, Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import { expect, it } from 'vitest';
import { calmWhenClosed } from '../../../providers/temporal/closed.ts';

it('a retry that falls due after the close ends its call, and throws at nobody', async () => {
  const asked: number[] = [];
  const retries = {
    ...defaultGrpcRetryOptions(),
    delayFunction: (attempt: number) => {
      asked.push(attempt);
      return 200;
    },
  };
  const connection = Connection.lazy({
    // Nothing listens there.
    address: '127.0.0.1:1',
    interceptors: [makeGrpcRetryInterceptor(retries), calmWhenClosed],
  });
  const uncaught: unknown[] = [];
  const note = (error: unknown) => uncaught.push(error);
  process.on('uncaughtException', note);
  try {
    const client = new Client({ connection });
    const answer = connection.withDeadline(Date.now() + 60_000, () => client.workflowService.getSystemInfo({}));
    const failed = expect(answer).rejects.toThrow(/shut down|CANCELLED/i);
    while (asked.length === 0) await delay(10);
    await connection.close();
    await failed;
    expect(asked).toEqual([1]);
    expect(uncaught).toEqual([]);
  } finally {
    process.off('uncaughtException', note);
  }
});
