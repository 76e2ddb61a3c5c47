import type { Configuration } from './plan-configuration.ts';
import type { PlanJson, ResourceChange } from './plan-json.ts';
import { resourcesIn } from './plan-state.ts';

/** Fewer tell nothing of the place where they were looked for. */
const LEAST = 2;

/** A provider, and how many objects of it the state had before the refresh, and how many of these were not found. */
interface Tally {
  all: number;
  gone: number;
}

/**
 * Objects that are gone all at once. Who points a provider at another cluster, account or region, or gives it credentials that see
 * nothing, finds all of them deleted, and to make them anew would make them in the wrong place.
 */
export class GoneAtOnce {
  readonly #configuration: Configuration;
  readonly #tallies = new Map<string, Tally>();

  constructor(plan: PlanJson, configuration: Configuration) {
    this.#configuration = configuration;
    for (const one of resourcesIn(plan)) if (one.mode === 'managed') this.#count(one, false);
    // What is gone is not in the state that was refreshed.
    for (const one of plan.resource_drift) if (isGone(one)) this.#count(one, true);
  }

  /** Why it must not be made anew without a person; undefined: nothing speaks against it. */
  why(resource: ResourceChange): string | undefined {
    const provider = this.#providerOf(resource);
    const own = this.#tallies.get(provider);
    const whole = [...this.#tallies.values()].reduce(
      (sum, { all, gone }) => ({ all: sum.all + all, gone: sum.gone + gone }),
      { all: 0, gone: 0 },
    );
    if (own && own.gone >= LEAST && own.gone === own.all) return `all ${own.gone} objects of ${provider} are gone`;
    if (whole.gone >= LEAST && whole.gone * 2 > whole.all) return `${whole.gone} of all ${whole.all} objects are gone`;
    return undefined;
  }

  #count(resource: Named, isGoneToo: boolean): void {
    const provider = this.#providerOf(resource);
    const { all, gone } = this.#tallies.get(provider) ?? { all: 0, gone: 0 };
    this.#tallies.set(provider, { all: all + 1, gone: gone + (isGoneToo ? 1 : 0) });
  }

  /** As the source configures it, for one provider may be configured more than once; else by its name. */
  #providerOf(resource: Named): string {
    return this.#configuration.providerOf(resource) ?? resource.provider_name ?? resource.type;
  }
}

type Named = Pick<ResourceChange, 'module_address' | 'type' | 'name' | 'mode' | 'provider_name'>;

const isGone = ({ mode, deposed, change: { actions } }: ResourceChange): boolean =>
  mode === 'managed' && deposed === undefined && actions.length === 1 && actions[0] === 'delete';
