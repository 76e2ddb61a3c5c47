import { expect, test } from 'vitest';
import { figuresOf } from './answers.ts';

const good = { start: 1_000, latency: 1_000, status: 200 };

test('bad is what failed or took over a second; its time is from the first bad answer to the last', () => {
  const slow = { start: 2_000, latency: 1_001, status: 200 };
  const failed = { start: 1_500, latency: 5_000, status: 504 };
  const lost = { start: 9_000, latency: 3, status: 0 };
  expect(figuresOf([good, lost, slow, failed, good])).toEqual({
    requests: 5,
    failed: 2,
    slow: 1,
    badFor: 9_003 - 3_001,
  });
  expect(figuresOf([good, failed])).toEqual({ requests: 2, failed: 1, slow: 0, badFor: 0 });
  expect(figuresOf([good])).toEqual({ requests: 1, failed: 0, slow: 0, badFor: 0 });
});
