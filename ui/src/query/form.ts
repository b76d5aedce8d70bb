/** Owns what is asked of a remote modality: the form as it is filled in, and the keys that it becomes. It stays while the tab is open. */

import { signal } from '@preact/signals';
import type { Answers } from '../api/queries.ts';
import type { Level, Tags } from '../api/resources.ts';
import type { TagRow } from '../routing/tag-rows.tsx';
import { anywhere, daysOf } from '../studies/filter.ts';

/** The fields of each level, by the keyword that each is about. */
export const FIELDS = {
  Patient: ['PatientName', 'PatientID'],
  Study: ['PatientName', 'PatientID', 'AccessionNumber', 'StudyDescription', 'ReferringPhysicianName'],
  Series: ['PatientID', 'StudyInstanceUID', 'SeriesDescription', 'SeriesNumber', 'BodyPartExamined'],
  Instance: ['StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID', 'InstanceNumber'],
} as const satisfies Readonly<Record<Level, readonly string[]>>;

/** Looked for anywhere in the value. */
const WORDS: ReadonlySet<string> = new Set([
  'PatientName',
  'StudyDescription',
  'SeriesDescription',
  'ReferringPhysicianName',
]);

/** What each level is asked for, by the columns in which it is shown: below the first of each stand the others, small. */
export const COLUMNS: Readonly<Record<Level, readonly (readonly string[])[]>> = {
  Patient: [['PatientName', 'PatientID'], ['PatientBirthDate'], ['PatientSex'], ['NumberOfPatientRelatedStudies']],
  Study: [
    ['PatientName', 'PatientID', 'PatientBirthDate'],
    ['StudyDate'],
    ['ModalitiesInStudy'],
    ['StudyDescription', 'AccessionNumber'],
    ['NumberOfStudyRelatedSeries'],
    ['NumberOfStudyRelatedInstances'],
  ],
  Series: [
    ['SeriesDescription'],
    ['SeriesNumber'],
    ['Modality'],
    ['BodyPartExamined'],
    ['SeriesDate'],
    ['NumberOfSeriesRelatedInstances'],
  ],
  Instance: [['InstanceNumber'], ['SOPInstanceUID']],
};

/** Asked for besides: identifiers. */
const UIDS: Readonly<Record<Level, readonly string[]>> = {
  Patient: [],
  Study: ['StudyInstanceUID', 'StudyTime', 'PatientSex'],
  Series: ['StudyInstanceUID', 'SeriesInstanceUID', 'SeriesTime'],
  Instance: ['StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID', 'SOPClassUID'],
};

/** The form. */
export interface Form {
  readonly modality: string;
  readonly level: Level;
  /** By keyword. */
  readonly values: Tags;
  readonly period: string;
  readonly from: string;
  readonly to: string;
  readonly modalities: readonly string[];
  readonly others: readonly TagRow[];
}

/** The form as it is filled in. */
export const form = signal<Form>({
  modality: '',
  level: 'Study',
  values: {},
  period: '',
  from: '',
  to: '',
  modalities: [],
  others: [],
});

/** What was found last, and where. */
export const found = signal<{ readonly modality: string; readonly answers: Answers } | undefined>(undefined);

/** Fills in more of the form. */
export function fill(change: Partial<Form>): void {
  form.value = { ...form.value, ...change };
}

/** The keys that are asked for at a level, without values. */
export function emptyKeys(level: Level): Tags {
  return Object.fromEntries([...COLUMNS[level].flat(), ...UIDS[level]].map((keyword) => [keyword, '']));
}

/** The keys of a form. */
export function keysOf({ level, values, modalities, others, ...days }: Form, now = new Date()): Tags {
  const filled = FIELDS[level].flatMap((keyword): [string, string][] => {
    const text = (values[keyword] ?? '').trim();
    if (text === '') return [];
    return [[keyword, WORDS.has(keyword) && !/[*?]/.test(text) ? anywhere(text) : text]];
  });
  const range = level === 'Study' ? daysOf(days, now) : '';
  const kinds = modalities.join('\\');
  return {
    ...emptyKeys(level),
    ...Object.fromEntries(filled),
    ...(range !== '' && { StudyDate: range }),
    ...(kinds !== '' && level === 'Study' && { ModalitiesInStudy: kinds }),
    ...(kinds !== '' && level === 'Series' && { Modality: kinds }),
    ...Object.fromEntries(others.filter(([tag]) => tag.trim() !== '').map(([tag, value]) => [tag.trim(), value])),
  };
}
