// biome-ignore-all lint/suspicious/noTemplateCurlyInString: the templates of rules are written so
import { describe, expect, it } from 'vitest';
import { formatMatcher } from '../../model/matcher.ts';
import { NOT_YET } from '../../model/not-yet.ts';
import { configOf, FILE, problemsOf, RULE } from './config-support.ts';

describe('a configuration', () => {
  it('may be empty: everything has a default but the rules', () => {
    for (const text of ['', '# nothing\n', '{}']) {
      expect(configOf(text)).toEqual({
        file: FILE,
        temporal: { address: 'localhost:7233', namespace: 'default', taskQueue: 'salvor' },
        gateway: { listen: { host: '127.0.0.1', port: 9095 }, people: [], maxBody: 8 * 1024 * 1024 },
        worker: {},
        clusters: [],
        aws: [],
        dependencies: [],
        defaults: {
          gates: {
            maxInFlight: 1,
            cooldown: 600_000,
            retries: { max: 3, per: 3_600_000 },
            waitAtMost: 3_600_000,
            maxQueue: 1000,
            maxUnavailable: { percent: 25 },
            storm: { above: 40, settleFor: 600_000 },
            windows: [],
            failClosed: true,
          },
        },
        rules: [],
        stacks: [],
      });
    }
  });

  it('says where a worker is asked how it is, and where traces go', () => {
    const { worker, telemetry } = configOf(
      "worker: { listen: '0.0.0.0:9096' }\ntelemetry: { otlp: { url: 'http://localhost:4318', headersFile: ./otlp } }",
    );
    expect(worker).toEqual({ listen: { host: '0.0.0.0', port: 9096 } });
    expect(telemetry).toEqual({ otlp: { url: 'http://localhost:4318', headersFile: '/etc/salvor/otlp' } });
    expect(problemsOf('telemetry: { otlp: { url: localhost } }\nworker: { lisen: 1 }')).toEqual([
      '1:27 telemetry.otlp.url: expected an address such as http://localhost:9090, got "localhost"',
      '2:11 worker.lisen: unknown key "lisen": did you mean listen?',
    ]);
  });

  it('resolves a rule with all its defaults', () => {
    const [rule, ...others] = configOf(RULE).rules;
    expect(others).toEqual([]);
    expect(rule?.rule).toEqual({
      name: 'pod-unready',
      runbook: 'drain-instance',
      mode: 'observe',
      with: {
        traffic: 'auto',
        flaps: 3,
        recoverWithin: 300_000,
        stableFor: 30_000,
        replace: true,
        quietFor: 15_000,
        evictWithin: 900_000,
        verifyWithin: 300_000,
      },
      gates: {
        maxInFlight: 1,
        cooldown: 600_000,
        retries: { max: 3, per: 3_600_000 },
        waitAtMost: 3_600_000,
        maxQueue: 1000,
        maxUnavailable: { percent: 25 },
        storm: { above: 40, settleFor: 600_000 },
        windows: [],
        failClosed: true,
      },
      onFailure: { escalate: false },
      hush: false,
      approvers: [],
      approveWithin: 86_400_000,
    });
    expect(rule).toMatchObject({ continue: false, line: 4, digest: expect.stringMatching(/^[0-9a-f]{16}$/) });
    expect(rule?.scope).toBeUndefined();
  });

  it('merges gates: the rule over the defaults, the defaults over what is built in', () => {
    const [rule] = configOf(`
defaults:
  gates:
    maxInFlight: 5
    cooldown: 1m
    retries: { max: 7 }
    maxUnavailable: 10%
    storm: { above: 60% }
    windows: ['Mon-Fri 08:00-20:00 Europe/Berlin']
    failClosed: false
${RULE}    gates:
      scope: \${labels.namespace}
      cooldown: 0s
      retries: { per: 2h }
      maxQueue: 10
      waitAtMost: 5m
      maxUnavailable: 3
      storm: { settleFor: 30s }
      windows: []
`).rules;
    expect(rule?.rule.gates).toEqual({
      maxInFlight: 5,
      cooldown: 0,
      retries: { max: 7, per: 7_200_000 },
      waitAtMost: 300_000,
      maxQueue: 10,
      maxUnavailable: { count: 3 },
      storm: { above: 60, settleFor: 30_000 },
      windows: [],
      failClosed: false,
    });
    expect(rule?.scope?.text).toBe('${labels.namespace}');
  });

  it('has a digest of a rule that changes with what the rule does, and not with what it matches', () => {
    const digestOf = (text: string) => configOf(text).rules[0]?.digest;
    const base = digestOf(RULE);
    expect(digestOf(RULE.replace('KubePodNotReady', 'Other'))).toBe(base);
    expect(digestOf(`${RULE}    with: { recoverWithin: 300s }\n`)).toBe(base);
    expect(digestOf(`${RULE}    with: { recoverWithin: 301s }\n`)).not.toBe(base);
    expect(digestOf(`${RULE}    mode: act\n`)).not.toBe(base);
    expect(digestOf(`limits: {}${RULE}`)).toBe(base);
    expect(digestOf(`limits: { maxInFlight: 20 }${RULE}`)).not.toBe(base);
    expect(digestOf(`${RULE}    gates: { maxUnavailable: 1 }\n`)).not.toBe(base);
  });

  it('takes several matchers in one item, as Alertmanager does', () => {
    const text = RULE.replace(`['alertname="KubePodNotReady"']`, `['{a="1", b!~"2|3"}', 'c=4']`);
    expect(configOf(text).rules[0]?.matchers.map(formatMatcher)).toEqual(['a="1"', 'b!~"2|3"', 'c="4"']);
  });

  it('makes paths absolute, from the folder of the file', () => {
    const { gateway, temporal, clusters } = configOf(`
temporal: { tls: { caFile: ../ca.pem }, apiKeyFile: /run/key }
gateway: { listen: '0.0.0.0:9095', bearerTokenFile: ./token, tls: { certFile: a.crt, keyFile: a.key }, maxBody: 512KiB }
clusters: [{ name: prod, context: 'arn:aws:eks:eu-west-1:1:cluster/prod', kubeconfig: kube/config }]
`);
    expect(temporal).toMatchObject({ tls: { caFile: '/etc/ca.pem' }, apiKeyFile: '/run/key' });
    expect(gateway).toEqual({
      people: [],
      listen: { host: '0.0.0.0', port: 9095 },
      bearerTokenFile: '/etc/salvor/token',
      tls: { certFile: '/etc/salvor/a.crt', keyFile: '/etc/salvor/a.key' },
      maxBody: 524_288,
    });
    expect(clusters).toEqual([
      { name: 'prod', context: 'arn:aws:eks:eu-west-1:1:cluster/prod', kubeconfig: '/etc/salvor/kube/config' },
    ]);
  });

  it('knows anchors', () => {
    const text = `${RULE.replace('rules:', 'rules:').trimEnd()}
    gates: &careful { maxInFlight: 3 }
  - name: other
    match: [a=b]
    runbook: drain-instance
    target: k8s/prod/shop/pod/\${labels.pod}
    gates: *careful
`;
    expect(configOf(text).rules.map(({ rule }) => rule.gates.maxInFlight)).toEqual([3, 3]);
  });
});

