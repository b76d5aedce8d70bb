/** Owns what the pages of patients, studies, series and instances share: the way down to it, what it is, what can be done, and its parts. */

import { Eye, FileQuestion } from 'lucide';
import type { ComponentChildren } from 'preact';
import { Toolbar } from '../actions/toolbar.tsx';
import { existing } from '../api/children.ts';
import { type Place, PLACE_OF, type Resource } from '../api/resources.ts';
import { Icon } from '../parts/icon.tsx';
import { Labels } from '../parts/labels.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Popover } from '../parts/popover.tsx';
import { mayBePicture } from '../parts/modalities.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { notifyError } from '../parts/toasts.tsx';
import { href, navigate } from '../router.ts';
import { t } from '../texts.ts';
import { linkTo, listViewers } from '../api/other-viewers.ts';
import { Attachments } from './attachments.tsx';
import { Facts } from './facts.tsx';
import { History } from './history.tsx';
import { isGone, type Loaded, useLoaded } from './loaded.ts';
import { Metadata } from './metadata.tsx';
import { headingOf, titleOf } from './naming.ts';
import { Statistics } from './statistics.tsx';
import { type Tab, Tabs } from './tabs.tsx';
import { SharedTags } from './tags.tsx';
import './resource.css';

/** The way from the list of studies to a resource. */
function Breadcrumb({ parents, itself }: { readonly parents: readonly Resource[]; readonly itself: Resource }) {
  return (
    <nav class="breadcrumb" aria-label={t.resource.breadcrumb}>
      <ol>
        <li>
          <a href={href('')}>{t.nav.studies}</a>
        </li>
        {parents.map((each) => (
          <li key={each.ID}>
            <a href={href(`${PLACE_OF[each.Type]}/${each.ID}`)} title={t.resource.levels[each.Type]}>
              {headingOf(each)}
            </a>
          </li>
        ))}
        <li aria-current="page">{headingOf(itself)}</li>
      </ol>
    </nav>
  );
}

/** Where the viewer shows a resource; undefined where it does not. */
function viewOf({ itself, parents }: Loaded): string | undefined {
  if (itself.Type === 'Patient') return undefined;
  if (itself.Type === 'Study') {
    return mayBePicture(itself.RequestedTags?.['ModalitiesInStudy'] ?? '') ? `view/${itself.ID}` : undefined;
  }
  const series = itself.Type === 'Series' ? itself : parents.find((each) => each.Type === 'Series');
  if (series === undefined || !mayBePicture(series.MainDicomTags['Modality'] ?? '')) return undefined;
  return `view/${series.ParentStudy}/${series.ID}`;
}

/** The other viewers that the server names, where it names some. */
function OtherViewers({ loaded: { itself, parents } }: { readonly loaded: Loaded }) {
  const { value = [] } = useFetched(listViewers, []);
  const chain = [...parents, itself];
  const study = chain.find((each) => each.Type === 'Study');
  const series = chain.find((each) => each.Type === 'Series');
  if (value.length === 0 || study === undefined) return null;
  const texts = {
    StudyInstanceUID: study.MainDicomTags['StudyInstanceUID'] ?? '',
    SeriesInstanceUID: series?.MainDicomTags['SeriesInstanceUID'] ?? '',
  };
  return (
    <Popover closes class="small" label={t.viewer.openIn}>
      <div class="menu-list">
        {value.map((viewer) => (
          <a
            key={viewer.Name}
            href={linkTo(viewer, { study: study.ID, series: series?.ID ?? '', info: { texts } })}
            target="_blank"
            rel="noreferrer"
          >
            {viewer.Name}
          </a>
        ))}
      </div>
    </Popover>
  );
}

/** Goes to what a deleted resource was part of: the nearest that did not go with it. */
async function leave(parents: readonly Resource[]): Promise<void> {
  const left = parents.length === 0 ? [] : await existing(parents.map(({ ID }) => ID));
  const parent = parents.findLast(({ ID }) => left.some((each) => each.ID === ID));
  navigate(parent === undefined ? '' : `${PLACE_OF[parent.Type]}/${parent.ID}`);
}

