// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { describe, expect, it } from 'vitest';
import { resolveRun } from '../../model/run.ts';
import { configOf, problemsOf } from './config-support.ts';

const ENVOY = "envoy: { admin: ['http://127.0.0.1:9901'], envoyCluster: payments }";
const file = (dependency: string, target = 'dependency/payments', more = '') => `${more}
dependencies:
  - { name: payments, ${dependency} }
rules:
  - { name: one, match: [a=b], runbook: circuit-breaker, target: '${target}' }
`;
const PROBE = 'probe: { tcp: { host: payments, port: 443 } }';
const good = `switch: { ${ENVOY} }, ${PROBE}`;

describe('dependencies', () => {
  it('travel with the rules whose target they may be, with all defaults', () => {
    for (const target of ['dependency/payments', 'dependency/${labels.dependency}']) {
      const [configured] = configOf(file(good, target)).rules;
      expect(configured?.rule.with).toMatchObject({
        trustAlert: false,
        dependencies: {
          payments: {
            openFor: 30_000,
            maxOpen: 600_000,
            healthyFor: 600_000,
            halfOpen: { successes: 3, failures: 1, trials: 10, share: 0 },
            switch: { envoy: { quorum: 'all' } },
          },
        },
      });
    }
  });

  it('are targets of a run by hand', () => {
    const config = configOf(file(good));
    const run = { runbook: 'circuit-breaker', with: { trustAlert: 'true' }, mode: 'act' } as const;
    expect(resolveRun({ ...run, target: 'dependency/payments' }, config)).toMatchObject({
      ok: true,
      scope: 'payments',
      rule: { with: { trustAlert: true, dependencies: { payments: { name: 'payments' } } } },
    });
    expect(resolveRun({ ...run, target: 'dependency/paiments' }, config)).toMatchObject({ ok: false });
  });

  it.each([
    [`switch: { ${ENVOY} }`, /probe: expected probe, confirm, or both/],
    [`switch: {}, ${PROBE}`, /expected one of envoy, kubernetes, flag, http/],
    [`${good}, halfOpen: { share: 10 }`, /share: expected 0, for its switch lets no share through/],
    [`${good}, halfOpen: { successes: 11 }`, /trials: expected at least as many trials as successes/],
    [`${good}, openFor: 20m`, /maxOpen: expected at least openFor/],
    [`switch: { ${ENVOY} }, confirm: { calls: up, failed: up }`, /share: expected more than 0, or a probe/],
    [`${good}, confirm: { calls: up, failed: up }`, /confirm: expected prometheus/],
    [
      `switch: { flag: { cluster: prod, namespace: a, configMap: b, flag: c } }, ${PROBE}`,
      /the cluster prod is not configured/,
    ],
  ])('%s is refused, and why is said', (dependency, problem) => {
    expect(problemsOf(file(dependency)).join('\n')).toMatch(problem);
  });

  it('have each a switch of its own, for the one would close what is open for the other', () => {
    const two = file(`${good} }\n  - { name: search, ${good}`);
    expect(problemsOf(two).join('\n')).toMatch(/dependencies\[1\]\.switch: this is the switch of dependencies\[0\]/);
    expect(problemsOf(two.replace(/(search.*)envoyCluster: payments/, '$1envoyCluster: search'))).toEqual([]);
  });

  it('must be known where a rule names one', () => {
    expect(problemsOf(file(good, 'dependency/paiments')).join('\n')).toMatch(/did you mean payments/);
    expect(problemsOf(file(good, 'k8s/prod/a/pod/b')).join('\n')).toMatch(/circuit-breaker takes dependencies/);
  });
});
