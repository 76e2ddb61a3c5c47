import { compareGroup, type GroupDifference, type LiveGroup } from '../../../model/drift/compare-groups.ts';
import type { SecurityGroupsStack, Stack } from '../../../model/drift/options.ts';
import type { DeclaredGroup } from '../../../model/drift/security-groups.ts';
import type { Watch } from '../../processes/run.ts';
import type { Aws } from '../provider.ts';
import type { SecurityGroups } from './api.ts';
import { declaredIn, declaredTwice, UnfitSource } from './source.ts';

/** What a stack of security groups is compared with and by. */
export interface Means {
  aws: Pick<Aws, 'securityGroups' | 'trail'>;
  stack: Stack;
  options: SecurityGroupsStack;
}

export interface Look {
  /** How many are declared. */
  count: number;
  revision?: string;
  found: (GroupDifference & { owner: string })[];
}

/** @throws UnfitSource, MovedError; FinalError and UnavailableError of the source and of AWS */
export async function look({ aws, stack, options }: Means, revision: string | undefined, watch: Watch): Promise<Look> {
  const { groups, revision: commit } = await declaredIn(options, revision, watch);
  const all = await liveOf(aws.securityGroups, groups, watch.signal);
  const found = all.flatMap(({ declared, live }) => {
    const difference = compareGroup(declared, live, stack.ignore);
    return difference ? [{ ...difference, owner: live?.owner ?? '' }] : [];
  });
  return { count: groups.length, found, ...(commit !== undefined && { revision: commit }) };
}

/** Each with what it is now; absent where there is no such group. */
async function liveOf(
  api: SecurityGroups,
  groups: readonly DeclaredGroup[],
  signal: AbortSignal,
): Promise<{ declared: DeclaredGroup; live?: LiveGroup }[]> {
  const ids = groups.flatMap(({ id }) => id ?? []);
  const byVpc = Map.groupBy(
    groups.filter(({ id }) => id === undefined),
    ({ vpc = '' }) => vpc,
  );
  const known = await api.byId(ids, signal);
  for (const [vpc, named] of byVpc)
    known.push(
      ...(await api.byName(
        vpc,
        named.flatMap(({ name }) => name ?? []),
        signal,
      )),
    );
  const rules = await api.rules(known, signal);
  const seen = new Map<string, string>();
  return groups.map((declared) => {
    const { id, name, vpc, where } = declared;
    const found = known.find((one) => (id === undefined ? one.name === name && one.vpc === vpc : one.id === id));
    if (!found) return { declared };
    const first = seen.get(found.id);
    // Once by its name, once by its id.
    if (first !== undefined) throw new UnfitSource(declaredTwice(found.id, first, where));
    seen.set(found.id, where);
    return { declared, live: { ...found, rules: rules.get(found.id) ?? [] } };
  });
}
