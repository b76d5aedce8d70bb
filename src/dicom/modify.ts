/**
 * Owns the changing of a data set: every element that does not change keeps its bytes, only the changed ones are encoded. A
 * sequence is taken apart where something in it changes, and then only down to there.
 */

import { type CharacterSet, characterSet } from './charset.ts';
import { isPrivate, lookup, tagNumber, tagText } from './dictionary.ts';
import { Malformed, MAXIMUM_ELEMENTS, readElements, wholeScope } from './elements.ts';
import { IsenError } from '../errors.ts';
import { elementOf, isCovered, type JsonValue } from './json-value.ts';
import type { DicomPath } from './path.ts';
import { type Profile, REMOVED_GROUPS } from './profiles.ts';
import type { DataSet, DicomFile, Element } from './read.ts';
import { elementIn } from './reencode.ts';
import { STORAGE_CLASSES } from './storage-classes.ts';
import { EXPLICIT_LITTLE_ENDIAN, transferSyntax } from './transfer-syntaxes.ts';
import type { UidMap } from './uid-map.ts';
import { textOf } from './value.ts';
import { type Encoding, GENERIC_FILE, type NewElement, type NewFile, rawElements, writeFile } from './write.ts';
import { vrRow } from './vr.ts';

/** What is asked for one element, or one in each item of a sequence. */
export interface Rule {
  readonly path: DicomPath;
  /** A replaced element is added where there is none. */
  readonly action: 'keep' | 'remove' | { readonly replace: JsonValue };
}

/** What to change. */
export interface Modification {
  /** Of two for one element the later holds; any holds against the profile. */
  readonly rules: readonly Rule[];
  /** What becomes of elements that no rule names, at every depth. */
  readonly profile?: Profile;
  /** Tags whose UIDs become new ones wherever they are, also those of none of the set: {@link REFERENCES}. */
  readonly renamed?: ReadonlySet<string>;
  /** Private elements go, at every depth, but for those that a rule keeps or replaces. */
  readonly removePrivateTags: boolean;
  /** Creator whose dictionary says the VR of private elements that are added. */
  readonly privateCreator?: string;
}

/** A rule on its way down: its path from `at` on. */
interface Active {
  readonly rule: Rule;
  readonly at: number;
}

/** What holds for the elements of one data set. */
interface Scope {
  /** Rules that end here, by tag. */
  readonly here: ReadonlyMap<string, Rule>;
  readonly below: readonly Active[];
  /** 0 at the top. */
  readonly depth: number;
  /** Of what is written. */
  readonly encoding: Encoding;
  /** Whether it is in a sequence that is kept: its values stay, and its UIDs go with those of the set. */
  readonly kept: boolean;
}

/** Where a data set names studies, series and instances, its own or others. */
export const REFERENCES = {
  Study: ['0020,000d'],
  Series: ['0020,000e'],
  // Referenced SOP Instance UID, Multi-frame Source SOP Instance UID, Failed SOP Instance UID List.
  Instance: ['0008,1155', '0008,1167', '0008,0058'],
} as const;

const REFERENCED_CLASS = '0008,1150';
const REFERENCED_INSTANCE = '0008,1155';
const PATIENT_NAME = '0010,0010';
const PATIENT_ID = '0010,0020';
const MEDIA_CLASS = '0002,0002';
const PIXEL_DATA = '7fe0,0010';
const CHARACTER_SET = '0008,0005';
const UTF8 = 'ISO_IR 192';

/** The elements of a data set that was read whole, changed, in its own encoding. Throws what {@link elementOf} throws. */
export function modifyDataSet(dataSet: DataSet, modification: Modification, uids: UidMap): NewElement[] {
  return new Modifier(modification, uids).top(dataSet);
}

/**
 * The bytes of a file, changed, in its own transfer syntax; in `memory` where that is given and large enough.
 * @throws {IsenError} BadRequest for Pixel Data that is replaced where it has to be encapsulated; what {@link elementOf} and the
 * writer throw.
 */
