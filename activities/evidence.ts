import { setTimeout as delay } from 'node:timers/promises';
import { type Client, WorkflowNotFoundError } from '@temporalio/client';
import { allowance, type Bound } from '../model/bound.ts';
import type { Evidence, EvidenceActivities, LookRequest, TargetEvidence, WorkloadEvidence } from '../model/evidence.ts';
import { InputError } from '../model/input-error.ts';
import type { LeaseAnswer, LeaseRequest } from '../model/limits.ts';
import { remediationId } from '../model/names.ts';
import { isUnder, type Pause } from '../model/pause.ts';
import type { ResolvedRule } from '../model/rule.ts';
import { windowAt } from '../model/windows.ts';
import { FinalError } from '../providers/errors.ts';
import { type EvidenceProvider, type Looked, together } from '../providers/evidence.ts';
import { patiently } from '../providers/patience.ts';
import type { Registry } from '../providers/registry.ts';
import type { Pauses } from './pauses.ts';

export interface EvidenceOptions {
  registry: Pick<Registry, 'evidence' | 'canonical'>;
  pauses: Pauses;
  /** Asks `limits/<key>`; a question that is asked twice is answered once. */
  lease(key: string, request: LeaseRequest, question: string): Promise<LeaseAnswer>;
  /** Whether a remediation of the target is open, and of which rule, for people. @throws where Temporal does not answer */
  busy(target: string): Promise<string | undefined>;
}

/** As {@link EvidenceOptions.busy}. */
export const busyOf =
  (client: Client): EvidenceOptions['busy'] =>
  async (target) => {
    try {
      const { status, memo } = await client.workflow.getHandle(remediationId(target)).describe();
      if (status.name !== 'RUNNING') return undefined;
      const by = memo?.['rule'];
      return `rule ${typeof by === 'string' ? by : 'unknown'} has an open remediation of the target`;
    } catch (error) {
      if (error instanceof WorkflowNotFoundError) return undefined;
      throw error;
    }
  };

/** What many responders read at the same time need not be younger. */
const SHARED_MS = 1_000;
/** One try of asking Temporal. */
const ANSWER_MS = 5_000;
/** When the limits did not answer: then they do not know that somebody waits for them. */
const ASK_AGAIN_MS = 10_000;
/** So many keys of what is unready are told for a workload in any case: a number that people can rely on. */
const MANY_UNREADY = 100;
/** Over all workloads: half a megabyte of a history at most. */
const MOST_UNREADY = 5_000;

/** Reads all that the gates of one turn need, at once; what cannot be read, after some tries, is said in the answer. */
export function evidenceActivities({ registry, pauses, lease, busy }: EvidenceOptions): EvidenceActivities {
  return {
    async look(request) {
      const at = Date.now();
      const [seen, paused, leases] = await Promise.all([
        lookByTrueNames(registry, request, busy),
        asked('the pauses', () => pausesOf(pauses)).catch((error: unknown) => `cannot read the pauses: ${told(error)}`),
        leaseAll(lease, request),
      ]);
      const window = windowOf(request.rule, at);
      const errors = [seen.error, typeof paused === 'string' ? paused : undefined, window.error];
      const error = errors.filter((one) => one !== undefined).join('; ');
      return {
        at,
        ...bounded(seen, request.rule.gates.maxUnavailable),
        ...(seen.population && { population: seen.population }),
        pauses: typeof paused === 'string' ? [] : concerning(paused, request, at),
        window: window.state,
        leases,
        ...(error && { error }),
      };
    },
  };
}

/**
 * One that is known is read anew: who is woken by its end, and reads that it stands, would wait on. A new one that is not known
 * yet holds its target back all the same, right before the first mutation.
 */
async function pausesOf(pauses: Pauses): Promise<Pause[]> {
  const known = await pauses(SHARED_MS);
  return known.length === 0 ? known : await pauses();
}

/** What is held is held by somebody: by a remediation of the very target, which ends, or by anybody else. */
async function withBusy(busy: EvidenceOptions['busy'], looked: Looked): Promise<Looked> {
  const asking = Object.entries(looked.targets).map(async ([key, seen]): Promise<[string, TargetEvidence]> => {
    if (seen.held === undefined) return [key, seen];
    try {
      const by = await asked(`whether ${remediationId(key)} is open`, () => busy(key));
      return [key, by === undefined ? seen : { ...seen, busy: by }];
    } catch (error) {
      return [key, { ...seen, error: `cannot tell whether a remediation of it is open: ${told(error)}` }];
    }
  });
  return { ...looked, targets: Object.fromEntries(await Promise.all(asking)) };
}

const told = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** One thing may go by several names: it is looked at by its true one, and told of by the one that was asked for. */
async function lookByTrueNames(
  registry: EvidenceOptions['registry'],
  { targets, suspects }: LookRequest,
  busy: EvidenceOptions['busy'],
): Promise<Looked> {
  const asking = [...new Set([...targets, ...suspects])].map(
    async (key) => [key, await trueName(registry, key)] as const,
  );
  const names = new Map(await Promise.all(asking));
  const known = (keys: readonly string[]) => [...new Set(keys.flatMap((key) => names.get(key)?.name ?? []))];
  const looked = await withBusy(
    busy,
    await lookAtAll(registry, { targets: known(targets), suspects: known(suspects) }),
  );
  const told = targets.flatMap((key): [string, TargetEvidence][] => {
    const { name, error } = names.get(key) ?? {};
    if (name === undefined) return error === undefined ? [] : [[key, { error }]];
    const seen = looked.targets[name];
    return seen ? [[key, name === key ? seen : { ...seen, canonical: name }]] : [];
  });
  return { ...looked, targets: Object.fromEntries(told) };
}

