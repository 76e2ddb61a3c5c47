import { createHash } from 'node:crypto';
import { canonicalJson } from '../model/digest.ts';

const sha256 = (data: string | Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** A record without its hash; `entry` is its entry as canonical JSON. */
export interface Link {
  stream: string;
  seq: number;
  key: string;
  at: string;
  entry: string;
  previous: string;
}

/**
 * SHA-256 (hex) of the canonical JSON of a record without its hash. It is put together here, its members in their order,
 * so that an entry is not taken apart and written again for each hash.
 */
export const recordHash = ({ at, entry, key, previous, seq, stream }: Link): string =>
  sha256(
    `{"at":${JSON.stringify(at)},"entry":${entry},"key":${JSON.stringify(key)},"previous":"${previous}","seq":${seq},"stream":${JSON.stringify(stream)}}`,
  );

/** An entry of the log: `record` is the hash of the record `seq` of `stream`. */
export interface LogEntry {
  number: number;
  stream: string;
  seq: number;
  record: string;
  previous: string;
}

/** SHA-256 (hex) of the canonical JSON of an entry of the log without its hash. */
export const logHash = ({ number, previous, record, seq, stream }: LogEntry): string =>
  sha256(canonicalJson({ number, previous, record, seq, stream }));

export const bytesHash = (bytes: Uint8Array): string => sha256(bytes);
