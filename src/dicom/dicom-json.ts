/** Owns the DICOM JSON Model (PS3.18 Annex F): the JSON text of a data set's attributes. */

import { type Attribute, type AttributeValue, componentGroups } from './attributes.ts';
import type { Vr } from './vr.ts';

const DECIMAL = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;

/** Decimal digits that a double keeps whatever they are. */
const EXACT_DIGITS = 15;

/** The number of a DS or IS; the text where there is none, or a double would alter it (PS3.18 §F.2.3). */
function decimal(text: string): number | string {
  if (!DECIMAL.test(text)) return text;
  const digits = text
    .replace(/[eE].*$/, '')
    .replace(/\D/g, '')
    .replace(/^0+/, '');
  const number = Number(text);
  return digits.length <= EXACT_DIGITS && Number.isFinite(number) ? number : text;
}

function jsonValue(value: AttributeValue, vr: Vr): unknown {
  if (value === '') return null;
  if (typeof value === 'bigint') return BigInt.asIntN(54, value) === value ? Number(value) : String(value);
  // JSON has no number for what is none.
  if (typeof value === 'number') return Number.isFinite(value) ? value : String(value);
  if (vr === 'DS' || vr === 'IS') return decimal(value);
  if (vr !== 'PN') return value;
  const groups = componentGroups(value);
  return groups.length === 0 ? null : Object.fromEntries(groups);
}

function jsonAttribute({ tag, vr, held }: Attribute): string {
  const member = (content: object): string => `"${tag}":${JSON.stringify({ vr, ...content })}`;
  switch (held.kind) {
    case 'nothing':
      return member({});
    case 'values':
      return member({ Value: held.values.map((value) => jsonValue(value, vr)) });
    case 'items':
      return `"${tag}":{"vr":"${vr}","Value":[${held.items.map(dicomJson).join(',')}]}`;
    case 'bytes':
      return member({ InlineBinary: held.bytes.toString('base64') });
    case 'reference':
      return member({ BulkDataURI: held.uri });
  }
}

/** The DICOM JSON object of a data set, as text. */
export function dicomJson(attributes: readonly Attribute[]): string {
  // Not an object of JavaScript: it would put 10000010 before 00080005, as an index.
  return `{${attributes.map(jsonAttribute).join(',')}}`;
}
