import { type FieldPath, type FieldSet, hasField } from './field-set.ts';

/** One entry of `metadata.managedFields`. */
export interface Manager {
  manager?: string;
  operation?: string;
  subresource?: string;
  time?: string;
  fieldsV1?: FieldSet;
}

/** Where kubectl keeps what it applied last. */
export const LAST_APPLIED = 'kubectl.kubernetes.io/last-applied-configuration';

/** Who writes for revert-drift; as of {@link import('../names.ts').fieldManager}. */
export const OWN_MANAGER = 'salvor-revert-drift';

/**
 * Controllers that set fields of objects which are somebody else's: what they own is theirs. Those that write by the
 * subresources `status` and `scale` are known by that and need not be named.
 */
const CONTROLLERS: ReadonlySet<string> = new Set([
  ...['kube-controller-manager', 'cloud-controller-manager', 'kube-scheduler', 'kubelet', 'kube-apiserver'],
  ...['horizontal-pod-autoscaler', 'cluster-autoscaler', 'karpenter'],
  ...['vpa-updater', 'vpa-recommender', 'vpa-admission-controller', 'updater', 'recommender', 'admission-controller'],
  ...['keda', 'keda-operator'],
  // They write the caBundle of webhooks, conversions and API services.
  ...['cainjector', 'cert-manager-cainjector', 'cert-manager-cainjector-cainjector'],
  // They shift traffic, in Services, VirtualServices, HTTPRoutes and the like, and write their own webhooks.
  ...['flagger', 'istiod', 'pilot-discovery', 'proxy-injector', 'traefik'],
  ...['cilium-agent', 'cilium-operator-generic', 'cilium-operator-aws', 'cilium-operator-azure', 'speaker'],
  ...['kube-controllers', 'calico-kube-controllers', 'kyverno', 'crossplane', 'descheduler', 'autoscaler', 'Reloader'],
]);

/** So controllers are named, by their program where they say nothing else: `rollouts-controller`, `manager`. */
const LIKE_CONTROLLER = /^(?:.*[-_.])?(?:controller|operator|manager)$/;

/** Those that apply a source, by the beginnings of their names, and write kubectl's annotation like kubectl. */
const APPLIES_LIKE_KUBECTL = /^(?:argocd|kapp)/;

/** Those that apply a source on the server: what they own is no other controller's. */
const APPLIES_ON_SERVER = /^(?:kustomize-controller|helm-controller|fleet|configsync|pulumi|terraform|opentofu)/i;

/** With what people change things by hand; kubectl is also what a pipeline applies with. */
const BY_HAND = /^(?:kubectl|k9s|(?:open|free)?lens|headlamp|mozilla|node-fetch)/i;

/** Newest first. */
const byTime = (a: Manager, b: Manager): number => (b.time ?? '').localeCompare(a.time ?? '');

/** @param applier of the object: what it owns it has deployed, whatever its name */
function isController(manager: string, applier: string | undefined): boolean {
  if (CONTROLLERS.has(manager)) return true;
  if (manager === applier || BY_HAND.test(manager)) return false;
  if (APPLIES_LIKE_KUBECTL.test(manager) || APPLIES_ON_SERVER.test(manager)) return false;
  return LIKE_CONTROLLER.test(manager);
}

/** Who owns a field, the newest first. */
export const ownersOf = (managers: readonly Manager[], path: FieldPath): Manager[] =>
  managers.filter(({ fieldsV1 }) => fieldsV1 !== undefined && hasField(fieldsV1, path)).sort(byTime);

/** Why the field is another controller's, for people; undefined where no controller owns it. */
export function controllerAmong(owners: readonly Manager[], applier: string | undefined): string | undefined {
  const found = owners.find(
    ({ manager = '', subresource }) =>
      isController(manager, applier) ||
      subresource === 'status' ||
      // By hand it is scaled through the same subresource.
      (subresource === 'scale' && !manager.startsWith('kubectl')),
  );
  return (
    found &&
    `owned by the controller ${found.manager}${found.subresource ? ` (by the subresource ${found.subresource})` : ''}`
  );
}

/** Another runbook of Salvor's among the owners. */
export const runbookAmong = (owners: readonly Manager[]): string | undefined =>
  owners.find(({ manager }) => manager?.startsWith('salvor-') && manager !== OWN_MANAGER)?.manager;

/**
 * Who has applied an object: the manager that owns most of what the source declares. Of two with as much: the one that applies
 * on the server, then the older. Salvor itself only where nobody else owns anything, for it has created the object then.
 */
export function applierOf(managers: readonly Manager[], declared: readonly FieldPath[]): Manager | undefined {
  const counted = managers
    .filter(({ manager, subresource }) => manager !== undefined && !subresource)
    .map((one) => ({ one, count: declared.filter((path) => hasField(one.fieldsV1 ?? {}, path)).length }))
    .filter(({ count }) => count > 0);
  const others = counted.filter(({ one }) => !one.manager?.startsWith('salvor-'));
  const [best] = (others.length > 0 ? others : counted).sort(
    (a, b) =>
      b.count - a.count ||
      Number(b.one.operation === 'Apply') - Number(a.one.operation === 'Apply') ||
      byTime(b.one, a.one),
  );
  return best?.one;
}

/**
 * Whether kubectl's annotation tells what was applied last. It does not where somebody else applies the object than who wrote it: it
 * stays behind when a team moves from kubectl to a controller that applies on the server, and a `kubectl apply` by hand over what such a
 * controller applies is no deploy. Where people's tools own most of the object, it is kubectl's, or an edit of most of a small one.
 */
export function tellsApplied(managers: readonly Manager[], applier: Manager | undefined): boolean {
  const [owner] = ownersOf(managers, [{ name: 'metadata' }, { name: 'annotations' }, { name: LAST_APPLIED }]);
  if (!owner || !applier) return true;
  const { manager = '' } = applier;
  if (owner.manager === manager || manager === OWN_MANAGER || BY_HAND.test(manager)) return true;
  return APPLIES_LIKE_KUBECTL.test(owner.manager ?? '') && (owner.time ?? '') >= (applier.time ?? '');
}

/**
 * Who has changed a field. Of one that is gone nobody is on record: it may be who wrote the object last, after it was applied.
 */
export function culpritOf(
  managers: readonly Manager[],
  path: FieldPath,
  applier: Manager | undefined,
): Manager | undefined {
  const isOther = ({ manager = '', subresource }: Manager) =>
    manager !== applier?.manager &&
    !manager.startsWith('salvor-') &&
    !isController(manager, applier?.manager) &&
    subresource !== 'status';
  const owners = ownersOf(managers, path);
  if (owners.length > 0) return owners.find(isOther);
  const later = managers.filter((one) => isOther(one) && (one.time ?? '') >= (applier?.time ?? ''));
  return later.sort(byTime)[0];
}
