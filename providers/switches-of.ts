import type { Dependency, SwitchOptions } from '../model/breaker/options.ts';
import { envoySwitch } from './envoy/switch.ts';
import { FinalError } from './errors.ts';
import { httpSwitch } from './http-switch/switch.ts';
import type { Cluster } from './kubernetes/cluster.ts';
import { keyOf } from './kubernetes/owner.ts';
import type { Kubernetes } from './kubernetes/provider.ts';
import { flagForm } from './kubernetes/switch/flag.ts';
import { objectSwitch } from './kubernetes/switch/object.ts';
import { patchForm } from './kubernetes/switch/patch.ts';
import type { Switches } from './switch.ts';
import type { ReleasableSwitch } from './switch-kinds.ts';

export interface SwitchWorld {
  clusters: ReadonlyMap<string, Pick<Kubernetes, 'cluster'>>;
  dependencies: readonly Dependency[];
}

type Kind = keyof SwitchOptions;
type Reach = (name: string) => Cluster;

interface Way<K extends Kind> {
  make(dependency: Dependency, options: NonNullable<SwitchOptions[K]>, reach: Reach): ReleasableSwitch;
  /** The key of the object that is held, where it is of a cluster. */
  key?(options: NonNullable<SwitchOptions[K]>): string;
}

/** One line for each kind of switch. */
const WAYS: { [K in Kind]: Way<K> } = {
  envoy: {
    make: (it, options, reach) => envoySwitch(it, options, options.pods && reach(options.pods.cluster)),
  },
  kubernetes: {
    make: (it, options, reach) => objectSwitch(reach(options.cluster), patchForm(options), it),
    key: (options) => keyOf(options.cluster, options.namespace, options),
  },
  flag: {
    make: (it, options, reach) => objectSwitch(reach(options.cluster), flagForm(options), it),
    key: ({ cluster, namespace, configMap }) =>
      keyOf(cluster, namespace, { apiVersion: 'v1', kind: 'ConfigMap', name: configMap }),
  },
  http: { make: httpSwitch },
};

/** The switch of one dependency. @throws FinalError `UnknownTarget` where it needs a cluster that is not configured */
export function switchOf(dependency: Dependency, { clusters }: Pick<SwitchWorld, 'clusters'>): ReleasableSwitch {
  const reach: Reach = (name) => {
    const found = clusters.get(name);
    if (found) return found.cluster;
    const names = [...clusters.keys()].join(', ') || 'none';
    throw new FinalError(
      `dependency ${dependency.name}: no cluster "${name}" is configured (clusters: ${names}); nothing was touched`,
      { type: 'UnknownTarget' },
    );
  };
  const made = kindsOf(dependency).flatMap((kind) => makeOne(kind, dependency, reach) ?? []);
  const [first] = made;
  if (first && made.length === 1) return first;
  throw new FinalError(`dependency ${dependency.name}: expected exactly one of ${Object.keys(WAYS).join(', ')}`, {
    type: 'Invalid',
  });
}

export function switchesOf(world: SwitchWorld): Switches {
  const made = new Map<string, ReleasableSwitch>();
  const of = (dependency: Dependency): ReleasableSwitch => {
    // A remediation keeps the dependency that it began with: the same name may be another switch by now.
    const key = JSON.stringify([dependency.name, dependency.switch, dependency.halfOpen, dependency.maxOpen]);
    const known = made.get(key) ?? switchOf(dependency, world);
    if (made.size >= MOST_KEPT) made.clear();
    made.set(key, known);
    return known;
  };
  return {
    of,
    release: async (held, dryRun) => {
      const { key } = held.object;
      const known = world.dependencies.filter((it) => keysOf(it).includes(key)).map(of);
      const found = known.find((it) => it.owns?.(held.field) ?? true);
      if (found) return found.release(held, dryRun);
      throw new FinalError(`${key} is held by no switch that is configured: nothing was touched`, {
        type: 'UnknownTarget',
      });
    },
  };
}

/** What holds no connection is cheap to make anew. */
const MOST_KEPT = 1_000;

const kindsOf = (dependency: Dependency): Kind[] =>
  (Object.keys(WAYS) as Kind[]).filter((kind) => dependency.switch[kind] !== undefined);

function makeOne<K extends Kind>(kind: K, dependency: Dependency, reach: Reach): ReleasableSwitch | undefined {
  const options = dependency.switch[kind];
  return options && WAYS[kind].make(dependency, options as NonNullable<SwitchOptions[K]>, reach);
}

const keysOf = (dependency: Dependency): string[] =>
  kindsOf(dependency).map((kind) => keyOfOne(kind, dependency) ?? `dependency/${dependency.name}`);

function keyOfOne<K extends Kind>(kind: K, dependency: Dependency): string | undefined {
  const options = dependency.switch[kind];
  return options && WAYS[kind].key?.(options as NonNullable<SwitchOptions[K]>);
}
