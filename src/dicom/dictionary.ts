/**
 * Owns the data dictionary (PS3.6 §6 and private dictionaries): keyword and VR of a tag, and the tag of a keyword. Keywords are
 * DCMTK's, which Orthanc's clients know; private ones need the private creator (PS3.5 §7.8.1).
 */

import { getEnvironmentData } from 'node:worker_threads';
import { IsenError } from '../errors.ts';
import { PRIVATE_TAGS, TAG_RANGES, TAGS } from './tags.generated.ts';
import { UIDS } from './uids.generated.ts';
import { isVr, type Vr } from './vr.ts';

/** What the dictionary says of one tag. */
export interface DictionaryEntry {
  readonly keyword: string;
  /** Where the Standard leaves a choice (US or SS, OB or OW), the one that implicit VR data is read with. */
  readonly vr: Vr;
  /** Value multiplicity as PS3.6 writes it: "1", "1-n", "2-2n". */
  readonly vm: string;
}

interface Range {
  readonly firstGroup: number;
  readonly lastGroup: number;
  readonly firstElement: number;
  readonly lastElement: number;
  readonly entry: DictionaryEntry;
}

/** DCMTK's internal VRs, and what each stands for in implicit VR (PS3.5 §A.1). */
const INTERNAL_VR: Readonly<Record<string, Vr>> = { xs: 'US', ox: 'OW', px: 'OW', lt: 'OW', up: 'UL', na: 'UN' };

function entryOf(row: string, start: number): DictionaryEntry {
  const vr = row.slice(start, start + 2);
  const space = row.lastIndexOf(' ');
  return {
    keyword: row.slice(start + 2, space),
    vr: isVr(vr) ? vr : (INTERNAL_VR[vr] ?? 'UN'),
    vm: row.slice(space + 1),
  };
}

const rows = (table: string): string[] => table.split('\n').slice(1, -1);

const hex = (row: string, start: number, digits: number): number =>
  Number.parseInt(row.slice(start, start + digits), 16);

const TAG = new Map<number, DictionaryEntry>(rows(TAGS).map((row) => [hex(row, 0, 8), entryOf(row, 8)]));

const RANGES: readonly Range[] = rows(TAG_RANGES).map((row) => ({
  firstGroup: hex(row, 0, 4),
  lastGroup: hex(row, 4, 4),
  firstElement: hex(row, 8, 4),
  lastElement: hex(row, 12, 4),
  entry: entryOf(row, 16),
}));

/** Creator → rows; read when a creator is first asked for, since few are. */
const PRIVATE_TEXT = new Map<string, readonly string[]>(
  PRIVATE_TAGS.slice(1)
    .split(/^=/m)
    .slice(1)
    .map((block) => {
      const [creator = '', ...lines] = block.trimEnd().split('\n');
      return [creator, lines];
    }),
);
const PRIVATE = new Map<string, readonly Range[]>();

function privateRanges(creator: string): readonly Range[] | undefined {
  const known = PRIVATE.get(creator);
  if (known !== undefined) return known;
  const text = PRIVATE_TEXT.get(creator);
  if (text === undefined) return undefined;
  const ranges = text.map((row) => ({
    firstGroup: hex(row, 0, 4),
    lastGroup: hex(row, 4, 4),
    firstElement: hex(row, 8, 2),
    lastElement: hex(row, 8, 2),
    entry: entryOf(row, 10),
  }));
  PRIVATE.set(creator, ranges);
  return ranges;
}

/** What a configuration adds to the dictionary, as threads inherit it. */
export interface DictionaryAdditions {
  readonly entries: readonly {
    /** Of a private tag, only the last two digits of the element count. */
    readonly tag: number;
    readonly vr: string;
    readonly keyword: string;
    readonly vm: string;
    /** Private creator, where the tag is private. */
    readonly creator: string;
  }[];
  /** Creator of private tags whose block nobody reserved; empty: none. */
  readonly defaultCreator: string;
  /** Whether the private dictionaries of makers count. */
  readonly withMakers: boolean;
}

