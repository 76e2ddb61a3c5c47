import { z } from 'zod';
import { count, duration, named, nonEmpty, parsed, section, webUrl } from '../config-fields.ts';
import { InputError } from '../input-error.ts';
import { longestRange, parseQuery } from '../promql.ts';
import { CONFIGURED_NAME } from '../target.ts';
import type { Confirm, Dependency, HttpSwitch, Probe, SwitchOptions } from './options.ts';

/** `dependencies:` as it is written. */

const NAME = 'a name of letters, digits and -_., at most 63, beginning and ending with a letter or digit';
export const dependencyName = named('Name of the dependency in target keys, unique.', CONFIGURED_NAME, NAME);
const inCluster = named('Name of the cluster, under clusters.', CONFIGURED_NAME, NAME);

const LABEL = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;
const namespace = named('Namespace.', LABEL, 'the name of a namespace');
const SUBDOMAIN = /^[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?$/;
const objectName = (description: string) => named(description, SUBDOMAIN, 'the name of an object of Kubernetes');
const port = (description: string) => count(description, 1, 65_535);
const host = named('Name or address.', /^[A-Za-z0-9[][-.:A-Za-z0-9\]]*$/, 'a name or address without scheme or port');
const mergePatch = z.record(z.string(), z.unknown()).refine((patch) => Object.keys(patch).length > 0, {
  message: 'expected a patch that changes something',
});

/** Exactly one of some sections. */
const oneOf =
  (keys: readonly string[]) =>
  (given: object): boolean =>
    keys.filter((key) => (given as Record<string, unknown>)[key] !== undefined).length === 1;

const query = (description: string) =>
  parsed('a PromQL query', (text) => {
    const parts = parseQuery(text);
    if (parts.some((part) => typeof part !== 'string')) throw new InputError('expected a query without ${…}');
    return text;
  }).meta({ description });

const envoy = section({
  admin: z
    .array(webUrl('Address of an admin endpoint.'))
    .min(1)
    .optional()
    .meta({ description: 'Addresses of the admin endpoints of all Envoys, such as http://127.0.0.1:9901.' }),
  pods: section({
    cluster: inCluster,
    namespace,
    selector: nonEmpty('Label selector of the pods with an Envoy, such as app=gateway.'),
    port: port('Port of the admin endpoint on the address of the pod.'),
  })
    .optional()
    .meta({ description: 'The pods that have an Envoy, found anew each time.' }),
  envoyCluster: nonEmpty('Name of the Envoy cluster of the dependency.'),
  shareKey: nonEmpty(
    'Runtime key of the fraction of the traffic that the routes let through; needed for halfOpen.share.',
  ).optional(),
  quorum: z
    .union([
      z.literal('all'),
      parsed('all, or a share such as 90%', (text) => {
        if (!/^(?:100|[1-9]\d?)%$/.test(text)) throw new InputError('expected all, or a share such as 90%');
        return Number(text.slice(0, -1));
      }),
    ])
    .prefault('all')
    .meta({ description: 'How many Envoys must take it: all, or a share such as 90%.' }),
})
  .refine(oneOf(['admin', 'pods']), { message: 'expected admin or pods, and one of them only' })
  .meta({ description: 'Envoy, by its runtime: a request to the dependency is answered 503 at once.' });

const kubernetes = section({
  cluster: inCluster,
  apiVersion: named(
    'API version.',
    /^(?:[a-z0-9.-]+\/)?v\d+(?:(?:alpha|beta)\d+)?$/,
    'an API version such as networking.istio.io/v1',
  ),
  kind: named('Kind.', /^[A-Z][A-Za-z0-9]*$/, 'a kind such as DestinationRule'),
  namespace,
  name: objectName('Name of the object.'),
  open: mergePatch.meta({
    description: 'JSON merge patch (RFC 7386) that opens it. What was there is put back exactly.',
  }),
  share: mergePatch.optional().meta({
    description:
      'The same while a share of the traffic is let through; a value that is "${share}" or "${rest}" becomes the percent, or 100 less it.',
  }),
}).meta({ description: 'Any object of a cluster, by a patch.' });

const flag = section({
  cluster: inCluster,
  namespace,
  configMap: objectName('Name of the ConfigMap.'),
  key: named('Key of its data.', /^[-._A-Za-z0-9]{1,253}$/, 'a key of a ConfigMap').prefault('flags.json'),
  flag: nonEmpty('Name of the flag.'),
  open: nonEmpty('Variant of the flag for an open breaker.').prefault('open'),
  closed: nonEmpty('Variant of the flag for a closed breaker.').prefault('closed'),
})
  .refine(({ open, closed }) => open !== closed, { path: ['closed'], message: 'expected another variant than open' })
  .meta({ description: "A flag in flagd's format in a ConfigMap, read by applications with OpenFeature." });

const POINTER = /^(?:\/(?:[^~/]|~[01])*)*$/;

const httpSwitch = (path: (description: string) => z.ZodType<string, string>) =>
  section({
    url: webUrl('Address that is called.'),
    method: z.enum(['POST', 'PUT', 'PATCH']).prefault('POST').meta({ description: 'Method.' }),
    body: z.unknown().optional().meta({
      description: 'JSON; in its texts ${state} (open, closed, share), ${share} and ${dependency} are replaced.',
    }),
    headers: z.record(z.string(), z.string()).optional().meta({ description: 'Headers that are no secret.' }),
    headersFile: path('Headers to send, one `name: value` a line: for secrets.').optional(),
    read: section({
      url: webUrl('Address that is read by GET.'),
      pointer: named('Where its JSON tells how it stands.', POINTER, 'a JSON pointer such as /state'),
      open: nonEmpty('Value there while it is open.').prefault('open'),
      closed: nonEmpty('Value there while it is closed.').prefault('closed'),
    }).meta({ description: 'How it is read back.' }),
  }).meta({ description: 'A call by HTTP.' }) satisfies z.ZodType<HttpSwitch, unknown>;

const SWITCHES = ['envoy', 'kubernetes', 'flag', 'http'] as const;

const switchOf = (path: (description: string) => z.ZodType<string, string>) =>
  section({
    envoy: envoy.optional(),
    kubernetes: kubernetes.optional(),
    flag: flag.optional(),
    http: httpSwitch(path).optional(),
  })
    .refine(oneOf(SWITCHES), { message: `expected one of ${SWITCHES.join(', ')}, and one only` })
    .meta({ description: 'What keeps callers from it.' }) satisfies z.ZodType<SwitchOptions, unknown>;

const ratio = (description: string) => z.number().gt(0).max(1).meta({ description });

const confirm = section({
  calls: query('PromQL that gives the number of calls over its window.'),
  failed: query('PromQL that gives the number of those that failed.').optional(),
  slow: query('PromQL that gives the number of those that were slow.').optional(),
  minCalls: count('Below so many calls nothing is opened.', 1, 1_000_000_000).prefault(20),
  failureRatio: ratio('Share of failed calls from which it is opened.').prefault(0.5),
  slowRatio: ratio('Share of slow calls from which it is opened.').prefault(0.8),
  window: duration('Time over which its queries count; by default the longest range in them, or 1m without one.', {
    above: 0,
  }).optional(),
})
  .refine(({ failed, slow }) => failed !== undefined || slow !== undefined, {
    path: ['failed'],
    message: 'expected failed, slow, or both: calls alone say nothing of failures',
  })
  .transform((given) => {
    const { calls, failed = '', slow = '' } = given;
    return { ...given, window: given.window ?? longestRange([calls, failed, slow]) ?? 60_000 };
  })
  .meta({ description: 'What must be seen in Prometheus before it is opened.' }) satisfies z.ZodType<Confirm, unknown>;

const PROBES = ['http', 'tcp', 'grpc', 'promql'] as const;

const probeOf = (path: (description: string) => z.ZodType<string, string>) =>
  section({
    http: section({
      url: webUrl('Address that is got.'),
      status: count('Status that is healthy. Redirects are not followed.', 200, 599).prefault(200),
      headersFile: path('Headers to send, one `name: value` a line: for secrets.').optional(),
    })
      .optional()
      .meta({ description: 'GET.' }),
    tcp: section({ host, port: port('Port.') })
      .optional()
      .meta({ description: 'A connection.' }),
    grpc: section({
      host,
      port: port('Port.'),
      service: z.string().prefault('').meta({ description: 'Name of the service; empty: the whole server.' }),
      tls: z.boolean().prefault(false).meta({ description: 'By TLS.' }),
    })
      .optional()
      .meta({ description: 'grpc.health.v1.Health/Check.' }),
    promql: section({
      query: query('PromQL that gives one number.'),
      atMost: z.number().meta({ description: 'The largest value that is healthy.' }),
    })
      .optional()
      .meta({ description: 'A number in Prometheus.' }),
    within: duration('An answer that takes longer is a failure.', { above: 0, atMost: 30_000 }).prefault('2s'),
    failures: count('So many in a row must fail before it is opened on the word of the probe alone.', 1, 100).prefault(
      3,
    ),
  })
    .refine(oneOf(PROBES), { message: `expected one of ${PROBES.join(', ')}, and one only` })
    .meta({ description: 'A trial, made by the workers themselves.' }) satisfies z.ZodType<Probe, unknown>;

const halfOpen = section({
  successes: count('Trials in a row that close it.', 1, 100).prefault(3),
  failures: count('Failed trials that open it again.', 1, 100).prefault(1),
  trials: count('Trials in one half-open period, at most.', 1, 1_000).prefault(10),
  every: duration('Between two trials.', { above: 99, atMost: 600_000 }).prefault('2s'),
  within: duration('Longest half-open time; then it opens again.', { above: 0 }).prefault('1m'),
  share: count('Percent of the traffic that is let through meanwhile; 0: none.', 0, 99).prefault(0),
})
  .refine(({ successes, trials }) => successes <= trials, {
    path: ['trials'],
    message: 'expected at least as many trials as successes: it could never close',
  })
  .refine(({ successes, every, within }) => (successes - 1) * every < within, {
    path: ['within'],
    message: 'expected longer than its successes take, one every so often: it could never close',
  });

/** Whether the switch can let a share through. */
const canShare = ({ envoy, kubernetes, http }: SwitchOptions): boolean =>
  envoy?.shareKey !== undefined || kubernetes?.share !== undefined || http !== undefined;

const NO_SHARE =
  'expected 0, for its switch lets no share through: envoy needs shareKey, kubernetes needs share, and a flag has none';

export const dependencySchema = (path: (description: string) => z.ZodType<string, string>) =>
  section({
    name: dependencyName,
    switch: switchOf(path),
    confirm: confirm.optional(),
    confirmWithin: duration('How long is looked for what confirms its failure before the alert is put off.').prefault(
      '1m',
    ),
    probe: probeOf(path).optional(),
    openFor: duration('How long it is open the first time; each relapse doubles it.', { above: 0 }).prefault('30s'),
    maxOpen: duration('How long it is open at most.', { above: 0 }).prefault('10m'),
    healthyFor: duration('How long it must be healthy until relapses are forgotten.').prefault('10m'),
    halfOpen: halfOpen.prefault({}).meta({ description: 'Trials before it is closed.' }),
    assertEvery: duration('How often the switch is read while it is open; and the dependency after it was closed.', {
      above: 99,
      atMost: 600_000,
    }).prefault('5s'),
    respectClose: duration("How long a person's close is respected.").prefault('30m'),
  })
    .refine(({ openFor, maxOpen }) => openFor <= maxOpen, {
      path: ['maxOpen'],
      message: 'expected at least openFor',
    })
    .refine(({ confirm, probe }) => confirm !== undefined || probe !== undefined, {
      path: ['probe'],
      message: 'expected probe, confirm, or both: without them nobody could tell when to close it',
    })
    .refine((one) => one.probe !== undefined || one.halfOpen.share > 0, {
      path: ['halfOpen', 'share'],
      message: 'expected more than 0, or a probe: with neither no call would be left to judge by, and it stayed open',
    })
    .refine((one) => one.halfOpen.share === 0 || canShare(one.switch), {
      path: ['halfOpen', 'share'],
      message: NO_SHARE,
    })
    .meta({
      description: 'What the fleet calls, and how callers are kept from it while it is down.',
    }) satisfies z.ZodType<Dependency, unknown>;
