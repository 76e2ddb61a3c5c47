import { userInfo } from 'node:os';
import { type Client, Connection, isGrpcServiceError, ServiceError } from '@temporalio/client';
import { NamespaceNotFoundError } from '@temporalio/common';
import type { Config } from '../model/config.ts';
import { connectOptions, lazyClient } from '../providers/temporal/connect.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { CliError, EXIT } from './status.ts';

export interface Session {
  client: Client;
  config: Config;
  namespace: string;
}

/** Milliseconds that a slow Temporal has for a first sign; one that is not there is noticed at once. */
const SIGN_WITHIN = 10_000;

/**
 * Runs a function with a client of the configured Temporal, and closes it.
 *
 * @throws CliError with status `unknown` where Temporal cannot be reached or does not let us in
 */
export async function withTemporal<T>(context: Context, use: (session: Session) => Promise<T>): Promise<T> {
  const { config } = await loadConfig(context);
  return await withClient(config, (client) => use({ client, config, namespace: config.temporal.namespace }));
}

/** As {@link withTemporal}, with a configuration that is read already. */
export async function withClient<T>(config: Config, use: (client: Client) => Promise<T>): Promise<T> {
  const { temporal } = config;
  await knock(temporal);
  const client = lazyClient(temporal);
  try {
    return await use(client);
  } catch (error) {
    throw outOfReach(error, temporal) ?? error;
  } finally {
    await client.connection.close();
  }
}

/** Asks once, without the client's patience, so that a wrong address is not waited for. */
async function knock(temporal: Config['temporal']): Promise<void> {
  const connection = Connection.lazy({ ...optionsOf(temporal), interceptors: [] });
  try {
    await connection.withDeadline(Date.now() + SIGN_WITHIN, () =>
      connection.workflowService.describeNamespace({ namespace: temporal.namespace }),
    );
  } catch (error) {
    throw outOfReach(error, temporal) ?? error;
  } finally {
    await connection.close();
  }
}

function optionsOf(temporal: Config['temporal']): ReturnType<typeof connectOptions> {
  try {
    return connectOptions(temporal);
  } catch (error) {
    // A certificate or a key that the configuration names is not there; the message says which.
    throw new CliError(error instanceof Error ? error.message : String(error), { status: EXIT.usage, cause: error });
  }
}

/** gRPC statuses by what they mean to a person. */
const [DEADLINE_EXCEEDED, NOT_FOUND, PERMISSION_DENIED, UNAVAILABLE, UNAUTHENTICATED] = [4, 5, 7, 14, 16];

/** @returns undefined where Temporal answered, and the error is about something else */
export function outOfReach(error: unknown, { address, namespace }: Config['temporal']): CliError | undefined {
  const cause = error instanceof ServiceError ? error.cause : error;
  const code = isGrpcServiceError(cause) ? cause.code : undefined;
  if (error instanceof NamespaceNotFoundError || (code === NOT_FOUND && String(cause).includes('amespace'))) {
    return new CliError(`Temporal at ${address} has no namespace ${namespace}`, {
      status: EXIT.unknown,
      advice: `Create it (temporal operator namespace create -n ${namespace}), or name another one in temporal.namespace.`,
      cause: error,
    });
  }
  if (code === UNAVAILABLE || code === DEADLINE_EXCEEDED || isTransportError(error)) {
    return new CliError(`Temporal at ${address} cannot be reached`, {
      status: EXIT.unknown,
      advice:
        (/^(localhost|127\.|\[?::1)/.test(address)
          ? '`salvor up` starts one here; for another one set temporal.address in salvor.yaml.'
          : 'Look whether it runs and can be reached from here (temporal.address in salvor.yaml).') +
        ' What is held can be given back without it: `salvor held`, `salvor release`.',
      cause: error,
    });
  }
  if (code === PERMISSION_DENIED || code === UNAUTHENTICATED) {
    return new CliError(
      `Temporal at ${address} does not let Salvor in: ${(cause as { details?: string }).details ?? 'no reason given'}`,
      { status: EXIT.unknown, advice: 'Look at temporal.tls and temporal.apiKeyFile in salvor.yaml.', cause: error },
    );
  }
  return undefined;
}

/** How the native connection of a worker says that it cannot connect. */
const isTransportError = (error: unknown): boolean => error instanceof Error && error.name === 'TransportError';

/** Who is at the keyboard, for the record. Nothing has verified it. */
export function person(): string {
  try {
    return `person:${userInfo().username}`;
  } catch {
    // A container's user need not have a name.
    return `person:uid-${process.getuid?.() ?? 'unknown'}`;
  }
}
