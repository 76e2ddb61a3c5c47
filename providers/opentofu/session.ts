import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { changedAddresses, classifyPlan, gravestFirst, type PlanContext } from '../../model/drift/classify-plan.ts';
import type { Difference } from '../../model/drift/difference.ts';
import type { OpenTofuStack } from '../../model/drift/options.ts';
import type { PlanJson } from '../../model/drift/plan-json.ts';
import { changedOutputs } from '../../model/drift/plan-outputs.ts';
import type { CompareRequest } from '../../model/ports/desired-state.ts';
import type { DriftMeans } from '../desired-state.ts';
import type { HeldOn } from '../instance.ts';
import type { Watch } from '../processes/run.ts';
import { workplace } from '../processes/workplace.ts';
import { checkout } from '../source/checkout.ts';
import { environmentOf } from './environment.ts';
import { copyModule, isModule } from './module.ts';
import { Tofu } from './tofu.ts';

/** The module of a stack, ready to be planned. */
export interface Session {
  tofu: Tofu;
  revision?: string;
  context: PlanContext;
  /** Values that no message may show. */
  secrets: readonly string[];
}

/**
 * Brings the source here, initialises it in a folder of its own, and works with it.
 * @param work not called where it must not be worked with
 * @returns what came of the work, or why it must not be done
 */
export async function inSession<T>(
  request: CompareRequest,
  options: OpenTofuStack,
  means: DriftMeans,
  work: (session: Session) => Promise<T>,
): Promise<T | { refused: string }> {
  const { stack, revision } = request;
  const { pulse } = means;
  const watch: Watch = { signal: pulse.signal, beat: () => pulse.beat(undefined) };
  await using source = await checkout(options, { ...watch, revision });
  if (!(await isModule(source.folder)))
    return { refused: `there is nothing of OpenTofu in ${source.folder}: no *.tf, no *.tofu` };
  await using place = await workplace();
  const isOurs = source.revision !== undefined;
  const root = join(await realpath(place.folder), 'tree');
  const cwd = isOurs ? source.folder : await copyModule(source.folder, root, options.varFiles);
  const environment = await environmentOf(options, join(place.folder, 'data'));
  const tofu = new Tofu({
    ...{ stack, options, cwd, place, environment, watch },
    ...(!isOurs && { folder: source.folder }),
  });
  const refused = await tofu.init();
  if (refused !== undefined) return { refused };
  const [seal, held] = [await tofu.sealer(), await means.held()];
  const context = { ignore: stack.ignore, held: held.flatMap(holdsOf), seal };
  return await work({ tofu, revision: source.revision, context, secrets: environment.secrets });
}

/** Where nobody can tell what is held, something may be. */
const holdsOf = ({ object, holds, problem }: HeldOn): { key: string; by: string }[] =>
  problem === undefined
    ? holds.map(({ remediation, runbook }) => ({ key: object.key, by: `${runbook} ${remediation.slice(0, 8)}` }))
    : [{ key: object.key, by: `something that cannot be read (${problem})` }];

/** Everything that differs, each as what it is. */
export async function differencesOf({ tofu, context }: Session): Promise<Difference[]> {
  const { plan } = await tofu.plan();
  const all = classifyPlan(plan, context);
  const changed = changedBy(plan);
  const among = (of: (one: Difference) => boolean) => all.filter(of).map(({ address }) => address);
  const revertible = among(isRevertible);
  const mixed = await needingOthers(tofu, revertible, changed);
  // Of what needs no approval itself, but brings something that does.
  const gentle = among(({ class: of, address }) => of === 'reversible' && !mixed.has(address));
  const destructive = await needingOthers(
    tofu,
    gentle,
    changed.filter((address) => revertible.includes(address)),
  );
  return graver(all, mixed, destructive);
}

function graver(
  all: readonly Difference[],
  mixed: ReadonlyMap<string, string>,
  destructive: ReadonlyMap<string, string>,
): Difference[] {
  const told = all.map((one): Difference => {
    const needed = mixed.get(one.address) ?? destructive.get(one.address);
    if (needed === undefined) return one;
    const why = `it was changed by hand, and to revert it would change ${needed} too, which is not to be reverted`;
    return mixed.has(one.address)
      ? { ...one, class: 'mixed', why }
      : { ...one, class: 'destructive', why: `${why} without approval` };
  });
  return gravestFirst(told);
}

export const isRevertible = ({ class: of }: Pick<Difference, 'class'>): boolean =>
  of === 'reversible' || of === 'destructive';

/** All that an apply would write that has a name. */
const changedBy = (plan: PlanJson): string[] => [...changedAddresses(plan), ...changedOutputs(plan)];

/** How many are looked at one by one; of more, none is reverted as long as one of them needs another. */
const MOST_ALONE = 10;

/**
 * A target brings what it depends on: which of these addresses would bring one that is none of them? OpenTofu itself is asked,
 * for only it knows all that a source refers to.
 */
async function needingOthers(
  tofu: Tofu,
  addresses: readonly string[],
  changed: readonly string[],
): Promise<Map<string, string>> {
  const needing = new Map<string, string>();
  if (addresses.length === 0 || changed.every((address) => addresses.includes(address))) return needing;
  const outside = async (targets: readonly string[]) => {
    const { plan } = await tofu.plan(targets);
    return changedBy(plan).find((address) => !addresses.includes(address));
  };
  const first = await outside(addresses);
  if (first === undefined) return needing;
  for (const address of addresses) {
    const needed = addresses.length > MOST_ALONE ? first : await outside([address]);
    if (needed !== undefined) needing.set(address, needed);
  }
  return needing;
}
