import { AppsV1Api, KubeConfig, PatchStrategy, setHeaderOptions } from '@kubernetes/client-node';
import type { WorkflowHandle } from '@temporalio/client';
import { proposalId, remediationId } from '../../model/names.ts';
import { Queue } from '../e2e/queue.ts';
import { PATIENCE, Stack } from '../e2e/support.ts';
import { deployment } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { byHand, end, type Group, inPhase, namedAll, type Recording } from './group.ts';

const NAMED = '{namespace="${namespace}",queue="${name}"}';
const OPTIONS = {
  backlog: {
    items: { promql: `queue_length${NAMED}` },
    arrivals: { promql: `queue_arrivals_total${NAMED}` },
    served: { promql: `queue_served_total${NAMED}` },
    drainWithin: '5s',
  },
  ...{ max: 12, startUp: '2s', every: '1s', goodFor: '1s', stalledAfter: '10m' },
  behavior: { scaleDown: { stabilizationWindow: '2s' } },
};
const RULE = {
  match: ['alertname="QueueGrows"'],
  runbook: 'scale-on-backlog',
  target: 'k8s/sandbox/${labels.namespace}/deployment.apps/${labels.queue}',
};
/** By the label `rule` of the alert. */
const rule = (name: string, more: { mode?: string; with?: object } = {}) => ({
  ...{ ...RULE, match: [...RULE.match, `rule="${name}"`], ...more },
  with: { ...OPTIONS, ...more.with },
});
const RULES = {
  followed: rule('followed'),
  watched: rule('watched', { mode: 'observe' }),
  impatient: rule('impatient', { with: { stalledAfter: '5s' } }),
};
type RuleName = keyof typeof RULES;

const [PER_POD, BASE, RUSH] = [20, 20, 90];

/** A Deployment of two, the queue on which they work, and the alert about it. */
class Work {
  readonly target: string;
  readonly queue: Queue;
  readonly namespace: string;
  readonly rule: RuleName;
  /** The alert is raised. */
  fires = false;
  /** Its metrics are there. */
  isSeen = true;

  constructor(namespace: string, name: RuleName, queue: Queue) {
    this.namespace = namespace;
    this.target = `k8s/sandbox/${namespace}/deployment.apps/jobs`;
    this.queue = queue;
    this.rule = name;
  }

  metrics(): string[] {
    const labels = `{namespace="${this.namespace}",queue="jobs",rule="${this.rule}"}`;
    return [...(this.isSeen ? this.queue.metrics() : []), `queue_alarm${labels} ${this.fires ? 1 : 0}`];
  }
}

/** The scenarios of scale-on-backlog on a stack of their own. */
class Scaling {
  readonly stack = new Stack();
  #apps!: AppsV1Api;
  readonly #queues: Queue[] = [];

  /** @param continueAt events after which the server suggests to continue as new */
  async start(continueAt?: number): Promise<void> {
    const dynamicConfig = continueAt && { 'limit.historyCount.suggestContinueAsNew': continueAt };
    await this.stack.start(RULES, dynamicConfig ? { dynamicConfig } : {});
    const kubeconfig = new KubeConfig();
    kubeconfig.loadFromFile(this.stack.sandbox.kubernetes.kubeconfig);
    this.#apps = kubeconfig.makeApiClient(AppsV1Api);
    const expr = 'last_over_time(queue_alarm[5m]) == 1';
    await this.stack.sandbox.prometheus.reload({ rules: [{ name: 'queues', rules: [{ alert: 'QueueGrows', expr }] }] });
  }

