import { InputError, shown } from './input-error.ts';
import { formatReference, parseTemplate, type Reference, render, type Template, type Values } from './template.ts';

/**
 * What a remediation is about. Its key is a name, unique over all configured clusters and accounts:
 *
 *     k8s/<cluster>/<namespace>/<kind>[.<group>]/<name>     k8s/<cluster>/node/<name>
 *     asg/<aws name>/<group>[/<instance>]                   dependency/<name>     stack/<name>
 *
 * Each segment is percent-encoded: letters, digits and `-._~` stand for themselves, every other byte of the UTF-8 is
 * `%XX` with upper-case digits. A key has one form only; any other spelling is refused.
 */
export type Target = ObjectTarget | NodeTarget | AsgTarget | DependencyTarget | StackTarget;

/** A namespaced object of Kubernetes; `kind` is singular and lower case, `group` is absent for the core group. */
export interface ObjectTarget {
  type: 'k8s';
  cluster: string;
  namespace: string;
  kind: string;
  group?: string;
  name: string;
}

export interface NodeTarget {
  type: 'node';
  cluster: string;
  name: string;
}

/** An Auto Scaling group, or one instance in it. */
export interface AsgTarget {
  type: 'asg';
  /** The name of the account and region under `aws:`. */
  aws: string;
  group: string;
  instance?: string;
}

export interface DependencyTarget {
  type: 'dependency';
  name: string;
}

export interface StackTarget {
  type: 'stack';
  name: string;
}

/** What may stand in one place of a key. */
interface Place {
  /** For messages: "the namespace". */
  what: string;
  pattern: RegExp;
  max: number;
  /** What would be right. */
  rule: string;
}

const LABEL = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
const SUBDOMAIN = `${LABEL}(?:\\.${LABEL})*`;

const LABEL_RULE = 'lower-case letters, digits and -, at most 63, beginning and ending with a letter or digit';
const SUBDOMAIN_RULE =
  'lower-case letters, digits, - and ., at most 253, each part beginning and ending with a letter or digit';
const NAME_RULE = 'letters, digits and -_., at most 63, beginning and ending with a letter or digit';

/** A name that the configuration gives: of a cluster, an account, a dependency, a stack. */
export const CONFIGURED_NAME = /^[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?$/;

const configured = (what: string): Place => ({ what, pattern: CONFIGURED_NAME, max: 63, rule: NAME_RULE });

const TYPE: Place = {
  what: 'the type',
  pattern: /^(?:k8s|asg|dependency|stack)$/,
  max: 10,
  rule: 'k8s, asg, dependency or stack',
};
const NAMESPACE: Place = { what: 'the namespace', pattern: new RegExp(`^${LABEL}$`), max: 63, rule: LABEL_RULE };
const NAME: Place = { what: 'the name', pattern: new RegExp(`^${SUBDOMAIN}$`), max: 253, rule: SUBDOMAIN_RULE };
const KIND: Place = {
  what: 'the kind',
  pattern: new RegExp(`^(?!node$)[a-z][a-z0-9]*(?:\\.${SUBDOMAIN})?$`),
  max: 316,
  rule: "a kind in the singular and lower case, with its API group where it has one, such as pod or deployment.apps; a node's key is k8s/<cluster>/node/<name>",
};
const NODE: Place = { what: 'the kind', pattern: /^node$/, max: 4, rule: 'node, for nothing else has no namespace' };
// AWS takes any text without a colon; printable ASCII is what its console lets one type, and enough.
const GROUP: Place = {
  what: 'the group',
  pattern: /^(?! )[ -9;-~]+(?<! )$/,
  max: 255,
  rule: 'printable ASCII without a colon, at most 255',
};
const INSTANCE: Place = {
  what: 'the instance',
  pattern: /^i-(?:[0-9a-f]{8}|[0-9a-f]{17})$/,
  max: 19,
  rule: 'an instance id such as i-0123456789abcdef0',
};

/** The places of a key by its type and number of segments; undefined where there is no such form. */
function placesOf(type: string, count: number): Place[] | undefined {
  switch (`${type} ${count}`) {
    case 'k8s 5':
      return [TYPE, configured('the cluster'), NAMESPACE, KIND, NAME];
    case 'k8s 4':
      return [TYPE, configured('the cluster'), NODE, NAME];
    case 'asg 3':
      return [TYPE, configured('the AWS name'), GROUP];
    case 'asg 4':
      return [TYPE, configured('the AWS name'), GROUP, INSTANCE];
    case 'dependency 2':
    case 'stack 2':
      return [TYPE, configured('the name')];
    default:
      return undefined;
  }
}

const FORMS =
  'k8s/<cluster>/<namespace>/<kind>/<name>, k8s/<cluster>/node/<name>, asg/<aws name>/<group>[/<instance>], dependency/<name> or stack/<name>';

const isValid = (place: Place, value: string): boolean => value.length <= place.max && place.pattern.test(value);

/** Encodes a segment; the pattern of each place has refused lone surrogates before, which cannot be encoded. */
const encode = (value: string): string =>
  encodeURIComponent(value).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);