describe('what is wrong is said with its line and what would be right', () => {
  it.each([
    ['gateway: { listn: 1 }', '1:12 gateway.listn: unknown key "listn": did you mean listen?'],
    ['Rules: []', '1:1 Rules: unknown key "Rules": did you mean rules?'],
    [
      'gateway:\n  frobnicate: 1',
      /^2:3 gateway\.frobnicate: unknown key "frobnicate": the keys known here are listen, bearerTokenFile/,
    ],
    ['__proto__: { a: 1 }', /^1:1 __proto__: unknown key "__proto__"/],
    ['limits: { maxInFlights: 1 }', '1:11 limits.maxInFlights: unknown key "maxInFlights": did you mean maxInFlight?'],
    ['limits: { maxInFlight: 0 }', '1:24 limits.maxInFlight: expected at least 1'],
    ['limits: { maxActsPerHour: 9000 }', '1:27 limits.maxActsPerHour: expected at most 3600'],
    ['limits: { storm: { within: 5m } }', '1:18 limits.storm.targets: is missing: expected a number'],
    ['limits: { storm: { targets: 30, within: 0s } }', '1:41 limits.storm.within: expected more than 0s'],
    ['temporal: { ui: localhost }', /^1:17 temporal\.ui: expected an address such as http/],
    ['defaults: { gates: { maxUnavailable: 0 } }', '1:38 defaults.gates.maxUnavailable: expected at least 1'],
    [
      'defaults: { gates: { maxUnavailable: 0% } }',
      '1:38 defaults.gates.maxUnavailable: expected a share from 1% to 100%, got "0%"',
    ],
    [
      'defaults: { gates: { maxUnavailable: 0.25 } }',
      '1:38 defaults.gates.maxUnavailable: expected a share such as 25%, or a whole number',
    ],
    [
      'defaults: { gates: { maxUnavailable: all } }',
      '1:38 defaults.gates.maxUnavailable: expected a share from 1% to 100%, got "all"',
    ],
    [
      'defaults: { gates: { storm: { above: 40 } } }',
      '1:38 defaults.gates.storm.above: expected a share such as 40%, got the number 40',
    ],
    [
      'defaults: { gates: { storm: { above: 101% } } }',
      '1:38 defaults.gates.storm.above: expected a share from 1% to 100%, got "101%"',
    ],
    ['defaults: { gates: { storm: { settleFor: 0s } } }', '1:42 defaults.gates.storm.settleFor: expected more than 0s'],
    ['defaults: { gates: { windows: Mon-Fri } }', '1:31 defaults.gates.windows: expected a list, got "Mon-Fri"'],
    ["defaults: { gates: { windows: ['Mon-Fri 8-20'] } }", /^1:32 defaults\.gates\.windows\[0\]: /],
    [
      'defaults: { gates: { failClosed: 1 } }',
      '1:34 defaults.gates.failClosed: expected true or false, got the number 1',
    ],
    ['rules:', '1:7 rules: expected a list, got nothing'],
    ['rules: {}', '1:8 rules: expected a list, got a section'],
    ['- a\n- b', '1:1 : expected a section with keys of its own, got a list'],
    ['just words', '1:1 : expected a section with keys of its own, got a text'],
    ['temporal: { address: nowhere }', /^1:22 temporal\.address: expected host:port such as/],
    ['temporal: { namespace: "" }', '1:24 temporal.namespace: expected a text that is not empty, got ""'],
    ['temporal: { tls: { caFil: a } }', '1:20 temporal.tls.caFil: unknown key "caFil": did you mean caFile?'],
    ['temporal: { tls: { certFile: a } }', '1:18 temporal.tls: expected both certFile and keyFile, or neither'],
    [
      'temporal: { tls: sure }',
      '1:18 temporal.tls: expected true, false, or a section with serverName, caFile, certFile and keyFile',
    ],
    ['temporal: { apiKeyFile: a, apiKeyEnv: B }', /^1:11 temporal: expected either apiKeyFile or apiKeyEnv/],
    [
      'gateway: { bearerTokenFile: a, bearerTokenEnv: B }',
      /^1:10 gateway: expected either bearerTokenFile or bearerTokenEnv/,
    ],
    ['gateway: { listen: 9095 }', '1:20 gateway.listen: expected host:port to listen on, got the number 9095'],
    ["gateway: { listen: 'a:99999' }", /^1:20 gateway\.listen: expected host:port such as 127\.0\.0\.1:9095/],
    [
      "gateway: { listen: '0.0.0.0:1' }",
      /^1:20 gateway\.listen: expected bearerTokenFile, bearerTokenEnv or basicAuth beside it/,
    ],
    ["gateway: { listen: '[::]:1' }", /loopback only/],
    [
      'gateway: { basicAuth: { username: a } }',
      /^1:23 gateway\.basicAuth: expected either passwordFile or passwordEnv/,
    ],
    ['gateway: { bearerToken: s3cret }', /unknown key "bearerToken"/],
    ['gateway: { bearerTokenFile: ~/token }', /^1:29 gateway\.bearerTokenFile: expected a path without ~/],
    ['gateway: { tls: { certFile: a } }', '1:17 gateway.tls.keyFile: is missing: expected a text'],
    ['gateway: { maxBody: 8 }', '1:21 gateway.maxBody: expected a size such as 512KiB or 8MiB, got the number 8'],
    ['gateway: { maxBody: 1GiB }', '1:21 gateway.maxBody: expected at most 64MiB'],
    ['prometheus: { url: localhost:9090 }', /^1:20 prometheus\.url: expected an address such as http/],
    ['alertmanager: { urls: [] }', '1:23 alertmanager.urls: the list is empty: expected at least one item'],
    ['clusters: [{ name: a/b }]', /^1:20 clusters\[0\]\.name: expected a name of letters, digits/],
    [
      'clusters: [{ name: a }, { name: a }]',
      '1:33 clusters[1].name: a is the name of clusters[0] already: expected another one',
    ],
    [
      'defaults: { gates: { cooldown: 10 } }',
      '1:32 defaults.gates.cooldown: expected a duration such as 5m or 1h30m, got the number 10',
    ],
    [
      'defaults: { gates: { cooldown: 10min } }',
      /^1:32 defaults\.gates\.cooldown: "10min" is not a duration: write whole numbers/,
    ],
    ['defaults: { gates: { waitAtMost: 0s } }', '1:34 defaults.gates.waitAtMost: expected more than 0s'],
    ['defaults: { gates: { maxInFlight: 0 } }', '1:35 defaults.gates.maxInFlight: expected at least 1'],
    ['defaults: { gates: { maxInFlight: 1.5 } }', /^1:35 defaults\.gates\.maxInFlight: expected a whole number/],
    ['defaults: { gates: { maxQueue: 5000 } }', '1:32 defaults.gates.maxQueue: expected at most 1000'],
    ['defaults: { gates: { scope: a } }', /^1:22 defaults\.gates\.scope: unknown key "scope"/],
  ])('%s', (text, expected) => {
    const problems = problemsOf(text);
    expect(problems).toHaveLength(1);
    if (typeof expected === 'string') expect(problems[0]).toBe(expected);
    else expect(problems[0]).toMatch(expected);
  });

  it('never shows a secret that stands where none belongs', () => {
    const text =
      'prometheus: { url: "http://user:s3cret@localhost:9090" }\ngateway: { bearerToken: s3cret, basicAuth: { username: a, password: s3cret } }';
    expect(problemsOf(text)).toEqual([
      expect.stringMatching(/^1:20 prometheus\.url: expected an address without user name and password$/),
      expect.stringMatching(/^2:12 gateway\.bearerToken: unknown key "bearerToken": the keys known here are/),
      expect.stringMatching(/^2:44 gateway\.basicAuth: expected either passwordFile or passwordEnv/),
      expect.stringMatching(/^2:59 gateway\.basicAuth\.password: unknown key "password": the keys known here are/),
    ]);
    expect(problemsOf(text).join()).not.toContain('s3cret');
    for (const misplaced of ['gateway: { basicAuth: s3cret! }', 'gateway: { bearerTokenEnv: s3cret! }']) {
      expect(problemsOf(misplaced)).toEqual([expect.not.stringContaining('s3cret')]);
    }
  });

  it.each([
    ['match: [\'alertname="KubePodNotReady"\']', 'match: []', /^5:12 rules\[0\]\.match: the list is empty/],
    [
      'match: [\'alertname="KubePodNotReady"\']',
      'match: alertname=a',
      /^5:12 rules\[0\]\.match: expected a list, got "alertname=a"/,
    ],
    [
      'match: [\'alertname="KubePodNotReady"\']',
      'match: ["a=b", "a=~("]',
      /^5:20 rules\[0\]\.match\[1\]: "\(" is not a regular expression of RE2/,
    ],
    ['match: [\'alertname="KubePodNotReady"\']', 'match: ["{}"]', /^5:13 rules\[0\]\.match\[0\]: expected a matcher/],
    [
      'match: [\'alertname="KubePodNotReady"\']',
      'match: [{ alertname: a }]',
      /rules\[0\]\.match\[0\]: expected a matcher such as .*, got a section/,
    ],
    ['    match: [\'alertname="KubePodNotReady"\']\n', '', /^4:5 rules\[0\]\.match: is missing: expected a list/],
    ['name: pod-unready', 'name: Pod_Unready', /^4:11 rules\[0\]\.name: expected a name of lower-case letters/],
    ['name: pod-unready', 'name: run:drain-instance', /^4:11 rules\[0\]\.name: expected a name of lower-case letters/],
    [
      'runbook: drain-instance',
      'runbook: drain-instances',
      /^6:14 rules\[0\]\.runbook: expected the runbook drain-instance/,
    ],
    ['    runbook: drain-instance\n', '', /^4:5 rules\[0\]\.runbook: expected the runbook drain-instance/],
    [
      'k8s/prod/',
      'k8s/prd/',
      /^7:13 rules\[0\]\.target: the cluster prd is not configured: the clusters are prod; did you mean prod\?/,
    ],
    [
      'clusters: [{ name: prod }]',
      '',
      /the cluster prod is not configured, nor is any: expected clusters: \[\{ name: prod \}\]/,
    ],
    ['/pod/', '/deployment.apps/', /^7:13 rules\[0\]\.target: drain-instance takes pods \(k8s\/.*\) only/],
    [
      'k8s/prod/${labels.namespace}/pod/${labels.pod}',
      'asg/main/${labels.group}',
      /drain-instance takes pods .*, nodes .* and Auto Scaling instances .* only/,
    ],
    ['k8s/prod/${labels.namespace}/pod/${labels.pod}', 'dependency/payments', /drain-instance takes pods .* only/],
    ['${labels.pod}', '${label.pod}', /^7:13 rules\[0\]\.target: "\$\{label\.pod\}" is not a reference: only/],
    ['${labels.pod}', '${labels.pod}/x', /rules\[0\]\.target: .* is not a target: write k8s/],
  ])('of a rule: %s → %s', (from, to, expected) => {
    expect(RULE).toContain(from);
    const problems = problemsOf(RULE.replace(from, to));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(expected);
  });

  it.each([
    [
      'with: { recoverWithn: 5m }',
      '8:13 rules[0].with.recoverWithn: unknown key "recoverWithn": did you mean recoverWithin?',
    ],
    [
      'with: { traffic: cut }',
      '8:22 rules[0].with.traffic: expected one of auto, label, gate, quarantine, none, got "cut"',
    ],
    ['with: { replace: "yes" }', '8:22 rules[0].with.replace: expected true or false, got "yes"'],
    [
      'with: { recoverWithin: 10s }',
      /^8:28 rules\[0\]\.with\.recoverWithin: expected recoverWithin to be at least stableFor/,
    ],
    ['with: { evictWithin: 0s }', '8:26 rules[0].with.evictWithin: expected more than 0s'],
    ['mode: acting', '8:11 rules[0].mode: expected one of observe, propose, act, got "acting"'],
    ['approveWithin: 0s', '8:20 rules[0].approveWithin: expected more than 0s'],
    ['approvers: []', '8:16 rules[0].approvers: the list is empty: expected at least one item'],
    [
      'approvers: [ada]',
      '8:16 rules[0].approvers: nobody could approve: expected these people in gateway.people, each with a tokenHash',
    ],
    ['hush: maybe', '8:11 rules[0].hush: expected true or false, got "maybe"'],
    [
      'hush: true',
      '8:11 rules[0].hush: expected alertmanager: { urls: [http://…] } in the file, where the alert could be silenced',
    ],
    [
      'onFailure: { escalate: true }',
      '8:28 rules[0].onFailure.escalate: expected alertmanager: { urls: [http://…] } in the file, which could tell somebody of the failure',
    ],
    ['continue: 1', '8:15 rules[0].continue: expected true or false, got the number 1'],
    ["gates: { scope: '${labels.}' }", /^8:21 rules\[0\]\.gates\.scope: "\$\{labels\.\}" is not a reference/],
    ['gates: { retries: { max: -1 } }', '8:30 rules[0].gates.retries.max: expected at least 0'],
  ])('of a rule with %s', (line, expected) => {
    const problems = problemsOf(`${RULE}    ${line}\n`);
    expect(problems).toHaveLength(1);
    if (typeof expected === 'string') expect(problems[0]).toBe(expected);
    else expect(problems[0]).toMatch(expected);
  });

  it('waits for nothing where recoverWithin is 0s', () => {
    expect(configOf(`${RULE}    with: { recoverWithin: 0s }\n`).rules[0]?.rule.with).toMatchObject({
      recoverWithin: 0,
    });
  });

  it('all at once, in the order of the file', () => {
    expect(
      problemsOf(`
gateway: { listn: x, maxBdy: y }
stacks: some
rules:
  - name: A
    match: []
    runbook: drain-instance
    target: nowhere
    schedule: never
    gates: { cooldown: soon, storm: { above: most } }
  - nonsense
`).map((problem) => problem.replace(/: .*/, '')),
    ).toEqual([
      '2:12 gateway.listn',
      '2:22 gateway.maxBdy',
      '3:9 stacks',
      '5:11 rules[0].name',
      '6:12 rules[0].match',
      '8:13 rules[0].target',
      '9:15 rules[0].schedule',
      '10:24 rules[0].gates.cooldown',
      '10:46 rules[0].gates.storm.above',
      '11:5 rules[1]',
    ]);
  });

  it('of several rules and sections, though each has another kind of fault', () => {
    const text = `
gateway: { listen: '0.0.0.0:9095', maxBdy: 1MiB }
clusters: [{ name: prod }, { name: prod }]
rules:
  - name: pods
    match: [a=b]
    runbook: drain-instanc
    target: k8s/prd/shop/pod/\${labels.pod}
    with: { traffic: cut }
    mode: acting
  - name: pods
    match: [a=b]
    runbook: drain-instance
    target: k8s/prod/shop/deployment.apps/\${labels.pod}
    gates: { cooldown: soon }
`;
    expect(problemsOf(text).map((problem) => problem.replace(/: (\S+ \S+ \S+).*/, ': $1'))).toEqual([
      '2:20 gateway.listen: expected bearerTokenFile, bearerTokenEnv',
      '2:36 gateway.maxBdy: unknown key "maxBdy":',
      '3:36 clusters[1].name: prod is the',
      '7:14 rules[0].runbook: expected the runbook',
      '8:13 rules[0].target: the cluster prd',
      '9:22 rules[0].with.traffic: expected one of',
      '10:11 rules[0].mode: expected one of',
      '11:11 rules[1].name: pods is the',
      '14:13 rules[1].target: drain-instance takes pods',
      '15:24 rules[1].gates.cooldown: "soon" is not',
    ]);
  });

  it('but not what only follows from another one', () => {
    const listens = "gateway: { listen: '0.0.0.0:9095', bearerTokenFil: ./token }\n";
    expect(problemsOf(listens)).toEqual([expect.stringContaining('did you mean bearerTokenFile?')]);
    expect(problemsOf(RULE.replace('name: prod }', "name: 'pr od' }"))).toEqual([
      expect.stringContaining('clusters[0].name'),
    ]);
    // Nobody knows whose options these are.
    const other = RULE.replace('drain-instance', 'restart');
    expect(problemsOf(`${other}    with: { depth: 7 }\n`)).toEqual([expect.stringContaining('expected the runbook')]);
  });

  it('two rules of one name', () => {
    const again = RULE.slice(RULE.indexOf('  - name'));
    expect(problemsOf(RULE + again)).toEqual([
      '8:11 rules[1].name: pod-unready is the name of rules[0] already: expected another one',
    ]);
  });
});

