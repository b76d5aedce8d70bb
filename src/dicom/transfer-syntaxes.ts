/** Owns the transfer syntaxes as data (PS3.5 Annex A, PS3.6 Annex A): how the data set is encoded and what the pixels are in. */

/** What a transfer syntax means for reader, writer and codecs. */
export interface TransferSyntax {
  readonly uid: string;
  /** Name of PS3.6, without its qualifiers in parentheses. */
  readonly name: string;
  readonly littleEndian: boolean;
  readonly explicit: boolean;
  /** The data set is a raw deflate stream (PS3.5 §A.5). */
  readonly deflated: boolean;
  /** Pixel Data is a sequence of fragments (PS3.5 §A.4). */
  readonly encapsulated: boolean;
  /** Whether encoding loses information. */
  readonly lossy: boolean;
  readonly retired: boolean;
}

type Flags = Partial<Omit<TransferSyntax, 'uid' | 'name'>>;
const row = (suffix: string, name: string, flags: Flags = {}): TransferSyntax => ({
  uid: `1.2.840.10008.1.2${suffix}`,
  name,
  littleEndian: true,
  explicit: true,
  deflated: false,
  encapsulated: false,
  lossy: false,
  retired: false,
  ...flags,
});
const lossless = { encapsulated: true } as const;
const lossy = { encapsulated: true, lossy: true } as const;
const retired = { retired: true } as const;

