export type Family = 4 | 6;

const BITS = { 4: 32, 6: 128 } as const;
/** Bits of what is written between two dots, or two colons. */
const PIECE = { 4: 8, 6: 16 } as const;

interface Block {
  family: Family;
  address: bigint;
  prefix: number;
}

/**
 * A block of addresses in the one form that EC2 gives it, too: without bits beyond its length, IPv6 in lower case and as short as
 * it gets (RFC 5952). Undefined for what is no block.
 */
export function canonicalCidr(text: string, family: Family): string | undefined {
  const block = blockOf(text, family);
  return block && `${textOf(maskedOf(block), family)}/${block.prefix}`;
}

/** Whether it is a block without bits beyond its length. */
export function isWhole(text: string, family: Family): boolean {
  const block = blockOf(text, family);
  return block !== undefined && maskedOf(block) === block.address;
}

/** Whether two blocks have an address in common; so it is taken for where either is none. */
export function overlap(one: string, other: string, family: Family): boolean {
  const [a, b] = [blockOf(one, family), blockOf(other, family)];
  if (!a || !b) return true;
  const prefix = Math.min(a.prefix, b.prefix);
  return maskedOf({ ...a, prefix }) === maskedOf({ ...b, prefix });
}

function blockOf(text: string, family: Family): Block | undefined {
  const [, written = '', length = ''] = /^([0-9A-Fa-f:.]{2,45})\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const prefix = Number(length);
  if (length === '' || prefix > BITS[family]) return undefined;
  const pieces = family === 4 ? pieces4(written) : pieces6(written);
  const bits = BigInt(PIECE[family]);
  const address = pieces?.reduce((value, piece) => (value << bits) | BigInt(piece), 0n);
  return address === undefined ? undefined : { family, address, prefix };
}

function maskedOf({ family, address, prefix }: Block): bigint {
  const beyond = BigInt(BITS[family] - prefix);
  return (address >> beyond) << beyond;
}

function pieces4(written: string): number[] | undefined {
  if (!/^(?:(?:0|[1-9]\d{0,2})(?:\.(?!$)|$)){4}$/.test(written)) return undefined;
  const pieces = written.split('.').map(Number);
  return pieces.every((piece) => piece <= 255) ? pieces : undefined;
}

/** Addresses of the web are written in the same way: that reads all of its spellings. */
function pieces6(written: string): number[] | undefined {
  if (!written.includes(':') || !URL.canParse(`http://[${written}]/`)) return undefined;
  const sides = new URL(`http://[${written}]/`).hostname.slice(1, -1).split('::');
  const [head = [], tail] = sides.map((side) => (side === '' ? [] : side.split(':')));
  const zeros = tail ? Array<string>(8 - head.length - tail.length).fill('0') : [];
  return [...head, ...zeros, ...(tail ?? [])].map((piece) => Number.parseInt(piece, 16));
}

function textOf(address: bigint, family: Family): string {
  const bits = PIECE[family];
  const pieces = Array.from({ length: BITS[family] / bits }, (_, i) =>
    Number((address >> BigInt(BITS[family] - bits * (i + 1))) & ((1n << BigInt(bits)) - 1n)),
  );
  if (family === 4) return pieces.join('.');
  return new URL(`http://[${pieces.map((piece) => piece.toString(16)).join(':')}]/`).hostname.slice(1, -1);
}
