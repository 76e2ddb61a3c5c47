// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { describe, expect, it } from 'vitest';
import { configNotes } from '../../model/config-notes.ts';
import { configOf, problemsOf } from './config-support.ts';

const POD = 'k8s/prod/shop/pod/${labels.pod}';
const NODE = 'k8s/prod/node/${labels.node}';
const ANY_NODE = 'k8s/${labels.cluster}/node/${labels.node}';
const INSTANCE = 'asg/main/-/${labels.instance_id}';

const ACCOUNTS = 'aws: [{ name: main, region: eu-west-1 }]\n';
/** Each of four lines. */
const WORLDS = {
  /** Machines of `prod` are in the account `main`; of those of `lab` nobody knows. */
  whole: `\nprometheus: { url: 'http://localhost:9090' }\nclusters: [{ name: prod, aws: main }, { name: lab }]\n${ACCOUNTS}`,
  poor: `\n\nclusters: [{ name: prod }, { name: lab }]\n${ACCOUNTS}`,
  lonely: `\n\n\n${ACCOUNTS}`,
  empty: '\n\n\n\n',
};

const rule = (target: string, options: string, world: keyof typeof WORLDS = 'whole') => `${WORLDS[world]}rules:
  - name: one
    match: [a=b]
    runbook: drain-instance
    target: ${target}
    with: ${options}
`;

const withOf = (target: string, options: string) => configOf(rule(target, options)).rules[0]?.rule.with;

describe('the options of drain-instance', () => {
  it('have their defaults where a section is given', () => {
    expect(withOf(POD, '{ quarantine: {} }')).toMatchObject({
      quarantine: { keepFor: 3_600_000, afterwards: 'delete' },
    });
    expect(withOf(NODE, '{ node: {} }')).toMatchObject({
      node: { controlPlane: false, emptyDir: false, bare: false, parallel: 10, terminate: false, keepFor: 3_600_000 },
    });
    expect(withOf(POD, '{ health: { http: { port: 8080 } } }')).toMatchObject({
      health: { http: { scheme: 'http', port: 8080, path: '/', status: 200, within: 1_000 } },
    });
  });

  it('are taken by the targets that they are for', () => {
    const promql = (query: string) => `health: { promql: { query: '${query}', atMost: 0.05 } }`;
    for (const [target, options] of [
      [POD, '{ traffic: quarantine, quarantine: { keepFor: 30m, afterwards: give-back }, flaps: 1 }'],
      [POD, `{ ${promql('x{namespace="${namespace}",pod=~"${pod}|y",node="${node}",c="${cluster}"}')} }`],
      [NODE, '{ health: { http: { scheme: https, port: 10250, path: /healthz?x=1, status: 401, within: 5s } } }'],
      [NODE, `{ ${promql('x{node="${node}",id="${instance}"}')}, node: { terminate: true }, lifecycleHooks: [drain] }`],
      [ANY_NODE, '{ node: { terminate: true } }'],
      [INSTANCE, `{ ${promql('x{id="${instance}",group="${group}"}')}, lifecycleHooks: [drain, log/ship] }`],
      [INSTANCE, '{ traffic: auto, node: { terminate: true } }'],
    ] as const)
      expect(problemsOf(rule(target, options)), options).toEqual([]);
  });

  it.each([
    ['health: { promql: { query: up } }', /^10:31 .*\.promql: expected atMost, atLeast or both: within them/],
    [
      'health: { promql: { atMost: 1 } }',
      /promql\.query: expected a query such as error_ratio\{pod="\$\{pod\}"\}|is missing/,
    ],
    [
      `health: { promql: { query: 'up{pod="\${labels.pod}"}', atMost: 1 } }`,
      /query: expected one of \$\{cluster\}, .* in place of \$\{labels\.pod\}/,
    ],
    [
      "health: { promql: { query: '${pod}', atMost: 1 } }",
      /query: expected \$\{pod\} within a label value in double quotes/,
    ],
    ["health: { promql: { query: up, atMost: '1' } }", /promql\.atMost: expected a number, got "1"/],
    ['health: { http: { path: /x } }', /http\.port: is missing: expected a number/],
    ['health: { http: { port: 0 } }', /http\.port: expected at least 1/],
    ['health: { http: { port: 80, path: x } }', /http\.path: expected a path such as \/healthz, got "x"/],
    ['health: { http: { port: 80, path: "/a b" } }', /http\.path: expected a path/],
    ['health: { http: { port: 80, path: "/a#b" } }', /http\.path: expected a path/],
    ['health: { http: { port: 80, status: 99 } }', /http\.status: expected at least 200/],
    ['health: { http: { port: 80, within: 10s } }', /http\.within: expected at most 5s/],
    ['health: { http: { port: 80, scheme: ftp } }', /http\.scheme: expected one of http, https, got "ftp"/],
    ['health: { probes: 1 }', /health\.probes: unknown key "probes": the keys known here are promql, http/],
    ['flaps: 0', /with\.flaps: expected at least 1/],
    ['traffic: quarantine', /with\.quarantine: expected quarantine: \{\} beside traffic: quarantine, which allows it/],
    ['traffic: label, quarantine: {}', /with\.quarantine: would never be taken: expected traffic: auto or quarantine/],
    ['quarantine: { afterwards: keep }', /quarantine\.afterwards: expected one of delete, give-back, got "keep"/],
  ])('of a pod: %s', (options, expected) => {
    const problems = problemsOf(rule(POD, `{ ${options} }`));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });

  it.each([
    ['node: { parallel: 0 }', /node\.parallel: expected at least 1/],
    ['node: { drain: true }', /node\.drain: unknown key "drain"/],
    ['lifecycleHooks: [], node: { terminate: true }', /lifecycleHooks: the list is empty/],
    [
      'lifecycleHooks: [a b], node: { terminate: true }',
      /lifecycleHooks\[0\]: expected the name of a lifecycle hook, got "a b"/,
    ],
  ])('of a node: %s', (options, expected) => {
    const problems = problemsOf(rule(NODE, `{ ${options} }`));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });
});

