/** Owns small pictures: of an instance, or of the one in the middle of a series; those that are out of sight are not asked for. */

import { ImageOff } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { pictureUrl, resource } from '../api/resources.ts';
import { Icon } from './icon.tsx';
import { mayBePicture } from './modalities.tsx';

/** Instances that stand for series: remembered, for lists show the same series again and again. */
const MOST = 2000;
const middles = new Map<string, string>();

/** The instance that stands for a series: the one in the middle. */
async function middleOf(series: string, signal: AbortSignal): Promise<string | undefined> {
  const known = middles.get(series);
  if (known !== undefined) return known;
  const { Instances = [] } = await resource('series', series, signal);
  const middle = Instances[Math.floor(Instances.length / 2)];
  if (middle === undefined) return undefined;
  for (const oldest of middles.keys()) {
    if (middles.size < MOST) break;
    middles.delete(oldest);
  }
  middles.set(series, middle);
  return middle;
}

interface ThumbnailProps {
  /** Pixels wide and high. */
  readonly size: number;
  readonly instance?: string | undefined;
  readonly series?: string | undefined;
  /** Of what is shown, several with backslashes: of some there is no picture to ask for. */
  readonly modality?: string | undefined;
}

/** A small picture, decorative: what it belongs to says its name. */
export function Thumbnail({ size, instance, series, modality = '' }: ThumbnailProps) {
  const none = !mayBePicture(modality);
  const [shown, setShown] = useState(instance ?? (series === undefined ? undefined : middles.get(series)));
  const [failed, setFailed] = useState(none);
  useEffect(() => {
    setFailed(none);
    if (none) return;
    if (instance !== undefined || series === undefined) {
      setShown(instance);
      return;
    }
    const stop = new AbortController();
    // A list that is scrolled through asks for nothing.
    const wait = setTimeout(() => {
      middleOf(series, stop.signal).then(setShown, () => setFailed(!stop.signal.aborted));
    }, 120);
    return () => {
      clearTimeout(wait);
      stop.abort();
    };
  }, [instance, series, none]);
  return (
    <span class="thumbnail" style={{ width: `${size}px`, height: `${size}px` }}>
      {failed && <Icon of={ImageOff} size={Math.min(18, size / 2)} />}
      {shown !== undefined && !failed && (
        <img
          src={pictureUrl(shown, size * 2)}
          alt=""
          width={size}
          height={size}
          loading="lazy"
          decoding="async"
          onError={() => setFailed(true)}
        />
      )}
    </span>
  );
}
