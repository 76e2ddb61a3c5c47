import { z } from 'zod';
import { duration, named, nonEmpty, parsed, section } from '../config-fields.ts';
import { InputError, shown } from '../input-error.ts';
import { parseMatchers } from '../matcher.ts';
import { CONFIGURED_NAME } from '../target.ts';
import type { ManifestsStack, OpenTofuStack, SecurityGroupsStack, Source, Stack, StackSource } from './options.ts';

/** `stacks:` as it is written. */

type Path = (description: string) => z.ZodType<string, string>;

const NAME = 'a name of letters, digits and -_., at most 63, beginning and ending with a letter or digit';
export const stackName = named('Name of the stack in target keys, unique.', CONFIGURED_NAME, NAME);
const inCluster = named('Name of the cluster, under clusters.', CONFIGURED_NAME, NAME);
const inAccount = named('Name of the account and region, under aws.', CONFIGURED_NAME, NAME);

/** What begins with a dash would be an option of git, and never a name. */
const remote = parsed('an address such as https://git.example.com/infra.git', (text) => {
  const expected =
    'expected an address such as https://git.example.com/infra.git, ssh://git@host/infra.git or file:///srv/infra.git';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !['https:', 'http:', 'ssh:', 'file:'].includes(url.protocol)) throw new InputError(expected);
  // The value is not shown: it holds a secret.
  if (url.password !== '') throw new InputError('expected an address without a password: use credentialsFile');
  return text;
}).meta({ description: 'Git repository; of it one commit is checked out, without its history.' });

const ref = named(
  'Branch, tag or commit. Default: the default branch.',
  /^(?![-./])(?!.*(?:\.\.|@\{|\/\/|\/$|\.lock$))[-+._/@A-Za-z0-9]{1,200}$/,
  'the name of a branch or tag, or a commit',
);

const inside = parsed('a path within the repository', (text) => {
  if (text === '' || text.startsWith('/') || text.startsWith('-') || text.split('/').includes('..'))
    throw new InputError(`expected a path within the repository, such as clusters/prod, got ${shown(text)}`);
  return text;
}).meta({ description: 'Folder within the repository. Default: its root.' });

const sourceFields = (path: Path) => ({
  folder: path('Folder with the source, on each worker.').optional(),
  git: remote.optional(),
  ref: ref.optional(),
  path: inside.optional(),
  credentialsFile: path('File with user:password, or a token, for an HTTPS remote.').optional(),
});

const hasOneSource = ({ folder, git }: Source): boolean => (folder === undefined) !== (git === undefined);
const ONE_SOURCE = { message: 'expected folder or git, and one of them only' };
const OF_GIT = ['ref', 'path', 'credentialsFile'] as const;
const fitsFolder = (source: Source): boolean =>
  source.folder === undefined || OF_GIT.every((key) => source[key] === undefined);
const FITS_FOLDER = { path: ['git'], message: 'expected git: ref, path and credentialsFile are of a repository only' };

const VARIABLE = /^[A-Za-z_][-A-Za-z0-9_]*$/;

const opentofu = (path: Path) =>
  section({
    ...sourceFields(path),
    command: named('The command, or its path.', /^[^-\s]\S*$/, 'a command such as tofu').prefault('tofu'),
    backendConfig: z
      .record(named('Setting of the backend.', VARIABLE, 'the name of a setting'), z.string())
      .prefault({})
      .meta({ description: 'Settings of the backend that are no secret.' }),
    backendConfigFiles: z
      .array(path('File of settings of the backend.'))
      .prefault([])
      .meta({ description: 'Files of settings of the backend: for secrets.' }),
    workspace: named('Workspace.', /^[A-Za-z0-9][-_A-Za-z0-9]{0,89}$/, 'the name of a workspace').optional(),
    varFiles: z
      .array(nonEmpty('File of variables, relative to the module.'))
      .prefault([])
      .meta({ description: 'Files of variables, relative to the module.' }),
    environmentFile: path('File of environment variables, one NAME=value a line: for secrets.').optional(),
  })
    .refine(hasOneSource, ONE_SOURCE)
    .refine(fitsFolder, FITS_FOLDER)
    .meta({ description: 'A root module of OpenTofu or Terraform.' }) satisfies z.ZodType<OpenTofuStack, unknown>;

const manifests = (path: Path) =>
  section({
    ...sourceFields(path),
    cluster: inCluster,
    namespace: named(
      'Namespace of what names none.',
      /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/,
      'the name of a namespace',
    ).optional(),
    kustomize: z.boolean().prefault(false).meta({ description: 'Built by the command kustomize.' }),
  })
    .refine(hasOneSource, ONE_SOURCE)
    .refine(fitsFolder, FITS_FOLDER)
    .meta({ description: 'Manifests of Kubernetes.' }) satisfies z.ZodType<ManifestsStack, unknown>;

const securityGroups = (path: Path) =>
  section({ ...sourceFields(path), aws: inAccount })
    .refine(hasOneSource, ONE_SOURCE)
    .refine(fitsFolder, FITS_FOLDER)
    .meta({ description: 'Rules of security groups, declared in YAML.' }) satisfies z.ZodType<
    SecurityGroupsStack,
    unknown
  >;

export const STACK_KINDS = ['opentofu', 'manifests', 'securityGroups'] as const;

const matcher = parsed('a matcher such as severity="critical"', (text) => {
  if (parseMatchers(text).length === 0) throw new InputError('expected a matcher such as severity="critical"');
  return text;
}).meta({ description: "Matchers in Alertmanager's syntax." });

const pattern = nonEmpty('Pattern of an address, or of ADDRESS#FIELD, in which * stands for anything.');

export const stackSchema = (path: Path) =>
  section({
    name: stackName,
    opentofu: opentofu(path).optional(),
    manifests: manifests(path).optional(),
    securityGroups: securityGroups(path).optional(),
    ignore: z.array(pattern).prefault([]).meta({ description: 'What is left alone.' }),
    minAge: duration('Drift that is younger waits.').prefault('5m'),
    holdWhile: z.array(matcher).optional().meta({
      description:
        'While an alert that meets all of these fires, drift is only reported. Default: severity="critical" and stack="NAME".',
    }),
    lockWithin: duration('How long a lock of the state that somebody else has is waited for.', {
      atMost: 3_600_000,
    }).prefault('10m'),
  })
    .refine((given) => STACK_KINDS.filter((kind) => given[kind] !== undefined).length === 1, {
      message: `expected one of ${STACK_KINDS.join(', ')}, and one only`,
    })
    .transform(
      ({ holdWhile, ...stack }): Stack => ({
        ...stack,
        holdWhile: holdWhile ?? ['severity="critical"', `stack="${stack.name}"`],
      }),
    )
    .meta({ description: 'A part of the world that is to be as its source says.' }) satisfies z.ZodType<Stack, unknown>;

/** Which of its kinds a stack is. */
export const kindOf = (stack: StackSource): keyof StackSource | undefined =>
  STACK_KINDS.find((kind) => stack[kind] !== undefined);
