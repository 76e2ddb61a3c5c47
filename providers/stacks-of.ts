import type { Stack, StackSource } from '../model/drift/options.ts';
import { kindOf } from '../model/drift/schema.ts';
import type { Aws } from './aws/provider.ts';
import { securityGroups } from './aws/security-groups/provider.ts';
import type { DesiredStateProvider, Stacks } from './desired-state.ts';
import { FinalError } from './errors.ts';
import { manifests } from './kubernetes/manifests/provider.ts';
import type { Kubernetes } from './kubernetes/provider.ts';
import { openTofu } from './opentofu/provider.ts';

export interface StacksWorld {
  clusters: ReadonlyMap<string, Kubernetes>;
  accounts: ReadonlyMap<string, Aws>;
}

/** One line for each kind of stack. */
const WAYS: {
  [K in keyof StackSource]?: (
    stack: Stack,
    options: NonNullable<StackSource[K]>,
    world: StacksWorld,
  ) => DesiredStateProvider;
} = {
  opentofu: openTofu,
  manifests: (stack, options, { clusters }) => {
    const kubernetes = clusters.get(options.cluster);
    if (kubernetes) return manifests(kubernetes.cluster, stack, options);
    throw new FinalError(`stack ${stack.name}: no cluster ${options.cluster} is configured`, { type: 'UnknownTarget' });
  },
  securityGroups: (stack, options, { accounts }) => {
    const aws = accounts.get(options.aws);
    if (aws) return securityGroups({ aws, stack, options });
    throw new FinalError(`stack ${stack.name}: no account ${options.aws} is configured`, { type: 'UnknownTarget' });
  },
};

export function stacksOf(world: StacksWorld): Stacks {
  return {
    of(stack) {
      const kind = kindOf(stack);
      const made = kind && makeOne(kind, stack, world);
      if (made) return made;
      throw new FinalError(`stack ${stack.name}: no provider for ${kind ?? 'what it is'}`, { type: 'UnknownTarget' });
    },
  };
}

function makeOne<K extends keyof StackSource>(
  kind: K,
  stack: Stack,
  world: StacksWorld,
): DesiredStateProvider | undefined {
  const options = stack[kind];
  return options && WAYS[kind]?.(stack, options as NonNullable<StackSource[K]>, world);
}
