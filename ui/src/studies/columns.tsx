/** Owns what each column of the list of studies shows, how wide it is, and choosing them. */

import { Columns3 } from 'lucide';
import type { ComponentChildren } from 'preact';
import type { Resource } from '../api/resources.ts';
import { date, personName, time, timestamp } from '../format.ts';
import { Icon } from '../parts/icon.tsx';
import { Labels } from '../parts/labels.tsx';
import { Modalities } from '../parts/modalities.tsx';
import { Popover } from '../parts/popover.tsx';
import { Thumbnail } from '../parts/thumbnail.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { COLUMNS, type ColumnName, columns } from './filter.ts';

/** One column. */
export interface StudyColumn {
  /** Pixels that it needs, and its part of what is left over. */
  readonly least: number;
  readonly part?: number;
  readonly cell: (study: Resource) => ComponentChildren;
  readonly numeric?: true;
}

const patient = (study: Resource, tag: string): string => study.PatientMainDicomTags?.[tag] ?? '';
const main = (study: Resource, tag: string): string => study.MainDicomTags[tag] ?? '';
const asked = (study: Resource, tag: string): string => study.RequestedTags?.[tag] ?? '';

/** Every column by name. */
export const STUDY_COLUMNS: Readonly<Record<ColumnName, StudyColumn>> = {
  preview: {
    least: 36,
    cell: (study) => <Thumbnail size={34} series={study.Series?.[0]} modality={asked(study, 'ModalitiesInStudy')} />,
  },
  name: {
    least: 130,
    part: 1.7,
    cell: (study) => (
      <a class="study-name" href={href(`studies/${study.ID}`)} title={patient(study, 'PatientName')}>
        {personName(patient(study, 'PatientName')) || <span class="muted">{t.studies.noName}</span>}
      </a>
    ),
  },
  id: { least: 88, part: 1, cell: (study) => patient(study, 'PatientID') },
  birth: { least: 84, cell: (study) => date(patient(study, 'PatientBirthDate')) },
  sex: { least: 34, cell: (study) => patient(study, 'PatientSex') },
  date: {
    least: 82,
    part: 0.5,
    cell: (study) => (
      <span class="date-time">
        <span>{date(main(study, 'StudyDate'))}</span>
        <span class="muted">{time(main(study, 'StudyTime'))}</span>
      </span>
    ),
  },
  modalities: { least: 66, part: 0.3, cell: (study) => <Modalities value={asked(study, 'ModalitiesInStudy')} /> },
  description: { least: 130, part: 2, cell: (study) => main(study, 'StudyDescription') },
  accession: { least: 92, part: 0.8, cell: (study) => main(study, 'AccessionNumber') },
  referring: { least: 110, part: 1, cell: (study) => personName(main(study, 'ReferringPhysicianName')) },
  institution: { least: 110, part: 1, cell: (study) => main(study, 'InstitutionName') },
  series: {
    least: 46,
    numeric: true,
    cell: (study) => asked(study, 'NumberOfStudyRelatedSeries') || study.Series?.length,
  },
  instances: { least: 62, numeric: true, cell: (study) => asked(study, 'NumberOfStudyRelatedInstances') },
  labels: { least: 84, part: 0.8, cell: (study) => <Labels of={study.Labels ?? []} /> },
  received: { least: 120, cell: (study) => timestamp(study.LastUpdate) },
};

/** The button that opens the choice of columns. */
export function ColumnChoice() {
  return (
    <Popover
      label={
        <>
          <Icon of={Columns3} /> {t.studies.columns}
        </>
      }
    >
      <fieldset class="choice">
        <legend>{t.studies.columnsShown}</legend>
        {COLUMNS.map((name) => (
          <label key={name} class="check">
            <input
              type="checkbox"
              checked={columns.value.includes(name)}
              disabled={name === 'name'}
              onChange={(event) => {
                const shown = event.currentTarget.checked;
                columns.value = COLUMNS.filter((each) => (each === name ? shown : columns.value.includes(each)));
              }}
            />
            {t.studies.column[name]}
          </label>
        ))}
      </fieldset>
    </Popover>
  );
}
