import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { FINDINGS, type FindingId } from '../../model/doctor/findings.ts';
import type {
  Autoscaler,
  Budget,
  Kind,
  Metadata,
  Pod,
  Service,
  Snapshot,
  Workload,
} from '../../model/doctor/objects.ts';
import { KINDS } from '../../model/doctor/objects.ts';
import { diagnose } from '../../model/doctor.ts';
import { cutOf } from '../../providers/kubernetes/doctor.ts';

const IDS = Object.keys(FINDINGS) as FindingId[];

/** The manifests of `fixtures/doctor`, by what they are about; those findings alone are expected of them. */
const ABOUT: Record<string, FindingId[]> = {
  probes: ['no-readiness-probe', 'no-liveness-probe', 'same-probes'],
  traffic: [
    'no-traffic-cut',
    'traffic-label-in-selector',
    'traffic-label-missing',
    'gate-nobody-sets',
    'service-sends-to-unready',
  ],
  budgets: ['no-disruption-budget', 'several-disruption-budgets', 'budget-never-allows', 'sick-pods-not-evictable'],
  capacity: ['one-replica', 'hpa-resource-only', 'hpa-without-requests'],
  shutdown: ['no-pre-stop', 'grace-too-short'],
  nodes: ['local-data', 'bare-pod', 'all-on-one-node', 'pinned-to-node', 'excluded'],
};

type Manifest = { kind: string; metadata: Metadata };

const read = (about: string): Manifest[] =>
  parseAllDocuments(readFileSync(join(import.meta.dirname, 'fixtures/doctor', `${about}.yaml`), 'utf8')).map(
    (document) => document.toJS() as Manifest,
  );

function snapshotOf(manifests: Manifest[]): Snapshot {
  const of = <T>(kind: string) => manifests.filter((one) => one.kind === kind) as T[];
  return {
    cluster: 'prod',
    workloads: manifests.filter(({ kind }) => KINDS.includes(kind as Kind)) as Workload[],
    pods: of<Pod>('Pod'),
    services: of<Service>('Service'),
    budgets: of<Budget>('PodDisruptionBudget'),
    autoscalers: of<Autoscaler>('HorizontalPodAutoscaler'),
    namespaces: [],
  };
}

const keyOf = ({ kind, metadata }: Manifest): string =>
  `k8s/prod/shop/${kind === 'Pod' ? 'pod' : `${kind.toLowerCase()}.apps`}/${metadata.name}`;

const found = (about: string) => diagnose(snapshotOf(read(about)), cutOf).findings;
const one = (about: string, name: string, id: FindingId) => {
  const finding = found(about).find(({ workload, ...rest }) => workload.endsWith(`/${name}`) && rest.id === id);
  if (!finding) throw new Error(`${name} has no finding ${id}`);
  return finding;
};
/** The documents of a suggestion. */
const mendOf = (about: string, name: string, id: FindingId): unknown[] =>
  parseAllDocuments(one(about, name, id).mend).map((document) => document.toJS() as unknown);

describe.each(Object.entries(ABOUT))('%s', (about, ids) => {
  const findings = found(about).filter(({ id }) => ids.includes(id));
  const expected = read(about).filter(({ metadata }) => metadata.annotations?.['expects'] !== undefined);

  it.each(expected.map((object) => [keyOf(object), object] as const))('%s', (key, { metadata }) => {
    const told = findings.filter(({ workload }) => workload === key).map(({ id }) => id);
    expect(told.sort()).toEqual((metadata.annotations?.['expects'] ?? '').split(' ').filter(Boolean).sort());
  });

  it('is said of nothing else, and of each there is a case for and one against', () => {
    const keys = expected.map(keyOf);
    expect(findings.filter(({ workload }) => !keys.includes(workload))).toEqual([]);
    for (const id of ids) {
      const told = new Set(findings.filter((finding) => finding.id === id).map(({ workload }) => workload));
      expect(told.size, id).toBeGreaterThan(0);
      expect(told.size, id).toBeLessThan(keys.length);
    }
  });

  it('has a suggestion that names the namespace and what is in it', () => {
    for (const { id, mend } of findings) {
      for (const document of parseAllDocuments(mend)) {
        expect(document.errors).toEqual([]);
        expect(document.toJS(), id).toMatchObject({
          apiVersion: expect.any(String),
          kind: expect.any(String),
          metadata: { name: expect.any(String), namespace: 'shop' },
        });
      }
    }
  });
});

