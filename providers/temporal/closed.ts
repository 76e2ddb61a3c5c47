import { InterceptingCall, type Interceptor, Metadata, status } from '@grpc/grpc-js';

/**
 * Lets what is called on a connection that is closed already end as cancelled. The retries of Temporal's client are made by a
 * timer: gRPC throws at one that falls due after the close, and an error in a timer is nobody's, so it would end the process.
 */
export const calmWhenClosed: Interceptor = (options, nextCall) => {
  try {
    return new InterceptingCall(nextCall(options));
  } catch (error) {
    return new InterceptingCall(cancelled(error instanceof Error ? error.message : String(error)));
  }
};

type Call = ConstructorParameters<typeof InterceptingCall>[0];

const cancelled = (details: string): Call => ({
  start: (_metadata, listener) => {
    listener?.onReceiveStatus?.({ code: status.CANCELLED, details, metadata: new Metadata() });
  },
  sendMessage: () => undefined,
  sendMessageWithContext: () => undefined,
  startRead: () => undefined,
  halfClose: () => undefined,
  cancelWithStatus: () => undefined,
  getPeer: () => 'none',
  getAuthContext: () => null,
});