/** Name under which {@link DictionaryAdditions} are in the environment data of threads. */
export const DICTIONARY_ADDITIONS = 'dictionary';

const ADDED = new Map<string, DictionaryEntry>();
const ADDED_KEYWORDS = new Map<string, number>();
let additions: DictionaryAdditions = { entries: [], defaultCreator: '', withMakers: true };

/** Where an added entry is found: a private one by its creator and without its block. */
function addedKey(tag: number, creator: string): string {
  if (Math.floor(tag / 0x10000) % 2 === 0) return `${tag}`;
  return `${Math.floor(tag / 0x10000)}.${tag % 0x100} ${creator}`;
}

/**
 * Takes the additions of this thread's environment data in place of those before. Threads that start later do so by themselves.
 * Throws ParameterOutOfRange for a VR that there is not.
 */
export function extendDictionary(): void {
  const given = getEnvironmentData(DICTIONARY_ADDITIONS) as unknown as DictionaryAdditions | undefined;
  if (given === undefined) return;
  ADDED.clear();
  ADDED_KEYWORDS.clear();
  for (const { tag, vr, keyword, vm, creator } of given.entries) {
    if (!isVr(vr)) throw new IsenError('ParameterOutOfRange', `Dictionary: ${keyword} has the VR ${vr}, which is none`);
    ADDED.set(addedKey(tag, creator), { keyword, vr, vm });
    // A private name without a block means the first.
    const isBlockless = Math.floor(tag / 0x10000) % 2 === 1 && tag % 0x10000 < 0x100;
    ADDED_KEYWORDS.set(keyword, isBlockless ? tag + 0x1000 : tag);
  }
  additions = given;
}

extendDictionary();

function within(ranges: readonly Range[], group: number, element: number): DictionaryEntry | undefined {
  return ranges.find(
    (range) =>
      group >= range.firstGroup &&
      group <= range.lastGroup &&
      (group - range.firstGroup) % 2 === 0 &&
      element >= range.firstElement &&
      element <= range.lastElement,
  )?.entry;
}

const CREATOR: DictionaryEntry = { keyword: 'PrivateCreator', vr: 'LO', vm: '1' };
const GROUP_LENGTH: DictionaryEntry = { keyword: 'GenericGroupLength', vr: 'UL', vm: '1' };
const PRIVATE_GROUP_LENGTH: DictionaryEntry = { keyword: 'PrivateGroupLength', vr: 'UL', vm: '1' };
const ILLEGAL_GROUP_LENGTH: DictionaryEntry = { keyword: 'IllegalGroupLength', vr: 'UL', vm: '1' };
const ILLEGAL_CREATOR: DictionaryEntry = { keyword: 'IllegalPrivateCreator', vr: 'LO', vm: '1' };

/**
 * The entry of a tag (group × 65536 + element), or undefined when the dictionary has none. A private element needs the
 * creator that reserved its block.
 */
export function lookup(tag: number, privateCreator?: string): DictionaryEntry | undefined {
  const plain = TAG.get(tag);
  if (plain !== undefined) return plain;
  const group = Math.floor(tag / 0x10000);
  const element = tag % 0x10000;
  if (group % 2 === 1) {
    if (element === 0) return group > 8 ? PRIVATE_GROUP_LENGTH : ILLEGAL_GROUP_LENGTH;
    if (element >= 0x10 && element <= 0xff) return group > 8 ? CREATOR : ILLEGAL_CREATOR;
    const creator = privateCreator || additions.defaultCreator;
    const added = ADDED.size > 0 ? ADDED.get(addedKey(tag, creator)) : undefined;
    if (added !== undefined || creator === '' || element < 0x1000) return added;
    const ranges = additions.withMakers ? privateRanges(creator) : undefined;
    return ranges === undefined ? undefined : within(ranges, group, element % 0x100);
  }
  if (element === 0) return GROUP_LENGTH;
  return within(RANGES, group, element) ?? ADDED.get(`${tag}`);
}

