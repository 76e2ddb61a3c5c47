import type { KubernetesObject } from '@kubernetes/client-node';
import { afterAll, beforeAll } from 'vitest';
import type { Held } from '../../../model/change.ts';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import type { GiveScaleBackRequest, Scale, ScaleToRequest } from '../../../model/ports/scalable.ts';
import { type ObjectTarget, parseTarget } from '../../../model/target.ts';
import type { Attempt } from '../../../providers/instance.ts';
import { Kubernetes } from '../../../providers/kubernetes/provider.ts';
import type { AuditEvent } from '../../../sandbox/audit-log.ts';
import { type Sandbox, startSandbox } from '../../../sandbox/sandbox.ts';
import { overtakenLeftOut } from '../../support/audit.ts';
import { deployment, SCALE_RULES, statefulSet, TestCluster } from '../../support/kubernetes.ts';
import { eventually } from '../../support/wait.ts';

export const RUNBOOK = 'scale-on-backlog';
export const inMs = (ms: number): string => new Date(Date.now() + ms).toISOString();
export const actor = (remediation = 'remediation-1') => ({ runbook: RUNBOOK, remediation });

/** An object with the fields that a test reads. */
export interface Seen extends KubernetesObject {
  spec: Record<string, unknown>;
  status?: Record<string, unknown>;
}

