import type { Client } from '@temporalio/client';
import { fenceOf } from '../activities/attempt.ts';
import { announcing, auditActivities } from '../activities/audit.ts';
import { clearanceActivities, clearanceOf } from '../activities/clearance.ts';
import { controlActivities } from '../activities/control.ts';
import { desiredStateActivities } from '../activities/desired-state.ts';
import { dispatchActivities } from '../activities/dispatch.ts';
import { busyOf, evidenceActivities } from '../activities/evidence.ts';
import { heraldActivities, heraldOf } from '../activities/herald.ts';
import { hushActivities } from '../activities/hush.ts';
import { instanceActivities } from '../activities/instance.ts';
import { budgetsOf, holderActivities, leasesOf } from '../activities/leases.ts';
import type { Pauses } from '../activities/pauses.ts';
import { scalableActivities } from '../activities/scalable.ts';
import { settleActivities } from '../activities/settle.ts';
import { submitActivities } from '../activities/submit.ts';
import { switchActivities } from '../activities/switch.ts';
import { wellness } from '../activities/wellness.ts';
import type { AuditWriter } from '../model/audit.ts';
import type { Config } from '../model/config.ts';
import { watchQueue } from '../model/names.ts';
import { Alertmanager } from '../providers/alertmanager/client.ts';
import type { HoldingRegistry } from '../providers/registry.ts';
import { driftOn } from '../providers/temporal/drift.ts';

export interface Means {
  config: Config;
  /** On the worker's own connection, so that the server hands the first task of what is started here straight back. */
  client: Client;
  registry: HoldingRegistry;
  /** What is about to be done is announced to the first, what was noted is written to the second, which counts it. */
  store: AuditWriter;
  counted: AuditWriter;
  pauses: Pauses;
  searchAttributes: boolean;
}

/** All activities, by the queue on which they run: short ones beside the workflows, waits and the record on the watch queue. */
export function activitiesOf(means: Means): { work: object; watch: object } {
  const { config, client, registry, store, counted, pauses, searchAttributes } = means;
  const { namespace, taskQueue, ui } = config.temporal;
  const entities = { client, taskQueue: watchQueue(taskQueue) };
  const leases = leasesOf(entities);
  const budgets = budgetsOf(entities);
  const evidence = registry.evidence.bind(registry);
  const rules = new Map(config.rules.map(({ rule }) => [rule.name, rule]));
  const ruleMode = (rule: string) => rules.get(rule)?.mode;
  const clearance = clearanceOf({ pauses, budgets, client, evidence, ruleMode });
  const fence = fenceOf(client);
  const instance = instanceActivities(registry, fence, announcing(store), clearance.clear);
  const { switches, prober } = registry;
  const breaker = switchActivities({ switches, prober, fence, announce: announcing(store), clear: clearance.clear });
  const scalable = scalableActivities(registry, fence, announcing(store), clearance.clear);
  const herald = heraldOf({ client, taskQueue });
  const alertmanagers = (config.alertmanager?.urls ?? []).map((url) => new Alertmanager(url));
  const desired = desiredStateActivities({
    ...{ registry, alertmanagers, fence, announce: announcing(store), clear: clearance.clear },
  });
  const heralding = heraldActivities({
    herald,
    alertmanagers,
    isWell: wellness({
      ...{ registry, rules, dependencies: config.dependencies },
      drift: (target) => driftOn(client, config, target),
    }),
    fence,
    ui: ui === undefined ? undefined : { url: ui, namespace },
  });
  return {
    work: {
      ...instance,
      ...breaker,
      ...scalable,
      ...desired,
      ...dispatchActivities({ client, taskQueue, searchAttributes, give: leases.give, herald }),
      ...evidenceActivities({ registry, pauses, lease: leases.lease, busy: busyOf(client) }),
      ...controlActivities({ client }),
      ...submitActivities({ client, taskQueue }),
      ...heralding,
    },
    watch: {
      ...instance,
      ...breaker,
      ...scalable,
      ...desired,
      ...auditActivities(counted),
      ...settleActivities({ client, taskQueue, store: counted, free: budgets.free, herald }),
      ...clearanceActivities(clearance),
      ...hushActivities({ alertmanagers, client }),
      ...heralding,
      ...holderActivities({ client }),
    },
  };
}
