import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { webhookConfig } from '../sandbox/alertmanager.ts';
import { freePort } from '../sandbox/ports.ts';
import { type Sandbox, startSandbox } from '../sandbox/sandbox.ts';
import { type Answer, figuresOf, hasFailed } from '../test/support/data-plane/answers.ts';
import { DataPlane } from '../test/support/data-plane/data-plane.ts';
import type { RunningPod } from '../test/support/data-plane/kubelet.ts';
import { STALLS, WELL } from '../test/support/data-plane/pod-server.ts';
import { ABLE, UNABLE } from '../test/support/data-plane/prober.ts';
import { budget, deployment, nameOf, service, TestCluster } from '../test/support/kubernetes.ts';
import type { Benchmark, Settings } from './support/benchmark.ts';
import { spread, table } from './support/numbers.ts';
import { Pods } from './support/pods.ts';
import { CLUSTER, type Configured, startUp } from './support/product.ts';

const PODS = 5;
const PER_SECOND = 200;
/** How long the sick pod stalls, milliseconds. */
const STALL = 60_000;
const QUICK = 15_000;
/** Milliseconds of load before the stall, and after everything is as it was. */
const AROUND = 5_000;

interface Parts {
  sandbox: Sandbox<'kubernetes' | 'prometheus' | 'alertmanager'>;
  cluster: TestCluster;
}

/** Times in milliseconds. */
interface Round {
  requests: number;
  bad: number;
  /** From the first bad answer to the last, those left out that a pod which serves gave late: the machine was busy. */
  badFor: number;
  /** Until Envoy sent the pod nothing more; absent where nobody told it to. */
  cut?: { sinceStall: number; sinceAlert: number };
  /** Not by the stall: failed or late although given to another pod, or sent after the cut. */
  others: { failed: number; slow: number };
}

/** One of five pods stalls under steady load: what callers lose with Salvor, and with liveness probes alone. */
export const drop: Benchmark = async (settings) => {
  const sandbox = await startSandbox({
    parts: ['kubernetes', 'prometheus', 'alertmanager'],
    kubernetes: { users: [{ name: 'salvor' }] },
  });
  try {
    await new Pods(sandbox.kubernetes).allowSalvor();
    const config = await configure(sandbox);
    await sandbox.alertmanager.reload(
      webhookConfig({ url: config.webhook, groupBy: ['alertname', 'namespace', 'pod'], groupWait: '1s' }),
    );
    const up = await startUp({ folder: sandbox.folder, config, profile: settings.profile });
    try {
      return await measure({ sandbox, cluster: new TestCluster(sandbox.kubernetes, CLUSTER) }, settings);
    } finally {
      await up.component.stop(30_000);
    }
  } finally {
    await sandbox.stop();
  }
};

/** Salvor runs in both cases, so that it costs the machine the same; its one rule takes what is to be healed. */
async function configure({ folder, kubernetes, prometheus }: Parts['sandbox']): Promise<Configured> {
  const listen = `127.0.0.1:${await freePort()}`;
  const file = join(folder, 'salvor.yaml');
  const rule = {
    name: 'pod-unable',
    match: ['alertname="PodUnable"', 'namespace=~"with-.*"'],
    runbook: 'drain-instance',
    target: `k8s/${CLUSTER}/\${labels.namespace}/pod/\${labels.pod}`,
    mode: 'act',
    with: { recoverWithin: '5m', stableFor: '5s', health: ABLE },
  };
  const config = {
    temporal: { address: `127.0.0.1:${await freePort()}` },
    gateway: { listen },
    audit: { url: 'file:./audit.db' },
    prometheus: { url: prometheus.url },
    clusters: [{ name: CLUSTER, kubeconfig: kubernetes.users['salvor']?.kubeconfig }],
    rules: [rule],
  };
  await writeFile(file, JSON.stringify(config, null, 2));
  return { file, gateway: `http://${listen}`, webhook: `http://${listen}/webhook/alertmanager` };
}

