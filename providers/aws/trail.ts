import { setTimeout as delay } from 'node:timers/promises';
import type { CloudTrailClient, Event, LookupEventsCommandInput } from '@aws-sdk/client-cloudtrail';
import type { AwsConfig } from '../../model/config.ts';
import { readTrailEvent, type TrailEvent } from '../../model/drift/trail-event.ts';
import { UnavailableError } from '../errors.ts';
import { clientConfig } from './client.ts';
import { asProviderError } from './errors.ts';

/** LookupEvents is answered twice a second, for a whole account and region. */
const GAP_MS = 500;
const TRIES = 3;
const PAGE = 50;
/** Of what nobody looks at on purpose so much is written in a day that the newest are enough. */
const MOST_PAGES = 4;

interface Connected {
  sdk: typeof import('@aws-sdk/client-cloudtrail');
  client: CloudTrailClient;
}

/** What CloudTrail tells, or why it tells nothing, for people. */
export type TrailAnswer = { events: TrailEvent[]; problem?: never } | { events?: never; problem: string };

/**
 * What CloudTrail tells of one account and region: its event history, which needs no trail of its own. Events come up to 15
 * minutes late. Nobody depends on it, so whatever keeps it from answering is a problem to be told, and no error.
 */
export class Trail {
  readonly #config: AwsConfig;
  #connected: Promise<Connected> | undefined;
  /** When the next request may be made. */
  #next = 0;

  constructor(config: AwsConfig) {
    this.#config = config;
  }

  /** Changes of the resource, the newest first, those that were refused and Salvor's own among them. @throws the signal's reason */
  async changesOf(resource: string, { since, signal }: { since: Date; signal: AbortSignal }): Promise<TrailAnswer> {
    const input: LookupEventsCommandInput = {
      LookupAttributes: [{ AttributeKey: 'ResourceName', AttributeValue: resource }],
      StartTime: since,
      MaxResults: PAGE,
    };
    const events: Event[] = [];
    try {
      const own = await this.#own();
      let token: string | undefined;
      for (let n = 0; n < MOST_PAGES; n += 1) {
        const page = await this.#ask(resource, { ...input, ...(token !== undefined && { NextToken: token }) }, signal);
        events.push(...(page.Events ?? []));
        token = page.NextToken;
        if (token === undefined) break;
      }
      return { events: events.flatMap(({ CloudTrailEvent = '' }) => readTrailEvent(CloudTrailEvent, own) ?? []) };
    } catch (error) {
      signal.throwIfAborted();
      return { problem: error instanceof Error ? error.message : String(error) };
    }
  }

  async close(): Promise<void> {
    const connected = await this.#connected?.catch(() => undefined); // then there is nothing to be closed
    connected?.client.destroy();
  }

  /** As whom Salvor asks, and so acts: the access key, and the role where one is assumed, whose keys change. */
  async #own(): Promise<{ accessKeyId: string; roleArn: string | undefined }> {
    const { name: account, region, roleArn } = this.#config;
    try {
      const { client } = await this.#connect();
      const { accessKeyId } = await client.config.credentials();
      return { accessKeyId, roleArn };
    } catch (error) {
      throw asProviderError(error, { account, region, service: 'cloudtrail', call: 'LookupEvents', about: 'events' });
    }
  }

  async #ask(about: string, input: LookupEventsCommandInput, signal: AbortSignal) {
    const { name: account, region } = this.#config;
    for (let tries = 1; ; tries += 1) {
      await this.#turn(signal);
      try {
        const { sdk, client } = await this.#connect();
        return await client.send(new sdk.LookupEventsCommand(input), { abortSignal: signal });
      } catch (error) {
        const told = asProviderError(error, { account, region, service: 'cloudtrail', call: 'LookupEvents', about });
        // Others ask, too.
        if (!(told instanceof UnavailableError) || tries === TRIES) throw told;
      }
      signal.throwIfAborted();
    }
  }

  async #turn(signal: AbortSignal): Promise<void> {
    const now = Date.now();
    const at = Math.max(now, this.#next);
    this.#next = at + GAP_MS;
    if (at > now) await delay(at - now, undefined, { signal });
  }

  #connect(): Promise<Connected> {
    this.#connected ??= connect(this.#config);
    return this.#connected;
  }
}

async function connect(config: AwsConfig): Promise<Connected> {
  // It takes a while to load: only where somebody asks.
  const [sdk, options] = await Promise.all([
    import('@aws-sdk/client-cloudtrail'),
    clientConfig(config, config.cloudtrailEndpoint ?? config.endpoint),
  ]);
  return { sdk, client: new sdk.CloudTrailClient(options) };
}