it('every finding is about something', () => {
  expect(Object.values(ABOUT).flat().sort()).toEqual([...IDS].sort());
});

describe('what is suggested', () => {
  it('does not make the probes the same', () => {
    const container = { name: 'app', ports: [{ containerPort: 80 }], livenessProbe: { tcpSocket: { port: 80 } } };
    const workload: Workload = {
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'shop' },
      spec: { selector: {}, template: { spec: { containers: [container] } } },
    };
    const { findings } = diagnose({ cluster: 'prod', workloads: [workload] }, cutOf);
    const mend = findings.find(({ id }) => id === 'no-readiness-probe')?.mend ?? '';
    const [document] = parseAllDocuments(mend);
    expect(document?.toJS()).toMatchObject({
      spec: {
        template: {
          spec: { containers: [{ name: 'app', livenessProbe: { failureThreshold: 30 }, readinessProbe: {} }] },
        },
      },
    });
  });

  it('is patience for liveness that is the same as readiness', () => {
    expect(one('probes', 'same-by-name', 'same-probes').seen).toBe(
      'container app: liveness and readiness are the same probe (GET /health on port 8080), and liveness gives up after 30 s, readiness after 15 s',
    );
    expect(mendOf('probes', 'same-by-name', 'same-probes')).toEqual([
      {
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'same-by-name', namespace: 'shop' },
        spec: { template: { spec: { containers: [{ name: 'app', livenessProbe: { failureThreshold: 30 } }] } } },
      },
    ]);
  });

  it('is read the same by kubectl, for which a plain `on` is a boolean', () => {
    expect(one('traffic', 'plain', 'no-traffic-cut').mend).toContain('salvor.dev/traffic: "on"');
  });

  it('does not let the Deployment of a bare pod select on what cuts its traffic', () => {
    const labels = { app: 'web', 'salvor.dev/traffic': 'on' };
    const pod: Pod = { metadata: { name: 'web', namespace: 'shop', labels }, spec: { containers: [{ name: 'app' }] } };
    const [finding] = diagnose({ cluster: 'prod', workloads: [], pods: [pod] }, cutOf).findings;
    expect(parseAllDocuments(finding?.mend ?? '')[0]?.toJS()).toMatchObject({
      spec: { selector: { matchLabels: { app: 'web' } }, template: { metadata: { labels } } },
    });
    expect(finding?.mend.match(/salvor\.dev\/traffic/g)).toHaveLength(1);
  });

  it('labels the pods before a Service asks for the label, those beside them too', () => {
    const manifests = read('traffic').filter(({ metadata }) => metadata.name === 'plain');
    const [workload] = snapshotOf(manifests).workloads;
    const beside = { ...workload, metadata: { name: 'plain-canary', namespace: 'shop' } } as Workload;
    const snapshot = snapshotOf(manifests);
    const { findings } = diagnose({ ...snapshot, workloads: [...snapshot.workloads, beside] }, cutOf);
    const mend = findings.find(({ id, workload: key }) => id === 'no-traffic-cut' && key.endsWith('/plain'))?.mend;
    const documents = parseAllDocuments(mend ?? '').map((document) => document.toJS() as Manifest);
    expect(documents.map(({ kind, metadata }) => `${kind} ${metadata.name}`)).toEqual([
      'Deployment plain',
      'Deployment plain-canary',
      'Service plain',
    ]);
  });

  it('keeps to the value that the Services use already', () => {
    expect(mendOf('traffic', 'half', 'no-traffic-cut')).toEqual([
      {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'half-metrics', namespace: 'shop' },
        spec: { selector: { 'salvor.dev/traffic': 'open' } },
      },
    ]);
  });

  it('keeps the gates that somebody sets', () => {
    expect(mendOf('traffic', 'forgotten', 'gate-nobody-sets')).toMatchObject([
      { spec: { template: { spec: { readinessGates: [{ conditionType: 'example.com/warm' }] } } } },
    ]);
  });

  it('takes only this workload out of a budget that protects others too', () => {
    const names = ['twice', 'zero', 'twice-a'];
    const wide = {
      kind: 'PodDisruptionBudget',
      metadata: { name: 'wide', namespace: 'shop' },
      spec: { maxUnavailable: 1, selector: { matchLabels: { tier: 'web' } } },
    };
    const manifests = [...read('budgets').filter(({ metadata }) => names.includes(metadata.name)), wide];
    const { findings } = diagnose(snapshotOf(manifests), cutOf);
    const mend = findings.find(({ id }) => id === 'several-disruption-budgets')?.mend ?? '';
    expect(mend).toContain('# twice-a stays');
    expect(parseAllDocuments(mend).map((document) => document.toJS() as unknown)).toEqual([
      {
        apiVersion: 'policy/v1',
        kind: 'PodDisruptionBudget',
        metadata: { name: 'wide', namespace: 'shop' },
        spec: {
          selector: {
            matchLabels: { tier: 'web' },
            matchExpressions: [{ key: 'app', operator: 'NotIn', values: ['twice'] }],
          },
        },
      },
    ]);
  });

  it("raises the minimum where it comes from: KEDA writes its autoscaler's anew", () => {
    const manifests = read('capacity').filter(({ metadata }) => metadata.name === 'shrinks');
    const keda = { apiVersion: 'keda.sh/v1alpha1', kind: 'ScaledObject', name: 'orders', controller: true };
    for (const { kind, metadata } of manifests) if (kind.startsWith('Horizontal')) metadata.ownerReferences = [keda];
    const [finding] = diagnose(snapshotOf(manifests), cutOf).findings.filter(({ id }) => id === 'one-replica');
    expect(parseAllDocuments(finding?.mend ?? '')[1]).toBeUndefined();
    expect(parseAllDocuments(finding?.mend ?? '')[0]?.toJS()).toEqual({
      apiVersion: 'keda.sh/v1alpha1',
      kind: 'ScaledObject',
      metadata: { name: 'orders', namespace: 'shop' },
      spec: { minReplicaCount: 2 },
    });
  });
});

