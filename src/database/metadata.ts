/** Owns which metadata belong to the server: those a user sets are logged as changes, these are not. */

/** Orthanc's own metadata, which the server sets, with their numbers; the order of every listing. */
export const BUILT_IN_METADATA: Readonly<Record<string, number>> = {
  IndexInSeries: 1,
  ReceptionDate: 2,
  RemoteAET: 3,
  ExpectedNumberOfInstances: 4,
  ModifiedFrom: 5,
  AnonymizedFrom: 6,
  LastUpdate: 7,
  Origin: 8,
  TransferSyntax: 9,
  SopClassUid: 10,
  RemoteIP: 11,
  CalledAET: 12,
  HttpUsername: 13,
  HttpHost: 14,
  PixelDataOffset: 15,
  MainDicomTagsSignature: 16,
  MainDicomSequences: 17,
  PixelDataVR: 18,
};

/** Whether `name` is a metadata that the server itself sets. */
export function isBuiltInMetadata(name: string): boolean {
  return Object.hasOwn(BUILT_IN_METADATA, name);
}

/** The first content type of attachments that users define; changes to those are logged. */
export const FIRST_USER_ATTACHMENT = 1024;
