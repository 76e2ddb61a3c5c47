import { extname, join } from 'node:path';
import { bundleWorkflowCode, type Logger, type WorkflowBundleWithSourceMap } from '@temporalio/worker';

/**
 * Bundles the workflows beside this file's room: the sources where it runs as TypeScript, their build in `dist/`.
 * Takes seconds; a built tree has the result in `dist/workflow-bundle.js`.
 */
export function bundleWorkflows(logger: Logger = quiet): Promise<WorkflowBundleWithSourceMap> {
  const fileOf = (name: string): string =>
    join(import.meta.dirname, '..', 'workflows', name + extname(import.meta.filename));
  return bundleWorkflowCode({
    workflowsPath: fileOf('index'),
    workflowInterceptorModules: [fileOf('trace')],
    logger,
  });
}

/**
 * The bundle for production, without stack traces: the SDK takes the stack of every promise that a workflow makes and
 * looks each line up in the source map, which is a third of what a workflow task costs. Where an error needs its stack,
 * its history is replayed in a checkout. On the first line, so that the source map stays true.
 */
export const withoutStacks = (code: string): string => `Error.stackTraceLimit = 0; ${code}`;

/** Webpack's statistics are of no use to a reader; its errors are thrown. */
const silence = () => undefined;
const quiet: Logger = { log: silence, trace: silence, debug: silence, info: silence, warn: silence, error: silence };
