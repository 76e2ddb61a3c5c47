import { join } from 'node:path';
import { bundleWorkflowCode } from '@temporalio/worker';

/**
 * Builds of Salvor's workflows other than today's: each file beside this one is one.
 *
 * - `previous` goes the same way in other words: its remediations answer the query `build`
 * - `slower` waits a second before it does anything, in responders, remediations and times of schedules
 * - `broken` has a bug in its remediation
 */
export type Build = 'previous' | 'slower' | 'broken';

const silence = () => undefined;
const quiet = { log: silence, trace: silence, debug: silence, info: silence, warn: silence, error: silence };

/** The code of its bundle. */
export async function bundleOf(build: Build): Promise<string> {
  const { code } = await bundleWorkflowCode({
    workflowsPath: join(import.meta.dirname, `${build}.ts`),
    workflowInterceptorModules: [join(import.meta.dirname, '../../../workflows/trace.ts')],
    logger: quiet,
  });
  return code;
}
