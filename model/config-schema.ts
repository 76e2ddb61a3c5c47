import { z } from 'zod';
import { dependencySchema } from './breaker/schema.ts';
import {
  auditUrl,
  duration,
  isLoopback,
  named,
  nonEmpty,
  parsed,
  parseHostAndPort,
  section,
  size,
  tokenHash,
  variable,
  webUrl,
} from './config-fields.ts';
import { defaultGates, limitFields, ruleGates } from './config-gates.ts';
import { stackSchema } from './drift/schema.ts';
import { InputError } from './input-error.ts';
import { parseMatchers } from './matcher.ts';
import { nearest } from './nearest.ts';
import { MODES, type ResolvedGates, type Runbook, type RunbookOptions } from './rule.ts';
import { RUNBOOK_SPECS } from './runbooks.ts';
import { scheduleSchema } from './schedule.ts';
import { CONFIGURED_NAME, parseTargetTemplate } from './target.ts';

/** Gates of a rule where neither it nor `defaults` says otherwise. */
export const BUILT_IN_GATES: ResolvedGates = {
  maxInFlight: 1,
  cooldown: 600_000,
  retries: { max: 3, per: 3_600_000 },
  waitAtMost: 3_600_000,
  maxQueue: 1000,
  maxUnavailable: { percent: 25 },
  storm: { above: 40, settleFor: 600_000 },
  windows: [],
  failClosed: true,
};

const matchList = z
  .array(parsed('a matcher such as alertname="PodRunningNotReady"', readMatchers))
  .min(1)
  .transform((lists) => lists.flat())
  .meta({ description: "Matchers in Alertmanager's syntax; all must match. A missing label is an empty one." });

function readMatchers(text: string) {
  const matchers = parseMatchers(text);
  if (matchers.length === 0) throw new InputError('expected a matcher such as alertname="PodRunningNotReady"');
  return matchers;
}

export const clusterName = named(
  'Name of the cluster in target keys.',
  CONFIGURED_NAME,
  'a name of letters, digits and -_., at most 63, beginning and ending with a letter or digit',
);

export const awsName = named(
  'Name of an account and region in target keys.',
  CONFIGURED_NAME,
  'a name of letters, digits and -_., at most 63, beginning and ending with a letter or digit',
);

export const ruleName = named(
  'Name of the rule, unique.',
  /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/,
  'a name of lower-case letters, digits and -, at most 63, beginning and ending with a letter or digit',
);

export const ruleTarget = parsed(
  `a target such as k8s/prod/\${labels.namespace}/pod/\${labels.pod}`,
  parseTargetTemplate,
).meta({
  description: `Key of what it is done to, with \${labels.NAME} and \${annotations.NAME}. A value that is no valid name for its place is refused.`,
});

const NAME_OF_PERSON = '[A-Za-z0-9](?:[-+._@A-Za-z0-9]{0,61}[A-Za-z0-9])?';
const expectedName = 'a name of letters, digits and -+._@, at most 63, beginning and ending with a letter or digit';

export const personName = named('Name of the person, unique.', new RegExp(`^${NAME_OF_PERSON}$`), expectedName);
export const groupName = named('Name of a group.', new RegExp(`^${NAME_OF_PERSON}$`), expectedName);

export const approver = named(
  'Name of a person, or group:NAME.',
  new RegExp(`^(?:group:)?${NAME_OF_PERSON}$`),
  'the name of a person of gateway.people, or group:NAME',
);

const person = section({
  name: personName,
  tokenHash: tokenHash('SHA-256 (hex) of the token that the person sends: printf %s TOKEN | sha256sum.'),
  groups: z.array(groupName).prefault([]).meta({ description: 'Groups that `approvers` may name as group:NAME.' }),
});

/** What makes a rule begin: at least one of them. */
const BEGINS = ['match', 'schedule'];

const isSection = (value: unknown): boolean => typeof value === 'object' && value !== null;

