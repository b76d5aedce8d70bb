/** Owns the picture of an instance: its frames, one at a time, as the server draws them. */

import { ChevronLeft, ChevronRight, ImageOff } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { url } from '../api.ts';
import { frames, pictureUrl } from '../api/resources.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Empty } from '../parts/page.tsx';
import { t } from '../texts.ts';

/** Pixels of the picture, at most. */
const SIZE = 1024;

/** The picture. */
export function Picture({ id }: { readonly id: string }) {
  const count = useFetched(async (signal) => frames(id, signal), [id]);
  const [frame, setFrame] = useState(0);
  const [failed, setFailed] = useState(false);
  useEffect(() => setFailed(false), [id, frame]);
  const last = Math.max(0, (count.value ?? 1) - 1);
  if (count.error !== undefined || failed) {
    return (
      <Empty icon={ImageOff} title={t.resource.noPicture}>
        <p>{t.resource.noPictureHint}</p>
      </Empty>
    );
  }
  return (
    <figure class="picture">
      <img
        src={pictureUrl(id, SIZE, frame)}
        alt={t.resource.pictureOf(frame + 1, last + 1)}
        onError={() => setFailed(true)}
      />
      <figcaption>
        {last > 0 && (
          <>
            <button
              type="button"
              class="button icon-only small"
              aria-label={t.resource.frameBack}
              disabled={frame === 0}
              onClick={() => setFrame(frame - 1)}
            >
              <Icon of={ChevronLeft} />
            </button>
            <input
              type="range"
              min={0}
              max={last}
              value={frame}
              aria-label={t.resource.frame}
              onInput={(event) => setFrame(Number(event.currentTarget.value))}
            />
            <button
              type="button"
              class="button icon-only small"
              aria-label={t.resource.frameOn}
              disabled={frame === last}
              onClick={() => setFrame(frame + 1)}
            >
              <Icon of={ChevronRight} />
            </button>
            <span class="muted">{t.resource.frameOf(frame + 1, last + 1)}</span>
          </>
        )}
        <a
          class="button small"
          href={url('instances', id, 'frames', String(frame), 'rendered')}
          download={`${id}-${frame + 1}.png`}
        >
          {t.resource.savePicture}
        </a>
      </figcaption>
    </figure>
  );
}
