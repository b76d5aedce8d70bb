/**
 * Owns what cornerstone3D is spared in our build: dcmjs, of which it wants the keywords of the dictionary and a parser that decoded
 * pictures do without (a third of the viewer), and a style attribute that the policy of the page does not let in.
 */

import { createRequire } from 'node:module';
import type { Plugin } from 'vite';

interface Dcmjs {
  readonly data: {
    readonly DicomMetaDictionary: { readonly nameMap: Readonly<Record<string, { readonly tag: string }>> };
  };
}

/** What cornerstone's modules take from dcmjs when they are loaded. */
function insteadOfDcmjs(): string {
  const { data } = createRequire(import.meta.url)('dcmjs') as Dcmjs;
  const tags = Object.entries(data.DicomMetaDictionary.nameMap)
    .filter(
      ([keyword, { tag }]) => /^[A-Z][A-Za-z0-9]*$/.test(keyword) && /^\([0-9A-Fa-f]{4},[0-9A-Fa-f]{4}\)$/.test(tag),
    )
    .map(([keyword, { tag }]) => `${keyword} ${tag}`)
    .join(';');
  return `
import * as loglevel from 'loglevel';
class Unused {}
export const log = loglevel.default ?? loglevel;
export const constants = {};
const nameMap = Object.fromEntries(
  ${JSON.stringify(tags)}.split(';').map((entry) => [entry.split(' ')[0], { tag: entry.split(' ')[1] }]),
);
export default {
  log,
  data: { DicomMetaDictionary: { dictionary: {}, nameMap } },
  async: { AsyncDicomReader: Unused },
  utilities: { DicomMetadataListener: Unused },
};
`;
}

const NAME = '\0dcmjs';

/** A style attribute that is set as text, which a Content-Security-Policy takes for inline style. */
const STYLE_AS_TEXT = "textElement.setAttribute('style', combinedStyle)";

/** The plugin of Vite. */
export function cornerstone(): Plugin {
  return {
    name: 'cornerstone',
    enforce: 'pre',
    resolveId: (source) => (source === 'dcmjs' ? NAME : undefined),
    load: (id) => (id === NAME ? insteadOfDcmjs() : undefined),
    transform(code, id) {
      if (!id.endsWith('/drawingSvg/drawTextBox.js')) return undefined;
      if (!code.includes(STYLE_AS_TEXT)) this.error('cornerstone3D writes its texts another way now');
      return { code: code.replace(STYLE_AS_TEXT, 'textElement.style.cssText = combinedStyle'), map: null };
    },
  };
}