/** A rule as it is written, for one runbook. */
const ruleFor = <R extends Runbook, Options extends z.ZodType<RunbookOptions[R]>>(runbook: R, options: Options) =>
  section({
    name: ruleName,
    match: matchList.optional(),
    schedule: scheduleSchema.optional(),
    runbook: z.literal(runbook).meta({ description: 'What is done.' }),
    target: ruleTarget,
    mode: z.enum(MODES).prefault('observe').meta({
      description:
        'How much the rule is trusted: observe records what it would do; propose waits for a person to approve it; act acts.',
    }),
    approvers: z.array(approver).min(1).optional().meta({
      description:
        'Who may approve what it proposes: names of gateway.people, and group:NAME. Default: everybody named there.',
    }),
    approveWithin: duration('How long a proposal waits for its approval; then it is refused.', { above: 0 }).prefault(
      '1d',
    ),
    with: options,
    gates: ruleGates.prefault({}),
    hush: z.boolean().prefault(false).meta({
      description:
        'Silence the alert in Alertmanager while Salvor works on it. Needs alertmanager.urls, and a route of the pager that waits longer than that of Salvor.',
    }),
    onFailure: section({
      escalate: z.boolean().optional().meta({
        description: 'Raise the alert SalvorEscalation. Default: true where alertmanager.urls is configured.',
      }),
    })
      .prefault({})
      .meta({ description: 'What follows a failed remediation.' }),
    continue: z
      .boolean()
      .prefault(false)
      .meta({ description: 'Try the rules after this one too. Otherwise the first that matches wins.' }),
  })
    .refine(({ match, schedule }) => match !== undefined || schedule !== undefined, {
      when: ({ value, issues }) => isSection(value) && !issues.some(({ path }) => BEGINS.includes(String(path?.[0]))),
      path: ['match'],
      message: 'is missing: expected a list of matchers, or a schedule beside it',
    })
    .meta({ anyOf: BEGINS.map((key) => ({ required: [key] })) });

const runbookNames = Object.keys(RUNBOOK_SPECS) as Runbook[];

export const ruleSchema = z.discriminatedUnion(
  'runbook',
  [
    ruleFor('drain-instance', RUNBOOK_SPECS['drain-instance'].options.prefault({})),
    ruleFor('scale-on-backlog', RUNBOOK_SPECS['scale-on-backlog'].options),
    ruleFor('circuit-breaker', RUNBOOK_SPECS['circuit-breaker'].options.prefault({})),
    ruleFor('revert-drift', RUNBOOK_SPECS['revert-drift'].options.prefault({})),
  ],
  {
    error: (issue) => (issue.code === 'invalid_union' ? `expected the runbook ${runbookNames.join(', ')}` : undefined),
  },
);

/** For a check of a whole section: it is made also where single keys of the section are at fault. */
const whole = {
  when: ({ value }: z.core.ParsePayload) => isSection(value),
};

/** Keys of the gateway that authenticate. */
const AUTHENTICATION = ['bearerTokenFile', 'bearerTokenEnv', 'basicAuth'] as const;

/** Whether a fault is about authentication, which then is meant to be there. */
const isAboutAuthentication = (issue: z.core.$ZodRawIssue): boolean => {
  const keys = issue.code === 'unrecognized_keys' ? issue.keys : [issue.path?.[0]];
  return keys.some((key) => nearest(String(key), AUTHENTICATION) !== undefined);
};

const secretFile = 'Path of a file that holds it, relative to the configuration.';

/**
 * The schema of `salvor.yaml`.
 *
 * @param resolvePath makes paths absolute, from the folder of the file
 */
