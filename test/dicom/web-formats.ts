/** Owns what the suites of the web formats share: one instance's text in a format, and the data sets that DCMTK judges. */

import { answerHeader, type WebFormat } from '../../src/dicom/header.ts';
import type { NewElement } from '../../src/dicom/write.ts';
import { CHARSETS, make, type Made, ODD_ELEMENTS } from './made.ts';

/** A file's data set in a format of the web. */
export function web(bytes: Uint8Array, format: WebFormat): string {
  const question = { kind: 'web', format, base: '/instances/x' } as const;
  return String(answerHeader({ bytes, truncated: false, question }));
}

const ASCII_ODD: readonly NewElement[] = [
  { tag: '0008,0008', vr: 'CS', value: 'ORIGINAL\\\\AXIAL' },
  { tag: '0008,010e', vr: 'UR', value: 'http://127.0.0.1/a?b&c' },
  { tag: '0008,1070', vr: 'PN', value: '' },
  { tag: '0008,1160', vr: 'IS', value: '1\\\\-3' },
  { tag: '0009,1003', vr: 'LO', value: '<private>' },
  { tag: '0010,1001', vr: 'PN', value: 'A^B^C^Dr^Jr\\E' },
  { tag: '0010,2180', vr: 'SH', value: ' a \\b&<">\' c ' },
  { tag: '0011,0010', vr: 'LO', value: 'GEMS_PATI_01' },
  { tag: '0011,1010', vr: 'SS', value: [-3] },
  { tag: '0018,9087', vr: 'FD', value: [1e21, -2.5, 100] },
  { tag: '0028,0009', vr: 'AT', value: [0x00181063] },
  { tag: '0028,0030', vr: 'DS', value: '1.50\\ 1e3\\+2.0\\' },
  { tag: '0040,1400', vr: 'LT', value: ' a\\b' },
  { tag: '0072,0082', vr: 'SV', value: [-9007199254740993n, 5n] },
  { tag: '0072,0083', vr: 'UV', value: [18446744073709551615n] },
];

const odd = { extra: [...ODD_ELEMENTS, ...ASCII_ODD] };

/** Instances of every oddity, without Pixel Data; DCMTK as Debian builds it has no decoder of ISO 2022 IR 87. */
export const JUDGED: readonly { readonly name: string; readonly bytes: Buffer }[] = [
  ['explicit', odd],
  ['implicit', { ...odd, transferSyntax: '1.2.840.10008.1.2' }],
  ['big endian', { ...odd, transferSyntax: '1.2.840.10008.1.2.2' }],
  ['deflated', { ...odd, transferSyntax: '1.2.840.10008.1.2.1.99' }],
  ...CHARSETS.filter(({ charset }) => !charset.includes('87')).map(({ charset, name }): [string, Made] => [
    charset,
    { charset, patientName: name },
  ]),
].map(([name, made]) => ({ name: name as string, bytes: make({ ...(made as Made), pixels: false }) }));
