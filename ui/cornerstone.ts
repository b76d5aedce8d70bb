/**
 * Owns what cornerstone3D is spared in our build: dcmjs, of which it wants a parser and a dictionary that decoded pictures do without (a
 * fifth of the viewer), and a style attribute that the policy of the page does not let in.
 */

import type { Plugin } from 'vite';

/** What cornerstone's modules take from dcmjs when they are loaded. */
const INSTEAD_OF_DCMJS = `
import * as loglevel from 'loglevel';
class Unused {}
export const log = loglevel.default ?? loglevel;
export const constants = {};
export default {
  log,
  data: { DicomMetaDictionary: { dictionary: {}, nameMap: {} } },
  async: { AsyncDicomReader: Unused },
  utilities: { DicomMetadataListener: Unused },
};
`;
const NAME = '\0dcmjs';

/** A style attribute that is set as text, which a Content-Security-Policy takes for inline style. */
const STYLE_AS_TEXT = "textElement.setAttribute('style', combinedStyle)";

/** The plugin of Vite. */
export function cornerstone(): Plugin {
  return {
    name: 'cornerstone',
    enforce: 'pre',
    resolveId: (source) => (source === 'dcmjs' ? NAME : undefined),
    load: (id) => (id === NAME ? INSTEAD_OF_DCMJS : undefined),
    transform(code, id) {
      if (!id.endsWith('/drawingSvg/drawTextBox.js')) return undefined;
      if (!code.includes(STYLE_AS_TEXT)) this.error('cornerstone3D writes its texts another way now');
      return { code: code.replace(STYLE_AS_TEXT, 'textElement.style.cssText = combinedStyle'), map: null };
    },
  };
}