describe('what could not be read', () => {
  it.each(Object.keys(ABOUT))('is not taken for absent: %s', (about) => {
    const { cluster, workloads } = snapshotOf(read(about));
    const ids = new Set(diagnose({ cluster, workloads }, cutOf).findings.map(({ id }) => id));
    const certain = [
      'no-readiness-probe',
      'no-liveness-probe',
      'same-probes',
      'traffic-label-in-selector',
      'one-replica',
      'local-data',
      'pinned-to-node',
      'excluded',
    ];
    expect([...ids].filter((id) => !certain.includes(id))).toEqual([]);
  });
});

it('tells of a workload together, problems first', () => {
  const findings = found('probes');
  const order = findings.map(({ workload, severity }) => `${workload} ${severity === 'problem' ? 0 : 1}`);
  expect(order).toEqual([...order].sort());
});

it("Salvor's own manifests have no problem", () => {
  const folder = join(import.meta.dirname, '../../deploy/kubernetes/base');
  const manifests = ['gateway.yaml', 'worker.yaml']
    .flatMap((file) => parseAllDocuments(readFileSync(join(folder, file), 'utf8'), { merge: true }))
    .map((document) => document.toJS() as Manifest);
  const { workloads, findings } = diagnose(snapshotOf(manifests), cutOf);
  expect(workloads).toHaveLength(2);
  expect(findings.filter(({ severity }) => severity === 'problem')).toEqual([]);
});

describe('docs/doctor.md', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/doctor.md'), 'utf8');
  const documented = [...text.matchAll(/^### `([^`]+)`$/gm)].map(([, id]) => id);

  it('tells of every finding, and of no other', () => {
    expect(documented).toEqual(IDS);
  });
});
