import { parseTarget } from '../../model/target.ts';
import type { Life } from '../life.ts';

/** How the steps are told of one kind of instance. */
interface Words {
  cut: string;
  /** The cut undone. */
  back: string;
  /** What it comes to where it does not recover. */
  else: string;
  asking: string;
  /** What is asked for, and how. */
  replace: string;
  /** What has to be seen before it is done. */
  toSee: string;
}

const POD: Words = {
  cut: 'cut its traffic',
  back: 'give its traffic back',
  else: 'replace it',
  asking: 'asking for its eviction',
  replace: 'evict it within its disruption budgets',
  toSee: 'its replacement Ready',
};
const NODE: Words = {
  cut: 'cordon it',
  back: 'uncordon it',
  else: 'drain it',
  asking: 'asking for the eviction of its pods',
  replace: 'evict its pods within their disruption budgets',
  toSee: 'the replacements of its pods Ready',
};
const NODE_AND_MACHINE: Words = {
  ...NODE,
  else: 'drain it and replace its machine',
  replace: 'evict its pods within their disruption budgets, then terminate its machine',
  toSee: 'the replacements of its pods, and a new node, Ready',
};
const MACHINE: Words = {
  cut: 'take it out of service',
  back: 'put it back in service',
  else: 'replace it',
  asking: 'asking for its termination',
  replace: 'terminate it, so that its group replaces it',
  toSee: 'its replacement in service',
};
const KEPT_POD = { asking: 'asking for its deletion', replace: 'delete it, with its own grace period' };
const KEPT_MACHINE = { asking: MACHINE.asking, replace: 'terminate it, for its replacement is in service' };

export function wordsOf({ input: { target, rule } }: Life<'drain-instance'>): Words {
  switch (parseTarget(target).type) {
    case 'node':
      return rule.with.node?.terminate ? NODE_AND_MACHINE : NODE;
    case 'asg':
      return MACHINE;
    default:
      return POD;
  }
}

/** Of what has its replacement already, and is done away with. */
export const wordsOfEnd = ({ input: { target } }: Life<'drain-instance'>): Pick<Words, 'asking' | 'replace'> =>
  parseTarget(target).type === 'asg' ? KEPT_MACHINE : KEPT_POD;
