import type { Held } from '../../model/change.ts';
import { IN_SERVICE_GATE, TRAFFIC_LABEL } from '../../model/names.ts';
import type { DrainInstanceOptions } from '../../model/rule.ts';
import { fieldPath } from './fields.ts';
import { conditionOf, declaresGate, describeCondition, isTrue } from './health.ts';
import type { Pod, Service } from './objects.ts';

/** How a pod's traffic is cut, and the fields that this holds. */
export interface Way {
  way: 'label' | 'gate' | 'none';
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
  /** Label keys that the pod's controller selects on; undefined where it does not say. */
  selectsOn: Set<string> | undefined;
  /** The Services of the namespace; empty where the pod has no traffic label, for then they do not matter. */
  services: Service[];
}

/** The first way that applies, or the one that the rule demands. */
export function chooseWay(surroundings: Surroundings, demanded: DrainInstanceOptions['traffic']): Way | NoWay {
  if (demanded === 'none') return none(surroundings.pod, 'the rule asks for no cut');
  const label = byLabel(surroundings);
  if (demanded === 'label') return label.way ? label : refused('label', label.why);
  const gate = byGate(surroundings.pod);
  if (demanded === 'gate') return gate.way ? gate : refused('gate', gate.why);
  if (label.way) return label;
  return gate.way ? gate : none(surroundings.pod, `${label.why}; ${gate.why}`);
}

const refused = (way: string, why: string): NoWay => ({
  way: undefined,
  why: `the rule demands that traffic is cut by the ${way}, which cannot work: ${why}`,
});

function none(pod: Pod, because: string): Way {
  const out = isTrue(pod, 'Ready') ? 'nothing is cut' : 'a pod that is not Ready is out of its Services by itself';
  return { way: 'none', why: `${out} (${because})`, held: [] };
}

function byLabel({ pod, selectsOn, services }: Surroundings): Way | NoWay {
  const no = (why: string): NoWay => ({ way: undefined, why });
  const labels = pod.metadata.labels ?? {};
  const before = labels[TRAFFIC_LABEL];
  if (before === undefined) return no(`the pod has no label ${TRAFFIC_LABEL}`);
  if (!selectsOn) return no("the selector of the pod's controller is not known");
  if (selectsOn.has(TRAFFIC_LABEL))
    return no(`the pod's controller selects on ${TRAFFIC_LABEL}: changing it would orphan the pod`);
  const selecting = services.filter(({ spec }) => selects(spec?.selector, labels));
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

/** An empty selector selects nothing: such a Service has its endpoints from elsewhere. */
function selects(selector: Record<string, string> | undefined, labels: Record<string, string>): boolean {
  const wanted = Object.entries(selector ?? {});
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

function byGate(pod: Pod): Way | NoWay {
  if (!declaresGate(pod, IN_SERVICE_GATE))
    return { way: undefined, why: `the pod declares no readiness gate ${IN_SERVICE_GATE}` };
  const status = conditionOf(pod, IN_SERVICE_GATE)?.status;
  if (status !== 'True')
    return { way: undefined, why: `its readiness gate is not in service: ${describeCondition(pod, IN_SERVICE_GATE)}` };
  return {
    way: 'gate',
    why: `the pod declares the readiness gate ${IN_SERVICE_GATE}, and it is True`,
    held: [{ field: fieldPath({ in: 'conditions', name: IN_SERVICE_GATE }), before: 'True', set: 'False' }],
  };
}