export function configSchema(resolvePath: (path: string) => string) {
  const path = (description: string) =>
    parsed('a path', (text) => {
      if (text === '') throw new InputError('expected a path');
      if (text.startsWith('~')) throw new InputError('expected a path without ~, which is not expanded');
      return resolvePath(text);
    }).meta({ description });

  const temporal = section({
    address: parsed('host:port of Temporal', (text) => {
      parseHostAndPort(text);
      return text;
    })
      .prefault('localhost:7233')
      .meta({ description: 'host:port of the frontend of Temporal.' }),
    namespace: nonEmpty('Namespace of Temporal.').prefault('default'),
    taskQueue: nonEmpty('Task queue of the workers.').prefault('salvor'),
    tls: z
      .union(
        [
          z.boolean(),
          section({
            serverName: nonEmpty('Name that the certificate of the server must have.').optional(),
            caFile: path('Certificate authority of the server (PEM).').optional(),
            certFile: path('Certificate of the client (PEM).').optional(),
            keyFile: path('Private key of the client (PEM).').optional(),
          }).refine(({ certFile, keyFile }) => (certFile === undefined) === (keyFile === undefined), {
            ...whole,
            message: 'expected both certFile and keyFile, or neither',
          }),
        ],
        { error: 'expected true, false, or a section with serverName, caFile, certFile and keyFile' },
      )
      .optional()
      .meta({ description: 'TLS to Temporal: true for the certificate authorities of the system.' }),
    apiKeyFile: path(`API key of Temporal Cloud. ${secretFile}`).optional(),
    apiKeyEnv: variable('API key of Temporal Cloud: the environment variable that holds it.').optional(),
    ui: webUrl("Address of Temporal's web UI, for links in Salvor's alerts.").optional(),
  }).refine(({ apiKeyFile, apiKeyEnv }) => apiKeyFile === undefined || apiKeyEnv === undefined, {
    ...whole,
    message: 'expected either apiKeyFile or apiKeyEnv, not both',
  });

  const gateway = section({
    listen: parsed('host:port to listen on', parseHostAndPort)
      .prefault('127.0.0.1:9095')
      .meta({ description: 'host:port to listen on. Beyond loopback authentication is required.' }),
    bearerTokenFile: path(`Token that callers must send. ${secretFile}`).optional(),
    bearerTokenEnv: variable('Token that callers must send: the environment variable that holds it.').optional(),
    basicAuth: section({
      username: nonEmpty('User name that callers must send.'),
      passwordFile: path(`Password that callers must send. ${secretFile}`).optional(),
      passwordEnv: variable('Password that callers must send: the environment variable that holds it.').optional(),
    })
      .refine((auth) => (auth.passwordFile === undefined) !== (auth.passwordEnv === undefined), {
        message: 'expected either passwordFile or passwordEnv beside username',
      })
      .optional()
      .meta({ description: 'User name and password that callers must send.' }),
    people: z.array(person).prefault([]).meta({
      description: 'Who may approve, deny, pause and resume, each by a token of his own. Not for webhooks.',
    }),
    maxBody: size('Largest body of a request.', 64 * 1024 ** 2).prefault('8MiB'),
    tls: section({
      certFile: path('Certificate, with its chain (PEM).'),
      keyFile: path('Private key (PEM).'),
    })
      .optional()
      .meta({ description: 'Serve HTTPS.' }),
  })
    .refine((gateway) => isLoopback(gateway.listen.host) || AUTHENTICATION.some((way) => gateway[way] !== undefined), {
      when: ({ value, issues }) =>
        typeof (value as { listen?: { host?: unknown } } | null)?.listen?.host === 'string' &&
        !issues.some(isAboutAuthentication),
      path: ['listen'],
      message:
        'expected bearerTokenFile, bearerTokenEnv or basicAuth beside it, for without authentication the gateway listens on loopback only',
    })
    .refine(({ bearerTokenFile, bearerTokenEnv }) => bearerTokenFile === undefined || bearerTokenEnv === undefined, {
      ...whole,
      message: 'expected either bearerTokenFile or bearerTokenEnv, not both',
    });

  const audit = section({
    url: parsed('file:./audit.db or postgres://user@host/database', (text) => auditUrl(text, resolvePath)).meta({
      description:
        'file:PATH (SQLite, one machine) or postgres://user@host:port/database. Default: a file of `salvor up`.',
    }),
    passwordFile: path(`Password of the database. ${secretFile}`).optional(),
    passwordEnv: variable('Password of the database: the environment variable that holds it.').optional(),
  })
    .refine(({ passwordFile, passwordEnv }) => passwordFile === undefined || passwordEnv === undefined, {
      ...whole,
      message: 'expected either passwordFile or passwordEnv, not both',
    })
    .optional();

  const worker = section({
    listen: parsed('host:port to listen on', parseHostAndPort).optional().meta({
      description:
        'host:port on which `salvor worker` serves /metrics, /healthz and /readyz, such as 127.0.0.1:9096. Default: none.',
    }),
  });

  const telemetry = section({
    otlp: section({
      url: webUrl('Address of a collector that takes OTLP over HTTP, such as http://localhost:4318.'),
      headersFile: path('Headers to send to it, one `name: value` a line.').optional(),
    }).meta({ description: 'Where traces are sent.' }),
  });

  const cluster = section({
    name: clusterName,
    context: nonEmpty(
      'Context of the kubeconfig. Default: in the cluster its service account, else the current context.',
    ).optional(),
    kubeconfig: path('kubeconfig to read. Default: KUBECONFIG, or ~/.kube/config.').optional(),
    aws: awsName
      .optional()
      .meta({ description: 'Name under aws of the account and region in which the machines of its nodes are.' }),
  });

  const aws = section({
    name: awsName,
    region: named('Region, such as eu-west-1.', /^[a-z]{2}(?:-[a-z]+)+-\d{1,2}$/, 'a region such as eu-west-1'),
    endpoint: webUrl('Address of the Auto Scaling API, where it is not that of AWS.').optional(),
    cloudwatchEndpoint: webUrl(
      'Address of the CloudWatch API, where it is not that of AWS. Default: endpoint.',
    ).optional(),
    ec2Endpoint: webUrl('Address of the EC2 API, where it is not that of AWS. Default: endpoint.').optional(),
    cloudtrailEndpoint: webUrl(
      'Address of the CloudTrail API, where it is not that of AWS. Default: endpoint.',
    ).optional(),
    roleArn: named(
      'Role that is assumed.',
      /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/,
      'a role such as arn:aws:iam::123456789012:role/salvor',
    ).optional(),
    profile: nonEmpty(
      'Profile of the shared AWS configuration. Default: the credentials of the environment.',
    ).optional(),
  });

  return section({
    temporal: temporal.prefault({}).meta({ description: 'Where Temporal is.' }),
    gateway: gateway.prefault({}).meta({ description: 'The webhook server.' }),
    worker: worker.prefault({}).meta({ description: 'The worker.' }),
    telemetry: telemetry.optional().meta({ description: 'Traces by OpenTelemetry. Default: none.' }),
    audit: audit.meta({ description: 'Where the record of every decision and change is kept.' }),
    prometheus: section({ url: webUrl('Address of Prometheus.') })
      .optional()
      .meta({ description: 'Where Prometheus is.' }),
    alertmanager: section({
      urls: z.array(webUrl('Address of an Alertmanager.')).min(1).meta({ description: 'One address for each.' }),
    })
      .optional()
      .meta({ description: 'Every member of the Alertmanager pair or cluster.' }),
    clusters: z.array(cluster).prefault([]).meta({ description: 'Kubernetes clusters that targets may be in.' }),
    aws: z.array(aws).prefault([]).meta({ description: 'AWS accounts and regions that targets may be in.' }),
    dependencies: z
      .array(dependencySchema(path))
      .prefault([])
      .meta({ description: 'What the fleet calls, each with a breaker: the targets dependency/<name>.' }),
    stacks: z
      .array(stackSchema(path))
      .prefault([])
      .meta({ description: 'What is to be as its source says: the targets stack/<name>.' }),
    limits: limitFields.optional(),
    defaults: section({ gates: defaultGates.prefault({}) })
      .prefault({})
      .meta({ description: 'What holds for every rule that does not say otherwise.' }),
    rules: z
      .array(ruleSchema)
      .prefault([])
      .meta({ description: 'Which alert gets which runbook; the first match wins.' }),
  }).meta({ title: 'Salvor', description: 'Configuration of Salvor (salvor.yaml).' });
}

/** What the schema makes of a file. */
export type ParsedConfig = z.output<ReturnType<typeof configSchema>>;
export type ParsedRule = ParsedConfig['rules'][number];

/** The schema as JSON Schema (draft 2020-12) of what is written, for editors. */
export const configJsonSchema = (): object =>
  z.toJSONSchema(
    configSchema((path) => path),
    { io: 'input' },
  );
