import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { Cluster, type ClusterConfig } from '../providers/kubernetes/cluster.ts';
import { packageRoot } from '../sandbox/paths.ts';

/** Whom that file gives its rights. */
export const SALVOR = 'system:serviceaccount:salvor:salvor';

const RBAC = 'rbac.authorization.k8s.io';
const RESOURCES: Record<string, { group: string; resource: string; namespace?: string }> = {
  Namespace: { group: '', resource: 'namespaces' },
  ServiceAccount: { group: '', resource: 'serviceaccounts', namespace: 'salvor' },
  ClusterRole: { group: RBAC, resource: 'clusterroles' },
  ClusterRoleBinding: { group: RBAC, resource: 'clusterrolebindings' },
};

/** Gives Salvor the rights of deploy/kubernetes/rbac.yaml, and no more. @param admin who may give them */
export async function giveRights(admin: ClusterConfig): Promise<void> {
  const cluster = new Cluster(admin);
  try {
    const text = await readFile(join(packageRoot(), 'deploy', 'kubernetes', 'rbac.yaml'), 'utf8');
    for (const document of parseAllDocuments(text)) {
      const manifest = document.toJS() as { kind: string };
      const ref = RESOURCES[manifest.kind];
      if (ref === undefined) throw new Error(`deploy/kubernetes/rbac.yaml: no way to create a ${manifest.kind}`);
      await cluster.create({ version: 'v1', ...ref }, manifest);
    }
  } finally {
    await cluster.close();
  }
}
