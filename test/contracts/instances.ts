/** Owns the instances that the contract suites and the index benchmark store: what a header would have said, by hand. */

import { createHash, randomUUID } from 'node:crypto';
import type { Attachment, StoreOperation } from '../../src/database/database.ts';
import type { Summary, Tags } from '../../src/dicom/summary.ts';

/** Orthanc's public id of a chain of identifiers. */
export function publicIdOf(...chain: readonly string[]): string {
  const hex = createHash('sha1').update(chain.join('|')).digest('hex');
  return hex.replace(/(.{8})(?=.)/g, '$1-');
}

/** An attachment of `size` bytes whose MD5 is that of `content`. */
export function attachmentOf(contentType: number, size = 1000, content: string = randomUUID()): Attachment {
  const md5 = createHash('md5').update(content).digest('hex');
  return {
    uuid: randomUUID(),
    contentType,
    uncompressedSize: size,
    uncompressedMD5: md5,
    compressedSize: size,
    compressedMD5: md5,
    compression: 'none',
  };
}

export interface InstanceOptions {
  readonly patient: string;
  readonly study: string;
  readonly series: string;
  readonly instance: string;
  readonly patientTags?: Tags;
  readonly studyTags?: Tags;
  readonly seriesTags?: Tags;
  readonly instanceTags?: Tags;
  readonly seriesMetadata?: Record<string, string>;
  readonly instanceMetadata?: Record<string, string>;
  readonly size?: number;
  readonly content?: string;
  readonly overwrite?: StoreOperation['overwrite'];
}

/** The summary that an operation carries. */
export function summaryOf({ summary }: StoreOperation): Summary {
  return JSON.parse(summary) as Summary;
}

/** The operation that stores one instance; the four names are its PatientID and UIDs. */
export function storing(options: InstanceOptions): StoreOperation {
  const { patient, study, series, instance } = options;
  const ids = {
    Patient: publicIdOf(patient),
    Study: publicIdOf(patient, study),
    Series: publicIdOf(patient, study, series),
    Instance: publicIdOf(patient, study, series, instance),
  };
  return {
    kind: 'store',
    ids,
    summary: JSON.stringify({
      ids,
      tags: {
        Patient: { '0010,0020': patient, ...options.patientTags },
        // A study has its patient's too, as they are in its files.
        Study: { '0010,0020': patient, ...options.patientTags, '0020,000d': study, ...options.studyTags },
        Series: { '0020,000e': series, ...options.seriesTags },
        Instance: { '0008,0018': instance, ...options.instanceTags },
      },
      metadata: {
        Patient: {},
        Study: {},
        Series: { ...options.seriesMetadata },
        Instance: {
          SopClassUid: '1.2.840.10008.5.1.4.1.1.2',
          TransferSyntax: '1.2.840.10008.1.2.1',
          ...options.instanceMetadata,
        },
      },
    } satisfies Summary),
    attachment: attachmentOf(1, options.size, options.content),
    metadata: { Origin: 'RestApi', RemoteAET: 'SENDER', ReceptionDate: '20260101T000000' },
    overwrite: options.overwrite ?? 'Never',
  };
}
