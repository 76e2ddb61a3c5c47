import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { equal, type Json } from '../../../model/breaker/patch.ts';
import { classifyField, classifyObject, type FieldFacts } from '../../../model/drift/classify-manifests.ts';
import { applierOf, culpritOf, type Manager, ownersOf, tellsApplied } from '../../../model/drift/managers.ts';

const value = fc.constantFrom<Json | undefined>(undefined, 0, 1, 2, 'a', [1], { a: 1 });
const name = fc.constantFrom(
  ...['kubectl-edit', 'argocd-controller', 'salvor-revert-drift', 'salvor-circuit-breaker', 'kube-controller-manager'],
);
const owner: fc.Arbitrary<Manager> = fc.record(
  { manager: name, subresource: fc.constantFrom('status', 'scale') },
  { requiredKeys: ['manager'] },
);
const facts: fc.Arbitrary<FieldFacts> = fc
  .record(
    {
      ...{ source: value, live: value, applied: fc.record({ value }), owners: fc.array(owner, { maxLength: 3 }) },
      ...{ applier: fc.option(name, { nil: undefined }), ignored: fc.constant('a pattern'), held: fc.constant('r-1') },
    },
    { requiredKeys: ['source', 'live', 'owners', 'applier'] },
  )
  .filter(({ source, live }) => !equal(source, live));

describe('a field', () => {
  it('is drift only where what was applied is what the source has, and nobody else owns it', () => {
    fc.assert(
      fc.property(facts, (given) => {
        const { class: is } = classifyField(given);
        const { source, live, applied, owners, ignored, held } = given;
        if (is === 'reversible') {
          expect(ignored ?? held).toBeUndefined();
          expect(owners.map(({ manager }) => manager)).not.toContain('salvor-circuit-breaker');
          expect(owners.map(({ manager }) => manager)).not.toContain('kube-controller-manager');
          if (applied) expect(equal(applied.value, source)).toBe(true);
          else expect(owners).not.toEqual([]);
        }
        if (is === 'unapplied' && applied) expect(equal(applied.value, live)).toBe(true);
        if (is === 'mixed') expect(applied && !equal(applied.value, live) && !equal(applied.value, source)).toBe(true);
      }),
    );
  });

  it('that is left alone is so whatever was applied', () => {
    fc.assert(
      fc.property(facts, (given) => {
        expect(classifyField({ ...given, ignored: 'it' }).class).toBe('ignored');
        expect(classifyField({ ...given, ignored: undefined, held: 'r-1' }).class).toBe('held');
      }),
    );
  });

  const base: FieldFacts = { source: 1, live: 2, owners: [], applier: 'flux' };
  it.each<[string, Partial<FieldFacts>, string]>([
    ['the world moved', { applied: { value: 1 } }, 'reversible'],
    ['the source moved', { applied: { value: 2 } }, 'unapplied'],
    ['both moved', { applied: { value: 3 } }, 'mixed'],
    ['it is new in the source', { live: undefined, applied: { value: undefined } }, 'unapplied'],
    ['it was removed', { live: undefined, applied: { value: 1 } }, 'reversible'],
    ['its deployer owns it', { owners: [{ manager: 'flux' }] }, 'unapplied'],
    ['somebody else owns it', { owners: [{ manager: 'kubectl-edit' }] }, 'reversible'],
    ['somebody else owns it beside its deployer', { owners: [{ manager: 'ada' }, { manager: 'flux' }] }, 'unapplied'],
    ['nobody owns it', {}, 'unapplied'],
    ['Salvor has reverted it before', { owners: [{ manager: 'salvor-revert-drift' }] }, 'unapplied'],
    ['a controller has set it', { owners: [{ manager: 'x', subresource: 'status' }] }, 'ignored'],
    ['a person has scaled it', { owners: [{ manager: 'kubectl', subresource: 'scale' }] }, 'reversible'],
    ['a controller by its name has set it', { owners: [{ manager: 'rollouts-controller' }] }, 'ignored'],
    ['an operator has set it', { owners: [{ manager: 'web_operator' }], applied: { value: 1 } }, 'ignored'],
    ['a controller that says no more has set it', { owners: [{ manager: 'manager' }] }, 'ignored'],
    ['a known controller has set it', { owners: [{ manager: 'flagger' }] }, 'ignored'],
    [
      'a controller beside its deployer owns it',
      { owners: [{ manager: 'flux' }, { manager: 'x-operator' }] },
      'ignored',
    ],
    ['its deployer is named so', { applier: 'web-controller', owners: [{ manager: 'web-controller' }] }, 'unapplied'],
    ['Flux is no other controller', { owners: [{ manager: 'kustomize-controller' }] }, 'reversible'],
    ['nor is Argo CD', { owners: [{ manager: 'argocd-application-controller' }] }, 'reversible'],
    ...['kubectl-edit', 'kubectl-x-operator', 'k9s', 'Lens', 'helm', 'Mozilla', 'node-fetch', 'python-requests'].map(
      (manager): [string, Partial<FieldFacts>, string] => [
        `${manager} has set it`,
        { owners: [{ manager }] },
        'reversible',
      ],
    ),
    ['a controller has scaled it', { owners: [{ manager: 'keda', subresource: 'scale' }] }, 'ignored'],
  ])('%s', (_, change, is) => {
    expect(classifyField({ ...base, ...change }).class).toBe(is);
  });
});

