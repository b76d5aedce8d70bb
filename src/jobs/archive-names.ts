/**
 * Owns the names of folders and files in archives, as the reference gives them: out of the main tags, without what any file system
 * could take for something else.
 */

import type { Level } from '../dicom/levels.ts';
import type { Tags } from '../dicom/summary.ts';

/** Bytes of a name that every file system takes. */
const LONGEST = 240;

/** The two tags that name the folder of a resource, and its name where they say nothing. */
const FOLDERS: Readonly<Record<Exclude<Level, 'Instance'>, readonly [first: string, second: string, unknown: string]>> =
  {
    Patient: ['0010,0020', '0010,0010', 'Unknown Patient'],
    Study: ['0008,0050', '0008,1030', 'Unknown Study'],
    Series: ['0008,0060', '0008,103e', 'Unknown Series'],
  };

/** Letters, digits, underscores, dots and single spaces; of ASCII unless `utf8`. */
function plain(text: string, utf8: boolean): string {
  const other = utf8 ? /[^\p{L}\p{M}\p{N}_. ]/gu : /[^A-Za-z0-9_. ]/g;
  return text.replaceAll('^', ' ').replaceAll(other, '').replaceAll(/ +/g, ' ').trim();
}

/** At most {@link LONGEST} bytes of it. */
function shortened(name: string): string {
  let end = Math.min(name.length, LONGEST);
  while (Buffer.byteLength(name.slice(0, end)) > LONGEST) end -= 1;
  return name.slice(0, end).trim();
}

/** The name of the folder of a resource. A name of dots alone, which leads out of the archive, is none. */
export function folderName(level: Exclude<Level, 'Instance'>, tags: Tags, utf8: boolean): string {
  const [first, second, unknown] = FOLDERS[level];
  const name = shortened(plain(`${tags[first] ?? ''} ${tags[second] ?? ''}`, utf8));
  return /^[. ]*$/.test(name) ? unknown : name;
}

/** Tells folders of one name apart: the second of them is `name-2`. Case tells nothing where some file systems do not see it. */
export class FolderNames {
  readonly #seen = new Map<string, number>();

  unique(name: string): string {
    const key = name.toLowerCase();
    const count = (this.#seen.get(key) ?? 0) + 1;
    this.#seen.set(key, count);
    return count === 1 ? name : `${name}-${count}`;
  }
}

/** The name of the file of an instance: two letters of the modality, and its number in six digits. */
export function fileName(modality: string, number: number): string {
  const letters = Buffer.from(modality.trim()).subarray(0, 2);
  const prefix = letters
    .toString('latin1')
    .toUpperCase()
    .replaceAll(/[^A-Z0-9_. ]/g, '');
  return `${prefix}${String(number).padStart(8 - letters.length, '0')}.dcm`;
}

/** Numbers that fit the name of a file. */
const MOST_NUMBER = 999_999;

/**
 * What the files of a series are numbered by: the indexes of its instances, where each has one of its own, else their places.
 */
export function fileNumbers(indexes: readonly (number | undefined)[]): readonly number[] {
  const numbers = new Set<number>();
  for (const index of indexes) if (index !== undefined && index >= 0 && index <= MOST_NUMBER) numbers.add(index);
  return numbers.size === indexes.length ? [...numbers] : indexes.map((_, place) => place);
}
