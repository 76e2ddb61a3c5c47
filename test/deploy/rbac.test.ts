import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { DRAIN_POD_RULES } from '../support/kubernetes.ts';
import { readText } from './stack.ts';

interface Rule {
  apiGroups: string[];
  resources: string[];
  verbs: string[];
}
interface Manifest {
  kind: string;
  metadata: { name: string; namespace?: string };
  rules?: Rule[];
  roleRef?: { kind: string; name: string };
  subjects?: { kind: string; name: string; namespace: string }[];
}

const rights = (rules: Rule[]): string[] =>
  rules
    .flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}.${group}`)),
      ),
    )
    .sort();

describe('deploy/kubernetes/rbac.yaml', () => {
  const manifests = parseAllDocuments(readText('deploy/kubernetes/rbac.yaml')).map(
    (document) => document.toJS() as Manifest,
  );
  const [namespace, account, role, binding] = manifests;

  it("grants what the provider's tests run with, one more kind of controller, and nothing else", () => {
    const controllers = { apiGroups: [''], resources: ['replicationcontrollers'], verbs: ['get', 'list', 'watch'] };
    expect(rights(role?.rules ?? [])).toEqual(rights([...DRAIN_POD_RULES, controllers]));
    expect(rights(role?.rules ?? []).filter((right) => right.startsWith('delete') || right.includes('*'))).toEqual([]);
  });

  it('binds it to the service account that it creates', () => {
    expect(manifests.map(({ kind }) => kind)).toEqual([
      'Namespace',
      'ServiceAccount',
      'ClusterRole',
      'ClusterRoleBinding',
    ]);
    expect(account?.metadata.namespace).toBe(namespace?.metadata.name);
    expect(binding?.roleRef).toMatchObject({ kind: 'ClusterRole', name: role?.metadata.name });
    expect(binding?.subjects).toEqual([{ kind: 'ServiceAccount', ...account?.metadata }]);
  });
});
