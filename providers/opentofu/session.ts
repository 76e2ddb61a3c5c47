import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { changedAddresses, classifyPlan, type PlanContext } from '../../model/drift/classify-plan.ts';
import type { Difference } from '../../model/drift/difference.ts';
import type { OpenTofuStack } from '../../model/drift/options.ts';
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
  const cwd = isOurs ? source.folder : await copyModule(source.folder, root);
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

/** How many are looked at one by one; of more, none is reverted as long as one of them needs what is not applied. */
const MOST_ALONE = 10;

/** Everything that differs, each as what it is. */
export async function differencesOf({ tofu, context }: Session): Promise<Difference[]> {
  const { plan } = await tofu.plan();
  const all = classifyPlan(plan, context);
  const candidates = all.filter(isRevertible).map(({ address }) => address);
  const others = changedAddresses(plan).filter((address) => !candidates.includes(address));
  if (candidates.length === 0 || others.length === 0) return all;
  const needing = await needingOthers(tofu, candidates);
  return all.map((one) => {
    const needed = needing.get(one.address);
    const why = `it was changed by hand, and to revert it would change ${needed} too, which is not to be reverted`;
    return needed === undefined ? one : { ...one, class: 'mixed', why };
  });
}

export const isRevertible = ({ class: of }: Pick<Difference, 'class'>): boolean =>
  of === 'reversible' || of === 'destructive';

/** A target brings what it depends on: which of them would bring what is none of them? OpenTofu itself is asked. */
async function needingOthers(tofu: Tofu, candidates: readonly string[]): Promise<Map<string, string>> {
  const outside = async (addresses: readonly string[]) => {
    const { plan } = await tofu.plan(addresses);
    return changedAddresses(plan).find((address) => !candidates.includes(address));
  };
  const needing = new Map<string, string>();
  const first = await outside(candidates);
  if (first === undefined) return needing;
  for (const address of candidates) {
    const needed = candidates.length > MOST_ALONE ? first : await outside([address]);
    if (needed !== undefined) needing.set(address, needed);
  }
  return needing;
}
