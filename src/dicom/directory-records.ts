/**
 * Owns which directory records a DICOMDIR has and what they say, as data (PS3.3 §F.4, §F.5): the type of the record of an instance by
 * its SOP class, the keys of each type.
 */

/** Types of the records that refer to instances of a patient (PS3.3 table F.4-1). */
export type RecordType =
  | 'IMAGE'
  | 'RT DOSE'
  | 'RT STRUCTURE SET'
  | 'RT PLAN'
  | 'RT TREAT RECORD'
  | 'PRESENTATION'
  | 'WAVEFORM'
  | 'SR DOCUMENT'
  | 'KEY OBJECT DOC'
  | 'SPECTROSCOPY'
  | 'RAW DATA'
  | 'REGISTRATION'
  | 'FIDUCIAL'
  | 'ENCAP DOC'
  | 'VALUE MAP'
  | 'STEREOMETRIC'
  | 'MEASUREMENT'
  | 'SURFACE'
  | 'SURFACE SCAN'
  | 'TRACT'
  | 'ASSESSMENT'
  | 'RADIOTHERAPY'
  | 'ANNOTATION';

/**
 * SOP classes below 1.2.840.10008.5.1.4.1.1: the ends of their UIDs, or (`*`) what they begin with; the first that fits holds. Those
 * that are not listed are of images.
 */
const TYPES: readonly (readonly [type: RecordType, classes: string])[] = [
  ['RT DOSE', '481.2'],
  ['RT STRUCTURE SET', '481.3'],
  ['RT PLAN', '481.5 481.8'],
  ['RT TREAT RECORD', '481.4 481.6 481.7 481.9'],
  ['IMAGE', '481.1 481.23 481.24'],
  ['RADIOTHERAPY', '481.*'],
  ['PRESENTATION', '11.* 9.100.*'],
  ['WAVEFORM', '9.*'],
  ['KEY OBJECT DOC', '88.59'],
  ['SR DOCUMENT', '88.* 78.6 79.1'],
  ['MEASUREMENT', '78.* 80.1'],
  ['SPECTROSCOPY', '4.2'],
  ['RAW DATA', '66'],
  ['REGISTRATION', '66.1 66.3'],
  ['FIDUCIAL', '66.2'],
  ['SURFACE', '66.5'],
  ['TRACT', '66.6'],
  ['VALUE MAP', '67'],
  ['SURFACE SCAN', '68.*'],
  ['STEREOMETRIC', '77.1.5.3'],
  ['ASSESSMENT', '90.*'],
  ['ANNOTATION', '91.*'],
  ['ENCAP DOC', '104.*'],
];

const STORAGE = '1.2.840.10008.5.1.4.1.1.';

const fits = (classes: string, end: string): boolean =>
  classes.split(' ').some((each) => (each.endsWith('*') ? end.startsWith(each.slice(0, -1)) : end === each));

/** The type of the record of an instance; of an unknown SOP class an image, as the reference has it. */
export function recordType(sopClassUid: string): RecordType {
  if (!sopClassUid.startsWith(STORAGE)) return 'IMAGE';
  const end = sopClassUid.slice(STORAGE.length);
  return TYPES.find(([, classes]) => fits(classes, end))?.[0] ?? 'IMAGE';
}

/** An attribute of a record. */
export interface Key {
  readonly tag: string;
  readonly vr: string;
  /** Written without a value where the instance has none; else it is left out then. */
  readonly always: boolean;
}

/** `gggg,eeee VR`, with `?` behind it where an instance may lack it. */
const keys = (list: string): readonly Key[] =>
  list
    .trim()
    .split(/\s*\n\s*/)
    .map((row) => ({ tag: row.slice(0, 9), vr: row.slice(10, 12), always: !row.endsWith('?') }));

