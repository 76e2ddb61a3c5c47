import type { Held } from '../../model/change.ts';
import { IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../model/names.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import type { LabelSelector } from '../../model/selectors.ts';
import { fieldPath } from './fields.ts';
import { conditionOf, declaresGate, describeCondition, isTrue } from './health.ts';
import type { Pod, Service } from './objects.ts';
import { leavingOf, quarantineValue } from './quarantine.ts';
import { keysOf, selectorOfService, selects } from './selectors.ts';

/** How a pod's traffic is cut, and the fields that this holds. */
export interface Way {
  way: 'label' | 'gate' | 'quarantine' | 'none';
  why: string;
  held: Pick<Held, 'field' | 'before' | 'set'>[];
}

/** A way that the rule demands and that cannot work here. */
export interface NoWay {
  way: undefined;
  why: string;
}

/** What the ways are chosen from. */
export interface Surroundings {
  pod: Pod;
  /** What the pod's controller selects; undefined where it does not say. */
  selector: LabelSelector | undefined;
  /** The Services of the namespace; empty where {@link servicesMatter} says that no way looks at them. */
  services: Service[];
}

type Options = Pick<DrainInstanceOptions, 'traffic' | 'quarantine'>;

/** Whether the Services decide about a way that the rule allows. */
export function servicesMatter(pod: Pod, { traffic, quarantine }: Options): boolean {
  const byLabel = traffic === 'auto' || traffic === 'label';
  const byQuarantine = quarantine !== undefined && (traffic === 'auto' || traffic === 'quarantine');
  return byQuarantine || (byLabel && pod.metadata.labels?.[TRAFFIC_LABEL] !== undefined);
}

/** The first way that applies, with why none before it does; or the one that the rule demands. */
export function chooseWay(surroundings: Surroundings, options: Options): Way | NoWay {
  const { pod } = surroundings;
  const { traffic, quarantine } = options;
  if (traffic === 'none') return none(pod, 'the rule asks for no cut');
  const ways = {
    label: byLabel(surroundings),
    gate: byGate(pod),
    quarantine: quarantine ? byQuarantine(surroundings) : no('the rule does not allow it'),
  };
  if (traffic !== 'auto') return ways[traffic].way ? ways[traffic] : refused(traffic, ways[traffic].why);
  const inOrder = [ways.label, ways.gate, ...(quarantine ? [ways.quarantine] : [])];
  const found = inOrder.find((one): one is Way => one.way !== undefined);
  const against = inOrder.slice(0, found && inOrder.indexOf(found)).map(({ why }) => why);
  if (!found) return none(pod, against.join('; '));
  return against.length > 0 ? { ...found, why: `${found.why} (${against.join('; ')})` } : found;
}

const no = (why: string): NoWay => ({ way: undefined, why });

const refused = (way: string, why: string): NoWay =>
  no(`the rule demands that traffic is cut by the ${way}, which cannot work: ${why}`);

function none(pod: Pod, because: string): Way {
  const out = isTrue(pod, 'Ready')
    ? 'nothing is cut, and the pod stays in traffic, for it is Ready'
    : 'a pod that is not Ready is out of its Services by itself';
  return { way: 'none', why: `${out} (${because})`, held: [] };
}

function byLabel({ pod, selector, services }: Surroundings): Way | NoWay {
  const labels = pod.metadata.labels ?? {};
  const before = labels[TRAFFIC_LABEL];
  if (before === undefined) return no(`the pod has no label ${TRAFFIC_LABEL}`);
  if (!selector) return no("the selector of the pod's controller is not known");
  if (keysOf(selector).has(TRAFFIC_LABEL))
    return no(`the pod's controller selects on ${TRAFFIC_LABEL}: changing it would orphan the pod`);
  const selecting = services.filter((service) => {
    const own = selectorOfService(service);
    return own !== undefined && selects(own, labels);
  });
  if (selecting.length === 0) return no('no Service selects the pod');
  const blind = selecting.find(({ spec }) => spec?.selector?.[TRAFFIC_LABEL] === undefined);
  if (blind) return no(`the Service ${blind.metadata.name} selects the pod without ${TRAFFIC_LABEL}`);
  const set = before === 'off' ? 'out' : 'off';
  const names = selecting.map(({ metadata }) => metadata.name).join(', ');
  return {
    way: 'label',
    why: `every Service that selects the pod (${names}) selects on ${TRAFFIC_LABEL}, its controller does not`,
    held: [{ field: fieldPath({ in: 'labels', name: TRAFFIC_LABEL }), before, set }],
  };
}

function byGate(pod: Pod): Way | NoWay {
  if (!declaresGate(pod, IN_SERVICE_GATE)) return no(`the pod declares no readiness gate ${IN_SERVICE_GATE}`);
  const status = conditionOf(pod, IN_SERVICE_GATE)?.status;
  if (status !== 'True') return no(`its readiness gate is not in service: ${describeCondition(pod, IN_SERVICE_GATE)}`);
  return {
    way: 'gate',
    why: `the pod declares the readiness gate ${IN_SERVICE_GATE}, and it is True`,
    held: [{ field: fieldPath({ in: 'conditions', name: IN_SERVICE_GATE }), before: 'True', set: 'False' }],
  };
}

function byQuarantine({ pod, selector, services }: Surroundings): Way | NoWay {
  const leaving = leavingOf(pod, selector, services);
  if (leaving.why !== undefined) return no(`it cannot be put in quarantine: ${leaving.why}`);
  const { keys, services: names } = leaving;
  const set = quarantineValue(pod.metadata.uid);
  return {
    way: 'quarantine',
    why: `the rule allows it: another value of ${keys.join(', ')} takes the pod out of the selector of its owner, which starts a replacement at once, and out of its Services (${names.join(', ') || 'none selects it'})`,
    held: keys.map((name) => ({
      field: fieldPath({ in: 'labels', name }),
      before: pod.metadata.labels?.[name] ?? null,
      set,
    })),
  };
}
