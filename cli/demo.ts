import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client, WorkflowHandle } from '@temporalio/client';
import { startGateway } from '../gateway/server.ts';
import { type Config, parseConfig } from '../model/config.ts';
import { MESSAGE, remediationId, SEARCH_ATTRIBUTES } from '../model/names.ts';
import type { Ending, Story } from '../model/remediation.ts';
import { lazyClient } from '../providers/temporal/connect.ts';
import { webhookConfig } from '../sandbox/alertmanager.ts';
import { PARTS, type Sandbox, startSandbox } from '../sandbox/sandbox.ts';
import { createLogger } from '../workers/logging.ts';
import { startWorker } from '../workers/worker.ts';
import type { Context } from './command.ts';
import { giveRights, SALVOR } from './demo-rights.ts';
import { Shop } from './demo-shop.ts';
import type { Stop } from './lifetime.ts';
import { paint, print } from './output.ts';
import { CliError, EXIT, type ExitStatus } from './status.ts';

/** Milliseconds that one step of the demo may take; on a busy machine they take longer. */
const PATIENCE = 60_000;
const LOOK_EVERY = 100;
const TOKEN = 'demo';
const ALERT = 'PodRunningNotReady';

const configOf = (temporal: string, kubeconfig: string, tokenFile: string): string => `
temporal: { address: "${temporal}" }
gateway: { listen: "127.0.0.1:0", bearerTokenFile: ${JSON.stringify(tokenFile)} }
clusters: [{ name: sandbox, context: sandbox, kubeconfig: ${JSON.stringify(kubeconfig)} }]
rules:
  - name: pod-unready
    match: ['alertname="${ALERT}"']
    runbook: drain-instance
    target: k8s/sandbox/\${labels.namespace}/pod/\${labels.pod}
    mode: act
    with: { recoverWithin: 6s, stableFor: 2s, quietFor: 2s, evictWithin: 1m, verifyWithin: 1m }
`;

/** One line of the account at the end. */
interface Step {
  /** Seconds since the pod was broken. */
  after: number;
  what: string;
}

/**
 * `salvor sandbox demo`: real components; one pod that is alive but unable to work and recovers, and one that does not.
 */
export async function demo(context: Context, stopped: Promise<Stop>): Promise<ExitStatus> {
  say(context, 'Bringing up a Kubernetes control plane, Temporal, Prometheus and Alertmanager on this machine …');
  // Ctrl-C ends this process, and with it all that it has started.
  void stopped.then(({ status }) => process.exit(status));
  const sandbox = await startSandbox({
    parts: PARTS,
    temporal: { searchAttributes: SEARCH_ATTRIBUTES },
    kubernetes: { users: [{ name: SALVOR }] },
  });
  const stage = await setStage(sandbox);
  try {
    say(context, `Temporal's UI: ${paint('cyan', `${sandbox.temporal.uiUrl}/namespaces/default/workflows`)}`);
    // Another pod for each act: one that has just been healed is left alone for its cooldown.
    const [first, second] = await threeServing(stage.shop);
    account(context, [
      { title: 'A pod stops working and recovers', steps: await play(context, stage, `${first}`, true) },
      { title: 'A pod stops working and does not recover', steps: await play(context, stage, `${second}`, false) },
    ]);
    if (process.stdout.isTTY && !context.json) {
      print('', paint('dim', "It stays up until Ctrl-C, so that you can look around in Temporal's UI."));
      await stopped;
    }
    return EXIT.done;
  } finally {
    await stage.close();
    await sandbox.stop();
  }
}

interface Stage {
  shop: Shop;
  client: Client;
  /** Address of a run's page in Temporal's UI. */
  page(workflowId: string, runId: string): string;
  alertmanager: string;
  close(): Promise<void>;
}

async function setStage(sandbox: Sandbox): Promise<Stage> {
  const { temporal, kubernetes, prometheus, alertmanager, folder } = sandbox;
  const tokenFile = join(folder, 'webhook-token');
  await writeFile(tokenFile, TOKEN, { mode: 0o600 });
  const config = parsed(configOf(temporal.address, kubernetes.users[SALVOR]?.kubeconfig ?? '', tokenFile));
  const logger = createLogger('warn');
  const admin = { name: 'sandbox', context: 'sandbox', kubeconfig: kubernetes.kubeconfig };
  await giveRights(admin);
  const shop = new Shop(admin);
  const [worker, gateway, metrics] = await Promise.all([
    startWorker({ config, audit: { url: `file:${join(folder, 'audit.db')}` }, logger }),
    startGateway({ config, logger }),
    shop.open(),
  ]);
  await alertmanager.reload(webhookConfig({ url: `${gateway.url}/webhook/alertmanager`, bearerToken: TOKEN }));
  await prometheus.reload({
    scrape: [{ job: 'kube-state', targets: [metrics] }],
    rules: [{ name: 'pods', rules: [{ alert: ALERT, expr: 'kube_pod_status_ready{condition="true"} == 0' }] }],
  });
  const client = lazyClient(config.temporal);
  return {
    shop,
    client,
    page: (workflowId, runId) =>
      `${temporal.uiUrl}/namespaces/${temporal.namespace}/workflows/${encodeURIComponent(workflowId)}/${runId}`,
    alertmanager: alertmanager.url,
    async close() {
      await gateway.close();
      await worker.stop();
      await client.connection.close();
      await shop.close();
    },
  };
}

