import {
  Client,
  Connection,
  type ConnectionOptions,
  defaultGrpcRetryOptions,
  type GrpcRetryOptions,
  makeGrpcRetryInterceptor,
} from '@temporalio/client';
import type { Config } from '../../model/config.ts';
import { calmWhenClosed } from './closed.ts';
import { readSetting, secretOf } from './secret.ts';

/** gRPC status: the server asks for patience. */
const RESOURCE_EXHAUSTED = 8;

/** What `Connection` (client) and `NativeConnection` (worker) both take. */
export interface ConnectOptions {
  address: string;
  tls?: Exclude<ConnectionOptions['tls'], null>;
  apiKey?: string;
}

/**
 * The options of a connection to Temporal, with certificates and API key read from where the configuration says.
 *
 * @throws where a file or an environment variable that it names has none
 */
export function connectOptions(temporal: Config['temporal']): ConnectOptions {
  const apiKey = apiKeyOf(temporal)?.();
  return {
    address: temporal.address,
    ...(temporal.tls !== undefined && { tls: tlsOf(temporal.tls) }),
    ...(apiKey !== undefined && { apiKey }),
  };
}

/**
 * Tries for about three seconds, which bridges a restart, and then says what is wrong. The SDK's own waits grow to
 * seconds, in which a call neither keeps its deadline nor remembers why it failed.
 */
const retries: GrpcRetryOptions = {
  ...defaultGrpcRetryOptions({ maxAttempts: 8 }),
  delayFunction: (attempt, { code }) =>
    Math.min(100 * 2 ** attempt, code === RESOURCE_EXHAUSTED ? 2_000 : 500) * (0.8 + 0.4 * Math.random()),
};

/**
 * A connection that is made with its first call, and again whenever it was lost, within a second of Temporal's return.
 * An API key that changes on disk is taken up. The caller closes it.
 *
 * @throws as {@link connectOptions}; never because Temporal cannot be reached
 */
export function lazyConnection(temporal: Config['temporal']): Connection {
  const apiKey = apiKeyOf(temporal);
  return Connection.lazy({
    ...connectOptions(temporal),
    ...(apiKey !== undefined && { apiKey }),
    interceptors: [makeGrpcRetryInterceptor(retries), calmWhenClosed],
    // gRPC's own is up to two minutes.
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 1_000 },
  });
}

/** A client on a {@link lazyConnection}, which the caller closes: `client.connection.close()`. */
export const lazyClient = (temporal: Config['temporal']): Client =>
  new Client({ connection: lazyConnection(temporal), namespace: temporal.namespace });

const apiKeyOf = ({ apiKeyFile, apiKeyEnv }: Config['temporal']): (() => string) | undefined =>
  secretOf({ file: apiKeyFile, variable: apiKeyEnv, setting: 'temporal.apiKey' });

function tlsOf(tls: NonNullable<Config['temporal']['tls']>): ConnectOptions['tls'] {
  if (typeof tls === 'boolean') return tls;
  const { serverName, caFile, certFile, keyFile } = tls;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new Error('temporal.tls: certFile and keyFile belong together. Set both, or neither.');
  }
  return {
    ...(serverName !== undefined && { serverNameOverride: serverName }),
    ...(caFile !== undefined && { serverRootCACertificate: readSetting(caFile, 'temporal.tls.caFile') }),
    ...(certFile !== undefined &&
      keyFile !== undefined && {
        clientCertPair: {
          crt: readSetting(certFile, 'temporal.tls.certFile'),
          key: readSetting(keyFile, 'temporal.tls.keyFile'),
        },
      }),
  };
}