/**
 * Tags that are US or SS as Pixel Representation (0028,0103) says (PS3.5 §A.1); the dictionary's VR of each is US. The other tags
 * with that choice, such as the descriptors of palettes, count from 0 whatever it says.
 */
export const SIGNED_LIKE_PIXELS: ReadonlySet<number> = new Set([
  0x00280106, 0x00280107, 0x00280108, 0x00280109, 0x00280120, 0x00280121, 0x00283002, 0x00409211, 0x00409216,
  0x00603004, 0x00603006,
]);

const TAG_TEXT = new Map<number, string>();
const hex4 = (value: number): string => value.toString(16).padStart(4, '0');

/** `gggg,eeee` of a tag (group × 65536 + element). The texts of the dictionary's tags are kept. */
export function tagText(tag: number): string {
  const known = TAG_TEXT.get(tag);
  if (known !== undefined) return known;
  const text = `${hex4(Math.floor(tag / 0x10000))},${hex4(tag % 0x10000)}`;
  if (TAG.has(tag)) TAG_TEXT.set(tag, text);
  return text;
}

/** Group × 65536 + element of `gggg,eeee`. */
export function tagNumber(tag: string): number {
  return Number.parseInt(tag.slice(0, 4), 16) * 0x10000 + Number.parseInt(tag.slice(5, 9), 16);
}

/** What Orthanc calls a tag that no dictionary has. */
export const UNKNOWN_NAME = 'Unknown Tag & Data';

/** Whether `tag` (`gggg,eeee`) is of an odd group, and so private (PS3.5 §7.8). */
export function isPrivate(tag: string): boolean {
  const digit = tag.charCodeAt(3);
  // The codes of 0 to 9 are as odd as the digits; those of a to f are not.
  return digit < 0x3a ? digit % 2 === 1 : digit % 2 === 0;
}

/** Keywords by `gggg,eeee`; as many as the dictionary's plain tags at most. */
const KEYWORD = new Map<string, string>();

/** Keyword of `tag` (`gggg,eeee`); {@link UNKNOWN_NAME} when no dictionary has it. */
export function tagName(tag: string, privateCreator?: string): string {
  const known = KEYWORD.get(tag);
  if (known !== undefined) return known;
  const number = tagNumber(tag);
  const keyword = lookup(number, privateCreator)?.keyword ?? UNKNOWN_NAME;
  if (TAG.has(number)) KEYWORD.set(tag, keyword);
  return keyword;
}

let keywords: ReadonlyMap<string, number> | undefined;

/**
 * `gggg,eeee` of a keyword ("PatientName") or of a tag in any usual spelling (0010,0010; 0010-0010; 00100010), or undefined. The
 * keyword of repeating groups means the first of them (PS3.5 §7.6).
 */
export function parseTag(nameOrTag: string): string | undefined {
  const match = /^([0-9a-f]{4})[,-]?([0-9a-f]{4})$/i.exec(nameOrTag);
  if (match !== null) return `${match[1]},${match[2]}`.toLowerCase();
  // The first of equal keywords is the current one: retired ones carry a prefix.
  keywords ??= new Map([
    ...RANGES.map(({ firstGroup, firstElement, entry }): [string, number] => [
      entry.keyword,
      firstGroup * 0x10000 + firstElement,
    ]),
    ...[...TAG].map(([tag, entry]): [string, number] => [entry.keyword, tag]).toReversed(),
  ]);
  const tag = keywords.get(nameOrTag) ?? ADDED_KEYWORDS.get(nameOrTag);
  return tag === undefined ? undefined : tagText(tag);
}

let uids: ReadonlyMap<string, string> | undefined;

/** DCMTK's name of a UID of PS3.6 Annex A, or undefined. */
export function uidName(uid: string): string | undefined {
  uids ??= new Map(
    rows(UIDS).map((row): [string, string] => [row.slice(0, row.indexOf(' ')), row.slice(row.indexOf(' ') + 1)]),
  );
  return uids.get(uid);
}
