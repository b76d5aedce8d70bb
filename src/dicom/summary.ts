/**
 * Owns what the index keeps of one instance: the shape that travels from the parsing worker to the writer.
 * It is plain data, so that it crosses threads by structured clone.
 */

import type { Level } from './levels.ts';

/** Main DICOM tags: `gggg,eeee` (lower case) → decoded UTF-8 value, padding stripped. Absent tags have no key. */
export type Tags = Record<string, string>;

/** Orthanc's public identifiers, one a level: SHA-1 as five groups of eight hex digits. */
export type Identifiers = Readonly<Record<Level, string>>;

/** What the header of one instance says. */
export interface Summary {
  readonly ids: Identifiers;
  readonly tags: Readonly<Record<Level, Tags>>;
  /**
   * Metadata that comes from the header, by level and Orthanc's name. Instance: TransferSyntax, SopClassUid,
   * IndexInSeries, PixelDataOffset, PixelDataVR; Series: ExpectedNumberOfInstances, MainDicomSequences; …
   * Sequences among the main tags travel as `MainDicomSequences` (JSON text).
   */
  readonly metadata: Readonly<Record<Level, Record<string, string>>>;
}