export function modifyFile(file: DicomFile, modification: Modification, uids: UidMap, memory?: Uint8Array): Buffer {
  const syntax = transferSyntax(file.transferSyntax);
  // A private transfer syntax is explicit VR little endian but for its pixels (PS3.5 §A.4).
  const { littleEndian, explicit, deflated } = syntax ?? { littleEndian: true, explicit: true, deflated: false };
  if (
    syntax?.encapsulated === true &&
    modification.rules.some(({ path, action }) => isTop(path, PIXEL_DATA) && typeof action === 'object')
  )
    throw new IsenError('BadRequest', 'Pixel Data of a compressed file cannot be replaced');
  const dataSet = modifyDataSet(file.dataSet, modification, uids);
  const uid = (tag: string): string => {
    const element = dataSet.find((each) => each.tag === tag);
    if (element === undefined) return '';
    if (!('raw' in element)) return typeof element.value === 'string' ? element.value : asciiOf(element.value);
    const old = file.dataSet.elements.get(tag);
    return old === undefined ? '' : textOf(file.dataSet, old).trim();
  };
  const media = file.meta.elements.get(MEDIA_CLASS);
  const written: NewFile = {
    transferSyntax: { uid: file.transferSyntax || EXPLICIT_LITTLE_ENDIAN, littleEndian, explicit, deflated },
    sopClassUid: uid('0008,0016') || (media === undefined ? '' : textOf(file.meta, media).trim()) || GENERIC_FILE,
    sopInstanceUid: uid('0008,0018'),
    dataSet,
    // It may name machines and hold private information, which the profile has no use for (PS3.15 §E.1.1).
    meta: modification.profile === undefined ? rawElements(file.meta, { littleEndian: true, explicit: true }) : [],
  };
  return writeFile(written, memory);
}

function asciiOf(value: unknown): string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('latin1').replaceAll('\0', '').trim() : '';
}

class Modifier {
  readonly #modification: Modification;
  readonly #uids: UidMap;
  /** Tags that are kept or removed at the top are so at every depth, as in the reference; removed ones, where a profile is. */
  readonly #kept: ReadonlySet<string>;
  readonly #removed: ReadonlySet<string>;
  /** Character set that replaces the old one. */
  #recode: CharacterSet | undefined;

  constructor(modification: Modification, uids: UidMap) {
    this.#modification = modification;
    this.#uids = uids;
    const named = (wanted: Rule['action']): ReadonlySet<string> =>
      new Set(
        modification.rules.flatMap(({ path, action }) =>
          path.steps.length === 0 && action === wanted ? [path.tag] : [],
        ),
      );
    this.#kept = named('keep');
    this.#removed = named('remove');
  }

