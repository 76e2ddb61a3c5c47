/**
 * What the proxy before moto (aws-proxy.ts) adds of CloudTrail, as its API reference
 * (https://docs.aws.amazon.com/awscloudtrail/latest/APIReference/API_LookupEvents.html) says: LookupEvents tells of all
 * requests to the region that is asked, also of those that were refused, newest first, by one attribute and by time.
 *
 * - Whose access key it is must be said (`know`), else its id is the name; that of a role is known from its AssumeRole.
 * - Times are whole seconds. Events are there at once, while CloudTrail takes some minutes: `hold` makes them late.
 * - More than two requests in a second are throttled where `limit` says so.
 */
import type { AwsRequest } from './aws-record.ts';
import { Refusal } from './aws-refusal.ts';
import { type Identity, type TrailEvent, trailEvent } from './aws-trail-event.ts';
import { elementOf } from './aws-xml.ts';

export interface CloudTrail {
  /** Whose access key it is, from now on. */
  know(accessKeyId: string, who: Identity): void;
  /** So many requests of LookupEvents in each second are answered, the others throttled. CloudTrail has 2; default here: all. */
  limit(perSecond?: number): void;
  /** What happens from now on is not told of until it is let go. */
  hold(): { release(): void };
}

interface Asked {
  LookupAttributes?: { AttributeKey: string; AttributeValue: string }[];
  StartTime?: number;
  EndTime?: number;
  MaxResults?: number;
  NextToken?: string;
}

const MOST = 50;

/** Not of the control plane, so CloudTrail tells of them only where a trail is told to keep them. */
const DATA: readonly string[] = ['PutMetricData', 'GetMetricData'];

export class Trail implements CloudTrail {
  readonly #known = new Map<string, Identity>();
  /** Oldest first. */
  readonly #events: { region: string; event: TrailEvent }[] = [];
  /** How many of them can be told of. */
  #told = Number.POSITIVE_INFINITY;
  #perSecond = Number.POSITIVE_INFINITY;
  #lookups: number[] = [];

  know(accessKeyId: string, who: Identity): void {
    this.#known.set(accessKeyId, who);
  }

  limit(perSecond = 2): void {
    this.#perSecond = perSecond;
  }

  hold(): { release(): void } {
    this.#told = this.#events.length;
    return {
      release: () => {
        this.#told = Number.POSITIVE_INFINITY;
      },
    };
  }

  /** Of any request: it was answered so. */
  took(request: AwsRequest, answer: string): void {
    if (request.action === 'AssumeRole') this.#assumed(request, answer);
    if (DATA.includes(request.action)) return;
    const identity = this.#known.get(request.by) ?? { user: request.by };
    this.#events.push({ region: request.region, event: trailEvent(request, identity, answer) });
  }

  #assumed({ parameters }: AwsRequest, answer: string): void {
    const key = elementOf(answer, 'AccessKeyId');
    const { RoleArn = '', RoleSessionName: session = '' } = parameters;
    if (key !== undefined) this.know(key, { role: RoleArn.split('/').at(-1) ?? '', session });
  }

  /** Of LookupEvents. @throws Refusal */
  lookup(body: string, region: string, now = Date.now()): string {
    this.#lookups = this.#lookups.filter((at) => at > now - 1_000);
    if (this.#lookups.length >= this.#perSecond) throw new Refusal('Rate exceeded', 'ThrottlingException');
    this.#lookups.push(now);
    const asked = JSON.parse(body || '{}') as Asked;
    const { MaxResults = MOST, NextToken } = asked;
    refuseWrong(asked);
    const told = this.#events.slice(0, this.#told).filter((one) => one.region === region);
    const found = told.map(({ event }) => event).filter((event) => matches(event, asked));
    found.reverse();
    const after = found.findIndex(({ EventId }) => EventId === NextToken);
    if (NextToken !== undefined && after < 0) throw new Refusal('Invalid next token', 'InvalidNextTokenException');
    const page = found.slice(after + 1, after + 1 + MaxResults);
    const last = page.at(-1)?.EventId;
    return JSON.stringify({ Events: page, ...(last !== found.at(-1)?.EventId && { NextToken: last }) });
  }
}

function refuseWrong({ LookupAttributes = [], StartTime = 0, EndTime = StartTime, MaxResults = MOST }: Asked): void {
  if (LookupAttributes.length > 1)
    throw new Refusal('You can specify only one lookup attribute.', 'InvalidLookupAttributesException');
  if (MaxResults < 1 || MaxResults > MOST)
    throw new Refusal('The value of MaxResults must be from 1 to 50.', 'InvalidMaxResultsException');
  if (EndTime < StartTime) throw new Refusal('The end is before the start.', 'InvalidTimeRangeException');
}

function matches(event: TrailEvent, { LookupAttributes: [wanted] = [], StartTime, EndTime }: Asked): boolean {
  if (StartTime !== undefined && event.EventTime < StartTime) return false;
  if (EndTime !== undefined && event.EventTime > EndTime) return false;
  if (wanted === undefined) return true;
  const { AttributeKey: key, AttributeValue: value } = wanted;
  if (key === 'ResourceName') return event.Resources.some(({ ResourceName }) => ResourceName === value);
  if (key === 'ResourceType') return event.Resources.some(({ ResourceType }) => ResourceType === value);
  return event[key as keyof TrailEvent] === value;
}
