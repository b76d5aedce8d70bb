/**
 * Owns what every backend agrees on about searching: which identifiers have a column of their own, and on which level a tag is looked
 * up.
 */

import { LEVEL, LEVELS, type Level } from '../dicom/levels.ts';
import { normalise } from '../dicom/match.ts';
import { IsenError } from '../errors.ts';
import type { Constraint } from './database.ts';

export { matchesWildcard, normalise } from '../dicom/match.ts';

/** The identifiers with an indexed, normalised column: level → column → tag. */
export const IDENTIFIERS: Readonly<Record<Level, Readonly<Record<string, string>>>> = {
  Patient: { patient_id: '0010,0020', patient_name: '0010,0010', patient_birth_date: '0010,0030' },
  Study: {
    study_instance_uid: '0020,000d',
    accession_number: '0008,0050',
    study_date: '0008,0020',
    study_description: '0008,1030',
    patient_name: '0010,0010',
    patient_birth_date: '0010,0030',
  },
  Series: { series_instance_uid: '0020,000e' },
  Instance: { sop_instance_uid: '0008,0018' },
};

/**
 * The level on which `tag` is searched from `level`: the nearest one upwards that has it among its main tags. A study has its patient's
 * too, since two studies of one PatientID (an empty one above all) may name the patient differently.
 */
export function levelOfTag(level: Level, tag: string): Level {
  for (let at: Level | undefined = level; at !== undefined; at = LEVEL[at].parent) {
    if (LEVEL[at].mainDicomTags.includes(tag)) return at;
    if (at === 'Study' && tag !== LEVEL.Patient.key && LEVEL.Patient.mainDicomTags.includes(tag)) return at;
  }
  throw new IsenError('ParameterOutOfRange', `The tag ${tag} is not indexed at the level of a ${level.toLowerCase()}`);
}

/** The column of {@link IDENTIFIERS} for `tag`, or undefined. */
export function identifierColumn(level: Level, tag: string): string | undefined {
  return Object.entries(IDENTIFIERS[level]).find(([, of]) => of === tag)?.[0];
}

/** What stands before the first wildcard of a pattern. */
export function literalPrefix(pattern: string): string {
  return /^[^*?]*/.exec(pattern)?.[0] ?? '';
}

/** The constraint in the form that normalised values are compared with. */
export function normaliseConstraint(constraint: Constraint): Constraint {
  switch (constraint.match) {
    case 'equal':
    case 'wildcard':
      return { ...constraint, value: normalise(constraint.value) };
    case 'list':
      return { ...constraint, values: constraint.values.map(normalise) };
    case 'range':
      return {
        ...constraint,
        ...(constraint.from === undefined ? {} : { from: normalise(constraint.from) }),
        ...(constraint.to === undefined ? {} : { to: normalise(constraint.to) }),
      };
  }
}

/** Levels from `top` down to `bottom`, both included; empty when `bottom` is above `top`. */
export function levelsBetween(top: Level, bottom: Level): readonly Level[] {
  return LEVELS.slice(LEVELS.indexOf(top), LEVELS.indexOf(bottom) + 1);
}
