/** Owns the names of the UIDs that the Standard gave, from the server's own table (PS3.6 Annex A). */

// oxlint-disable-next-line import/default -- the file as text, which Vite makes of it
import table from '../../../src/dicom/uids.generated.ts?raw';

/** `CT Image Storage` of `1.2.840.10008.5.1.4.1.1.2`. */
export const UID_NAMES: Readonly<Record<string, string>> = Object.fromEntries(
  [...table.matchAll(/^(1\.2\.840\.10008[.\d]*) (.+)$/gm)].map(([, uid = '', name = '']) => [
    uid,
    name
      .replace(/^RETIRED_/, '')
      .replaceAll(/(?<=[a-z])(?=[A-Z\d])|(?<=[A-Z\d])(?=[A-Z][a-z])/g, ' ')
      .replaceAll('_', ' '),
  ]),
);