  async stop(): Promise<void> {
    for (const queue of this.#queues) queue.stop();
    await this.stack.stop();
  }

  async work(name: RuleName = 'followed'): Promise<Work> {
    const namespace = await this.stack.cluster.namespace('history');
    await this.stack.cluster.create(deployment({ namespace, name: 'jobs', replicas: 2 }));
    const read = () => this.#apps.readNamespacedDeployment({ namespace, name: 'jobs' });
    const workers = async () => (await read()).status?.readyReplicas ?? 0;
    const queue = new Queue({ labels: { namespace, queue: 'jobs' }, workers, perWorker: PER_POD });
    this.#queues.push(queue);
    await eventually('two pods work', () => queue.ready === 2, PATIENCE);
    const work = new Work(namespace, name, queue);
    this.stack.exporter.others.push(() => work.metrics());
    queue.arrivalRate = BASE;
    return work;
  }

  /** A rush, of which the alert tells. @returns its remediation, which has raised the size */
  async rush(work: Work): Promise<WorkflowHandle> {
    work.queue.arrivalRate = RUSH;
    work.fires = true;
    await eventually('more pods work than before', () => work.queue.ready > 2, PATIENCE);
    return this.remediation(work);
  }

  /** This very run, whatever goes by its Workflow ID later. */
  async remediation({ target }: Work): Promise<WorkflowHandle> {
    const { workflow } = this.stack.client;
    const { workflowId, runId } = await workflow.getHandle(remediationId(target)).describe();
    return workflow.getHandle(workflowId, runId);
  }

  /** There is little to do, as before. */
  async over(work: Work): Promise<void> {
    await eventually('they keep up with it', () => work.queue.waiting < RUSH, PATIENCE);
    work.queue.arrivalRate = BASE;
    work.fires = false;
  }

  async toItsEnd(work: Work): Promise<WorkflowHandle> {
    const run = await this.rush(work);
    await this.over(work);
    await end(run);
    return run;
  }

  async setSize({ namespace }: Work, replicas: number): Promise<void> {
    const merge = setHeaderOptions('Content-Type', PatchStrategy.MergePatch);
    await this.#apps.patchNamespacedDeployment({ namespace, name: 'jobs', body: { spec: { replicas } } }, merge);
  }

  async remove({ namespace }: Work): Promise<void> {
    await this.#apps.deleteNamespacedDeployment({ namespace, name: 'jobs' });
  }

  salvor = (...args: string[]): Promise<void> => byHand(this.stack.configFile, args);
}

const scaling = new Scaling();

const REMEDIATIONS: Record<string, () => Promise<WorkflowHandle>> = {
  /** Up, down in steps, and given back. */
  remediated: async () => scaling.toItsEnd(await scaling.work()),
  /** The alert came before the signals, which never asked for more. */
  async 'not-needed-good'() {
    const work = await scaling.work();
    work.fires = true;
    const run = await eventually('its remediation', () => scaling.remediation(work), PATIENCE);
    await end(run);
    work.fires = false;
    return run;
  },
  async 'not-needed-deleted'() {
    const work = await scaling.work();
    const run = await scaling.rush(work);
    await scaling.remove(work);
    await end(run);
    work.fires = false;
    return run;
  },
  async observed() {
    const work = await scaling.work('watched');
    work.queue.arrivalRate = RUSH;
    work.fires = true;
    const run = scaling.stack.client.workflow.getHandle(proposalId(work.rule, work.target));
    await eventually('a proposal', () => run.describe(), PATIENCE);
    await end(run);
    work.queue.arrivalRate = 0;
    work.fires = false;
    return run;
  },
  async 'refused-overruled'() {
    const work = await scaling.work();
    const run = await scaling.rush(work);
    await scaling.setSize(work, 3);
    await end(run);
    work.queue.arrivalRate = 0;
    work.fires = false;
    return run;
  },
  async 'failed-stalled'() {
    const work = await scaling.work('impatient');
    work.queue.most = 2 * PER_POD;
    const run = await scaling.rush(work);
    await end(run);
    work.queue.arrivalRate = 0;
    work.fires = false;
    return run;
  },
  async cancelled() {
    const work = await scaling.work();
    const run = await scaling.rush(work);
    await scaling.salvor('cancel', work.target, '--reason', 'enough of it');
    await end(run);
    work.queue.arrivalRate = 0;
    work.fires = false;
    return run;
  },
  /** It cannot see what it follows for a while. */
  async 'remediated-blind'() {
    const work = await scaling.work('impatient');
    const run = await scaling.rush(work);
    await eventually('they keep up with it', () => work.queue.waiting < RUSH, PATIENCE);
    work.isSeen = false;
    await inPhase(run, 'blind');
    work.isSeen = true;
    await scaling.over(work);
    await end(run);
    return run;
  },
  /** Somebody pauses it when it is to go further up. */
  async 'remediated-held-back'() {
    const work = await scaling.work();
    const run = await scaling.rush(work);
    await scaling.salvor('pause', work.target, '--reason', 'not now');
    work.queue.arrivalRate = 2 * RUSH;
    await inPhase(run, 'held back');
    await scaling.salvor('resume', work.target);
    await inPhase(run, 'follow');
    await scaling.over(work);
    await end(run);
    return run;
  },
};

export const scaleGroup: Group = {
  start: () => scaling.start(),
  stop: () => scaling.stop(),
  recordings: namedAll('scale-on-backlog', REMEDIATIONS),
};

/** Events after which the server suggests to continue as new: fewer than one such way takes. */
const CONTINUE_AT = 25;
const continuing = new Scaling();

const goesOn = async (run: WorkflowHandle): Promise<boolean> =>
  (await run.describe()).status.name === 'CONTINUED_AS_NEW';

/** Two runs of one remediation: the first, which continues as new, and the last, which goes on with what was carried. */
const continued: Recording = async () => {
  const work = await continuing.work();
  const first = await continuing.rush(work);
  await continuing.over(work);
  await end(first);
  if (!(await goesOn(first))) throw new Error('it ended before it was long');
  let last = first;
  while (await goesOn(last)) {
    last = await continuing.remediation(work);
    await end(last);
  }
  return { 'scale-on-backlog-continued-as-new': first, 'scale-on-backlog-carried-on': last };
};

export const continuedScaleGroup: Group = {
  start: () => continuing.start(CONTINUE_AT),
  stop: () => continuing.stop(),
  recordings: { 'scale-on-backlog-continued': continued },
};
