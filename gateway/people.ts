import { createHash, timingSafeEqual } from 'node:crypto';
import type { Config } from '../model/config.ts';

/** Somebody whom the gateway knows by a token. */
export interface Person {
  name: string;
  groups: string[];
}

/** Who sends this Authorization header; undefined for nobody who is known. */
export type Recognize = (authorization: string | undefined) => Person | undefined;

/**
 * Recognizes people by the hashes of their tokens. Each is compared, whoever it is, so that the time of an answer tells
 * nothing.
 *
 * @param webhook the token of the webhook, as it is now: it is nobody's, whatever the configuration says
 */
export function recognizer(people: Config['gateway']['people'], webhook?: () => string): Recognize {
  const known = people.map(({ tokenHash, name, groups }) => ({
    person: { name, groups },
    hash: Buffer.from(tokenHash, 'hex'),
  }));
  return (authorization) => {
    const [, token] = /^bearer +(\S+)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined) return undefined;
    const given = sha256(token);
    const found = known.filter(({ hash }) => timingSafeEqual(given, hash));
    const isWebhook = webhook !== undefined && timingSafeEqual(given, sha256(webhook()));
    return isWebhook ? undefined : found[0]?.person;
  };
}

const sha256 = (value: string): Buffer => createHash('sha256').update(value).digest();

/** Orders of one person within a minute: more are a program that has gone wrong. */
const MOST = 60;
const MINUTE = 60_000;

/** Counts the orders of each person. */
export class Pace {
  readonly #began = new Map<string, { at: number; count: number }>();

  /** @param now milliseconds since the epoch @returns seconds to wait, or 0 */
  tooFast(name: string, now: number): number {
    const minute = this.#began.get(name);
    if (minute === undefined || now - minute.at >= MINUTE) {
      this.#began.set(name, { at: now, count: 1 });
      return 0;
    }
    minute.count += 1;
    return minute.count > MOST ? Math.ceil((minute.at + MINUTE - now) / 1000) : 0;
  }
}
