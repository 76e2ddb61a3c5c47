import { createHash, timingSafeEqual } from 'node:crypto';
import { BlockList, isIPv6 } from 'node:net';

/** Says whether the value of an Authorization header is known. */
export type Authenticate = (authorization: string | undefined) => boolean;

/** What is known; each is asked anew for every request, because secrets rotate. */
export interface Credentials {
  bearer?: () => string;
  basic?: { username: string; password: () => string };
}

export const isOpen = (credentials: Credentials): boolean =>
  credentials.bearer === undefined && credentials.basic === undefined;

/** Either kind of credentials is enough where both are configured. Where none is, everybody is known. */
export function authenticator(credentials: Credentials): Authenticate {
  const { bearer, basic } = credentials;
  if (isOpen(credentials)) return () => true;
  return (authorization) => {
    const [, scheme, value] = /^(bearer|basic) +(\S+)$/i.exec(authorization ?? '') ?? [];
    if (scheme === undefined || value === undefined) return false;
    if (scheme.toLowerCase() === 'bearer') return bearer !== undefined && same(value, bearer());
    if (basic === undefined) return false;
    return same(Buffer.from(value, 'base64'), `${basic.username}:${basic.password()}`);
  };
}

/** Digests have one length, so the time tells nothing of the secret, not even its length. */
function same(given: string | Buffer, known: string): boolean {
  return timingSafeEqual(sha256(given), sha256(known));
}

const sha256 = (value: string | Buffer): Buffer => createHash('sha256').update(value).digest();

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8);
LOOPBACK.addAddress('::1', 'ipv6');

export const isLoopback = (address: string): boolean => LOOPBACK.check(address, isIPv6(address) ? 'ipv6' : 'ipv4');