function parsed(text: string): Config {
  const result = parseConfig(text, 'demo.yaml');
  if (!result.ok) throw new Error(result.problems.map(({ message }) => message).join('\n'));
  return result.config;
}

const threeServing = (shop: Shop): Promise<string[]> =>
  until('three pods that serve', async () => {
    const names = await shop.serving();
    return names.length === 3 && names;
  });

/** One act: breaks a pod, follows what Salvor does, and where it `recovers` mends it as soon as its traffic is cut. */
async function play(context: Context, stage: Stage, name: string, recovers: boolean): Promise<Step[]> {
  const { shop, client } = stage;
  const serving = await threeServing(shop);
  const steps: Step[] = [];
  let began = Date.now();
  const step = (what: string, at = Date.now()): void => {
    const one = { after: (at - began) / 1000, what };
    steps.push(one);
    say(context, line(one), { step: one });
  };

  say(context, `\n${paint('bold', `${name} stops working: alive, but not Ready`)}`);
  began = Date.now();
  await shop.setSick(name, true);
  step(`the pod ${name} is broken`);
  await until('the alert', () => isFiring(stage.alertmanager, name));
  step(`Prometheus and Alertmanager: ${ALERT} fires`);
  const handle = client.workflow.getHandle(remediationId(shop.targetOf(name)));
  const { runId } = await until('the remediation', () => handle.describe());
  step('the gateway has handed it to Temporal; a remediation runs');
  say(context, `           ${paint('cyan', stage.page(handle.workflowId, runId))}`);

  const ending = await follow(handle, {
    onLine: (text, at) => step(text, at),
    onHeld: async () => {
      await until('the EndpointSlice without it', async () => !(await shop.serving()).includes(name));
      step('it is out of the EndpointSlice: no traffic reaches it, and it is alive');
      if (recovers) await shop.setSick(name, false);
    },
  });
  const back = await threeServing(shop);
  step(
    back.includes(name)
      ? `${name} is back in the EndpointSlice`
      : `${back.find((one) => !serving.includes(one))} serves in its place`,
  );
  const expected = recovers ? 'recovered' : 'remediated';
  if (ending.outcome !== expected)
    throw new CliError(`the demo ended ${ending.outcome}, not ${expected}: ${ending.reason}`, { status: EXIT.failed });
  return steps;
}

interface Watcher {
  onLine(text: string, at: number): void;
  /** Called once, when its traffic has been cut. */
  onHeld(): Promise<void>;
}

/** Tells the lines of the remediation's story as they come, until it ends. */
async function follow(handle: WorkflowHandle, { onLine, onHeld }: Watcher): Promise<Ending> {
  let told = 0;
  let held = false;
  for (;;) {
    const story = await handle.query<Story>(MESSAGE.story);
    // Its first lines repeat what has been said.
    for (const { text, at } of story.lines.slice(Math.max(1, told))) onLine(text, Date.parse(at));
    told = story.lines.length;
    if (story.ending) return story.ending;
    if (!held && story.phase === 'hold') {
      held = true;
      await onHeld();
    }
    await delay(LOOK_EVERY);
  }
}

async function isFiring(alertmanager: string, pod: string): Promise<boolean> {
  const filter = encodeURIComponent(`pod="${pod}"`);
  const answer = await fetch(`${alertmanager}/api/v2/alerts?filter=${filter}`);
  return ((await answer.json()) as unknown[]).length > 0;
}

/** Looks until there is something to see; what is not there yet may also be an error. */
async function until<T>(what: string, look: () => Promise<T | false>): Promise<T> {
  const deadline = Date.now() + PATIENCE;
  for (;;) {
    const { seen, error } = await look().then(
      (answer) => ({ seen: answer, error: undefined }),
      (thrown: unknown) => ({ seen: false as const, error: thrown }),
    );
    if (seen !== false) return seen;
    if (Date.now() > deadline)
      throw new CliError(`the demo waited ${PATIENCE / 1000} s in vain for: ${what}`, {
        status: EXIT.failed,
        cause: error,
      });
    await delay(LOOK_EVERY);
  }
}

const line = ({ after, what }: Step): string => `  ${paint('dim', `${after.toFixed(1).padStart(6)} s`)}  ${what}`;

/** Progress for people; with `--json` only steps are written, one a line. */
function say(context: Context, text: string, data?: object): void {
  if (!context.json) print(text);
  else if (data) print(JSON.stringify(data));
}

/** What is told later may have happened earlier: a line of the story is told when it is seen. */
const inOrder = (steps: Step[]): Step[] => steps.toSorted((a, b) => a.after - b.after);

function account(context: Context, acts: { title: string; steps: Step[] }[]): void {
  if (context.json) {
    print(JSON.stringify({ done: true, acts: acts.map(({ title, steps }) => ({ title, steps: inOrder(steps) })) }));
    return;
  }
  for (const { title, steps } of acts) print('', paint('green', title), ...inOrder(steps).map(line));
}
