/** Owns what a row of the list of studies unfolds to: its series. */

import { Eye } from 'lucide';
import { related } from '../api/resources.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { Thumbnail } from '../parts/thumbnail.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';

/** Pixels of one series, and series that are shown before the rest is scrolled to. */
const SERIES_HEIGHT = 52;
const MOST_SHOWN = 8;

/** Pixels that a study with so many series unfolds to. */
export function unfoldedHeight(series: number): number {
  return Math.min(Math.max(series, 1), MOST_SHOWN) * SERIES_HEIGHT + 17;
}

/** The series of a study. */
export function Unfolded({ study }: { readonly study: string }) {
  const { value, error, reload } = useFetched(async (signal) => related('studies', study, 'series', signal), [study]);
  if (error !== undefined) return <Failed error={error} retry={reload} />;
  if (value === undefined) return <Loading />;
  const ordered = value.toSorted(
    (a, b) => Number(a.MainDicomTags['SeriesNumber'] ?? 0) - Number(b.MainDicomTags['SeriesNumber'] ?? 0),
  );
  return (
    <ul class="unfolded" aria-label={t.studies.seriesOfStudy}>
      {ordered.map(({ ID, MainDicomTags: tags, Instances = [] }) => (
        <li key={ID} style={{ height: `${SERIES_HEIGHT}px` }}>
          <Thumbnail size={42} instance={Instances[Math.floor(Instances.length / 2)]} modality={tags['Modality']} />
          <span class="badge modality">{tags['Modality']}</span>
          <a class="ellipsis" href={href(`series/${ID}`)}>
            {(tags['SeriesNumber'] ?? '') !== '' && <span class="muted">{tags['SeriesNumber']} · </span>}
            {tags['SeriesDescription'] || tags['ProtocolName'] || t.studies.noDescription}
          </a>
          <span class="muted ellipsis">{tags['BodyPartExamined']}</span>
          <span class="muted">{t.common.instances(Instances.length)}</span>
          <a class="button quiet small" href={href(`view/${study}/${ID}`)}>
            <Icon of={Eye} /> {t.studies.view}
          </a>
        </li>
      ))}
    </ul>
  );
}