async function measure(parts: Parts, { rounds, quick, say }: Settings): Promise<string> {
  const results: Record<'with' | 'without', Round[]> = { with: [], without: [] };
  // The first round of a process meets cold code: it is not counted.
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 === 0 ? (['with', 'without'] as const) : (['without', 'with'] as const);
    for (const how of order) {
      const one = await once(parts, how, round, quick || round === 0 ? QUICK : STALL);
      if (round > 0) results[how].push(one);
      say(`round ${round}, ${how} Salvor: ${JSON.stringify(one)}`);
    }
  }
  const cuts = results.with.flatMap(({ cut }) => cut ?? []);
  const head = [
    '',
    'failed or over 1 s',
    'first bad answer → last, s',
    'of requests',
    'others: failed',
    'others: over 1 s',
  ];
  return [
    table(
      head,
      (['with', 'without'] as const).map((how) => row(`${how} Salvor`, results[how])),
    ),
    `With Salvor it took ${seconds(cuts.map(({ sinceStall }) => sinceStall))} s from the stall until Envoy sent the pod nothing more, ` +
      `of them ${seconds(cuts.map(({ sinceAlert }) => sinceAlert))} s from the moment at which Prometheus raised the alert.`,
  ].join('\n\n');
}

const seconds = (rounds: readonly number[]): string => spread(rounds.map((one) => one / 1000));

function row(name: string, rounds: readonly Round[]): string[] {
  const of = (figure: (round: Round) => number) => spread(rounds.map(figure));
  return [
    name,
    `**${of(({ bad }) => bad)}**`,
    `**${seconds(rounds.map(({ badFor }) => badFor))}**`,
    of(({ requests }) => requests),
    of(({ others }) => others.failed),
    of(({ others }) => others.slow),
  ];
}

async function once({ sandbox, cluster }: Parts, how: string, round: number, stall: number): Promise<Round> {
  const { kubernetes, prometheus, folder } = sandbox;
  const namespace = await cluster.namespace(`${how}-${round}`);
  const web = deployment({ namespace, name: 'web', replicas: PODS, trafficLabel: true });
  await cluster.create(service(namespace, 'web', true), web, budget(namespace, 'web', PODS - 1));
  const [name = ''] = (await cluster.readyPods(namespace, 'web', PODS)).map(nameOf);
  const plane = { kubernetes, folder: join(folder, namespace), namespace, service: 'web' };
  const data = await DataPlane.start(plane);
  try {
    await prometheus.reload({
      scrape: [{ job: 'prober', targets: [data.prober.address] }],
      rules: [{ name: 'prober', rules: [{ alert: 'PodUnable', expr: UNABLE }] }],
    });
    await data.untilTraffic(PODS);
    const sick = await data.pod(name);
    const raised = how === 'with' ? () => raisedAt(sandbox.alertmanager.url, sick) : undefined;
    return await underLoad(data, sick, stall, raised);
  } finally {
    await data.close();
    await cluster.delete(web);
  }
}

/** Load, a stall for so long, and load until all is as it was. @param raised when the alert was, where it is healed */
async function underLoad(
  data: DataPlane,
  sick: RunningPod,
  stall: number,
  raised?: () => Promise<number>,
): Promise<Round> {
  const load = data.load(PER_SECOND);
  await sleep(AROUND);
  const stalled = Date.now();
  sick.server.behave(STALLS);
  const recovery = sleep(stall).then(() => sick.server.behave(WELL));
  let cut: number | undefined;
  let alerted = Number.NaN;
  if (raised) {
    await data.untilTraffic(PODS - 1, [{ pod: sick, sent: false }]);
    cut = Date.now();
    alerted = await raised();
  }
  await recovery;
  await data.untilTraffic(PODS, [{ pod: sick, sent: true }]);
  await sleep(AROUND);
  const round = roundOf(await load.stop(), sick, cut);
  return cut === undefined ? round : { ...round, cut: { sinceStall: cut - stalled, sinceAlert: cut - alerted } };
}

function roundOf(answers: readonly Answer[], sick: RunningPod, cut = Number.POSITIVE_INFINITY): Round {
  const { requests, failed, slow } = figuresOf(answers);
  const isOfSick = ({ upstream }: Answer) => upstream === sick.server.address;
  const others = figuresOf(answers.filter((answer) => !isOfSick(answer) || answer.start > cut));
  const { badFor } = figuresOf(answers.filter((answer) => isOfSick(answer) || hasFailed(answer)));
  return { requests, bad: failed + slow, badFor, others: { failed: others.failed, slow: others.slow } };
}

/** When Prometheus raised the alert, as Alertmanager knows it; milliseconds since the epoch. */
async function raisedAt(alertmanager: string, { name }: RunningPod): Promise<number> {
  const response = await fetch(`${alertmanager}/api/v2/alerts?filter=${encodeURIComponent(`pod="${name}"`)}`);
  const [alert] = (await response.json()) as { startsAt: string }[];
  return Date.parse(alert?.startsAt ?? '');
}
