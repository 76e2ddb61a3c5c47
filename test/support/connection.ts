import { Connection, defaultGrpcRetryOptions, makeGrpcRetryInterceptor } from '@temporalio/client';
import { calmWhenClosed } from '../../providers/temporal/closed.ts';

/** A connection of a test, whose retries may fall due when the test is over and has closed it. */
export const connectTo = (address: string): Promise<Connection> =>
  Connection.connect({
    address,
    interceptors: [makeGrpcRetryInterceptor(defaultGrpcRetryOptions()), calmWhenClosed],
  });
