/** Owns the strip of the study's series. */

import { FileText, ImageOff } from 'lucide';
import { useEffect, useRef, useState } from 'preact/hooks';
import { url } from '../api.ts';
import { Icon } from '../parts/icon.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { SERIES_TYPE } from './cell.tsx';
import { mayShow, modalityOf, type Room, type Series, tagOf } from './room.ts';

/** Pixels of a thumbnail, for screens of twice the usual density. */
const SIZE = 160;

function Thumbnail({ series }: { readonly series: Series }) {
  const [failed, setFailed] = useState(false);
  const instance = series.Instances[Math.floor(series.Instances.length / 2)];
  if (failed || instance === undefined) return <Icon of={ImageOff} size={24} />;
  return (
    <img
      src={`${url('instances', instance, 'rendered')}?width=${SIZE}&height=${SIZE}`}
      alt=""
      loading="lazy"
      draggable={false}
      onError={() => setFailed(true)}
    />
  );
}

function Entry({ room, series }: { readonly room: Room; readonly series: Series }) {
  const { Instances } = series;
  const name = t.viewer.series(tagOf(series, 'SeriesNumber'), tagOf(series, 'SeriesDescription'));
  const current = room.active.value.series.value === series.ID;
  const button = useRef<HTMLButtonElement>(null);
  useEffect(() => {
    if (current) button.current?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, [current]);
  const words = (
    <span class="strip-words">
      <b class="ellipsis">{tagOf(series, 'SeriesDescription') || name}</b>
      <span>
        {modalityOf(series)} {tagOf(series, 'SeriesNumber') !== '' && `#${tagOf(series, 'SeriesNumber')}`} ·{' '}
        {t.viewer.images(Instances.length)}
      </span>
    </span>
  );
  if (!mayShow(series)) {
    return (
      <a class="strip-entry" href={href(`series/${series.ID}`)} title={t.viewer.notPicture(modalityOf(series))}>
        <span class="strip-picture">
          <Icon of={FileText} size={24} />
        </span>
        {words}
      </a>
    );
  }
  return (
    <button
      ref={button}
      type="button"
      class="strip-entry"
      aria-pressed={current}
      title={name}
      draggable
      onDragStart={(event) => event.dataTransfer?.setData(SERIES_TYPE, series.ID)}
      onClick={() => room.choose(series.ID)}
    >
      <span class="strip-picture">
        <Thumbnail series={series} />
      </span>
      {words}
    </button>
  );
}

/** The strip: a series is opened by choosing it, or by dragging it to a viewport. */
export function Strip({ room }: { readonly room: Room }) {
  const series = room.series.value;
  return (
    <nav class="strip" aria-label={t.viewer.seriesStrip}>
      {series?.length === 0 && <p class="muted">{t.viewer.noSeries}</p>}
      <ul>
        {series?.map((each) => (
          <li key={each.ID}>
            <Entry room={room} series={each} />
          </li>
        ))}
      </ul>
    </nav>
  );
}
