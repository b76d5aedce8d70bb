/** Owns dropping files anywhere, and how an upload looks from other pages. */

import { CircleCheck, CloudUpload, Pause, Play, TriangleAlert, X } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { bytes, duration } from '../format.ts';
import { Icon } from '../parts/icon.tsx';
import { href, navigate, path } from '../router.ts';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import { addUpload, pause, resume, upload } from './queue.ts';
import { dropped } from './sources.ts';
import './tray.css';

const brings = (event: DragEvent): boolean => mayWrite.value && event.dataTransfer?.types.includes('Files') === true;

/** What lies over the page while files are held over it. */
export function DropAnywhere() {
  const [over, setOver] = useState(false);
  useEffect(() => {
    // Every element that is entered and left says so: only the balance tells whether the window is left.
    let depth = 0;
    const enter = (event: DragEvent): void => {
      if (!brings(event)) return;
      depth += 1;
      setOver(true);
    };
    const leave = (event: DragEvent): void => {
      if (!brings(event)) return;
      depth -= 1;
      if (depth <= 0) setOver(false);
    };
    const allow = (event: DragEvent): void => {
      if (!brings(event)) return;
      event.preventDefault();
      if (event.dataTransfer) event.dataTransfer.dropEffect = 'copy';
    };
    const drop = (event: DragEvent): void => {
      depth = 0;
      setOver(false);
      if (!brings(event) || event.dataTransfer === null) return;
      event.preventDefault();
      addUpload(dropped(event.dataTransfer));
      navigate('upload');
    };
    const handlers = { dragenter: enter, dragleave: leave, dragover: allow, drop } as const;
    for (const [name, handler] of Object.entries(handlers)) addEventListener(name as keyof typeof handlers, handler);
    return () => {
      for (const [name, handler] of Object.entries(handlers))
        removeEventListener(name as keyof typeof handlers, handler);
    };
  }, []);
  if (!over) return null;
  return (
    <div class="drop-over" aria-hidden="true">
      <div>
        <Icon of={CloudUpload} size={48} />
        <strong>{t.upload.dropNow}</strong>
        <span>{t.upload.dropHint}</span>
      </div>
    </div>
  );
}

/** The upload at the corner of the other pages. */
export function UploadTray() {
  const [dismissed, setDismissed] = useState<number | undefined>();
  const now = upload.value;
  const isEnded = now?.state === 'ended';
  if (now === undefined || path.value === 'upload' || (isEnded && dismissed === now.found)) return null;
  const failed = now.failures.length;
  const icon = failed > 0 || now.reason !== undefined ? TriangleAlert : isEnded ? CircleCheck : CloudUpload;
  const facts = isEnded
    ? [t.upload.storedCount(now.stored), failed > 0 ? t.upload.failedCount(failed) : '']
    : now.state === 'paused'
      ? [t.upload.paused]
      : [`${bytes(now.byteRate)}/s`, now.left === undefined ? '' : t.upload.left(duration(now.left))];
  return (
    <section class="tray upload-tray" aria-label={t.upload.title}>
      <Icon of={icon} size={18} />
      <div>
        <a href={href('upload')}>{t.upload.progressOf(now.settled, now.found, now.looking)}</a>
        {!isEnded && <progress max={1} value={now.progress} aria-label={t.upload.title} />}
        <span class="small muted">{facts.filter((part) => part !== '').join(' · ')}</span>
      </div>
      {isEnded ? (
        <button type="button" class="button quiet icon-only small" onClick={() => setDismissed(now.found)}>
          <Icon of={X} />
          <span class="sr-only">{t.errors.dismiss}</span>
        </button>
      ) : (
        <button
          type="button"
          class="button quiet icon-only small"
          onClick={() => (now.state === 'paused' ? resume() : pause())}
        >
          <Icon of={now.state === 'paused' ? Play : Pause} />
          <span class="sr-only">{now.state === 'paused' ? t.upload.resume : t.upload.pause}</span>
        </button>
      )}
    </section>
  );
}
