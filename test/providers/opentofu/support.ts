import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Difference } from '../../../model/drift/difference.ts';
import { countsOf } from '../../../model/drift/difference.ts';
import type { OpenTofuStack, Stack } from '../../../model/drift/options.ts';
import type { Comparison, RevertRequest } from '../../../model/ports/desired-state.ts';
import type { DriftMeans } from '../../../providers/desired-state.ts';
import type { HeldOn, Pulse } from '../../../providers/instance.ts';
import { openTofu } from '../../../providers/opentofu/provider.ts';
import { type OpenTofu, prepareOpenTofu } from '../../../sandbox/opentofu.ts';
import { run } from '../../../sandbox/run.ts';

export interface Stage {
  readonly folder: string;
  readonly tofu: OpenTofu;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Real OpenTofu, whose providers are on this machine, for this process. */
export async function openStage(): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'salvor-stage-'));
  const tofu = await prepareOpenTofu({ folder: join(folder, 'tofu') });
  Object.assign(process.env, tofu.env);
  // Nobody is there: a registry that is asked all the same is an error at once.
  process.env['HTTPS_PROXY'] = 'http://127.0.0.1:9';
  return { folder, tofu, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}

export interface World {
  /** Where the module is. */
  readonly folder: string;
  /** Where a module may put files. */
  readonly files: string;
  readonly state: string;
  readonly stack: Stack;
  write(source: string | Record<string, string>): Promise<void>;
  /** As a person does, beside Salvor. */
  by(...args: string[]): Promise<string>;
  applyAll(): Promise<void>;
  /** The state's text. */
  stateText(): Promise<string>;
}

const BACKEND = (path: string) => `terraform {\n  backend "local" {\n    path = "${path}"\n  }\n}\n`;

let worlds = 0;

/** A stack of its own: a module in a folder, with its state elsewhere. */
export async function makeWorld(
  stage: Stage,
  source: (files: string) => string,
  options: { stack?: Partial<Stack>; opentofu?: Partial<OpenTofuStack>; backend?: (path: string) => string } = {},
): Promise<World> {
  worlds += 1;
  const root = join(stage.folder, `world-${worlds}`);
  const [folder, files, state] = [join(root, 'module'), join(root, 'files'), join(root, 'state/terraform.tfstate')];
  await mkdir(folder, { recursive: true });
  await mkdir(files);
  await mkdir(dirname(state));
  const backend = (options.backend ?? BACKEND)(state);
  const by = (...args: string[]) =>
    run(stage.tofu.executable, args, { cwd: folder, env: { ...stage.tofu.env, TF_DATA_DIR: join(root, 'data') } });
  const write = async (text: string | Record<string, string>) => {
    const all = typeof text === 'string' ? { 'main.tf': text } : text;
    for (const [name, content] of Object.entries(all)) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      await writeFile(join(folder, name), content);
    }
  };
  await write({ 'main.tf': source(files), 'backend.tf': backend });
  const opentofu: OpenTofuStack = {
    ...{ folder, command: stage.tofu.executable, backendConfig: {}, backendConfigFiles: [], varFiles: [] },
    ...options.opentofu,
  };
  const stack: Stack = {
    ...{ name: `stack-${worlds}`, opentofu, ignore: [], minAge: 0, holdWhile: [], lockWithin: 60_000 },
    ...options.stack,
  };
  return {
    ...{ folder, files, state, stack, write, by },
    applyAll: async () => {
      await by('init', '-no-color', '-input=false');
      await by('apply', '-auto-approve', '-no-color', '-input=false');
    },
    stateText: () => readFile(state, 'utf8'),
  };
}

export interface MeansOptions {
  isRepeat?: boolean;
  held?: HeldOn[];
  stillMine?: () => Promise<void>;
  signal?: AbortSignal;
  isCancelled?: () => boolean;
}

export interface CountingMeans extends DriftMeans {
  beats: () => number;
}

export function means(options: MeansOptions = {}): CountingMeans {
  const { isRepeat = false, held = [], stillMine = async () => undefined } = options;
  let beats = 0;
  const pulse: Pulse = {
    ...{ since: Date.now(), aloneUntil: Date.now(), stillMine, last: undefined },
    signal: options.signal ?? new AbortController().signal,
    beat: () => {
      beats += 1;
    },
    ...(options.isCancelled && { isCancelled: options.isCancelled }),
  };
  return { pulse, isRepeat, held: async () => held, beats: () => beats };
}

const actor = { remediation: 'r', rule: 'drift', runbook: 'revert-drift' } as unknown as RevertRequest['actor'];
const base = { actor, prune: [], create: [] };

export function providerOf({ stack }: Pick<World, 'stack'>) {
  const provider = openTofu(stack, stack.opentofu!);
  return {
    compare: (options?: MeansOptions & { revision?: string }) =>
      provider.compare({ ...base, stack, revision: options?.revision }, means(options)),
    revert: (reviewed: Difference[], options?: MeansOptions & { revision?: string }) =>
      provider.revert({ ...base, stack, reviewed, step: 'revert', revision: options?.revision }, means(options)),
  };
}

/** The differences of a comparison, which must not have been refused. */
export function differencesOf(told: Comparison): Difference[] {
  if (told.verdict === 'refused') throw new Error(`refused: ${told.why}`);
  return told.differences;
}

/** Address and class of each. */
export const classesOf = (told: Comparison): Record<string, string> =>
  Object.fromEntries(differencesOf(told).map(({ address, class: of }) => [address, of]));

export const revertible = (told: Comparison): Difference[] =>
  differencesOf(told).filter(({ class: of }) => of === 'reversible' || of === 'destructive');

export const drifts = (told: Comparison): number => {
  const counts = countsOf(differencesOf(told));
  return counts.reversible + counts.destructive + counts.mixed;
};

/** A NetworkPolicy as a resource of the provider `kubectl`. @param more of the resource, before its body */
export const policy = (name: string, { port = 8080, more = '' } = {}) => `
resource "kubectl_manifest" "${name}" {
  ${more}
  yaml_body = <<-YAML
    apiVersion: networking.k8s.io/v1
    kind: NetworkPolicy
    metadata: { name: ${name}, namespace: default }
    spec:
      podSelector: { matchLabels: { app: web } }
      policyTypes: [Ingress]
      ingress: [{ ports: [{ port: ${port}, protocol: TCP }] }]
  YAML
}
`;