describe('an option that does nothing for its target is refused', () => {
  const onlyPods = (of: string) => new RegExp(`is for pods only, and the target is ${of}$`);

  it.each([
    [NODE, 'quarantine: {}', onlyPods('a node')],
    [NODE, 'traffic: label', onlyPods('a node')],
    [ANY_NODE, 'traffic: none', onlyPods('a node')],
    [INSTANCE, 'quarantine: {}', onlyPods('an Auto Scaling instance')],
    [INSTANCE, 'traffic: gate', onlyPods('an Auto Scaling instance')],
    [INSTANCE, 'health: { http: { port: 80 } }', /health\.http: is for pods and nodes only, and the target is an Auto/],
    [POD, 'node: {}', /with\.node: is for nodes and Auto Scaling instances only, and the target is a pod$/],
    [POD, 'lifecycleHooks: [drain]', /lifecycleHooks: is for nodes and Auto Scaling instances only/],
    [NODE, 'lifecycleHooks: [drain]', /lifecycleHooks: does nothing for a node without node: \{ terminate: true \}/],
    [NODE, 'lifecycleHooks: [drain], node: {}', /lifecycleHooks: does nothing for a node without node: \{ term/],
    [
      POD,
      `health: { promql: { query: 'x{id="\${instance}"}', atMost: 1 } }`,
      /query: a pod has no \$\{instance\}: expected one of \$\{cluster\}, \$\{namespace\}, \$\{pod\}, \$\{node\}$/,
    ],
    [NODE, `health: { promql: { query: 'x{pod="\${pod}"}', atMost: 1 } }`, /query: a node has no \$\{pod\}/],
    [
      INSTANCE,
      `health: { promql: { query: 'x{node="\${node}"}', atMost: 1 } }`,
      /query: an Auto Scaling instance has no \$\{node\}: expected one of \$\{group\}, \$\{instance\}$/,
    ],
  ])('%s with %s', (target, options, expected) => {
    const problems = problemsOf(rule(target, `{ ${options} }`));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });
});

describe('an option that needs what is not configured is refused', () => {
  it.each([
    [
      'poor',
      POD,
      'health: { promql: { query: up, atLeast: 1 } }',
      '10:31 rules[0].with.health.promql: expected prometheus: { url: http://… } in the file, which could be asked',
    ],
    [
      'poor',
      NODE,
      'node: { terminate: true }',
      '10:32 rules[0].with.node.terminate: the cluster prod does not say in which account its machines are: expected aws: NAME in clusters',
    ],
    [
      'poor',
      ANY_NODE,
      'node: { terminate: true }',
      '10:32 rules[0].with.node.terminate: no cluster says in which account its machines are: expected aws: NAME in clusters',
    ],
    [
      'poor',
      INSTANCE,
      'node: { terminate: true }',
      '10:32 rules[0].with.node.terminate: no cluster has its machines in main: expected aws: main in clusters',
    ],
    [
      'whole',
      'k8s/lab/node/${labels.node}',
      'node: { terminate: true }',
      '10:32 rules[0].with.node.terminate: the cluster lab does not say in which account its machines are: expected aws: NAME in clusters',
    ],
    [
      'lonely',
      INSTANCE,
      'node: { emptyDir: true }',
      '10:19 rules[0].with.node: is for nodes only, and no cluster is configured of which it could be one',
    ],
  ] as const)('%s: %s with %s', (world, target, options, expected) => {
    expect(problemsOf(rule(target, `{ ${options} }`, world))).toEqual([expected]);
  });

  it.each([
    [
      'asg/mian/-/${labels.id}',
      '9:13 rules[0].target: the AWS account mian is not configured: the accounts are main; did you mean main?',
    ],
    ['asg/main/web', /^9:13 rules\[0\]\.target: drain-instance takes pods .* only$/],
    ['asg/main/web/i-1', /^9:13 rules\[0\]\.target: "i-1" cannot be the instance of a target: expected an instance id/],
  ])('as is an account: %s', (target, expected) => {
    expect(problemsOf(rule(target, '{}'))).toEqual([
      typeof expected === 'string' ? expected : expect.stringMatching(expected),
    ]);
  });

  it('and says how to configure one where there is none', () => {
    expect(problemsOf(rule(INSTANCE, '{}', 'empty'))).toEqual([
      '9:13 rules[0].target: the AWS account main is not configured, nor is any: expected aws: [{ name: main, region: … }]',
    ]);
  });
});

describe('accounts', () => {
  it('are taken as they are written', () => {
    const { aws, clusters } = configOf(`
clusters: [{ name: prod, aws: main }]
aws:
  - { name: main, region: eu-west-1 }
  - { name: gov, region: us-gov-west-1, roleArn: 'arn:aws-us-gov:iam::123456789012:role/ops/salvor', profile: gov }
  - { name: test, region: eu-west-1, endpoint: 'http://127.0.0.1:5000', cloudwatchEndpoint: 'http://127.0.0.1:5001' }
`);
    expect(clusters).toEqual([{ name: 'prod', aws: 'main' }]);
    expect(aws).toEqual([
      { name: 'main', region: 'eu-west-1' },
      {
        name: 'gov',
        region: 'us-gov-west-1',
        roleArn: 'arn:aws-us-gov:iam::123456789012:role/ops/salvor',
        profile: 'gov',
      },
      {
        ...{ name: 'test', region: 'eu-west-1', endpoint: 'http://127.0.0.1:5000' },
        cloudwatchEndpoint: 'http://127.0.0.1:5001',
      },
    ]);
  });

  it.each([
    ['aws: [{ name: a, region: r }]', /^1:26 aws\[0\]\.region: expected a region such as eu-west-1, got "r"/],
    ['aws: [{ name: a }]', /^1:7 aws\[0\]\.region: expected a region|is missing/],
    ['aws: [{ name: a/b, region: eu-west-1 }]', /^1:15 aws\[0\]\.name: expected a name of letters, digits/],
    ['aws: [{ name: a, region: eu-west-1, roleArn: salvor }]', /roleArn: expected a role such as arn:aws:iam::/],
    [
      'aws: [{ name: a, region: eu-west-1, secretKey: s3cret }]',
      /aws\[0\]\.secretKey: unknown key "secretKey": the keys known here are name, region, endpoint, cloudwatchEndpoint, ec2Endpoint, cloudtrailEndpoint, roleArn, profile$/,
    ],
    [
      'aws: [{ name: a, region: eu-west-1 }, { name: a, region: eu-west-2 }]',
      '1:47 aws[1].name: a is the name of aws[0] already: expected another one',
    ],
    [
      'aws: [{ name: main, region: eu-west-1 }]\nclusters: [{ name: prod, aws: mian }]',
      '2:31 clusters[0].aws: the AWS account mian is not configured: the accounts are main; did you mean main?',
    ],
    [
      'clusters: [{ name: prod, aws: main }]',
      '1:31 clusters[0].aws: the AWS account main is not configured, nor is any: expected aws: [{ name: main, region: … }]',
    ],
    // What is meant by a name that is at fault nobody knows.
    ['aws: [{ name: ma/in, region: eu-west-1 }]\nclusters: [{ name: prod, aws: main }]', /^1:15 aws\[0\]\.name/],
  ])('%s', (text, expected) => {
    expect(problemsOf(text)).toEqual([typeof expected === 'string' ? expected : expect.stringMatching(expected)]);
  });
});

describe('what a configuration that is right in itself needs of others', () => {
  const notesOf = (target: string, options: string) =>
    configNotes(configOf(rule(target, options))).map(({ setting, message }) => `${setting}: ${message}`);

  it('is said', () => {
    expect(notesOf(INSTANCE, '{}')).toEqual([
      expect.stringMatching(/^rules\[0\]\.with: without health only what the group itself says .* is looked at/),
    ]);
    expect(notesOf(NODE, '{ node: { terminate: true } }')).toEqual([
      expect.stringMatching(/^rules\[0\]\.with\.node\.terminate: it ends machines/),
    ]);
    expect(notesOf(POD, '{ health: { http: { port: 80 } } }')).toEqual([
      expect.stringMatching(/^rules\[0\]\.with\.health\.http: the workers themselves ask the instance/),
    ]);
  });

  it('and nothing where nothing is needed', () => {
    const promql = '{ health: { promql: { query: up, atLeast: 1 } } }';
    for (const target of [POD, NODE, INSTANCE]) expect(notesOf(target, promql)).toEqual([]);
    for (const target of [POD, NODE]) expect(notesOf(target, '{}')).toEqual([]);
  });
});
