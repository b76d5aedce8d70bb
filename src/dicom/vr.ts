/**
 * Owns the value representations as data (PS3.5 §6.2 table 6.2-1, §7.1.2): how long the length field is, how values are
 * stored, what pads them and whether Specific Character Set applies.
 */

/** How the bytes of a value are to be understood. */
export type ValueKind = 'text' | 'tag' | 'integer' | 'float' | 'bytes' | 'sequence';

interface VrRow {
  /** Bytes of the length field in explicit VR: 2, or 4 after two reserved bytes (PS3.5 §7.1.2). */
  readonly lengthSize: 2 | 4;
  readonly kind: ValueKind;
  /** Bytes of one stored number: what is swapped between byte orders. 1 for text and plain bytes. */
  readonly unit: 1 | 2 | 4 | 8;
  readonly signed: boolean;
  /** Byte that makes the length even (PS3.5 §6.2). */
  readonly padding: 0x00 | 0x20;
  /** Whether Specific Character Set (0008,0005) applies (PS3.5 §6.1.2.3). */
  readonly charset: boolean;
  /** Whether a backslash separates values; for numbers, whether several may be stored. */
  readonly multiple: boolean;
}

const text = (options: Partial<VrRow> = {}): VrRow => ({
  lengthSize: 2,
  kind: 'text',
  unit: 1,
  signed: false,
  padding: 0x20,
  charset: false,
  multiple: true,
  ...options,
});
const binary = (kind: ValueKind, unit: VrRow['unit'], lengthSize: 2 | 4, options: Partial<VrRow> = {}): VrRow => ({
  lengthSize,
  kind,
  unit,
  signed: false,
  padding: 0x00,
  charset: false,
  multiple: true,
  ...options,
});
const single = { multiple: false } as const;

/** One row a VR, in alphabetical order. */
export const VR = {
  AE: text(),
  AS: text(),
  AT: binary('tag', 2, 2),
  CS: text(),
  DA: text(),
  DS: text(),
  DT: text(),
  FD: binary('float', 8, 2),
  FL: binary('float', 4, 2),
  IS: text(),
  LO: text({ charset: true }),
  LT: text({ charset: true, multiple: false }),
  OB: binary('bytes', 1, 4, single),
  OD: binary('bytes', 8, 4, single),
  OF: binary('bytes', 4, 4, single),
  OL: binary('bytes', 4, 4, single),
  OV: binary('bytes', 8, 4, single),
  OW: binary('bytes', 2, 4, single),
  PN: text({ charset: true }),
  SH: text({ charset: true }),
  SL: binary('integer', 4, 2, { signed: true }),
  SQ: binary('sequence', 1, 4, single),
  SS: binary('integer', 2, 2, { signed: true }),
  ST: text({ charset: true, multiple: false }),
  SV: binary('integer', 8, 4, { signed: true }),
  TM: text(),
  UC: text({ lengthSize: 4, charset: true }),
  UI: text({ padding: 0x00 }),
  UL: binary('integer', 4, 2),
  UN: binary('bytes', 1, 4, single),
  UR: text({ lengthSize: 4, multiple: false }),
  US: binary('integer', 2, 2),
  UT: text({ lengthSize: 4, charset: true, multiple: false }),
  UV: binary('integer', 8, 4),
} as const satisfies Record<string, VrRow>;

export type Vr = keyof typeof VR;

/** Whether `name` is a VR of PS3.5 §6.2. */
export function isVr(name: string): name is Vr {
  return Object.hasOwn(VR, name);
}

/** The row of a VR; one that the Standard does not have is read like UN (PS3.5 §6.2.2 note 2). */
export function vrRow(name: string): VrRow {
  return isVr(name) ? VR[name] : VR.UN;
}

const BY_CODE = new Map(Object.keys(VR).map((name) => [name.charCodeAt(0) * 256 + name.charCodeAt(1), name as Vr]));

/** The VR whose two letters are these bytes (first letter × 256 + second), or undefined. */
export function vrOfCode(code: number): Vr | undefined {
  return BY_CODE.get(code);
}
