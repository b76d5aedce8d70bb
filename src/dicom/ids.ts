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
function identifier(text: string): string {
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
