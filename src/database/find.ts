/**
 * Owns what every backend agrees on about searching: which identifiers have a column of their own, and on which level a tag is looked
 * up.
 */

import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { matchesWildcard, normalise } from '../dicom/match.ts';
import type { FindRequest, Match } from './database.ts';

export { matchesWildcard, normalise } from '../dicom/match.ts';

/** The identifiers with an indexed, normalised column: level → column → tag. */
export const IDENTIFIERS: Readonly<Record<Level, Readonly<Record<string, string>>>> = {
  Patient: { patient_id: '0010,0020', patient_name: '0010,0010', patient_birth_date: '0010,0030' },
  Study: {
    study_instance_uid: '0020,000d',
    accession_number: '0008,0050',
    study_date: '0008,0020',
    study_description: '0008,1030',
    patient_id: '0010,0020',
    patient_name: '0010,0010',
    patient_birth_date: '0010,0030',
  },
  Series: { series_instance_uid: '0020,000e' },
  Instance: { sop_instance_uid: '0008,0018' },
};

const columnsOf = (level: Level): ReadonlyMap<string, string> =>
  new Map(Object.entries(IDENTIFIERS[level]).map(([column, tag]) => [tag, column]));

const COLUMNS: Readonly<Record<Level, ReadonlyMap<string, string>>> = {
  Patient: columnsOf('Patient'),
  Study: columnsOf('Study'),
  Series: columnsOf('Series'),
  Instance: columnsOf('Instance'),
};

/**
 * The level on which `tag` is searched from `level`: the nearest one upwards that has it among its main tags, else the nearest one
 * below; undefined where none has. A study has its patient's too, since two studies of one PatientID (an empty one above all) may name
 * the patient differently.
 */
export function levelOfTag(level: Level, tag: string): Level | undefined {
  for (let at: Level | undefined = level; at !== undefined; at = LEVEL[at].parent) {
    if (LEVEL[at].mainDicomTags.includes(tag)) return at;
    if (at === 'Study' && LEVEL.Patient.mainDicomTags.includes(tag)) return at;
  }
  for (let at = LEVEL[level].child; at !== undefined; at = LEVEL[at].child) {
    if (LEVEL[at].mainDicomTags.includes(tag)) return at;
  }
  return undefined;
}

/** Whether `below` is a level below `level`. */
export function isBelow(below: Level, level: Level): boolean {
  return LEVELS.indexOf(below) > LEVELS.indexOf(level);
}

/** The column of {@link IDENTIFIERS} for `tag`, or undefined. */
export function identifierColumn(level: Level, tag: string): string | undefined {
  return COLUMNS[level].get(tag);
}

/** What stands before the first wildcard of a pattern. */
export function literalPrefix(pattern: string): string {
  return /^[^*?]*/.exec(pattern)?.[0] ?? '';
}

/** Texts that begin so, in the order of their characters' numbers. */
export const beginningWith = (prefix: string): Match => ({ match: 'range', from: prefix, to: `${prefix}\u{10ffff}` });

/** What is compared with, each text of it changed. */
function mapMatch(match: Match, change: (text: string) => string): Match {
  switch (match.match) {
    case 'equal':
    case 'wildcard':
      return { match: match.match, value: change(match.value) };
    case 'list':
      return { match: 'list', values: match.values.map(change) };
    case 'range': {
      const { from, to } = match;
      return {
        match: 'range',
        ...(from !== undefined && { from: change(from) }),
        ...(to !== undefined && { to: change(to) }),
      };
    }
  }
}

/** The form that normalised values are compared with. */
export const normaliseMatch = (match: Match): Match => mapMatch(match, normalise);

/** The form of a text in which only case is left aside. */
export const foldCase = (text: string): string => text.toLowerCase();

/** The form that {@link foldCase} of values is compared with. */
export const foldMatch = (match: Match): Match => mapMatch(match, foldCase);

/** Whether a value meets what it is compared with, as it stands. */
export function meets(match: Match, value: string): boolean {
  switch (match.match) {
    case 'equal':
      return value === match.value;
    case 'list':
      return match.values.includes(value);
    case 'wildcard':
      return matchesWildcard(value, match.value);
    case 'range':
      return (match.from === undefined || value >= match.from) && (match.to === undefined || value <= match.to);
  }
}

/** The number that a text begins with, as SQL's casts of SQLite have it; undefined where there is none. */
export function leadingNumber(text: string, as: 'integer' | 'float'): number | undefined {
  const pattern = as === 'integer' ? /^\s*[-+]?\d+/ : /^\s*[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?/;
  const number = Number(pattern.exec(text)?.[0] ?? Number.NaN);
  return Number.isFinite(number) ? number : undefined;
}

/** Whether a request names its resources by id alone, or none: no condition is to be looked at. */
export function isPlain({ of, where, metadata, labels }: FindRequest): boolean {
  return of === undefined && (where ?? []).length + (metadata ?? []).length + (labels?.labels ?? []).length === 0;
}

/** Levels from `top` down to `bottom`, both included; empty when `bottom` is above `top`. */
export function levelsBetween(top: Level, bottom: Level): readonly Level[] {
  return LEVELS.slice(LEVELS.indexOf(top), LEVELS.indexOf(bottom) + 1);
}
