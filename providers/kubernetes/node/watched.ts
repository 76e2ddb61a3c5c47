import { HELD_ANNOTATION } from '../../../model/names.ts';
import { NODES, type Node } from '../objects.ts';
import type { Watched } from '../watch.ts';

/** Concern of whoever looks at more than one node. */
export const ANY_NODE = '*';

/** The nodes of a cluster, without what no wait looks at. Concern: the node's name, and {@link ANY_NODE}. */
export const NODES_WATCHED: Watched<Node> = {
  ref: NODES,
  concerns: (name) => [name, ANY_NODE],
  view: (object) => {
    const { metadata, spec, status } = object as Node;
    const { name, uid, resourceVersion, deletionTimestamp, labels } = metadata;
    const held = metadata.annotations?.[HELD_ANNOTATION];
    return {
      metadata: {
        ...{ name, uid, resourceVersion, deletionTimestamp, labels },
        ...(held !== undefined && { annotations: { [HELD_ANNOTATION]: held } }),
      },
      spec: { unschedulable: spec?.unschedulable, providerID: spec?.providerID },
      status: {
        conditions: status?.conditions?.filter(({ type }) => type === 'Ready'),
        addresses: status?.addresses?.filter(({ type }) => type === 'InternalIP'),
      },
    };
  },
};
