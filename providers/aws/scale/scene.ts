import type { Change } from '../../../model/change.ts';
import type { Scale } from '../../../model/ports/scalable.ts';
import { LOST } from '../../instance.ts';
import { Recent } from '../../recent.ts';
import type { Account, Answered } from '../account.ts';
import { type Group, keyOf, onLoan } from '../group.ts';
import { DESIRED_CAPACITY } from '../notes.ts';

/** One group, and what is needed to set its size. */
export interface GroupScene {
  account: Account;
  /** Its name. */
  group: string;
  /** Of the account, by group. */
  policies: Recent<string[]>;
}

/** Scaling policies change with the source, not with the load: they need not be asked for at every look. */
const POLICIES_MS = 60_000;

export const recentPolicies = (): Recent<string[]> => new Recent(POLICIES_MS);

export const refOf = ({ account, group }: GroupScene, { arn }: Group): Scale['object'] => ({
  key: keyOf(account.name, group),
  uid: arn,
});

export const nameOf = ({ account, group }: GroupScene): string =>
  `the size of the Auto Scaling group ${group} in ${account.name} (${account.region})`;

/**
 * Within what its own desired capacity may be set: what is on standby for a while is a part of it, and counts neither for MinSize,
 * nor until it comes back for MaxSize.
 */
export const limitsOf = (group: Group): { min: number; max: number } => ({
  min: group.min + onLoan(group),
  max: group.max,
});

interface Resize {
  step: string;
  object: Scale['object'];
  /** Of the group's own desired capacity, whatever is on loan. */
  from: number;
  to: number;
}

/**
 * A change of the desired capacity, as AWS has it: without what Salvor has on standby for a while. Without an answer it was lost
 * with an earlier attempt.
 */
export function resized({ step, object, from, to }: Resize, group: Group, answered?: Answered): Change {
  const lent = onLoan(group);
  const [before, after] = [from - lent, to - lent];
  const aside = lent === 0 ? '' : ` (and ${lent} on standby, which Salvor gives back)`;
  const what = `${DESIRED_CAPACITY}: ${before} → ${after}${aside}`;
  return {
    ...{ step, object, field: DESIRED_CAPACITY, before, after },
    what: answered ? what : `${what}${LOST}`,
    at: answered?.at ?? new Date().toISOString(),
    ...(answered?.requestId !== undefined && { requestId: answered.requestId }),
  };
}