async function trueName(
  registry: EvidenceOptions['registry'],
  key: string,
): Promise<{ name: string; error?: never } | { name?: never; error: string }> {
  try {
    return { name: await patiently(() => registry.canonical(key), mayPass) };
  } catch (error) {
    return { error: `cannot tell what it is: ${told(error)}` };
  }
}

const mayPass = (error: unknown): boolean => !(error instanceof FinalError || error instanceof InputError);

/** Each provider looks at its own targets; one that is gone from the configuration takes nothing from the others. */
async function lookAtAll(
  registry: EvidenceOptions['registry'],
  request: Pick<LookRequest, 'targets' | 'suspects'>,
): Promise<Looked> {
  const unknown: Record<string, TargetEvidence> = {};
  const parts = new Map<EvidenceProvider, { targets: string[]; suspects: string[] }>();
  const sort = (key: string, as: 'targets' | 'suspects'): void => {
    const provider = registry.evidence(key);
    const part = parts.get(provider) ?? { targets: [], suspects: [] };
    part[as].push(key);
    parts.set(provider, part);
  };
  for (const key of request.targets) {
    try {
      sort(key, 'targets');
    } catch (error) {
      unknown[key] = { error: told(error) };
    }
  }
  for (const key of request.suspects) {
    try {
      sort(key, 'suspects');
    } catch {
      // Nothing that this worker knows: it counts for nobody. Where it is a target as well, that is said above.
    }
  }
  const looks = await Promise.all(
    [...parts].map(([provider, { targets, suspects }]) =>
      provider.look(targets, suspects).catch((error: unknown): Looked => {
        const message = told(error);
        return {
          targets: Object.fromEntries(targets.map((key) => [key, { error: message }])),
          workloads: {},
          error: message,
        };
      }),
    ),
  );
  return together([...looks, { targets: unknown, workloads: {} }]);
}

/**
 * Of each workload no more keys than decide: two beyond what its budget allows, for the target may be one of them. A
 * workload that would be too much all the same is an error of its targets.
 */
function bounded({ targets, workloads }: Looked, bound: Bound): Pick<Evidence, 'targets' | 'workloads'> {
  const kept: Record<string, WorkloadEvidence> = {};
  const dropped = new Set<string>();
  let left = MOST_UNREADY;
  for (const [key, { desired, unready }] of Object.entries(workloads)) {
    const enough = unready.slice(0, Math.max(MANY_UNREADY, allowance(bound, desired) + 2));
    if (enough.length > left) dropped.add(key);
    else {
      kept[key] = { desired, unready: enough };
      left -= enough.length;
    }
  }
  const entries = Object.entries(targets).map(([key, evidence]): [string, TargetEvidence] => {
    if (evidence.workload === undefined || !dropped.has(evidence.workload)) return [key, evidence];
    return [key, { ...evidence, error: `too much is unready at once to count it for ${evidence.workload}` }];
  });
  return { targets: Object.fromEntries(entries), workloads: kept };
}

function windowOf({ gates }: ResolvedRule, now: number): { state: Evidence['window']; error?: string } {
  try {
    return { state: windowAt(gates.windows, now) };
  } catch (error) {
    // The configuration is checked when it is read; a zone may still be unknown to the system of another worker.
    return { state: { open: true }, error: told(error) };
  }
}

const concerning = (pauses: readonly Pause[], { rule, targets }: LookRequest, now: number): Pause[] =>
  pauses.filter(
    ({ prefix, until }) =>
      (until === undefined || Date.parse(until) > now) &&
      (prefix === `rule/${rule.name}` || prefix === '' || targets.some((target) => isUnder(target, prefix))),
  );

/** Limits that do not answer grant nothing; the requests wait, and ask again. */
async function leaseAll(lease: EvidenceOptions['lease'], request: LookRequest): Promise<Evidence['leases']> {
  const answers = Object.entries(request.leases).map(async ([key, wanted]): Promise<[string, LeaseAnswer]> => {
    try {
      return [key, await asked(`the limits of ${key}`, () => lease(key, wanted, request.question))];
    } catch (error) {
      const notBefore = new Date(Date.now() + ASK_AGAIN_MS).toISOString();
      const reason = `the limits of ${key} cannot be asked: ${told(error)}`;
      return [key, { granted: 0, reason, notBefore, unanswered: true }];
    }
  });
  return Object.fromEntries(await Promise.all(answers));
}

/** What Temporal is asked, with some tries, each of which ends. */
const asked = <T>(what: string, ask: () => Promise<T>): Promise<T> =>
  patiently(
    async () => {
      const end = new AbortController();
      try {
        return await Promise.race([ask(), unanswered(what, end.signal)]);
      } finally {
        end.abort();
      }
    },
    () => true,
  );

async function unanswered(what: string, signal: AbortSignal): Promise<never> {
  await delay(ANSWER_MS, undefined, { signal });
  throw new Error(`no answer from ${what} within ${ANSWER_MS / 1000} s`);
}