function decode(segment: string): string | undefined {
  try {
    const value = decodeURIComponent(segment);
    return encode(value) === segment ? value : undefined;
  } catch {
    return undefined; // malformed escapes; the caller says what is expected
  }
}

const fromSegments = (values: readonly string[]): Target => {
  const [type, second = '', third = '', fourth = '', fifth = ''] = values;
  if (type === 'k8s' && values.length === 4) return { type: 'node', cluster: second, name: fourth };
  if (type === 'k8s') {
    const dot = fourth.indexOf('.');
    const kind = dot < 0 ? { kind: fourth } : { kind: fourth.slice(0, dot), group: fourth.slice(dot + 1) };
    return { type, cluster: second, namespace: third, ...kind, name: fifth };
  }
  if (type === 'asg') return { type, aws: second, group: third, ...(values.length === 4 && { instance: fourth }) };
  return { type: type === 'stack' ? 'stack' : 'dependency', name: second };
};

function toSegments(target: Target): string[] {
  switch (target.type) {
    case 'k8s': {
      const kind = target.group === undefined ? target.kind : `${target.kind}.${target.group}`;
      return ['k8s', target.cluster, target.namespace, kind, target.name];
    }
    case 'node':
      return ['k8s', target.cluster, 'node', target.name];
    case 'asg':
      return ['asg', target.aws, target.group, ...(target.instance === undefined ? [] : [target.instance])];
    case 'dependency':
    case 'stack':
      return [target.type, target.name];
  }
}

/** The key of a target. */
export const formatTarget = (target: Target): string => toSegments(target).map(encode).join('/');

/**
 * Reads a target key; every name in it is valid for its place. Whether the cluster is configured is not looked at.
 *
 * @throws InputError
 */
export function parseTarget(key: string): Target {
  const segments = key.split('/');
  const places = placesOf(segments[0] ?? '', segments.length);
  if (!places) throw new InputError(`${shown(key)} is not a target: write ${FORMS}`);
  const values = segments.map((segment, i) => {
    const place = places[i] ?? TYPE;
    const value = decode(segment);
    if (value === undefined) {
      throw new InputError(
        `${shown(segment)} is not a segment of a target: everything but letters, digits and -._~ is percent-encoded, with upper-case digits`,
      );
    }
    if (!isValid(place, value))
      throw new InputError(`${shown(value)} cannot be ${place.what} of a target: expected ${place.rule}`);
    return value;
  });
  return fromSegments(values);
}

/** A rule's `target`: a template for each segment, so that a value can never add one. */
export interface TargetTemplate extends Template {
  readonly segments: readonly Template[];
}

/** Why a target could not be made of an alert. */
export interface TargetProblem {
  /** For counters. */
  reason: 'missing-label' | 'invalid-value';
  /** The first reference of the segment that failed. */
  reference: Reference;
  /** For people: label, value (shortened) and place. */
  message: string;
}

export type RenderedTarget = { ok: true; target: Target; key: string } | { ok: false; problem: TargetProblem };

