/** At most so many bytes of UTF-8 has a value as JSON: what is beyond ASCII is taken for three times its length. */
export function bytesOf(value: unknown): number {
  const text = JSON.stringify(value);
  return text.length + 2 * (text.match(/\P{ASCII}/gu)?.length ?? 0);
}
