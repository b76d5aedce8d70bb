/** Owns one viewport on the page: the picture, what is written over it, and the way through its images. */

import { FileText, LoaderCircle } from 'lucide';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { ApiError, messageOf } from '../api.ts';
import { Icon } from '../parts/icon.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import type { FrameInfo } from './info.ts';
import type { Level } from './level.ts';
import type { Room } from './room.ts';
import { draw, type Preview } from './preview.ts';
import { NoPictures } from './stack.ts';
import type { Stage } from './stage.ts';
import type { View } from './view.ts';

/** What a series is carried as from the strip to a viewport. */
export const SERIES_TYPE = 'application/x-isen-series';

/** `20260131` as people write it, where it is a date. */
const dateText = (value: string): string => value.replace(/^(\d{4})(\d{2})(\d{2})$/, '$1-$2-$3');
/** `101530.125` as people write it. */
const timeText = (value: string): string => value.replace(/^(\d{2})(\d{2})(\d{2})?.*$/, (_, h, m) => `${h}:${m}`);
/** The first of the groups of a name, without its separators. */
const nameText = (value: string): string =>
  (value.split('=').find((group) => group !== '') ?? '').replaceAll('^', ' ').trim();

const levelText = ({ center, width }: Level): string => t.viewer.level(t.viewer.number(center), t.viewer.number(width));

/** Lines in a corner, of which empty ones are left out. */
function Corner({ place, lines }: { readonly place: string; readonly lines: readonly string[] }) {
  const written = lines.filter((line) => line !== '');
  return (
    <div class={`words ${place}`}>
      {written.map((line) => (
        <div key={line}>{line}</div>
      ))}
    </div>
  );
}

/** What is written in the corners. */
function Texts({ view, info }: { readonly view: View; readonly info: FrameInfo }) {
  const { texts } = info;
  const level = view.level.value;
  const spacing =
    info.spacing === undefined ? t.viewer.noSpacing : info.spacingKind === 'detector' ? t.viewer.detectorSpacing : '';
  const place =
    view.plane === undefined && info.location !== undefined ? t.viewer.location(t.viewer.number(info.location)) : '';
  return (
    <>
      <Corner
        place="top left"
        lines={[
          nameText(texts.PatientName),
          texts.PatientID,
          [texts.PatientBirthDate === '' ? '' : t.viewer.born(dateText(texts.PatientBirthDate)), texts.PatientSex]
            .filter((part) => part !== '')
            .join('  '),
        ]}
      />
      <Corner
        place="top right"
        lines={[
          texts.StudyDescription,
          `${dateText(texts.StudyDate)} ${timeText(texts.StudyTime)}`.trim(),
          texts.InstitutionName,
        ]}
      />
      <Corner
        place="bottom left"
        lines={[
          view.plane === undefined
            ? `${texts.Modality} ${t.viewer.series(texts.SeriesNumber, texts.SeriesDescription)}`.trim()
            : t.viewer.planes[view.plane],
          view.count.value === 0 ? '' : t.viewer.position(view.index.value + 1, view.count.value),
          place,
          view.plane === undefined && info.thickness !== undefined
            ? t.viewer.thickness(t.viewer.number(info.thickness))
            : '',
        ]}
      />
      <Corner
        place="bottom right"
        lines={[
          spacing,
          view.inverted.value ? t.viewer.inverted : '',
          t.viewer.zoom((view.zoom.value * 100).toFixed(0)),
          level === undefined || !info.photometric.startsWith('MONOCHROME') ? '' : levelText(level),
        ]}
      />
    </>
  );
}

/** Letters of the patient's sides. */
function Sides({ view }: { readonly view: View }) {
  const edges = view.edges.value;
  if (edges === undefined) return null;
  return (
    <>
      {(['left', 'right', 'top', 'bottom'] as const).map((side) => (
        <div key={side} class={`side ${side}`}>
          {edges[side]}
        </div>
      ))}
    </>
  );
}

/** Why there is no picture. */
function Trouble({ error }: { readonly error: unknown }) {
  if (error instanceof NoPictures) {
    return (
      <div class="trouble" role="alert">
        <Icon of={FileText} size={28} />
        <p>{t.viewer.noPictures}</p>
        {error.instance !== undefined && (
          <a class="button small" href={href(`instances/${error.instance}`)}>
            {t.viewer.noPicturesLink}
          </a>
        )}
      </div>
    );
  }
  const isDamaged = error instanceof ApiError && (error.status === 400 || error.status === 415);
  return (
    <div class="trouble" role="alert">
      <p>{isDamaged ? t.viewer.damaged : messageOf(error)}</p>
    </div>
  );
}

