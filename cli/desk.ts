import { readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import type { Client } from '@temporalio/client';
import type { Config } from '../model/config.ts';
import { isLoopback, parseHostAndPort } from '../model/config-fields.ts';
import type { Pause } from '../model/pause.ts';
import type { Ordered } from '../providers/temporal/breakers.ts';
import type { Resumed } from '../providers/temporal/control.ts';
import type { Context } from './command.ts';
import { loadConfig } from './configuration.ts';
import { type DeskOptions, gatewayUrl } from './desk-options.ts';
import { note } from './output.ts';
import { CliError, EXIT } from './status.ts';

/** Who takes the orders of people: the gateway, which knows them by their tokens; or Temporal itself, on this machine. */
export interface Desk {
  pause(order: PauseRequest): Promise<{ pause: Pause; note?: string }>;
  resume(order: { prefix: string; reason: string }): Promise<Resumed & { note?: string }>;
  decide(answer: 'approve' | 'deny', order: VerdictRequest): Promise<Decided>;
  breaker(what: 'open' | 'close', order: BreakerRequest): Promise<Ordered>;
}

export interface PauseRequest {
  prefix: string;
  /** A duration, as it is written. */
  for?: string;
  reason: string;
  undo: boolean;
}

export interface BreakerRequest {
  dependency: string;
  /** A duration, as it is written. Of `open` only. */
  for?: string;
  reason: string;
}

export interface VerdictRequest {
  /** As a person names a run. */
  id: string;
  digest: string;
  comment: string;
}

export interface Decided {
  id: string;
  target: string;
  rule: string;
  answer: 'approve' | 'deny';
  by: string;
  digest: string;
}

/**
 * Runs a function with the desk that the configuration and the options mean.
 *
 * @throws CliError where there is none for whoever is at the keyboard
 */
export async function atDesk<T>(context: Context, options: DeskOptions, use: (desk: Desk) => Promise<T>): Promise<T> {
  const { config } = await loadConfig(context);
  const url =
    options.gateway ?? fromEnvironment() ?? (config.gateway.people.length > 0 ? ownGateway(config) : undefined);
  if (url !== undefined) {
    const [{ gatewayDesk }, token] = await Promise.all([import('./desk-gateway.ts'), tokenOf(options)]);
    const { protocol, hostname } = new URL(url);
    if (protocol === 'http:' && !isLoopback(hostname.replaceAll(/[[\]]/g, '')))
      note(`your token travels unencrypted to ${hostname}: reach the gateway by https`);
    return await use(gatewayDesk(url, token));
  }
  const { address } = config.temporal;
  if (!isLoopback(parseHostAndPort(address).host)) throw nobody(address);
  const [{ temporalDesk }, { withClient }] = await Promise.all([import('./desk-temporal.ts'), import('./temporal.ts')]);
  return await withClient(config, (client: Client) => use(temporalDesk({ client, config, by: unverified() })));
}

function fromEnvironment(): string | undefined {
  const text = process.env['SALVOR_GATEWAY'];
  if (text === undefined || text === '') return undefined;
  try {
    return gatewayUrl(text);
  } catch (error) {
    throw new CliError(`SALVOR_GATEWAY is no address: ${text}`, {
      status: EXIT.usage,
      advice: 'Set it to one such as https://salvor.example.com.',
      cause: error,
    });
  }
}

/** The gateway of the configuration, as this machine reaches it. */
function ownGateway({ gateway: { listen, tls } }: Config): string {
  const host = ['0.0.0.0', '::'].includes(listen.host) ? '127.0.0.1' : listen.host;
  return `${tls ? 'https' : 'http'}://${host.includes(':') ? `[${host}]` : host}:${listen.port}/`;
}

async function tokenOf({ tokenFile }: DeskOptions): Promise<string> {
  const text =
    tokenFile === undefined ? process.env['SALVOR_TOKEN'] : await readFile(tokenFile, 'utf8').catch(unreadable);
  const token = text?.trim() ?? '';
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new CliError(
    tokenFile === undefined ? 'the gateway wants to know who orders this' : `${tokenFile} holds no token`,
    {
      status: EXIT.usage,
      advice: 'Give your token in the environment variable SALVOR_TOKEN, or in a file with --token-file.',
    },
  );
}

function unreadable(error: NodeJS.ErrnoException): never {
  throw new CliError(`the token cannot be read: ${error.message}`, { status: EXIT.usage, cause: error });
}

const nobody = (address: string): CliError =>
  new CliError(
    `nobody can tell who orders this: no gateway is named, and Temporal at ${address} is not on this machine`,
    {
      status: EXIT.usage,
      advice:
        'Nothing was done. Order it through the gateway (--gateway URL or SALVOR_GATEWAY, with your token in SALVOR_TOKEN); gateway.people in salvor.yaml names who may.',
    },
  );

/** Who is at the keyboard says so himself. */
function unverified(): string {
  const name = nameOfUser();
  note(`on record as unverified:${name}, for nobody is configured in gateway.people`);
  return `unverified:${name}`;
}

function nameOfUser(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user need not have a name.
    return `uid-${process.getuid?.() ?? 'unknown'}`;
  }
}