  top(dataSet: DataSet): NewElement[] {
    const active = this.#modification.rules.map((rule): Active => ({ rule, at: 0 }));
    const chosen = this.#modification.rules.findLast(({ path }) => isTop(path, CHARACTER_SET))?.action;
    if (typeof chosen === 'object') {
      this.#recode = characterSet(typeof chosen.replace === 'string' ? chosen.replace : '');
    } else if (
      !this.#modification.rules.every(
        ({ action: each }) => typeof each === 'string' || isCovered(each.replace, dataSet.characterSet),
      )
    ) {
      // Nothing is lost: all texts become UTF-8.
      this.#recode = characterSet(UTF8);
      active.push({ rule: { path: { steps: [], tag: CHARACTER_SET }, action: { replace: UTF8 } }, at: 0 });
    }
    return this.#changed(dataSet, active, { depth: 0, encoding: dataSet, kept: false }) ?? copies(dataSet, dataSet);
  }

  /** The elements of a data set of which some change, for `encoding`; undefined where none does. */
  #changed(
    dataSet: DataSet,
    active: readonly Active[],
    around: Pick<Scope, 'depth' | 'encoding' | 'kept'>,
  ): NewElement[] | undefined {
    const { depth, encoding } = around;
    const here = new Map<string, Rule>();
    for (const { rule, at } of active) if (at === rule.path.steps.length) here.set(rule.path.tag, rule);
    const below = active.filter(({ rule, at }) => at < rule.path.steps.length);
    /** By tag: what comes in the place of an element, or undefined for one that goes. */
    const changes = new Map<string, NewElement | undefined>();
    for (const element of dataSet.elements.values()) {
      const rule = here.get(element.tag);
      if (rule === undefined || rule.action === 'keep') {
        const change = this.#changeOf(dataSet, element, rule, { here, below, ...around });
        if (change !== 'none') changes.set(element.tag, change === 'remove' ? undefined : change);
      } else if (rule.action === 'remove') changes.set(element.tag, undefined);
    }
    for (const { path, action } of here.values()) {
      if (typeof action !== 'object') continue;
      const wanted = {
        characterSet: this.#recode ?? dataSet.characterSet,
        littleEndian: encoding.littleEndian,
        privateCreator: this.#modification.privateCreator,
      };
      changes.set(path.tag, elementOf(path.tag, action.replace, wanted, dataSet.elements.get(path.tag)?.vr));
    }
    const { profile } = this.#modification;
    if (depth === 0 && profile !== undefined && !here.has(PATIENT_ID)) {
      const old = dataSet.elements.get(PATIENT_ID);
      const id = this.#uids.patientId(old === undefined ? '' : textOf(dataSet, old));
      changes.set(PATIENT_ID, { tag: PATIENT_ID, vr: 'LO', value: id });
    }
    if (changes.size === 0) return undefined;
    const elements: NewElement[] = [];
    for (const element of dataSet.elements.values()) {
      // Group lengths (retired, PS3.5 §7.2) would be wrong now.
      if (changes.has(element.tag) || element.tag.endsWith(',0000')) continue;
      elements.push(copy(dataSet, element, encoding));
    }
    for (const change of changes.values()) if (change !== undefined) elements.push(change);
    return elements;
  }

  /** What becomes of an element that no rule replaces or removes. */
  #changeOf(dataSet: DataSet, element: Element, rule: Rule | undefined, scope: Scope): NewElement | 'none' | 'remove' {
    const { here, depth } = scope;
    const { profile, removePrivateTags } = this.#modification;
    const { tag, items } = element;
    // What was written as UN is what the dictionary says all the same (PS3.5 §6.2.2 note 2).
    const vr = element.vr === 'UN' ? (lookup(tagNumber(tag))?.vr ?? 'UN') : element.vr;
    const kept = rule !== undefined || this.#kept.has(tag);
    // An item says its own no longer.
    if (this.#recode !== undefined && depth > 0 && tag === CHARACTER_SET) return 'remove';
    if (!kept) {
      if (removePrivateTags && isPrivate(tag) && !reserves(tag, [...here.keys(), ...this.#kept])) return 'remove';
      if (profile !== undefined && !scope.kept) {
        if (profile.remove.has(tag) || this.#removed.has(tag) || REMOVED_GROUPS.test(tag)) return 'remove';
        if (profile.empty.has(tag) || (depth > 0 && tag === PATIENT_NAME))
          return { tag, vr, value: items === undefined && vr !== 'SQ' ? '' : { items: [] } };
        if (depth > 0 && tag === PATIENT_ID) {
          const id = textOf(dataSet, element);
          return id === '' ? 'none' : { tag, vr, value: this.#uids.patientId(id) };
        }
      }
    }
    const inside = { ...scope, kept: scope.kept || kept };
    if (items !== undefined) return this.#sequence(element, items, inside);
    if (vr === 'SQ' && element.length > 0) {
      const hidden = hiddenItems(dataSet, element);
      if (hidden !== undefined) return this.#sequence(element, hidden, inside);
      // Nobody can say what is in it.
      return profile !== undefined && !inside.kept ? 'remove' : 'none';
    }
    if (vr === 'UI' && rule === undefined) {
      const always = profile?.map.has(tag) === true || this.#isRenamed(dataSet, tag);
      return this.#uid(dataSet, element, vr, !kept && always);
    }
    if (this.#recode !== undefined && vrRow(vr).charset && !isAscii(dataSet, element))
      return { tag, vr, value: this.#recode.encode(textOf(dataSet, element)) };
    return 'none';
  }

  /** Procedure steps and detached objects are referred to by the same element as what is stored (PS3.3 §10.8): they keep their names. */
  #isRenamed(dataSet: DataSet, tag: string): boolean {
    if (this.#modification.renamed?.has(tag) !== true) return false;
    const of = tag === REFERENCED_INSTANCE ? dataSet.elements.get(REFERENCED_CLASS) : undefined;
    return of === undefined || STORAGE_CLASSES.has(textOf(dataSet, of).trim());
  }

  #uid(dataSet: DataSet, element: Element, vr: string, always: boolean): NewElement | 'none' {
    const { tag } = element;
    if (element.length === 0) return 'none';
    const old = textOf(dataSet, element)
      .split('\\')
      .map((uid) => uid.trim());
    const mapped = old.map((uid) => (uid === '' ? uid : (this.#uids.of(uid, always) ?? uid)));
    return mapped.every((uid, index) => uid === old[index]) ? 'none' : { tag, vr, value: mapped.join('\\') };
  }

  #sequence(element: Element, items: readonly DataSet[], scope: Scope): NewElement | 'none' {
    const { below, depth, encoding, kept } = scope;
    let touched = false;
    const inside = below.filter(({ rule, at }) => rule.path.steps[at]?.tag === element.tag);
    const all = items.map((item, index) => {
      const active = inside
        .filter(({ rule, at }) => (rule.path.steps[at]?.item ?? index) === index)
        .map(({ rule, at }): Active => ({ rule, at: at + 1 }));
      const elements = this.#changed(item, active, { depth: depth + 1, encoding, kept });
      touched ||= elements !== undefined;
      // UN of undefined length has implicit items whatever is around it: they are turned into the encoding of the data set.
      return elements ?? copies(item, encoding);
    });
    if (!touched) return 'none';
    const undefinedLength = element.end > element.offset + element.length;
    return { tag: element.tag, vr: 'SQ', value: { items: all, undefinedLength } };
  }
}

/** The items of a sequence that was written as UN of defined length, in implicit VR (PS3.5 §6.2.2 note 2); undefined for what is none. */
function hiddenItems(dataSet: DataSet, { tag, offset, length }: Element): readonly DataSet[] | undefined {
  const number = tagNumber(tag);
  const bytes = Buffer.alloc(8 + length);
  bytes.writeUInt16LE(number >>> 16, 0);
  bytes.writeUInt16LE(number & 0xffff, 2);
  bytes.writeUInt32LE(length, 4);
  dataSet.bytes.copy(bytes, 8, offset, offset + length);
  const source = { bytes, littleEndian: true, explicit: false, budget: MAXIMUM_ELEMENTS };
  const scope = wholeScope(bytes.length, {
    keep: 'all',
    only: undefined,
    untilPixelData: false,
    pixelEnd: bytes.length,
    cut: false,
  });
  scope.characterSet = dataSet.characterSet;
  try {
    return readElements(source, 0, scope).dataSet?.elements.get(tag)?.items;
  } catch (thrown) {
    if (thrown instanceof Malformed) return undefined;
    throw thrown;
  }
}

/** Whether a private creator (PS3.5 §7.8.1) reserves the block of one of these elements. */
function reserves(tag: string, stay: Iterable<string>): boolean {
  const number = tagNumber(tag);
  const block = number % 0x10000;
  if (block < 0x10 || block > 0xff) return false;
  for (const each of stay) {
    const other = tagNumber(each);
    if (tagText(other - (other % 0x10000) + ((other % 0x10000) >> 8)) === tag) return true;
  }
  return false;
}

function isAscii(dataSet: DataSet, { offset, length }: Element): boolean {
  for (let at = offset; at < offset + length; at += 1) {
    const byte = dataSet.bytes[at] ?? 0;
    if (byte >= 0x80 || byte === 0x1b) return false;
  }
  return true;
}

const isTop = ({ steps, tag }: DicomPath, wanted: string): boolean => steps.length === 0 && tag === wanted;

const sameEncoding = (a: Encoding, b: Encoding): boolean =>
  a.littleEndian === b.littleEndian && a.explicit === b.explicit;

function copy(dataSet: DataSet, element: Element, encoding: Encoding): NewElement {
  if (!sameEncoding(dataSet, encoding)) return elementIn(dataSet, element, encoding);
  return { tag: element.tag, raw: dataSet.bytes.subarray(element.start, element.end) };
}

const copies = (dataSet: DataSet, encoding: Encoding): NewElement[] =>
  Array.from(dataSet.elements.values(), (element) => copy(dataSet, element, encoding));
