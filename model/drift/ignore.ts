/**
 * The pattern of a stack's `ignore` that an address meets, or a field of it; undefined for none. A pattern without `#` is of a
 * whole address. Matched without regular expressions: patterns are of a person, but addresses may be of anybody.
 *
 * @param field its path; absent: the address itself is asked for
 */
export function ignoredBy(patterns: readonly string[], address: string, field?: string): string | undefined {
  return patterns.find((pattern) => {
    const hash = pattern.indexOf('#');
    if (hash < 0) return matches(pattern, address);
    return field !== undefined && matches(pattern.slice(0, hash), address) && matches(pattern.slice(hash + 1), field);
  });
}

/** Whether a text meets a pattern in which `*` stands for anything, also for nothing. */
function matches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first)) return false;
  let at = first.length;
  // The leftmost place of each part leaves the most for those after it.
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return text.length - last.length >= at && text.endsWith(last);
}