function Shown({ place, loaded, reload, content, tabs, facts }: Omit<ResourcePageProps, 'id'> & ShownProps) {
  const { itself, parents, version } = loaded;
  const view = viewOf(loaded);
  const all: readonly Tab[] = [
    { name: 'content', title: t.resource.contents[place], body: content(loaded) },
    ...(tabs?.(loaded) ?? [
      {
        name: 'tags',
        title: t.resource.commonTags,
        body: <SharedTags place={place} id={itself.ID} version={version} />,
      },
    ]),
    {
      name: 'details',
      title: t.resource.details,
      body: (
        <div class="details">
          <Metadata place={place} id={itself.ID} version={version} />
          <Attachments place={place} id={itself.ID} version={version} />
        </div>
      ),
    },
    { name: 'history', title: t.resource.history, body: <History place={place} itself={itself} /> },
  ];
  return (
    <Page
      title={titleOf(itself, parents)}
      subtitle={
        <span class="row">
          <span class="badge">{t.resource.levels[itself.Type]}</span>
          {itself.IsStable === false && <span class="badge warn">{t.resource.arriving}</span>}
          {itself.IsProtected === true && <span class="badge good">{t.resource.protected}</span>}
          <Labels of={itself.Labels ?? []} />
        </span>
      }
    >
      <Breadcrumb parents={parents} itself={itself} />
      <div class="resource-actions">
        {view !== undefined && (
          <a class="button small primary" href={href(view)}>
            <Icon of={Eye} /> {t.resource.openViewer}
          </a>
        )}
        <OtherViewers loaded={loaded} />
        <Toolbar
          place={place}
          resources={[withPatient(itself, parents)]}
          onDone={(done) => {
            if (done === 'deleted') void leave(parents).catch(notifyError);
            else reload();
          }}
        />
      </div>
      <div class="resource">
        <div class="resource-main">
          <Tabs label={t.resource.parts} tabs={all} />
        </div>
        <aside class="stack">
          <Facts itself={itself} parents={parents} more={facts} />
          <Statistics place={place} id={itself.ID} version={version} />
        </aside>
      </div>
    </Page>
  );
}

/** A resource with what names its patient, whatever its level. */
function withPatient(itself: Resource, parents: readonly Resource[]): Resource {
  const patient = parents.find((each) => each.Type === 'Patient');
  const study = parents.find((each) => each.Type === 'Study');
  return {
    ...itself,
    PatientMainDicomTags: { ...patient?.MainDicomTags, ...itself.PatientMainDicomTags },
    ...(patient?.IsProtected === true && { IsProtected: true }),
    ...(itself.ParentPatient === undefined && patient !== undefined && { ParentPatient: patient.ID }),
    ...(itself.ParentStudy === undefined && study !== undefined && { ParentStudy: study.ID }),
  };
}

interface ShownProps {
  readonly loaded: Loaded;
  readonly reload: () => void;
}

interface ResourcePageProps {
  readonly place: Place;
  /** Orthanc's. */
  readonly id: string;
  /** What stands first: its children, or the picture. */
  readonly content: (loaded: Loaded) => ComponentChildren;
  /** What else there is to say of it, by name. */
  readonly facts?: readonly (readonly [string, string])[];
  /** The parts between the first and the details; else what its instances have in common. */
  readonly tabs?: (loaded: Loaded) => readonly Tab[];
}

/** The page of one resource. */
export function ResourcePage({ place, id, ...rest }: ResourcePageProps) {
  const { value, error, reload } = useLoaded(place, id);
  if (error !== undefined && isGone(error)) {
    return (
      <Page title={t.resource.gone}>
        <Empty icon={FileQuestion} title={value === undefined ? t.resource.goneHint : t.resource.goneNow}>
          <a class="button" href={href('')}>
            {t.errors.toStudies}
          </a>
        </Empty>
      </Page>
    );
  }
  if (value !== undefined) return <Shown place={place} loaded={value} reload={reload} {...rest} />;
  return error === undefined ? <Loading /> : <Failed error={error} retry={reload} />;
}