/** The keys of the records above the instances (PS3.3 §F.5.1 to §F.5.3), as the reference writes them. */
export const PARENT_KEYS = {
  PATIENT: keys(`
    0008,0005 CS?
    0010,0010 PN
    0010,0020 LO`),
  STUDY: keys(`
    0008,0005 CS?
    0008,0020 DA
    0008,0030 TM
    0008,0050 SH
    0008,1030 LO
    0020,000d UI
    0020,0010 SH?`),
  SERIES: keys(`
    0008,0005 CS?
    0008,0060 CS
    0020,000e UI
    0020,0011 IS?`),
} as const;

/** Whose value, the first there is, stands for one that must not be missing: those of the series, the acquisition and the content. */
export const STAND_INS: ReadonlyMap<string, readonly string[]> = new Map([
  ['0008,0020', ['0008,0021', '0008,0022', '0008,0023']],
  ['0008,0030', ['0008,0031', '0008,0032', '0008,0033']],
]);

/** What the extended form has besides: attributes of type 3. */
export const EXTENDED_KEYS = keys('0008,103e LO?');

const content = keys(`
    0008,0023 DA
    0008,0033 TM
    0020,0013 IS`);
const creator = keys(`
    0070,0080 CS
    0070,0081 LO
    0070,0084 PN`);
const conceptName = keys('0040,a043 SQ');

/** The keys of the records of instances (PS3.3 §F.5.4 and following), besides Specific Character Set. */
const INSTANCE_KEYS: Readonly<Record<RecordType, readonly Key[]>> = {
  IMAGE: keys('0020,0013 IS'),
  'RT DOSE': keys(`
    0020,0013 IS
    3004,000a CS`),
  'RT STRUCTURE SET': keys(`
    0020,0013 IS
    3006,0002 SH
    3006,0008 DA
    3006,0009 TM`),
  'RT PLAN': keys(`
    0020,0013 IS
    300a,0002 SH
    300a,0006 DA
    300a,0007 TM`),
  'RT TREAT RECORD': keys(`
    0020,0013 IS
    3008,0250 DA
    3008,0251 TM`),
  PRESENTATION: [
    ...keys(`
    0020,0013 IS
    0070,0082 DA
    0070,0083 TM`),
    ...creator,
  ],
  WAVEFORM: content,
  'SR DOCUMENT': [
    ...content,
    ...keys(`
    0040,a030 DT?
    0040,a491 CS
    0040,a493 CS`),
    ...conceptName,
  ],
  'KEY OBJECT DOC': [...content, ...conceptName],
  SPECTROSCOPY: [
    ...content,
    ...keys(`
    0008,0008 CS
    0028,0008 IS
    0028,0010 US
    0028,0011 US
    0028,9001 UL
    0028,9002 UL`),
  ],
  'RAW DATA': content,
  REGISTRATION: [...content, ...creator],
  FIDUCIAL: [...content, ...creator],
  'ENCAP DOC': [
    ...content,
    ...keys(`
    0040,e001 ST?
    0042,0010 ST
    0042,0012 LO`),
    ...conceptName,
  ],
  'VALUE MAP': [...content, ...creator],
  STEREOMETRIC: [...content, ...creator],
  MEASUREMENT: content,
  SURFACE: [...content, ...creator],
  'SURFACE SCAN': content,
  TRACT: [...content, ...creator],
  ASSESSMENT: keys(`
    0020,0013 IS
    0070,0082 DA?
    0070,0083 TM?`),
  RADIOTHERAPY: keys(`
    0020,0013 IS
    0070,0081 LO
    0070,0084 PN
    3010,0033 SH?`),
  ANNOTATION: [...content, ...creator],
};

const CHARACTER_SET = keys('0008,0005 CS?');

/** Every key of any record of an instance. */
export const ALL_INSTANCE_KEYS: readonly Key[] = Object.values(INSTANCE_KEYS).flat();

/** The keys of the record of an instance. */
export function instanceKeys(type: RecordType): readonly Key[] {
  return [...CHARACTER_SET, ...INSTANCE_KEYS[type]];
}
