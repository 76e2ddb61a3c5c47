import type { Subject } from '../../checks.ts';
import type { Kind, Place } from '../examine.ts';
import { conditionOf, describeCondition, type Health, isTrue } from '../health.ts';
import type { Node } from '../objects.ts';
import { instanceIdOf } from './pool.ts';

/** What the kubelet, or who watches over it, says of the node. */
const readiness = (node: Node): Health =>
  isTrue(node, 'Ready')
    ? { healthy: true, why: 'the node is Ready' }
    : { healthy: false, why: describeCondition(node, 'Ready') };

/** Its own address is that within the cluster. */
function subjectOf({ name: cluster, isLocal: local }: Place, { metadata, spec, status }: Node): Subject {
  const instance = instanceIdOf(spec);
  const address = status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
  return {
    values: { cluster, node: metadata.name, ...(instance && { instance }) },
    ...(address && { address, local }),
  };
}

export const NODE: Kind = {
  what: 'node',
  health: readiness,
  transitions: (node) => `${conditionOf(node, 'Ready')?.lastTransitionTime}`,
  subject: subjectOf,
};
