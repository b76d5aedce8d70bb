/** Owns what a patient, study or series is made of: studies and series with a picture each, instances as many small pictures. */

import { Eye } from 'lucide';
import { useState } from 'preact/hooks';
import { related, type Resource } from '../api/resources.ts';
import { instancesOf } from '../api/children.ts';
import { date, time } from '../format.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Labels } from '../parts/labels.tsx';
import { Modalities } from '../parts/modalities.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { Thumbnail } from '../parts/thumbnail.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { ChosenBar, useChosen } from './chosen.tsx';
import type { Loaded } from './loaded.ts';

/** Instances that are shown at first, and that each further step adds. */
const STEP = 120;

interface CardProps {
  readonly title: string;
  readonly name: string;
  readonly link: string;
  readonly view: string;
  readonly series: string | undefined;
  readonly instance?: string | undefined;
  readonly modalities: string;
  readonly facts: readonly (string | undefined)[];
  readonly labels: readonly string[];
  readonly chosen: boolean;
  readonly onChoose: (chosen: boolean) => void;
}

/** A study or series. */
function Card(props: CardProps) {
  const { title, name, link, view, series, instance, modalities, facts, labels, chosen, onChoose } = props;
  return (
    <li class={chosen ? 'card chosen' : 'card'}>
      <label class="check-cell">
        <input
          type="checkbox"
          checked={chosen}
          aria-label={t.resource.select(name)}
          onChange={(event) => onChoose(event.currentTarget.checked)}
        />
      </label>
      <a href={href(link)} tabIndex={-1} aria-hidden="true">
        <Thumbnail size={84} series={series} instance={instance} modality={modalities} />
      </a>
      <div class="card-body">
        <span class="row">
          <Modalities value={modalities} />
          <a href={href(link)} class="card-title">
            {title}
          </a>
        </span>
        <span class="muted">{facts.filter((fact) => fact !== undefined && fact !== '').join(' · ')}</span>
        {labels.length > 0 && <Labels of={labels} />}
      </div>
      <a class="button quiet small" href={href(view)} aria-label={t.resource.view(name)}>
        <Icon of={Eye} /> {t.studies.view}
      </a>
    </li>
  );
}

/** The studies of a patient, the latest first. */
export function StudiesOf({ loaded: { itself, version } }: { readonly loaded: Loaded }) {
  const { value, error, reload } = useFetched(
    async (signal) =>
      related('patients', itself.ID, 'studies', signal, [
        'ModalitiesInStudy',
        'NumberOfStudyRelatedSeries',
        'NumberOfStudyRelatedInstances',
      ]),
    [itself.ID, version],
  );
  const chosen = useChosen(value ?? []);
  if (value === undefined) return error === undefined ? <Loading /> : <Failed error={error} retry={reload} />;
  const when = ({ MainDicomTags: tags }: Resource): string => `${tags['StudyDate'] ?? ''}${tags['StudyTime'] ?? ''}`;
  const ordered = value.toSorted((a, b) => (when(a) < when(b) ? 1 : -1));
  return (
    <>
      <ChosenBar place="studies" chosen={chosen} of={value.length} onDone={reload} />
      <ul class="cards">
        {ordered.map(({ ID, MainDicomTags: tags, RequestedTags: asked = {}, Series = [], Labels: labels = [] }) => (
          <Card
            key={ID}
            title={tags['StudyDescription'] || t.studies.noDescription}
            name={tags['StudyDescription'] || date(tags['StudyDate'])}
            link={`studies/${ID}`}
            view={`view/${ID}`}
            series={Series[0]}
            modalities={asked['ModalitiesInStudy'] ?? ''}
            facts={[
              [date(tags['StudyDate']), time(tags['StudyTime'])].join(' ').trim(),
              tags['AccessionNumber'],
              t.common.series(Series.length),
              t.common.instances(Number(asked['NumberOfStudyRelatedInstances'] ?? 0)),
            ]}
            labels={labels}
            chosen={chosen.has(ID)}
            onChoose={(yes) => chosen.choose(ID, yes)}
          />
        ))}
      </ul>
    </>
  );
}

/** The series of a study, in the order of their numbers. */
export function SeriesOf({ loaded: { itself, version } }: { readonly loaded: Loaded }) {
  const { value, error, reload } = useFetched(
    async (signal) => related('studies', itself.ID, 'series', signal),
    [itself.ID, version],
  );
  const chosen = useChosen(value ?? []);
  if (value === undefined) return error === undefined ? <Loading /> : <Failed error={error} retry={reload} />;
  const number = ({ MainDicomTags: tags }: Resource): number => Number(tags['SeriesNumber'] ?? 0);
  return (
    <>
      <ChosenBar place="series" chosen={chosen} of={value.length} onDone={reload} />
      <ul class="cards">
        {value
          .toSorted((a, b) => number(a) - number(b))
          .map(({ ID, MainDicomTags: tags, Instances = [], Labels: labels = [] }) => {
            const name = tags['SeriesDescription'] || tags['ProtocolName'] || t.studies.noDescription;
            return (
              <Card
                key={ID}
                title={[tags['SeriesNumber'], name].filter((part) => part !== undefined && part !== '').join(' · ')}
                name={name}
                link={`series/${ID}`}
                view={`view/${itself.ID}/${ID}`}
                series={undefined}
                instance={Instances[Math.floor(Instances.length / 2)]}
                modalities={tags['Modality'] ?? ''}
                facts={[
                  t.common.instances(Instances.length),
                  tags['BodyPartExamined'],
                  tags['StationName'],
                  date(tags['SeriesDate']),
                ]}
                labels={labels}
                chosen={chosen.has(ID)}
                onChoose={(yes) => chosen.choose(ID, yes)}
              />
            );
          })}
      </ul>
    </>
  );
}

/** The instances of a series, in the order of their numbers. */
export function InstancesOf({ loaded: { itself, version } }: { readonly loaded: Loaded }) {
  const [most, setMost] = useState(STEP);
  const { value, error, reload } = useFetched(
    async (signal) => instancesOf(itself.ID, most, signal),
    [itself.ID, version, most],
  );
  const chosen = useChosen(value ?? []);
  if (value === undefined) return error === undefined ? <Loading /> : <Failed error={error} retry={reload} />;
  const total = itself.Instances?.length ?? value.length;
  return (
    <>
      <ChosenBar place="instances" chosen={chosen} of={value.length} onDone={reload} />
      <ul class="pictures">
        {value.map(({ ID, MainDicomTags: tags }, index) => {
          const name = t.resource.instanceNumber(tags['InstanceNumber']?.trim() || String(index + 1));
          return (
            <li key={ID} class={chosen.has(ID) ? 'chosen' : undefined}>
              <a href={href(`instances/${ID}`)} title={name}>
                <Thumbnail size={104} instance={ID} modality={itself.MainDicomTags['Modality']} />
                <span class="ellipsis">{tags['InstanceNumber']?.trim() || '–'}</span>
                <span class="sr-only">{name}</span>
              </a>
              <label class="check-cell">
                <input
                  type="checkbox"
                  checked={chosen.has(ID)}
                  aria-label={t.resource.select(name)}
                  onChange={(event) => chosen.choose(ID, event.currentTarget.checked)}
                />
              </label>
            </li>
          );
        })}
      </ul>
      {total > value.length && (
        <p class="row">
          <button type="button" class="button" onClick={() => setMost(most + STEP * 4)}>
            {t.resource.showMore(total - value.length)}
          </button>
        </p>
      )}
    </>
  );
}
