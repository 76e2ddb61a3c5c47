import type { WorkerOptions } from '@temporalio/worker';

/** Which build of which deployment a worker is, as Temporal's Worker Versioning has it. */
export interface Version {
  deployment: string;
  buildId: string;
}

/**
 * What makes a worker a versioned one. Workflows go on under the current version, whatever they began with; a
 * remediation says of itself that it ends on the one that it began with (workflows/remediation.ts).
 */
export function versioned(version: Version | undefined): Pick<WorkerOptions, 'workerDeploymentOptions'> {
  if (version === undefined) return {};
  const { deployment: deploymentName, buildId } = version;
  return {
    workerDeploymentOptions: {
      useWorkerVersioning: true,
      version: { deploymentName, buildId },
      defaultVersioningBehavior: 'AUTO_UPGRADE',
    },
  };
}