/** Every transfer syntax of PS3.6 table A-1 that carries a data set, retired ones included. */
export const TRANSFER_SYNTAXES: readonly TransferSyntax[] = [
  row('', 'Implicit VR Little Endian', { explicit: false }),
  row('.1', 'Explicit VR Little Endian'),
  row('.1.98', 'Encapsulated Uncompressed Explicit VR Little Endian', lossless),
  row('.1.99', 'Deflated Explicit VR Little Endian', { deflated: true }),
  row('.2', 'Explicit VR Big Endian', { littleEndian: false, retired: true }),
  row('.4.50', 'JPEG Baseline (Process 1)', lossy),
  row('.4.51', 'JPEG Extended (Process 2 & 4)', lossy),
  row('.4.52', 'JPEG Extended (Process 3 & 5)', { ...lossy, ...retired }),
  row('.4.53', 'JPEG Spectral Selection, Non-Hierarchical (Process 6 & 8)', { ...lossy, ...retired }),
  row('.4.54', 'JPEG Spectral Selection, Non-Hierarchical (Process 7 & 9)', { ...lossy, ...retired }),
  row('.4.55', 'JPEG Full Progression, Non-Hierarchical (Process 10 & 12)', { ...lossy, ...retired }),
  row('.4.56', 'JPEG Full Progression, Non-Hierarchical (Process 11 & 13)', { ...lossy, ...retired }),
  row('.4.57', 'JPEG Lossless, Non-Hierarchical (Process 14)', lossless),
  row('.4.58', 'JPEG Lossless, Non-Hierarchical (Process 15)', { ...lossless, ...retired }),
  row('.4.59', 'JPEG Extended, Hierarchical (Process 16 & 18)', { ...lossy, ...retired }),
  row('.4.60', 'JPEG Extended, Hierarchical (Process 17 & 19)', { ...lossy, ...retired }),
  row('.4.61', 'JPEG Spectral Selection, Hierarchical (Process 20 & 22)', { ...lossy, ...retired }),
  row('.4.62', 'JPEG Spectral Selection, Hierarchical (Process 21 & 23)', { ...lossy, ...retired }),
  row('.4.63', 'JPEG Full Progression, Hierarchical (Process 24 & 26)', { ...lossy, ...retired }),
  row('.4.64', 'JPEG Full Progression, Hierarchical (Process 25 & 27)', { ...lossy, ...retired }),
  row('.4.65', 'JPEG Lossless, Hierarchical (Process 28)', { ...lossless, ...retired }),
  row('.4.66', 'JPEG Lossless, Hierarchical (Process 29)', { ...lossless, ...retired }),
  row('.4.70', 'JPEG Lossless, Non-Hierarchical, First-Order Prediction (Process 14, Selection Value 1)', lossless),
  row('.4.80', 'JPEG-LS Lossless Image Compression', lossless),
  row('.4.81', 'JPEG-LS Lossy (Near-Lossless) Image Compression', lossy),
  row('.4.90', 'JPEG 2000 Image Compression (Lossless Only)', lossless),
  row('.4.91', 'JPEG 2000 Image Compression', lossy),
  row('.4.92', 'JPEG 2000 Part 2 Multi-component Image Compression (Lossless Only)', lossless),
  row('.4.93', 'JPEG 2000 Part 2 Multi-component Image Compression', lossy),
  row('.4.94', 'JPIP Referenced'),
  row('.4.95', 'JPIP Referenced Deflate', { deflated: true }),
  row('.4.100', 'MPEG2 Main Profile / Main Level', lossy),
  row('.4.100.1', 'Fragmentable MPEG2 Main Profile / Main Level', lossy),
  row('.4.101', 'MPEG2 Main Profile / High Level', lossy),
  row('.4.101.1', 'Fragmentable MPEG2 Main Profile / High Level', lossy),
  row('.4.102', 'MPEG-4 AVC/H.264 High Profile / Level 4.1', lossy),
  row('.4.102.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.1', lossy),
  row('.4.103', 'MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1', lossy),
  row('.4.103.1', 'Fragmentable MPEG-4 AVC/H.264 BD-compatible High Profile / Level 4.1', lossy),
  row('.4.104', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video', lossy),
  row('.4.104.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 2D Video', lossy),
  row('.4.105', 'MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video', lossy),
  row('.4.105.1', 'Fragmentable MPEG-4 AVC/H.264 High Profile / Level 4.2 For 3D Video', lossy),
  row('.4.106', 'MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2', lossy),
  row('.4.106.1', 'Fragmentable MPEG-4 AVC/H.264 Stereo High Profile / Level 4.2', lossy),
  row('.4.107', 'HEVC/H.265 Main Profile / Level 5.1', lossy),
  row('.4.108', 'HEVC/H.265 Main 10 Profile / Level 5.1', lossy),
  row('.4.110', 'JPEG XL Lossless', lossless),
  row('.4.111', 'JPEG XL JPEG Recompression', lossy),
  row('.4.112', 'JPEG XL', lossy),
  row('.4.201', 'High-Throughput JPEG 2000 Image Compression (Lossless Only)', lossless),
  row('.4.202', 'High-Throughput JPEG 2000 with RPCL Options Image Compression (Lossless Only)', lossless),
  row('.4.203', 'High-Throughput JPEG 2000 Image Compression', lossy),
  row('.4.204', 'JPIP HTJ2K Referenced'),
  row('.4.205', 'JPIP HTJ2K Referenced Deflate', { deflated: true }),
  row('.5', 'RLE Lossless', lossless),
];

const BY_UID = new Map(TRANSFER_SYNTAXES.map((syntax) => [syntax.uid, syntax]));

/** Explicit VR Little Endian: how File Meta Information, and what nobody knows, is encoded (PS3.10 §7.1). */
export const EXPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2.1';
/** Implicit VR Little Endian, DICOM's default (PS3.5 §10.1). */
export const IMPLICIT_LITTLE_ENDIAN = '1.2.840.10008.1.2';
/** Explicit VR Big Endian, retired. */
export const EXPLICIT_BIG_ENDIAN = '1.2.840.10008.1.2.2';
/** The transfer syntaxes of what has no pixels: every peer speaks one of them (PS3.5 §10.1). */
export const PLAIN_TRANSFER_SYNTAXES: readonly string[] = [
  EXPLICIT_LITTLE_ENDIAN,
  EXPLICIT_BIG_ENDIAN,
  IMPLICIT_LITTLE_ENDIAN,
];

/** The row of a UID, or undefined for one that the Standard does not have. */
export function transferSyntax(uid: string): TransferSyntax | undefined {
  return BY_UID.get(uid);
}
