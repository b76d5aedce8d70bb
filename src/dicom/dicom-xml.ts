/** Owns the Native DICOM Model (PS3.19 Annex A.1): the XML text of a data set's attributes. */

import { type Attribute, componentGroups } from './attributes.ts';

/** What XML 1.0 has no character for (§2.2), half of a surrogate pair included. */
const FORBIDDEN = /[^\t\n\r\u{20}-\u{d7ff}\u{e000}-\u{fffd}\u{10000}-\u{10ffff}]/gu;

/** Parsers make a line feed of a carriage return, and spaces of both in attributes, unless they are references (§2.11, §3.3.3). */
const REFERENCES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
};

/** Text between tags. */
const content = (text: string): string =>
  text.replaceAll(FORBIDDEN, '\u{fffd}').replaceAll(/[&<>"\r]/g, (character) => REFERENCES[character] ?? '');

/** Text between quotation marks. */
const quoted = (text: string): string => content(text).replaceAll('\t', '&#9;').replaceAll('\n', '&#10;');

const COMPONENTS = ['FamilyName', 'GivenName', 'MiddleName', 'NamePrefix', 'NameSuffix'];

/** The component groups of a person name, each with its components that say something. */
function personName(name: string): string {
  return componentGroups(name)
    .map(([group, text]) => {
      const parts = text.split('^');
      const components = COMPONENTS.map((component, index) => {
        const part = parts[index] ?? '';
        return part === '' ? '' : `<${component}>${content(part)}</${component}>`;
      });
      return `<${group}>${components.join('')}</${group}>`;
    })
    .join('');
}

function inside({ vr, held }: Attribute): string {
  switch (held.kind) {
    case 'nothing':
      return '';
    case 'values': {
      const name = vr === 'PN' ? 'PersonName' : 'Value';
      return held.values
        .map((value, index) => {
          const text = vr === 'PN' ? personName(String(value)) : content(String(value));
          return `<${name} number="${index + 1}">${text}</${name}>`;
        })
        .join('');
    }
    case 'items':
      return held.items.map((item, index) => `<Item number="${index + 1}">${xmlAttributes(item)}</Item>`).join('');
    case 'bytes':
      return `<InlineBinary>${held.bytes.toString('base64')}</InlineBinary>`;
    case 'reference':
      return `<BulkData uri="${quoted(held.uri)}"/>`;
  }
}

function xmlAttribute(attribute: Attribute): string {
  const { tag, vr, keyword, privateCreator } = attribute;
  // The creator says whose it is, wherever its block is in this file.
  const shown = privateCreator === undefined ? tag : `${tag.slice(0, 4)}00${tag.slice(6)}`;
  const names = [
    `tag="${shown}" vr="${vr}"`,
    ...(keyword === undefined ? [] : [`keyword="${quoted(keyword)}"`]),
    ...(privateCreator === undefined ? [] : [`privateCreator="${quoted(privateCreator)}"`]),
  ];
  return `<DicomAttribute ${names.join(' ')}>${inside(attribute)}</DicomAttribute>\n`;
}

const xmlAttributes = (attributes: readonly Attribute[]): string => attributes.map(xmlAttribute).join('');

/** The Native DICOM Model of a data set as an XML document, in UTF-8. */
export function dicomXml(attributes: readonly Attribute[]): string {
  return `<?xml version="1.0" encoding="UTF-8"?>\n<NativeDicomModel xml:space="preserve">\n${xmlAttributes(attributes)}</NativeDicomModel>\n`;
}
