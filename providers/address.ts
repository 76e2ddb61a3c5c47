import { BlockList, isIP } from 'node:net';

/**
 * Where no instance lives, though its status may say so: whoever may write that could have Salvor ask the metadata service of
 * its own machine. BlockList takes an address of IPv4 that is written as one of IPv6 for what it is.
 */
const NOWHERE = new BlockList();
for (const [from, bits] of [
  ['0.0.0.0', 8],
  // Link-local, with the metadata services of AWS, Google and Azure.
  ['169.254.0.0', 16],
  // Multicast, what is reserved, and broadcast.
  ['224.0.0.0', 3],
] as const)
  NOWHERE.addSubnet(from, bits, 'ipv4');
for (const [from, bits] of [
  ['::', 128],
  ['fe80::', 10],
  ['ff00::', 8],
  // The metadata services of AWS by IPv6, and link-local addresses of IPv4 by way of a translator.
  ['fd00:ec2::', 32],
  ['64:ff9b::a9fe:0', 112],
  ['2002:a9fe::', 32],
] as const)
  NOWHERE.addSubnet(from, bits, 'ipv6');
/** The metadata services of Azure's platform, Alibaba and Oracle, which are not link-local. */
for (const address of ['168.63.129.16', '100.100.100.200', '192.0.0.192']) NOWHERE.addAddress(address, 'ipv4');

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

const isIn = (list: BlockList, address: string): boolean => list.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');

export const isLoopback = (host: string): boolean => host === 'localhost' || (isIP(host) !== 0 && isIn(LOOPBACK, host));

/**
 * Why an address that an instance gives as its own is not asked; undefined where it may be.
 *
 * @param local its platform is on this very machine, so loopback may be where its instances are
 */
export function notItsOwn(address: string, local: boolean): string | undefined {
  if (isIP(address) === 0) return `${address} is no IP address`;
  if (isIn(NOWHERE, address))
    return `${address} is link-local, multicast or of a metadata service, and no instance's own`;
  if (isLoopback(address) && !local) return `${address} is Salvor's own machine`;
  return undefined;
}
