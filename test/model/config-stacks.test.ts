// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { describe, expect, it } from 'vitest';
import { resolveRun } from '../../model/run.ts';
import { configOf, problemsOf } from './config-support.ts';

const file = (stack: string, target = 'stack/net', more = '') => `
clusters: [{ name: prod }]
stacks:
  - { name: net, ${stack} }
rules:
  - { name: one, match: [a=b], runbook: revert-drift, target: '${target}'${more} }
`;
const good = 'manifests: { folder: ./net, cluster: prod }';

describe('stacks', () => {
  it('travel with the rules whose target they may be, with all defaults', () => {
    for (const target of ['stack/net', 'stack/${labels.stack}']) {
      const [configured] = configOf(file(good, target)).rules;
      expect(configured?.rule.with).toEqual({
        ...{ urgent: [], prune: [], create: [] },
        stacks: {
          net: {
            ...{ name: 'net', ignore: [], minAge: 300_000, lockWithin: 600_000 },
            holdWhile: ['severity="critical"', 'stack="net"'],
            manifests: { folder: '/etc/salvor/net', cluster: 'prod', kustomize: false },
          },
        },
      });
    }
  });

  it('are targets of a run by hand', () => {
    const config = configOf(file(good));
    const run = { runbook: 'revert-drift', with: {}, mode: 'act' } as const;
    expect(resolveRun({ ...run, target: 'stack/net' }, config)).toMatchObject({
      ok: true,
      scope: 'net',
      rule: { with: { stacks: { net: { name: 'net' } } } },
    });
    expect(resolveRun({ ...run, target: 'stack/nett' }, config)).toMatchObject({ ok: false });
  });

  it.each([
    ['ignore: []', /expected one of opentofu, manifests, securityGroups, and one only/],
    [`${good}, opentofu: { folder: ./net }`, /expected one of opentofu, manifests, securityGroups, and one only/],
    ['manifests: { cluster: prod }', /expected folder or git, and one of them only/],
    ['manifests: { folder: ./net, cluster: prd }', /the cluster prd is not configured/],
    [
      'manifests: { folder: ./net, ref: main, cluster: prod }',
      /ref, path and credentialsFile are of a repository only/,
    ],
    ["opentofu: { git: 'https://ann:secret@git.example.com/infra.git' }", /expected an address without a password/],
    ["opentofu: { git: 'https://git.example.com/infra.git', ref: --upload-pack=x }", /the name of a branch or tag/],
    ['securityGroups: { folder: ./groups, aws: main }', /main is not configured/],
    [`${good}, holdWhile: ['{']`, /holdWhile/],
    [`${good}, minAge: soon`, /minAge/],
  ])('with %s are refused, and why is said', (stack, problem) => {
    expect(problemsOf(file(stack)).join('\n')).toMatch(problem);
  });

  it('that are not configured are no targets', () => {
    expect(problemsOf(file(good, 'stack/nett')).join('\n')).toMatch(
      /the stack nett is not configured: the stacks are net/,
    );
    expect(problemsOf(file(good, 'k8s/prod/a/pod/b')).join('\n')).toMatch(/stack/);
  });
});
