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
  /** A track of the grid. */
  readonly width: string;
  readonly cell: (study: Resource) => ComponentChildren;
  readonly numeric?: true;
}

const patient = (study: Resource, tag: string): string => study.PatientMainDicomTags?.[tag] ?? '';
const main = (study: Resource, tag: string): string => study.MainDicomTags[tag] ?? '';
const asked = (study: Resource, tag: string): string => study.RequestedTags?.[tag] ?? '';

/** Every column by name. */
export const STUDY_COLUMNS: Readonly<Record<ColumnName, StudyColumn>> = {
  preview: { width: '40px', cell: (study) => <Thumbnail size={34} series={study.Series?.[0]} /> },
  name: {
    width: 'minmax(150px, 1.7fr)',
    cell: (study) => (
      <a class="study-name" href={href(`studies/${study.ID}`)} title={patient(study, 'PatientName')}>
        {personName(patient(study, 'PatientName')) || <span class="muted">{t.studies.noName}</span>}
      </a>
    ),
  },
  id: { width: 'minmax(96px, 1fr)', cell: (study) => patient(study, 'PatientID') },
  birth: { width: '92px', cell: (study) => date(patient(study, 'PatientBirthDate')) },
  sex: { width: '44px', cell: (study) => patient(study, 'PatientSex') },
  date: {
    width: '126px',
    cell: (study) => (
      <>
        {date(main(study, 'StudyDate'))} <span class="muted">{time(main(study, 'StudyTime'))}</span>
      </>
    ),
  },
  modalities: { width: '92px', cell: (study) => <Modalities value={asked(study, 'ModalitiesInStudy')} /> },
  description: { width: 'minmax(150px, 2fr)', cell: (study) => main(study, 'StudyDescription') },
  accession: { width: 'minmax(92px, 1fr)', cell: (study) => main(study, 'AccessionNumber') },
  referring: { width: 'minmax(110px, 1fr)', cell: (study) => personName(main(study, 'ReferringPhysicianName')) },
  institution: { width: 'minmax(110px, 1fr)', cell: (study) => main(study, 'InstitutionName') },
  series: {
    width: '58px',
    numeric: true,
    cell: (study) => asked(study, 'NumberOfStudyRelatedSeries') || study.Series?.length,
  },
  instances: { width: '80px', numeric: true, cell: (study) => asked(study, 'NumberOfStudyRelatedInstances') },
  labels: { width: 'minmax(84px, 1fr)', cell: (study) => <Labels of={study.Labels ?? []} /> },
  received: { width: '132px', cell: (study) => timestamp(study.LastUpdate) },
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
