import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../model/config.ts';
import { type RunOrder, resolveRun } from '../../model/run.ts';

const parsed = parseConfig(
  `
clusters: [{ name: prod, aws: main }, { name: lab }]
aws: [{ name: main, region: eu-west-1 }]
defaults: { gates: { maxInFlight: 3 } }
`,
  'salvor.yaml',
);
if (!parsed.ok) throw new Error('the configuration is wrong');
const { config } = parsed;

const order = (over: Partial<RunOrder> = {}): RunOrder => ({
  runbook: 'drain-instance',
  target: 'k8s/prod/shop/pod/web-0',
  with: {},
  mode: 'act',
  ...over,
});

describe('a run that a person orders', () => {
  it('becomes a rule of its own, with the defaults', () => {
    expect(
      resolveRun(order({ with: { recoverWithin: '2m', replace: 'false', traffic: 'none' } }), config),
    ).toMatchObject({
      ok: true,
      rule: {
        name: 'run:drain-instance',
        mode: 'act',
        with: { recoverWithin: 120_000, replace: false, traffic: 'none', stableFor: 30_000 },
        gates: { maxInFlight: 3, cooldown: 600_000 },
      },
      ruleDigest: expect.stringMatching(/^[0-9a-f]{16}$/),
      target: 'k8s/prod/shop/pod/web-0',
      scope: 'prod/shop',
    });
  });

  it.each([
    [{ runbook: 'drain-instances' }, ['there is no runbook drain-instances: expected drain-instance']],
    [{ with: { recoverWithn: '2m' } }, [/^--with: unknown key "recoverWithn": did you mean recoverWithin\?$/]],
    [
      { with: { recoverWithin: '2' } },
      [/^--with recoverWithin: expected a duration such as 5m or 1h30m, got the number 2$/],
    ],
    [{ with: { replace: '{' } }, [/^--with replace: expected true or false, got "\{"$/]],
    [{ target: 'web-0' }, [/^"web-0" is not a target/]],
    [
      { target: 'k8s/prd/shop/pod/web-0' },
      [/^the cluster prd is not configured: the clusters are prod, lab; did you mean prod\?$/],
    ],
    [{ target: 'k8s/prod/shop/deployment.apps/web' }, [/^drain-instance takes pods/]],
    [
      { target: 'asg/man/web/i-0123456789abcdef0' },
      [/^the AWS account man is not configured: the accounts are main; did you mean main\?$/],
    ],
    [
      { target: 'k8s/prod/node/n1', with: { 'node.terminat': 'true' } },
      [/^--with node: unknown key "terminat": did you mean terminate\?$/],
    ],
    [{ with: { 'health.http.port': 'x' } }, [/^--with health\.http\.port: expected a number, got "x"$/]],
    [
      { with: { 'health.http.port': '80', 'health.promql': '{ query: up, atLeast: 1 }' } },
      [/^--with health\.promql: expected prometheus: \{ url: /],
    ],
    [
      { target: 'k8s/prod/node/n1', with: { 'node.terminate': 'true', node: 'yes' } },
      [/^--with node: expected a section with keys of its own, got a text$/],
    ],
    [{ with: { 'node.terminate': 'true' } }, [/^--with node: is for nodes and Auto Scaling instances only/]],
    [
      { target: 'k8s/lab/node/n1', with: { 'node.terminate': 'true' } },
      [/^--with node\.terminate: the cluster lab does not say in which account its machines are: expected aws: NAME/],
    ],
    [{ with: { '__proto__.replace': 'false' } }, [/^--with: unknown key "__proto__"/]],
    [{ with: { 'constructor.x': '1' } }, [/^--with: unknown key "constructor"/]],
    [{ with: { '.': '1' } }, [/^--with: unknown key ""/]],
    [{ target: 'x', with: { traffic: 'y' } }, [/^--with traffic: expected one of/, /^"x" is not a target/]],
  ])('is refused: %j', (over, expected) => {
    const resolved = resolveRun(order(over), config);
    expect(resolved.ok ? [] : resolved.problems).toEqual(
      expected.map((message) => (typeof message === 'string' ? message : expect.stringMatching(message))),
    );
  });

  it.each([
    [{ 'node.terminate': 'true' }, { node: { terminate: true, parallel: 10 } }],
    [{ node: '{ terminate: true }' }, { node: { terminate: true, parallel: 10 } }],
    [
      { node: '{ terminate: true }', 'node.parallel': '3', 'node.keepFor': '2h' },
      { node: { terminate: true, parallel: 3, keepFor: 7_200_000, bare: false } },
    ],
    [
      { health: '{ http: { port: 80 } }', 'health.http.path': '/ready?full', 'health.http.within': '2s' },
      { health: { http: { scheme: 'http', port: 80, path: '/ready?full', status: 200, within: 2_000 } } },
    ],
    [{ lifecycleHooks: '[drain]', 'node.terminate': 'true' }, { lifecycleHooks: ['drain'] }],
  ])('takes options of sections: %j', (options, expected) => {
    expect(resolveRun(order({ target: 'k8s/prod/node/n1', with: options }), config)).toMatchObject({
      ok: true,
      rule: { with: expected },
      scope: 'prod/node',
    });
  });

  it('takes an empty section, with its defaults', () => {
    const written: Record<string, string>[] = [
      { quarantine: '{}' },
      { 'quarantine.keepFor': '1h' },
      { quarantine: '{}', traffic: 'quarantine' },
    ];
    for (const options of written)
      expect(resolveRun(order({ with: options }), config)).toMatchObject({
        ok: true,
        rule: { with: { quarantine: { keepFor: 3_600_000, afterwards: 'delete' } } },
      });
  });

  it('may be on an Auto Scaling instance', () => {
    expect(resolveRun(order({ target: 'asg/main/-/i-0123456789abcdef0' }), config)).toMatchObject({
      ok: true,
      target: 'asg/main/-/i-0123456789abcdef0',
      scope: 'main/-',
    });
  });

  it.each(['observe', 'propose', 'act'] as const)('is in the mode %s that the person says', (mode) => {
    expect(resolveRun(order({ mode }), config)).toMatchObject({ ok: true, rule: { mode } });
  });

  it('keeps to the limits over all rules, and tells nobody but the person who waits for it', () => {
    const limited = parseConfig(
      "clusters: [{ name: prod }]\nlimits: { maxInFlight: 2 }\nalertmanager: { urls: ['http://localhost:9093'] }",
      'salvor.yaml',
    );
    if (!limited.ok) throw new Error('the configuration is wrong');
    const [with_, without] = [resolveRun(order(), limited.config), resolveRun(order(), config)];
    expect(with_).toMatchObject({
      ok: true,
      rule: { limits: { maxInFlight: 2 }, onFailure: { escalate: false }, hush: false, approvers: [] },
    });
    expect(without.ok && without.rule).not.toHaveProperty('limits');
    expect(with_.ok && without.ok && with_.ruleDigest !== without.ruleDigest).toBe(true);
  });
});
