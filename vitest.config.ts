import { defineConfig } from 'vitest/config';
import { ClosingLine } from './test/closing-line.ts';

/** Tests that run `salvor` as its users do, from the built tree; each brings up real servers of its own. */
const WHOLE = ['test/{cli,e2e}/**/*.test.ts', 'test/deploy/processes.test.ts'];

export default defineConfig({
  test: {
    // What CI prints is read for its failures alone.
    reporters: [process.env['CI'] === undefined ? 'default' : 'dot', new ClosingLine()],
    silent: 'passed-only',
    projects: [
      {
        test: {
          name: 'parts',
          include: ['test/**/*.test.ts'],
          exclude: WHOLE,
          pool: 'forks',
          maxWorkers: 2,
          testTimeout: 180_000,
          hookTimeout: 240_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'whole',
          include: WHOLE,
          globalSetup: ['test/setup.ts'],
          pool: 'forks',
          // One file at a time: a whole way has a control plane, Temporal and a worker, which is all that two cores carry.
          maxWorkers: 1,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
