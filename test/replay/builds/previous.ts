import { defineQuery, setHandler, setWorkflowOptions, workflowInfo } from '@temporalio/workflow';
import type { Ending, RemediationInput } from '../../../model/remediation.ts';
import { remediation as today } from '../../../workflows/remediation.ts';

export { budget } from '../../../workflows/budget.ts';
export { control } from '../../../workflows/control.ts';
export { herald } from '../../../workflows/herald.ts';
export { limits } from '../../../workflows/limits.ts';
export { responder } from '../../../workflows/responder.ts';
export { tick } from '../../../workflows/tick.ts';

export async function remediation(input: RemediationInput): Promise<Ending> {
  setHandler(defineQuery<string>('build'), () => 'previous');
  return await today(input);
}

setWorkflowOptions(
  () => (workflowInfo().currentDeploymentVersion?.deploymentName ? { versioningBehavior: 'PINNED' } : {}),
  remediation,
);
