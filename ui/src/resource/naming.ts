/** Owns how resources are called on their pages. */

import type { Resource } from '../api/resources.ts';
import { date, personName } from '../format.ts';
import { t } from '../texts.ts';

const joined = (parts: readonly (string | undefined)[], with_ = ' · '): string =>
  parts.filter((part) => part !== undefined && part !== '').join(with_);

/** What one is called where its parents are known: in the way down to it. */
export function headingOf({ Type, MainDicomTags: tags }: Resource): string {
  switch (Type) {
    case 'Patient':
      return personName(tags['PatientName']) || tags['PatientID'] || t.studies.noName;
    case 'Study':
      return joined([tags['StudyDescription'] || t.resource.study, date(tags['StudyDate'])]);
    case 'Series':
      return joined([tags['Modality'], tags['SeriesDescription'] || tags['ProtocolName'] || t.resource.series], ' ');
    case 'Instance':
      return t.resource.instanceNumber(tags['InstanceNumber']?.trim() ?? '');
  }
}

/** What one is called where it stands alone: in the heading of its page. */
export function titleOf(itself: Resource, parents: readonly Resource[]): string {
  const patient = parents.find((each) => each.Type === 'Patient');
  if (itself.Type === 'Instance') {
    const series = parents.find((each) => each.Type === 'Series');
    return joined([series && headingOf(series), headingOf(itself)]);
  }
  return itself.Type === 'Study' && patient !== undefined
    ? joined([headingOf(patient), itself.MainDicomTags['StudyDescription']])
    : headingOf(itself);
}

/** What people call a tag by its keyword. */
export function tagName(keyword: string): string {
  return (
    t.tags[keyword as keyof typeof t.tags] ?? keyword.replaceAll(/(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])/g, ' ')
  );
}
