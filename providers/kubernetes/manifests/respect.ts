import type { FieldPath } from '../../../model/drift/field-set.ts';
import { formatField, notedSegments, overlaps } from '../../../model/drift/field-set.ts';
import { ignoredBy } from '../../../model/drift/ignore.ts';
import { HELD_ANNOTATION } from '../../../model/names.ts';
import type { Cluster } from '../cluster.ts';
import { exclusion } from '../health.ts';
import type { Metadata } from '../objects.ts';
import { autoscalerOf } from '../scale/autoscaler.ts';
import { groupOf, shortKey } from '../scale/kinds.ts';
import { notesOn } from '../scale/notes.ts';
import type { Place } from './kinds.ts';

/** Why fields of an object are left alone, beside who owns them. */
export interface Respect {
  ignored(path: FieldPath): string | undefined;
  held(path: FieldPath): string | undefined;
}

/** @param differing asked for an autoscaler only where the size differs */
export async function respectOf(
  cluster: Cluster,
  place: Place,
  metadata: Metadata,
  differing: readonly FieldPath[],
  ignore: readonly string[],
): Promise<Respect> {
  const scaler = differing.some(isSize) ? await scalerOf(cluster, place) : undefined;
  const notes = notesOn(metadata);
  const excluded = exclusion(metadata, undefined);
  return {
    ignored: (path) => {
      if (excluded !== undefined) return excluded;
      const pattern = ignoredBy(ignore, place.address, formatField(path));
      if (pattern !== undefined) return `ignored by the pattern ${pattern}`;
      return isSize(path) ? scaler : undefined;
    },
    held: (path) => {
      if (!notes) return `its annotation ${HELD_ANNOTATION} cannot be read, so nobody knows what is held on it`;
      const note = notes.find(({ field }) => overlaps(path, notedSegments(field)));
      return note && `held by remediation ${note.remediation} (${note.runbook}) until ${note.until}`;
    },
  };
}

const isSize = (path: FieldPath): boolean => formatField(path) === 'spec.replicas';

async function scalerOf(cluster: Cluster, { apiVersion, kind, name, namespace }: Place): Promise<string | undefined> {
  if (namespace === undefined) return undefined;
  const group = groupOf(apiVersion);
  const own = { kind: kind.toLowerCase(), ...(group !== '' && { group }), name };
  const { autoscaler, problem } = await autoscalerOf(cluster, {
    type: 'k8s',
    cluster: cluster.name,
    namespace,
    ...own,
  });
  return problem ?? (autoscaler && `owned by ${shortKey(autoscaler.by.object.key)}, which sets its size`);
}
