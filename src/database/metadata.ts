/** Owns which metadata belong to the server: those a user sets are logged as changes, these are not. */

const BUILT_IN: ReadonlySet<string> = new Set([
  'IndexInSeries',
  'ReceptionDate',
  'RemoteAET',
  'ExpectedNumberOfInstances',
  'ModifiedFrom',
  'AnonymizedFrom',
  'LastUpdate',
  'Origin',
  'TransferSyntax',
  'SopClassUid',
  'RemoteIP',
  'CalledAET',
  'HttpUsername',
  'HttpHost',
  'PixelDataOffset',
  'MainDicomTagsSignature',
  'MainDicomSequences',
  'PixelDataVR',
]);

/** Whether `name` is a metadata that the server itself sets. */
export function isBuiltInMetadata(name: string): boolean {
  return BUILT_IN.has(name);
}

/** The first content type of attachments that users define; changes to those are logged. */
export const FIRST_USER_ATTACHMENT = 1024;
