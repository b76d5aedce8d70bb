/** Owns the main tags of a resource beside its page, with its identifiers to copy. */

import type { Resource } from '../api/resources.ts';
import { date, personName, time, timestamp } from '../format.ts';
import { Copy } from './copy.tsx';
import { tagName } from './naming.ts';
import { t } from '../texts.ts';

/** Of the main tags, those that say nothing to people here: the tags show them. */
const LEFT_OUT = /^(NumberOf|ImageOrientation|ImagePosition|.*Sequence$)/;
/** Characters from which a value stands below its name. */
const LONG = 20;
const NAMES = /(Name|Physician)$/;

/** A value as people read it, by what its keyword says. */
function readable(keyword: string, value: string): string {
  if (keyword.endsWith('Date')) return date(value);
  if (keyword.endsWith('Time')) return time(value);
  if (NAMES.test(keyword) && keyword !== 'InstitutionName' && keyword !== 'ProtocolName') return personName(value);
  return value.replaceAll('\\', ' \\ ');
}

/** What stands first, in this order. */
const FIRST = [
  'PatientName',
  'PatientID',
  'PatientBirthDate',
  'PatientSex',
  'StudyDescription',
  'StudyDate',
  'StudyTime',
  'ModalitiesInStudy',
  'AccessionNumber',
  'ReferringPhysicianName',
  'InstitutionName',
  'Modality',
  'SeriesDescription',
  'SeriesNumber',
  'SeriesDate',
  'SeriesTime',
  'BodyPartExamined',
  'ProtocolName',
  'InstanceNumber',
];
const rank = (keyword: string): number => (FIRST.indexOf(keyword) + FIRST.length + 1) % (FIRST.length + 1);

function Line({ title, value, copied }: { readonly title: string; readonly value: string; readonly copied?: boolean }) {
  return (
    <div class={value.length > LONG || title.length > LONG ? 'long' : undefined}>
      <dt>{title}</dt>
      <dd>
        <span class={copied === true ? 'mono' : undefined}>{value}</span>
        {copied === true && <Copy of={value} title={title} />}
      </dd>
    </div>
  );
}

interface FactsProps {
  readonly itself: Resource;
  readonly parents: readonly Resource[];
  /** Names and values that stand before the identifiers. */
  readonly more?: readonly (readonly [string, string])[] | undefined;
}

/** The box. */
export function Facts({ itself, parents, more = [] }: FactsProps) {
  const study = parents.find((each) => each.Type === 'Study');
  const patient = itself.Type === 'Study' ? (itself.PatientMainDicomTags ?? {}) : {};
  const asked = itself.RequestedTags ?? {};
  const all = { ...patient, ...itself.MainDicomTags, ...asked };
  const lines = Object.entries<unknown>(all).flatMap(([keyword, value]) =>
    // A sequence among the main tags is a list.
    typeof value === 'string' && value !== '' && !LEFT_OUT.test(keyword) ? [[keyword, value] as const] : [],
  );
  const context = itself.Type === 'Series' ? study : undefined;
  return (
    <section class="panel facts">
      <header>
        <h2>{t.resource.levels[itself.Type]}</h2>
      </header>
      <dl>
        {lines
          .toSorted(([a], [b]) => rank(a) - rank(b))
          .map(([keyword, value]) => (
            <Line
              key={keyword}
              title={tagName(keyword)}
              value={readable(keyword, value)}
              copied={/UID$|ID$/.test(keyword)}
            />
          ))}
        {context !== undefined && context.MainDicomTags['AccessionNumber'] !== undefined && (
          <Line title={tagName('AccessionNumber')} value={context.MainDicomTags['AccessionNumber']} />
        )}
        {more.map(([title, value]) => value !== '' && <Line key={title} title={title} value={value} />)}
        <Line title={t.resource.orthancId} value={itself.ID} copied />
        {itself.LastUpdate !== undefined && <Line title={t.resource.lastUpdate} value={timestamp(itself.LastUpdate)} />}
      </dl>
    </section>
  );
}
