// Makes DICOM instances inside k6: Explicit VR Little Endian (PS3.5 §A.2), 16-bit, with the given UIDs.

const LONG = ['OB', 'OW', 'UN', 'SQ', 'UT'];

function element(group, number, vr, bytes) {
  const padded = bytes.length % 2 === 0 ? bytes : [...bytes, vr === 'UI' ? 0 : 32];
  const length = padded.length;
  const head = [group & 255, group >> 8, number & 255, number >> 8, vr.charCodeAt(0), vr.charCodeAt(1)];
  if (LONG.includes(vr)) head.push(0, 0, length & 255, (length >> 8) & 255, (length >> 16) & 255, length >>> 24);
  else head.push(length & 255, length >> 8);
  return head.concat(padded);
}

const text = (value) => [...value].map((character) => character.charCodeAt(0));
const short = (value) => [value & 255, value >> 8];

/** The bytes of an instance of `rows` × `columns`; `uids` gives `study`, `series`, `instance`, `patient`. */
export function makeInstance(uids, rows, columns) {
  const ct = '1.2.840.10008.5.1.4.1.1.2';
  const meta = [
    ...element(2, 1, 'OB', [0, 1]),
    ...element(2, 2, 'UI', text(ct)),
    ...element(2, 3, 'UI', text(uids.instance)),
    ...element(2, 0x10, 'UI', text('1.2.840.10008.1.2.1')),
    ...element(2, 0x12, 'UI', text('1.2.826.0.1.3680043.10.1')),
  ];
  const length = meta.length;
  const head = [
    ...new Array(128).fill(0),
    ...text('DICM'),
    ...element(2, 0, 'UL', [length & 255, length >> 8, 0, 0]),
    ...meta,
    ...element(8, 0x16, 'UI', text(ct)),
    ...element(8, 0x18, 'UI', text(uids.instance)),
    ...element(8, 0x20, 'DA', text('20260101')),
    ...element(8, 0x50, 'SH', text('K6')),
    ...element(8, 0x60, 'CS', text('CT')),
    ...element(0x10, 0x10, 'PN', text('LOAD^TEST')),
    ...element(0x10, 0x20, 'LO', text(uids.patient)),
    ...element(0x20, 0x0d, 'UI', text(uids.study)),
    ...element(0x20, 0x0e, 'UI', text(uids.series)),
    ...element(0x20, 0x13, 'IS', text('1')),
    ...element(0x28, 2, 'US', short(1)),
    ...element(0x28, 4, 'CS', text('MONOCHROME2')),
    ...element(0x28, 0x10, 'US', short(rows)),
    ...element(0x28, 0x11, 'US', short(columns)),
    ...element(0x28, 0x100, 'US', short(16)),
    ...element(0x28, 0x101, 'US', short(16)),
    ...element(0x28, 0x102, 'US', short(15)),
    ...element(0x28, 0x103, 'US', short(0)),
  ];
  const pixels = rows * columns * 2;
  const tag = [
    0xe0,
    0x7f,
    0x10,
    0,
    0x4f,
    0x57,
    0,
    0,
    pixels & 255,
    (pixels >> 8) & 255,
    (pixels >> 16) & 255,
    pixels >>> 24,
  ];
  const bytes = new Uint8Array(head.length + tag.length + pixels);
  bytes.set(head);
  bytes.set(tag, head.length);
  return bytes.buffer;
}
