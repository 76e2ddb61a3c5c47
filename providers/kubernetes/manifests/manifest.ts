import { isObject, type Json, type JsonObject } from '../../../model/breaker/patch.ts';
import { LAST_APPLIED } from '../../../model/drift/managers.ts';

/** The source cannot be compared with anything, and a person has to mend that; the message says where and what would be right. */
export class UnfitSource extends Error {
  override readonly name = 'UnfitSource';
}

/** One object as the source declares it. */
export interface Manifest {
  apiVersion: string;
  kind: string;
  /** As it is written; which one is meant where there is none, the kind decides. */
  namespace?: string;
  name: string;
  /** Without what only the API server writes, and without what is null, which declares nothing. */
  object: JsonObject;
  /** `deploy/web.yaml:12` */
  where: string;
}

/** What the API server writes itself, and what is exported with an object by mistake. */
const SERVERS = ['uid', 'resourceVersion', 'generation', 'creationTimestamp', 'managedFields', 'selfLink'];

const KIND = /^[A-Z][A-Za-z0-9]{0,252}$/;
const VERSION = /^(?:[a-z0-9](?:[-.a-z0-9]*[a-z0-9])?\/)?v[a-z0-9]+$/;
const NAMESPACE = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?$/;

/** Reads one document as the objects that it declares; a List is what is in it. @throws UnfitSource */
export function manifestsOf(document: Json, where: string): Manifest[] {
  if (!isObject(document))
    throw new UnfitSource(`${where}: expected an object of Kubernetes, with apiVersion and kind`);
  const { apiVersion, kind, items } = document;
  if (typeof apiVersion !== 'string' || !VERSION.test(apiVersion))
    throw new UnfitSource(`${where}: expected apiVersion, such as v1 or apps/v1`);
  if (typeof kind !== 'string' || !KIND.test(kind))
    throw new UnfitSource(`${where}: expected kind, such as Deployment`);
  if (kind.endsWith('List') && Array.isArray(items) && !hasName(document))
    return items.flatMap((item, i) => manifestsOf(item, `${where}, items[${i}]`));
  return [manifestOf({ apiVersion, kind, document, where })];
}

const hasName = ({ metadata }: JsonObject): boolean => isObject(metadata) && 'name' in metadata;

interface Typed {
  apiVersion: string;
  kind: string;
  document: JsonObject;
  where: string;
}

function manifestOf({ apiVersion, kind, document, where }: Typed): Manifest {
  const metadata = isObject(document['metadata']) ? document['metadata'] : {};
  const { name, namespace, generateName } = metadata;
  if (typeof name !== 'string' || name === '') {
    if (apiVersion.startsWith('kustomize.config.k8s.io/'))
      throw new UnfitSource(`${where}: this is a ${kind} of kustomize: expected kustomize: true in the stack`);
    if (generateName !== undefined)
      throw new UnfitSource(`${where}: expected metadata.name: an object with generateName is another one each time`);
    throw new UnfitSource(`${where}: expected metadata.name of the ${kind}`);
  }
  if (namespace !== undefined && (typeof namespace !== 'string' || !NAMESPACE.test(namespace)))
    throw new UnfitSource(`${where}: expected metadata.namespace of ${kind} ${name} to be the name of a namespace`);
  const object = ownFields(apiVersion, kind, document, metadata);
  return { apiVersion, kind, name, object, where, ...(namespace !== undefined && { namespace }) };
}

function ownFields(apiVersion: string, kind: string, document: JsonObject, metadata: JsonObject): JsonObject {
  const { status: _, ...declared } = document;
  const own = Object.fromEntries(Object.entries(metadata).filter(([key]) => !SERVERS.includes(key)));
  if (isObject(own['annotations'])) own['annotations'] = without(own['annotations'], LAST_APPLIED);
  const object = withoutNulls({ ...declared, metadata: own }) as JsonObject;
  return apiVersion === 'v1' && kind === 'Secret' ? withData(object) : object;
}

const without = (map: JsonObject, key: string): JsonObject =>
  Object.fromEntries(Object.entries(map).filter(([name]) => name !== key));

function withoutNulls(value: Json): Json {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, one]) => (one === null ? [] : [[key, withoutNulls(one)]])),
  );
}

/** `stringData` is never read back: the API server makes `data` of it. */
function withData(secret: JsonObject): JsonObject {
  const { stringData, ...rest } = secret;
  if (!isObject(stringData)) return secret;
  const made = Object.entries(stringData).map(([key, text]) => [key, Buffer.from(String(text)).toString('base64')]);
  const data = isObject(rest['data']) ? rest['data'] : {};
  return { ...rest, data: { ...data, ...Object.fromEntries(made) } };
}

/** Its values are never shown. */
export const isSecret = ({ apiVersion, kind }: Pick<Manifest, 'apiVersion' | 'kind'>): boolean =>
  apiVersion === 'v1' && kind === 'Secret';
