/** Owns Orthanc's public identifiers: the SHA-1 of the DICOM identifiers, as five groups of eight hex digits. And new UIDs. */

import { createHash, randomUUID } from 'node:crypto';
import type { Identifiers } from './summary.ts';

/** Digests of parents kept: instances of one series come one after another. */
const KEPT = 64;

const kept = new Map<string, string>();

/** The identifier of a patient, study or series, which the instance before often had as well. */
function parentIdentifier(text: string): string {
  const known = kept.get(text);
  if (known !== undefined) return known;
  const made = identifier(text);
  const [oldest] = kept.keys();
  if (kept.size >= KEPT && oldest !== undefined) kept.delete(oldest);
  kept.set(text, made);
  return made;
}

/** Digest of `text` as an identifier. */
export function identifier(text: string): string {
  const digest = createHash('sha1').update(text).digest('hex');
  return `${digest.slice(0, 8)}-${digest.slice(8, 16)}-${digest.slice(16, 24)}-${digest.slice(24, 32)}-${digest.slice(32)}`;
}

/** The identifiers of the four levels. The values are without trailing padding; an absent PatientID is the empty string. */
export function identifiers(patient: string, study: string, series: string, instance: string): Identifiers {
  return {
    Patient: parentIdentifier(patient),
    Study: parentIdentifier(`${patient}|${study}`),
    Series: parentIdentifier(`${patient}|${study}|${series}`),
    Instance: identifier(`${patient}|${study}|${series}|${instance}`),
  };
}

/** A UID made of a random UUID (PS3.5 §B.2). */
export function generateUid(): string {
  return `2.25.${BigInt(`0x${randomUUID().replaceAll('-', '')}`)}`;
}

/** A UID made of the hash of `parts` (PS3.5 §B.2, RFC 9562 §5.8): the same for the same. */
export function derivedUid(...parts: readonly (string | Uint8Array)[]): string {
  const hash = createHash('sha256');
  // With their lengths, so that no two lists of parts are one text.
  for (const part of parts) hash.update(`${part.length} `).update(part);
  const bytes = hash.digest().subarray(0, 16);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return `2.25.${BigInt(`0x${bytes.toString('hex')}`)}`;
}