/** The way through the images, and how many of them are there. */
function Way({ view, number }: { readonly view: View; readonly number: number }) {
  const count = view.count.value;
  const stack = view.stack.value;
  if (count < 2 || stack === undefined) return null;
  const total = stack.frames.length;
  const share = view.loaded.value / total;
  return (
    <div class="way" title={share < 1 ? t.viewer.loading(view.loaded.value, total) : undefined}>
      <input
        type="range"
        class="way-range"
        aria-label={`${t.viewer.slider}, ${t.viewer.view(number)}`}
        aria-orientation="vertical"
        aria-valuetext={t.viewer.imageOf(view.index.value + 1, count)}
        min={0}
        max={count - 1}
        value={view.index.value}
        onInput={(event) => view.go(event.currentTarget.valueAsNumber)}
      />
      {share < 1 && (
        <progress class="way-loaded" max={1} value={share} aria-label={t.viewer.loading(view.loaded.value, total)} />
      )}
    </div>
  );
}

/** The first image, until the renderer shows it. */
function FirstImage({ view, preview }: { readonly view: View; readonly preview: Preview }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const { current } = canvas;
    if (current === null) return undefined;
    const show = (): void => {
      view.zoom.value = draw(current, preview);
      preview.drawn();
    };
    // It calls at once, when the canvas has its size.
    const watch = new ResizeObserver(show);
    watch.observe(current);
    return () => watch.disconnect();
  }, [view, preview]);
  return <canvas ref={canvas} class="first-image" />;
}

interface CellProps {
  readonly room: Room;
  readonly view: View;
  /** Absent until the renderer has started. */
  readonly stage: Stage | undefined;
  /** Of the viewport, from 1. */
  readonly number: number;
}

/** One viewport. */
export function Cell({ room, view, stage, number }: CellProps) {
  const picture = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    if (stage !== undefined && picture.current !== null) view.connect(stage, picture.current);
    return () => {
      if (stage !== undefined) view.disconnect();
    };
  }, [view, stage]);
  const active = room.active.value === view;
  useEffect(() => {
    if (active && document.activeElement?.closest('.cell') != null) picture.current?.focus({ preventScroll: true });
  }, [active]);
  const { info } = view;
  const error = view.error.value;
  const several = room.views.value.length > 1;
  const position = view.count.value === 0 ? '' : `, ${t.viewer.imageOf(view.index.value + 1, view.count.value)}`;
  return (
    <section
      class={`cell${active && several ? ' active' : ''}`}
      aria-label={t.viewer.view(number)}
      onDragOver={(event) => {
        if (event.dataTransfer?.types.includes(SERIES_TYPE)) event.preventDefault();
      }}
      onDrop={(event) => {
        const series = event.dataTransfer?.getData(SERIES_TYPE) ?? '';
        if (series === '') return;
        event.preventDefault();
        room.choose(series, view);
      }}
      onPointerDownCapture={() => {
        room.active.value = view;
      }}
    >
      <div
        ref={picture}
        class={`picture tool-${room.tool.value}`}
        tabIndex={0}
        role="application"
        aria-label={`${t.viewer.view(number)}${position}`}
        onContextMenu={(event) => event.preventDefault()}
        onFocus={() => {
          room.active.value = view;
        }}
      />
      {view.preview.value !== undefined && <FirstImage view={view} preview={view.preview.value} />}
      {room.overlay.value && info !== undefined && error === undefined && (
        <div class="texts">
          <Texts view={view} info={info} />
          <Sides view={view} />
        </div>
      )}
      <Way view={view} number={number} />
      {view.busy.value && (
        <div class={view.preview.value === undefined ? 'busy' : 'busy aside'} role="status">
          <Icon of={LoaderCircle} size={28} />
          <span class="sr-only">{t.common.loading}</span>
        </div>
      )}
      {error !== undefined && <Trouble error={error} />}
      {view.series.value === undefined && view.plane === undefined && <p class="vacant">{t.viewer.empty}</p>}
    </section>
  );
}