const customResource = (group: string, plural: string, kind: string, version: string, more: object) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.${group}` },
  spec: {
    group,
    scope: 'Namespaced',
    names: { plural, singular: kind.toLowerCase(), kind },
    versions: [{ name: version, served: true, storage: true, ...more }],
  },
});

const schema = (spec: object, status: object) => ({
  openAPIV3Schema: {
    type: 'object',
    properties: { spec: { type: 'object', properties: spec }, status: { type: 'object', properties: status } },
  },
});
const integer = { type: 'integer' };

/** Its size is not where most have it. */
const CREWS = customResource('test.salvor.dev', 'crews', 'Crew', 'v1beta2', {
  schema: schema({ size: { type: 'object', properties: { sailors: integer } } }, { sailors: integer }),
  subresources: {
    status: {},
    scale: { specReplicasPath: '.spec.size.sailors', statusReplicasPath: '.status.sailors' },
  },
});

/** It cannot be scaled. */
const FLAGS = customResource('test.salvor.dev', 'flags', 'Flag', 'v1beta2', { schema: schema({}, {}) });

/** As much of KEDA's as says what is scaled, and within which limits. */
const SCALED_OBJECTS = customResource('keda.sh', 'scaledobjects', 'ScaledObject', 'v1alpha1', {
  schema: schema(
    {
      scaleTargetRef: {
        type: 'object',
        properties: { apiVersion: { type: 'string' }, kind: { type: 'string' }, name: { type: 'string' } },
      },
      ...{ minReplicaCount: integer, maxReplicaCount: integer },
    },
    {},
  ),
});

const MORE_RULES = [
  { apiGroups: ['test.salvor.dev'], resources: ['crews'], verbs: ['get', 'list', 'patch'] },
  // Whoever looks for what is held looks at pods too.
  { apiGroups: [''], resources: ['pods'], verbs: ['list'] },
];

export const crew = (namespace: string, sailors: number | undefined, name = 'web') => ({
  ...{ apiVersion: 'test.salvor.dev/v1beta2', kind: 'Crew', metadata: { name, namespace } },
  spec: { size: sailors === undefined ? {} : { sailors } },
});

export const autoscaler = (namespace: string, minReplicas?: number, name = 'web', target: object = {}) => ({
  ...{ apiVersion: 'autoscaling/v2', kind: 'HorizontalPodAutoscaler', metadata: { name, namespace } },
  spec: {
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'web', ...target },
    ...(minReplicas !== undefined && { minReplicas }),
    maxReplicas: 6,
  },
});

export const scaledObject = (namespace: string, spec: object = {}, name = 'web') => ({
  ...{ apiVersion: 'keda.sh/v1alpha1', kind: 'ScaledObject', metadata: { name, namespace } },
  spec: { scaleTargetRef: { name: 'web' }, ...spec },
});

/** Counts, and does what a test wants done between read and write. */
export function attempt(meanwhile: () => Promise<void> = async () => undefined) {
  const state = { asked: 0 };
  const it: Attempt = {
    since: Date.now(),
    aloneUntil: 0,
    stillMine: async () => {
      state.asked += 1;
      await meanwhile();
    },
  };
  return { ...it, state };
}

/**
 * The provider against a real API server, as the user `salvor`, who has the documented rights and no more. So what the audit
 * log has of this user is what Salvor did.
 */
export class ScaleBench {
  sandbox!: Sandbox<'kubernetes'>;
  kubernetes!: Kubernetes;
  /** Of a user who may look and no more. */
  onlooker!: Kubernetes;
  cluster!: TestCluster;

  async start(): Promise<void> {
    const users = [{ name: 'salvor' }, { name: 'onlooker' }];
    this.sandbox = await startSandbox({ parts: ['kubernetes'], kubernetes: { users } });
    this.cluster = new TestCluster(this.sandbox.kubernetes);
    await this.cluster.create(CREWS, FLAGS, SCALED_OBJECTS);
    await this.cluster.allow('salvor', [...SCALE_RULES, ...MORE_RULES]);
    const looks = (rule: { verbs: string[] }) => ({ ...rule, verbs: rule.verbs.filter((verb) => verb !== 'patch') });
    await this.cluster.allow('onlooker', [...SCALE_RULES, ...MORE_RULES].map(looks));
    this.kubernetes = this.#as('salvor');
    this.onlooker = this.#as('onlooker');
    // The API server learns of new rights and kinds by watches of its own.
    for (const kubernetes of [this.kubernetes, this.onlooker])
      for (const kind of ['deployment.apps', 'crew.test.salvor.dev'])
        await eventually('rights and kinds are in force', () =>
          kubernetes.scalable(this.target('default', kind, 'nobody')).read('r'),
        );
  }

  async stop(): Promise<void> {
    await Promise.all([this.kubernetes?.close(), this.onlooker?.close()]);
    await this.sandbox?.stop();
  }

  #as(user: string): Kubernetes {
    const kubeconfig = this.sandbox.kubernetes.users[user]?.kubeconfig ?? '';
    return new Kubernetes({ name: 'sandbox', kubeconfig });
  }

  target(namespace: string, kind = 'deployment.apps', name = 'web'): ObjectTarget {
    return parseTarget(`k8s/sandbox/${namespace}/${kind}/${name}`) as ObjectTarget;
  }

  provider(namespace: string, kind?: string, name?: string) {
    return this.kubernetes.scalable(this.target(namespace, kind, name));
  }

  /** A Deployment `web` of two, and whatever else there is to be. */
  async web(...more: ((namespace: string) => KubernetesObject)[]): Promise<string> {
    const namespace = await this.cluster.namespace('scale');
    await this.cluster.create(deployment({ namespace, name: 'web' }), ...more.map((make) => make(namespace)));
    return namespace;
  }

  async found(namespace: string, kind?: string, remediation = 'remediation-1'): Promise<Scale> {
    const reading = await this.provider(namespace, kind).read(remediation);
    if (reading.verdict !== 'found') throw new Error(`not found but ${reading.verdict}: ${reading.why}`);
    return reading.scale;
  }

  /** The object as a person sees it. */
  see = async (object: KubernetesObject): Promise<Seen> => (await this.cluster.read(object)) as Seen;

  notes(object: KubernetesObject): Held[] {
    return JSON.parse(object.metadata?.annotations?.[HELD_ANNOTATION] ?? '[]');
  }

  /** What Salvor changed in a namespace, or tried to. */
  writes(namespace: string): Promise<AuditEvent[]> {
    return this.sandbox.kubernetes.readAudit({ user: 'salvor', namespace });
  }

  /** Less those that were refused for the version that was read: controllers write too, and then it is done anew. */
  async made(namespace: string): Promise<AuditEvent[]> {
    return overtakenLeftOut(await this.writes(namespace));
  }
}

export function useScaleBench(): ScaleBench {
  const bench = new ScaleBench();
  beforeAll(() => bench.start(), 120_000);
  afterAll(() => bench.stop());
  return bench;
}

export const heldOf = ({ by: { object, field, value } }: Scale, set: number, remediation?: string): Held => ({
  ...{ object, field, before: value, set, ...actor(remediation), until: inMs(600_000) },
});

export const toSize = (scale: Scale, to: number, from = scale.by.value, remediation?: string): ScaleToRequest => ({
  ...{ step: 'scale', actor: actor(remediation), scale, from, to, held: [heldOf(scale, to, remediation)] },
});

export const back = (scale: Scale, set: number, remediation?: string): GiveScaleBackRequest => ({
  ...{ step: 'give-back', actor: actor(remediation), scale, held: [heldOf(scale, set, remediation)] },
});

/** The kinds that a workload can have here, with its size of two as a person makes it. */
export const WORKLOADS = {
  'deployment.apps': (namespace: string) => deployment({ namespace, name: 'web' }),
  'statefulset.apps': (namespace: string) => statefulSet({ namespace, name: 'web' }),
  'crew.test.salvor.dev': (namespace: string) => crew(namespace, 2),
} as const;
