// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { createHash, randomUUID } from 'node:crypto';
import { mkdirSync, mkdtempSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { KubeConfig, type KubernetesObject, KubernetesObjectApi } from '@kubernetes/client-node';
import { afterAll, beforeAll } from 'vitest';
import { stringify } from 'yaml';
import { DRIFT_MEMO, type DriftStanding } from '../../model/drift/standing.ts';
import { MESSAGE, proposalId, remediationId, responderId } from '../../model/names.ts';
import type { Ending, Story } from '../../model/remediation.ts';
import type { ResponderState } from '../../model/responder.ts';
import { DRIFT_RULES } from '../support/kubernetes.ts';
import { eventually } from '../support/wait.ts';
import { PATIENCE, type Rules, SALVOR, Stack } from './support.ts';

const TOKEN = randomUUID();
/** What kubectl writes down of what it applies. */
const LAST = 'kubectl.kubernetes.io/last-applied-configuration';
/** Rules by the alerts that they take. */
const RULES: Record<string, string> = { Drift: 'drift', DriftQuick: 'quick', DriftOften: 'often' };

/** A test's way to one stack: its source, whoever changes what is live, and what Salvor does about it. */
export class DriftTest {
  readonly stack: Stack;
  readonly name: string;
  /** Where its source is. */
  readonly folder: string;
  readonly #objects: () => KubernetesObjectApi;

  constructor(stack: Stack, name: string, folder: string, objects: () => KubernetesObjectApi) {
    this.stack = stack;
    this.name = name;
    this.folder = folder;
    this.#objects = objects;
  }

  get target(): string {
    return `stack/${this.name}`;
  }

  async write(files: Record<string, string | object[]>): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    for (const [name, content] of Object.entries(files)) {
      const text = typeof content === 'string' ? content : content.map((one) => stringify(one)).join('---\n');
      await writeFile(join(this.folder, name), text);
    }
  }

  /** As `kubectl apply` does it: with its record of what it applied, under its name. */
  async deploy(...objects: KubernetesObject[]): Promise<void> {
    for (const object of objects) {
      const annotations = { ...object.metadata?.annotations, [LAST]: `${JSON.stringify(object)}\n` };
      const body = { ...object, metadata: { ...object.metadata, annotations } };
      await this.#objects().create(body, undefined, undefined, 'kubectl-client-side-apply');
    }
  }

  /** As a person does it by hand. */
  edit(object: KubernetesObject, body: object, manager = 'kubectl-edit'): Promise<void> {
    return this.stack.cluster.patch(object, body, manager);
  }

  async live<T = Record<string, unknown>>(object: KubernetesObject): Promise<T> {
    return (await this.stack.cluster.read(object)) as T;
  }

  async isThere(object: KubernetesObject): Promise<boolean> {
    return this.live(object).then(
      () => true,
      () => false,
    );
  }

  /** What Salvor changed, as the API server's audit log has it; trials are none. */
  async changed(namespace: string): Promise<string[]> {
    const events = await this.stack.requests(namespace);
    return events
      .filter(
        ({ requestURI, responseStatus }) => !requestURI.includes('dryRun=All') && (responseStatus?.code ?? 0) < 300,
      )
      .map(({ verb, objectRef }) => `${verb} ${objectRef?.resource}/${objectRef?.name}`);
  }

  /** An alert comes; each is another firing. */
  async alert(alertname = 'Drift'): Promise<void> {
    const startsAt = new Date().toISOString();
    const labels = { alertname, stack: this.name };
    const alert = { status: 'firing', labels, annotations: {}, startsAt, endsAt: '0001-01-01T00:00:00Z' };
    const about = { groupKey: '{}', receiver: 'salvor', groupLabels: {}, commonLabels: labels, commonAnnotations: {} };
    const body = { version: '4', status: 'firing', truncatedAlerts: 0, externalURL: '', ...about, alerts: [alert] };
    const status = await this.stack.deliver(JSON.stringify(body));
    if (status >= 300) throw new Error(`the gateway answered ${status}`);
  }

  get remediationId(): string {
    return remediationId(this.target);
  }

  proposalId(rule = 'drift'): string {
    return proposalId(rule, this.target);
  }

  async runIdOf(workflowId: string): Promise<string | undefined> {
    return this.stack.client.workflow
      .getHandle(workflowId)
      .describe()
      .then(
        ({ runId }) => runId,
        () => undefined,
      );
  }

  /** The run of that ID that is another one than `before`. */
  async runAfter(workflowId: string, before?: string) {
    const runId = await eventually(
      `${workflowId} has begun`,
      async () => {
        const now = await this.runIdOf(workflowId);
        return now !== before && now;
      },
      PATIENCE,
    );
    return this.stack.client.workflow.getHandle(workflowId, runId);
  }

  /** An alert comes, and its remediation begins. */
  async begun(alertname?: string) {
    const before = await this.runIdOf(this.remediationId);
    await this.alert(alertname);
    return this.runAfter(this.remediationId, before);
  }

  /** One check by an alert, and what it came to. */
  async check(alertname?: string): Promise<Ending> {
    const handle = await this.begun(alertname);
    const ending = (await handle.result()) as Ending;
    await this.atRest(RULES[alertname ?? 'Drift']);
    return ending;
  }

  /** Its responder has heard of the end, and the time after it is over. */
  async atRest(rule = 'drift'): Promise<void> {
    const responder = this.stack.client.workflow.getHandle(responderId(rule, this.name));
    await eventually(
      'its responder is at rest',
      async () => {
        const { open, queue, cooling } = await responder.query<ResponderState>(MESSAGE.state);
        const isCool = Object.values(cooling).every((until) => until <= Date.now());
        return isCool && Object.keys(open).length + Object.keys(queue).length === 0;
      },
      PATIENCE,
    );
  }

  async standing(): Promise<DriftStanding | undefined> {
    const { memo } = await this.stack.client.workflow.getHandle(this.remediationId).describe();
    return memo?.[DRIFT_MEMO] as DriftStanding | undefined;
  }

  storyOf = (handle: { query<T>(name: string): Promise<T> }): Promise<Story> => handle.query<Story>(MESSAGE.story);

  /** The proposal that waits for a person, which is another run than `before`. */
  async proposed(rule = 'drift', before?: string) {
    const handle = await this.runAfter(this.proposalId(rule), before);
    const { plan } = await eventually(
      'it waits for a person',
      async () => {
        const story = await this.storyOf(handle);
        return story.waits && story;
      },
      PATIENCE,
    );
    return { handle, runId: (await handle.describe()).runId, digest: plan?.digest ?? '', plan };
  }

  /** A person approves, by the built `salvor`. */
  async approve(runId: string, digest: string): Promise<number | null> {
    return (await this.stack.salvor(['approve', runId, '--digest', digest], TOKEN)).status;
  }
}

