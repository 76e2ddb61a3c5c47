import type { Dependency } from '../model/breaker/options.ts';
import type { Held } from '../model/change.ts';
import type { AwsConfig } from '../model/config.ts';
import { formatTarget, parseTarget, type Target } from '../model/target.ts';
import { Aws } from './aws/provider.ts';
import type { Check } from './checks.ts';
import { checksOf } from './checks-of.ts';
import type { Stacks } from './desired-state.ts';
import { FinalError } from './errors.ts';
import type { EvidenceProvider } from './evidence.ts';
import type { HeldOn, InstanceProvider, Release } from './instance.ts';
import type { ClusterConfig } from './kubernetes/cluster.ts';
import { Kubernetes } from './kubernetes/provider.ts';
import { nameEvidence } from './name-evidence.ts';
import { proberOf } from './prober-of.ts';
import type { ScalableProvider } from './scalable.ts';
import type { Signals } from './signals.ts';
import { signalsOf } from './signals-of.ts';
import { stacksOf } from './stacks-of.ts';
import type { Prober, Switches } from './switch.ts';
import { switchesOf } from './switches-of.ts';

/** What of `salvor.yaml` names the world that the providers reach. */
export interface WorldConfig {
  clusters?: readonly (ClusterConfig & {
    /** Name of the account in which the machines of its nodes are. */
    aws?: string | undefined;
  })[];
  /** Accounts and regions. */
  aws?: readonly AwsConfig[];
  dependencies?: readonly Dependency[];
  /** Asked by the checks of rules. */
  prometheus?: { url: string } | undefined;
  /** Labels (`key` or `key=value`) of what is never a target; by default what Salvor and Temporal run on. */
  protectedLabels?: readonly string[];
}

/** The providers behind the ports, by target. One per process: connections and watches are shared. */
export interface Registry {
  /** @throws FinalError `UnknownTarget` where no configured provider has such an instance; InputError for no target */
  instance(target: string): InstanceProvider;
  /** What keeps callers from dependencies. */
  switches: Switches;
  prober: Prober;
  /** What is to be as its source says. */
  stacks: Stacks;
  /** @throws FinalError `UnknownTarget` where its size is none that can be set; InputError for no target */
  scalable(target: string): ScalableProvider;
  /** Where the signals of rules are read. */
  signals: Signals;
  /** One for all targets of a kind in a cluster or account. @throws as {@link Registry.instance} does */
  evidence(target: string): EvidenceProvider;
  /**
   * The one true key of a target: the instance of an Auto Scaling group that is a node of a configured cluster has the node's;
   * group `-` is the one that the instance is in.
   *
   * @throws FinalError, InputError where there is no such target; anything else where nobody can tell
   */
  canonical(target: string): Promise<string>;
  close(): Promise<void>;
}

/** A registry that also knows what is held, for a person who gives it back without the remediations. */
export interface HoldingRegistry extends Registry {
  /** Where objects themselves say what is held on them. */
  places(): Place[];
  /**
   * Gives back one held field; a dry run says what would be done, and touches nothing.
   *
   * @throws as {@link Registry.instance} does; what the API answers, where it refuses or is silent
   */
  release(held: Held, dryRun: boolean): Promise<Release>;
}

/** A cluster, or whatever else has objects that can say what is held on them. */
export interface Place {
  /** For people: `cluster prod`. */
  name: string;
  /** The beginning of the keys of all its objects: `k8s/prod/`. */
  prefix: string;
  /** Rejects where it does not answer. */
  find(): Promise<HeldOn[]>;
}

/** What acts on one target, and on others of its kind. */
interface Providers {
  instance(): InstanceProvider;
  scalable(): ScalableProvider;
  evidence: EvidenceProvider;
  release(held: Held, dryRun: boolean): Promise<Release>;
}