describe('an object', () => {
  const some = fc.array(fc.constantFrom('ignored', 'held', 'unapplied', 'mixed', 'reversible' as const), {
    minLength: 1,
  });
  it('is reverted only where nothing of it is unapplied', () => {
    fc.assert(
      fc.property(some, (classes) => {
        const is = classifyObject(classes.map((one) => ({ class: one as 'held' })));
        const has = (one: string) => (classes as string[]).includes(one);
        expect(is === 'mixed').toBe(has('mixed') || (has('reversible') && has('unapplied')));
        expect(is === 'reversible').toBe(has('reversible') && !has('mixed') && !has('unapplied'));
      }),
    );
    expect(classifyObject([])).toBe('computed');
  });
});

describe('managers', () => {
  const label = (key: string) => [{ name: 'metadata' }, { name: 'labels' }, { name: key }];
  const entry = (manager: string, time: string, keys: string[], more: Manager = {}): Manager => ({
    ...{ manager, time, operation: 'Update', ...more },
    fieldsV1: { 'f:metadata': { 'f:labels': Object.fromEntries(keys.map((key) => [`f:${key}`, {}])) } },
  });

  it('whoever owns most of what is declared has applied it; who applies on the server goes before', () => {
    const declared = ['a', 'b', 'c'].map(label);
    const flux = entry('flux', '2026-01-01T00:00:00Z', ['a', 'b'], { operation: 'Apply' });
    const kubectl = entry('kubectl', '2025-01-01T00:00:00Z', ['b', 'c']);
    const salvor = entry('salvor-revert-drift', '2026-02-01T00:00:00Z', ['a', 'b', 'c']);
    expect(applierOf([kubectl, flux, salvor], declared)?.manager).toBe('flux');
    expect(applierOf([salvor], declared)?.manager).toBe('salvor-revert-drift');
    expect(applierOf([entry('x', '', ['z'])], declared)).toBeUndefined();
    expect(ownersOf([kubectl, flux, salvor], label('b')).map(({ manager }) => manager)).toEqual([
      ...['salvor-revert-drift', 'flux', 'kubectl'],
    ]);
  });

  it('who has changed a field that is gone may be who wrote the object last, after it was applied', () => {
    const flux = entry('flux', '2026-01-01T00:00:00Z', ['a'], { operation: 'Apply' });
    const ada = entry('kubectl-edit', '2026-01-02T00:00:00Z', ['b']);
    const kubelet = entry('kubelet', '2026-01-03T00:00:00Z', ['c']);
    expect(culpritOf([flux, ada, kubelet], label('gone'), flux)?.manager).toBe('kubectl-edit');
    expect(culpritOf([flux, kubelet], label('gone'), flux)).toBeUndefined();
    expect(culpritOf([flux], label('a'), flux)).toBeUndefined();
  });

  it("kubectl's annotation tells nothing where another has applied since", () => {
    const annotations = { 'f:annotations': { 'f:kubectl.kubernetes.io/last-applied-configuration': {} } };
    const kubectl: Manager = {
      ...{ manager: 'kubectl-client-side-apply', time: '2026-01-01T00:00:00Z' },
      fieldsV1: { 'f:metadata': annotations },
    };
    const flux = entry('flux', '2026-01-02T00:00:00Z', ['a'], { operation: 'Apply' });
    expect(tellsApplied([kubectl], kubectl)).toBe(true);
    expect(tellsApplied([kubectl, flux], flux)).toBe(false);
    const before = { ...flux, time: '2025-01-01T00:00:00Z' };
    expect(tellsApplied([kubectl, before], before), 'somebody has applied by hand what flux applies').toBe(false);
    const argo = { ...kubectl, manager: 'argocd-controller' };
    const old = entry('kubectl-client-side-apply', '2025-01-01T00:00:00Z', ['a']);
    expect(tellsApplied([argo, old], old), 'it has taken over from kubectl').toBe(true);
    expect(tellsApplied([argo, flux], flux)).toBe(false);
    for (const manager of ['kubectl-edit', 'k9s', 'node-fetch', 'salvor-revert-drift'])
      expect(tellsApplied([kubectl, { ...flux, manager }], { ...flux, manager }), manager).toBe(true);
  });
});