/** Stacks of manifests or of OpenTofu, each with a folder of its own, and rules that act on them. */
export function useDrift<const Names extends readonly string[]>(
  names: Names,
  {
    stackOf,
    rules = {},
    dependencies,
  }: { stackOf: (name: string, folder: string) => object; rules?: Rules; dependencies?: object[] },
) {
  const root = mkdtempSync(join(tmpdir(), 'salvor-drift-'));
  const folderOf = (name: string) => join(root, name);
  for (const name of names) mkdirSync(folderOf(name));
  const acting = {
    runbook: 'revert-drift',
    target: 'stack/${labels.stack}',
    gates: { cooldown: '1s', retries: { max: 20, per: '1h' } },
    with: { prune: ['ConfigMap'], create: ['Service'] },
  };
  const all: Rules = {
    drift: { ...acting, match: ['alertname="Drift"'] },
    often: { ...acting, match: ['alertname="DriftOften"'], gates: { cooldown: '1s', retries: { max: 3, per: '1h' } } },
    quick: { ...acting, match: ['alertname="DriftQuick"'], approveWithin: '2s' },
    ...rules,
  };
  const stack = new Stack();
  let objects: KubernetesObjectApi;
  beforeAll(async () => {
    await stack.start(
      all,
      {},
      {
        stacks: names.map((name) => stackOf(name, folderOf(name))),
        gateway: { people: [{ name: 'ada', tokenHash: createHash('sha256').update(TOKEN).digest('hex') }] },
        ...(dependencies && { dependencies }),
      },
    );
    await stack.cluster.allow(SALVOR, DRIFT_RULES);
    const config = new KubeConfig();
    config.loadFromFile(stack.sandbox.kubernetes.kubeconfig);
    objects = KubernetesObjectApi.makeApiClient(config);
  });
  afterAll(async () => {
    await stack.stop();
    await rm(root, { recursive: true, force: true });
  });
  return {
    stack,
    root,
    test: (name: Names[number]): DriftTest => new DriftTest(stack, name, folderOf(name), () => objects),
  };
}
