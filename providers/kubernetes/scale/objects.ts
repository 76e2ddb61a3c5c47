import type { ObjectRef } from '../../../model/change.ts';
import { type ObjectTarget, parseTarget } from '../../../model/target.ts';
import { FinalError } from '../../errors.ts';
import { lastWriter, type Writer } from '../fields.ts';
import type { KubeObject, Metadata, Ref } from '../objects.ts';

export const AUTOSCALERS: Ref = { group: 'autoscaling', version: 'v2', resource: 'horizontalpodautoscalers' };
export const SCALED_OBJECTS: Ref = { group: 'keda.sh', version: 'v1alpha1', resource: 'scaledobjects' };

/** What has a size, or sets one: read as it is, for a custom resource may have its fields anywhere. */
export interface Sized extends KubeObject {
  apiVersion?: string;
  kind?: string;
  spec?: Fields;
  status?: Fields;
}

export interface Fields {
  [name: string]: unknown;
}

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null;

/** @param path such as `spec.replicas` */
export function readAt(object: Sized, path: string): unknown {
  return path.split('.').reduce<unknown>((at, step) => (isFields(at) ? at[step] : undefined), object);
}

/** Null where the field is absent. */
export function readSize(object: Sized, path: string): number | null {
  const value = readAt(object, path);
  return typeof value === 'number' ? value : null;
}

/** Of `spec.replicas` and 3: `{ spec: { replicas: 3 } }`; null removes the field. */
export function patchAt(path: string, value: number | null): Fields {
  return path
    .split('.')
    .reverse()
    .reduce<unknown>((inner, step) => ({ [step]: inner }), value) as Fields;
}

const SIZE_FIELD = /^spec(?:\.[A-Za-z][-\w]*)+$/;

/** @throws FinalError `Invalid` for a path that is not in the specification */
export function sizeField(path: string): string {
  if (SIZE_FIELD.test(path)) return path;
  throw new FinalError(`"${path}" is not a field by which Salvor sets a size`, { type: 'Invalid' });
}

/** The field manager that wrote a field last, and when. */
export const sizeWriterOf = (metadata: Metadata, path: string): Writer | undefined =>
  lastWriter(
    metadata,
    path.split('.').map((step) => `f:${step}`),
  );

/** @throws FinalError `UnknownTarget` */
export function objectOf(key: string): ObjectTarget {
  const target = parseTarget(key);
  if (target.type === 'k8s') return target;
  throw new FinalError(`${key} is not an object in a namespace of a cluster`, { type: 'UnknownTarget' });
}

/** Why it is no longer there; undefined while it is. */
export function goneFor(object: Sized | undefined, uid: string | undefined): string | undefined {
  if (!object) return 'there is no object of this name';
  const { metadata } = object;
  if (uid !== undefined && metadata.uid !== uid)
    return `it was replaced meanwhile: the object of this name is now ${metadata.uid}, not ${uid}`;
  return metadata.deletionTimestamp && `it is being deleted, since ${metadata.deletionTimestamp}`;
}

export const isHere = (object: Sized | undefined, { uid }: Pick<ObjectRef, 'uid'>): object is Sized =>
  goneFor(object, uid) === undefined;
