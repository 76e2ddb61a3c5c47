import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MOST_REMEMBERED, type Remembered } from '../../model/remediation.ts';
import type { ResponderState } from '../../model/responder.ts';
import { Memory } from '../../workflows/memory.ts';

const empty = (): ResponderState => ({
  ...{ open: {}, queue: {}, settled: {}, cooling: {}, attempts: {} },
  tally: { admit: 0, wait: 0, refuse: 0, coalesce: 0 },
});
const until = (at: number): Remembered => ({ until: at, value: { at } });

describe('what runbooks remember of a target', () => {
  it('is kept by key, and forgotten when it may be or is to be', () => {
    const state = empty();
    const memory = new Memory(state);
    memory.remember('stack/a', { '@x': until(10), '@y': until(20) });
    memory.remember('stack/a', { '@x': null, '@z': until(30) });
    expect(state.memory).toEqual({ 'stack/a': { '@y': until(20), '@z': until(30) } });
    expect(memory.last(0)).toBe(30);
    memory.forget(20, 0);
    expect(state.memory).toEqual({ 'stack/a': { '@z': until(30) } });
    memory.forget(30, 0);
    expect(state.memory).toBeUndefined();
  });

  it('is bounded for each target: what would be forgotten first goes', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1_000 }), { maxLength: 500 }), (times) => {
        const state = empty();
        const memory = new Memory(state);
        for (const [i, at] of times.entries()) memory.remember('stack/a', { [`@${i}`]: until(at) });
        const kept = Object.values(state.memory?.['stack/a'] ?? {});
        expect(kept).toHaveLength(Math.min(times.length, MOST_REMEMBERED));
      }),
    );
  });

  it('makes room in a state that has to be carried', () => {
    const state = empty();
    const memory = new Memory(state);
    for (let target = 0; target < 20; target += 1)
      memory.remember(
        `stack/${target}`,
        Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`@${i}${'x'.repeat(300)}`, until(1_000 + target)])),
      );
    expect(memory.isTooLarge).toBe(true);
    memory.fit();
    expect(memory.isTooLarge).toBe(false);
    const targets = Object.keys(state.memory ?? {});
    expect(targets).toContain('stack/19');
    expect(targets).not.toContain('stack/0');
  });
});