/**
 * Reads a rule's target, such as `k8s/prod/${labels.namespace}/pod/${labels.pod}`. What is literal is written as in a
 * key, and checked as far as it stands alone in its segment. The type is always literal.
 *
 * @throws InputError
 */
export function parseTargetTemplate(text: string): TargetTemplate {
  const { parts } = parseTemplate(text);
  const segments: Template['parts'][number][][] = [[]];
  for (const part of parts) {
    const [first = '', ...rest] = typeof part === 'string' ? part.split('/') : [part];
    segments.at(-1)?.push(first);
    for (const piece of rest) segments.push([piece]);
  }
  const type = segments[0]?.length === 1 ? segments[0][0] : undefined;
  const places = typeof type === 'string' ? placesOf(type, segments.length) : undefined;
  if (!places)
    throw new InputError(
      `${shown(text)} is not a target: write ${FORMS}, with \${labels.NAME} where a name comes from the alert`,
    );
  return {
    text,
    parts,
    segments: segments.map((pieces, i) => segmentTemplate(pieces, places[i] ?? TYPE)),
  };
}

function segmentTemplate(pieces: Template['parts'][number][], place: Place): Template {
  const parts = pieces
    .filter((piece) => piece !== '')
    .map((piece) => {
      if (typeof piece !== 'string') return piece;
      const literal = decode(piece);
      if (literal === undefined) {
        throw new InputError(
          `${shown(piece)} cannot stand in a target as it is: percent-encode everything but letters, digits and -._~`,
        );
      }
      return literal;
    });
  const text = parts.map((part) => (typeof part === 'string' ? part : `\${${formatReference(part)}}`)).join('');
  const value = parts.every((part) => typeof part === 'string') ? parts.join('') : undefined;
  if (value !== undefined && !isValid(place, value)) {
    throw new InputError(`${shown(value)} cannot be ${place.what} of a target: expected ${place.rule}`);
  }
  return { text, parts };
}

/** The value of a segment that is wholly literal, counted from 0 for the type; undefined where labels take part in it. */
export const literalSegment = (template: TargetTemplate, index: number): string | undefined => {
  const parts = template.segments[index]?.parts ?? [];
  return parts.every((part) => typeof part === 'string') ? parts.join('') : undefined;
};

/** The references of a template that make up one segment; for messages. */
const referencesOf = (template: Template): Reference[] => template.parts.filter((part) => typeof part !== 'string');

/** Makes the target of an alert. Each value must be a valid name for its place; it can never add a segment. */
export function renderTarget(template: TargetTemplate, values: Values): RenderedTarget {
  const places = placesOf(literalSegment(template, 0) ?? '', template.segments.length) ?? [];
  const names: string[] = [];
  for (const [i, segment] of template.segments.entries()) {
    const place = places[i] ?? TYPE;
    const rendered = render(segment, values);
    const [reference = { from: 'labels', name: '' } satisfies Reference] = referencesOf(segment);
    if (!rendered.ok) {
      const message = `${rendered.problem} as ${place.what} of its target`;
      return { ok: false, problem: { reason: 'missing-label', reference: rendered.missing, message } };
    }
    if (!isValid(place, rendered.value)) {
      const message = `${formatReference(reference)} gives ${shown(rendered.value)}, which cannot be ${place.what} of a target: expected ${place.rule}`;
      return { ok: false, problem: { reason: 'invalid-value', reference, message } };
    }
    names.push(rendered.value);
  }
  const target = fromSegments(names);
  return { ok: true, target, key: formatTarget(target) };
}

/**
 * The scope of a target where its rule names none: what shares its fate and its budgets. The namespace of an object
 * with its cluster (a namespace of the same name elsewhere is another one), the nodes of a cluster, a group, or the name.
 */
export function defaultScope(target: Target): string {
  switch (target.type) {
    case 'k8s':
      return `${target.cluster}/${target.namespace}`;
    case 'node':
      return `${target.cluster}/node`;
    case 'asg':
      return `${target.aws}/${target.group}`;
    case 'dependency':
    case 'stack':
      return target.name;
  }
}