/** Connects to the clusters in the background. */
export function createRegistry(config: WorldConfig): HoldingRegistry {
  const check = checksOf({ prometheus: config.prometheus });
  const accounts = new Map((config.aws ?? []).map((account) => [account.name, new Aws(account, { check })]));
  const clusters = clustersOf(config, accounts, check);
  for (const { cluster } of clusters.values()) void cluster.warm();
  const switches = switchesOf({ clusters, dependencies: config.dependencies ?? [] });
  const clusterOf = (key: string, name: string): Kubernetes => known(clusters, name, key, 'cluster');
  const accountOf = (key: string, name: string): Aws => known(accounts, name, key, 'aws');

  function providersOf(key: string): Providers {
    const target = parseTarget(key);
    if (target.type === 'node') {
      const cluster = clusterOf(key, target.cluster);
      const release = (held: Held, dryRun: boolean) => cluster.release(target, held, dryRun);
      const scalable = () => throwing(unscalable(key));
      return { instance: () => cluster.node(target), scalable, evidence: cluster.nodeEvidence, release };
    }
    if (target.type === 'k8s') {
      const cluster = clusterOf(key, target.cluster);
      const release = (held: Held, dryRun: boolean) => cluster.release(target, held, dryRun);
      const isPod = target.kind === 'pod' && target.group === undefined;
      return {
        instance: () => (isPod ? cluster.pod(target) : throwing(undrainable(key))),
        scalable: () => (isPod ? throwing(unscalable(key)) : cluster.scalable(target)),
        evidence: isPod ? cluster.evidence : cluster.scaleEvidence,
        release,
      };
    }
    if (target.type === 'asg') {
      const account = accountOf(key, target.aws);
      const release = (held: Held, dryRun: boolean) => account.release(held, dryRun);
      const isGroup = target.instance === undefined;
      return {
        instance: () => (isGroup ? throwing(undrainable(key)) : account.instance(target)),
        scalable: () => (isGroup ? account.scalable(target) : throwing(unscalable(key))),
        evidence: account.evidence,
        release,
      };
    }
    if (target.type === 'dependency') return ofName(key, (held, dryRun) => switches.release(held, dryRun));
    return ofName(key, async () => throwing(unheld(key)));
  }

  async function canonical(key: string): Promise<string> {
    const target = parseTarget(key);
    if (target.type !== 'asg' || target.instance === undefined) return key;
    const { aws, group, instance } = target;
    const near = (config.clusters ?? []).filter((cluster) => (cluster.aws ?? aws) === aws);
    const node = await nodeOf(
      near.flatMap(({ name }) => clusters.get(name) ?? []),
      instance,
    );
    if (node) return formatTarget(node);
    if (group !== ANY_GROUP) return key;
    const found = await accountOf(key, aws).groupOf(instance);
    if (found === undefined) throw unknownTarget(`${key}: ${instance} is in no Auto Scaling group of ${aws}`);
    return formatTarget({ ...target, group: found });
  }

  return {
    instance: (key) => providersOf(key).instance(),
    switches,
    prober: proberOf({ prometheus: config.prometheus }),
    stacks: stacksOf({ clusters, accounts }),
    scalable: (key) => providersOf(key).scalable(),
    signals: signalsOf({ prometheus: config.prometheus, accounts }),
    evidence: (key) => providersOf(key).evidence,
    canonical,
    places: () => [
      ...[...clusters].map(([name, it]) => ({
        ...{ name: `cluster ${name}`, prefix: `k8s/${name}/`, find: () => it.find() },
      })),
      ...[...accounts].map(([name, it]) => ({
        ...{ name: `aws ${name}`, prefix: `asg/${name}/`, find: () => it.find() },
      })),
    ],
    release: async (held, dryRun) =>
      held.runbook === 'circuit-breaker'
        ? switches.release(held, dryRun)
        : providersOf(held.object.key).release(held, dryRun),
    close: async () => {
      await Promise.all([...clusters.values(), ...accounts.values()].map((it) => it.close()));
    },
  };
}

/** What is a name, and no object of an API. */
function ofName(key: string, release: Providers['release']): Providers {
  return {
    instance: () => throwing(undrainable(key)),
    scalable: () => throwing(unscalable(key)),
    evidence: nameEvidence,
    release,
  };
}

/** In the key of an instance: whichever group it is in. */
const ANY_GROUP = '-';

function clustersOf(
  { clusters = [], protectedLabels }: WorldConfig,
  accounts: ReadonlyMap<string, Aws>,
  check: Check,
): Map<string, Kubernetes> {
  return new Map(
    clusters.map((cluster) => {
      const machines = cluster.aws === undefined ? undefined : accounts.get(cluster.aws)?.machines;
      const means = { check, ...(machines && { machines }), ...(protectedLabels && { protectedLabels }) };
      return [cluster.name, new Kubernetes(cluster, means)];
    }),
  );
}

/** Where one has it, the others need not be asked; where one cannot tell, and no other has it, nobody can. */
async function nodeOf(clusters: readonly Kubernetes[], instance: string): Promise<Target | undefined> {
  const asked = await Promise.allSettled(clusters.map((cluster) => cluster.nodeOf(instance)));
  for (const [at, answer] of asked.entries())
    if (answer.status === 'fulfilled' && answer.value !== undefined)
      return { type: 'node', cluster: clusters[at]?.cluster.name ?? '', name: answer.value };
  const silent = asked.find((answer) => answer.status === 'rejected');
  if (silent) throw silent.reason;
  return undefined;
}

function known<T>(all: ReadonlyMap<string, T>, name: string, key: string, what: 'cluster' | 'aws'): T {
  const found = all.get(name);
  if (found) return found;
  const names = [...all.keys()].join(', ') || 'none';
  throw unknownTarget(
    what === 'cluster'
      ? `${key}: no cluster "${name}" is configured (clusters: ${names})`
      : `${key}: no account "${name}" is configured (aws: ${names})`,
  );
}

const undrainable = (key: string): FinalError =>
  unknownTarget(
    `${key} is not an instance that can be drained: only pods, nodes and instances of Auto Scaling groups are`,
  );

const unscalable = (key: string): FinalError =>
  unknownTarget(
    `${key} has no size that could be set: only workloads with a scale subresource and Auto Scaling groups have`,
  );

const unheld = (key: string): FinalError =>
  unknownTarget(`${key} holds nothing: what is reverted stays as its source says`);

function throwing(error: Error): never {
  throw error;
}

const unknownTarget = (message: string): FinalError => new FinalError(message, { type: 'UnknownTarget' });
