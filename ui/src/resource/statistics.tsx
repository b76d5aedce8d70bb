/** Owns how much a resource holds. */

import { type Place, statistics } from '../api/resources.ts';
import { bytes } from '../format.ts';
import { useFetched } from '../parts/fetched.ts';
import { Failed } from '../parts/page.tsx';
import { t } from '../texts.ts';

interface StatisticsProps {
  readonly place: Place;
  readonly id: string;
  readonly version: string;
}

/** The box. */
export function Statistics({ place, id, version }: StatisticsProps) {
  const { value, error, reload } = useFetched(async (signal) => statistics(place, id, signal), [place, id, version]);
  const onDisk = Number(value?.DiskSize ?? 0);
  const whole = Number(value?.UncompressedSize ?? 0);
  const lines = [
    [t.resource.studies, value?.CountStudies?.toLocaleString('en')],
    [t.resource.seriesCount, value?.CountSeries?.toLocaleString('en')],
    [t.resource.instancesCount, value?.CountInstances?.toLocaleString('en')],
    [t.resource.onDisk, value && bytes(onDisk)],
    [t.resource.uncompressed, value !== undefined && whole !== onDisk ? bytes(whole) : undefined],
  ] as const;
  return (
    <section class="panel facts">
      <header>
        <h2>{t.resource.statistics}</h2>
      </header>
      {error !== undefined && <Failed error={error} retry={reload} />}
      <dl>
        {lines.map(
          ([title, shown]) =>
            shown !== undefined && (
              <div key={title}>
                <dt>{title}</dt>
                <dd>{shown}</dd>
              </div>
            ),
        )}
      </dl>
    </section>
  );
}