describe('what is not YAML is said with its line', () => {
  it.each([
    ['rules: [', /^1:\d+ : /],
    ['a: 1\n b: 2\n', /^1:4 : Nested mappings/],
    ['gateway: {}\ngateway: {}\n', /^2:1 : Map keys must be unique/],
    ['rules: "open\n', /^\d:\d+ : Missing closing "quote/],
    ['a: *nowhere\n', /^1:\d+ : .*nowhere/],
    ['a: !!js/function x\n', /^1:\d+ : Unresolved tag/],
    ['a: 1\n---\nb: 2\n', /^\d:\d+ : /],
    ['\tgateway: {}\n', /^1:\d+ : Tabs/],
  ])('%j', (text, expected) => {
    expect(problemsOf(text)[0]).toMatch(expected);
  });

  it('survives aliases that multiply and nesting without end', () => {
    const laughs = Array.from(
      { length: 12 },
      (_, i) => `a${i}: &a${i} [${i === 0 ? 'x' : `*a${i - 1}, `.repeat(9)}]`,
    ).join('\n');
    expect(problemsOf(laughs).length).toBeGreaterThan(0);
    expect(problemsOf(`rules: ${'['.repeat(5_000)}`).length).toBeGreaterThan(0);
    expect(problemsOf(`rules: ${'['.repeat(5_000)}${']'.repeat(5_000)}`).length).toBeGreaterThan(0);
  });
});

describe('what is not available yet is refused, never ignored', () => {
  const written: Record<string, string> = {
    dependencies: '[]',
  };

  it.each(NOT_YET)('$at $value', ({ at, value, instead }) => {
    const [first = '', ...rest] = at.split('.');
    const text = (value === undefined ? written[rest.at(-1) ?? first] : String(value)) ?? '';
    const nested = rest.slice(first === 'rules' ? 1 : 0).reduceRight((inner, key) => `{ ${key}: ${inner} }`, text);
    const problems =
      first === 'rules'
        ? problemsOf(
            rest.at(-1) === 'runbook' ? RULE.replace('drain-instance', text) : `${RULE}    ${nested.slice(2, -2)}\n`,
          )
        : problemsOf(`${first}: ${nested}\n`);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(/^\d+:\d+ [^ ]+: not available in this version: /);
    expect(problems[0]).toContain(instead);
  });

  it('but what asks for nothing is taken', () => {
    expect(problemsOf(`${RULE}    hush: false\n    onFailure: { escalate: false }\n    gates: {}\n`)).toEqual([]);
  });
});
