/** Owns the viewer: the pictures of a study in viewports, with everything around them. */

import { signal } from '@preact/signals';
import { X } from 'lucide';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { isAborted } from '../api.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { notifyError } from '../parts/toasts.tsx';
import { t } from '../texts.ts';
import { Cell } from './cell.tsx';
import { Help } from './help.tsx';
import { onKey } from './keys.ts';
import { Room } from './room.ts';
import { type Stage, started } from './stage.ts';
import { Strip } from './strip.tsx';
import { Toolbar } from './toolbar.tsx';
import { type ExternalViewer, listViewers } from '../api/other-viewers.ts';
import './viewer.css';

/** The same for every study. */
const viewers = signal<readonly ExternalViewer[]>([]);

function Views({ room, stage }: { readonly room: Room; readonly stage: Stage | undefined }) {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const watch = new ResizeObserver(() => stage?.resize());
    if (element.current !== null) watch.observe(element.current);
    return () => watch.disconnect();
  }, [stage]);
  const views = room.views.value;
  useEffect(() => stage?.resize(), [stage, views]);
  return (
    <div ref={element} class={`views ${room.planes.value ? 'planes' : `layout-${room.layout.value}`}`}>
      {views.map((view, index) => (
        <Cell key={view.id} room={room} view={view} stage={stage} number={index + 1} />
      ))}
    </div>
  );
}

function begin(studyId: string, seriesId: string | undefined): Room {
  const room = new Room(studyId);
  void room.open(seriesId);
  return room;
}

let ahead: Room | undefined;

/** Begins to fetch what the viewer of a study will show, before the page is there. */
export function prepare(studyId: string, seriesId: string | undefined): void {
  ahead = begin(studyId, seriesId);
}

/** The viewer of a study, begun at a series where one is given. */
export function Viewer({ studyId, seriesId }: { readonly studyId: string; readonly seriesId: string | undefined }) {
  const [room, setRoom] = useState<Room>();
  const stage = started.value;
  useEffect(() => {
    document.title = `${t.viewer.title} · Isen`;
    const stop = new AbortController();
    const created = ahead?.study === studyId && !ahead.hasFailed() ? ahead : begin(studyId, seriesId);
    ahead = undefined;
    setRoom(created);
    listViewers(stop.signal).then(
      (listed) => {
        viewers.value = listed;
      },
      (thrown: unknown) => {
        if (!isAborted(thrown)) notifyError(thrown);
      },
    );
    const press = (event: KeyboardEvent): void => onKey(created, event);
    addEventListener('keydown', press, { capture: true });
    return () => {
      stop.abort();
      removeEventListener('keydown', press, { capture: true });
      created.close();
    };
  }, [studyId]);
  useLayoutEffect(() => {
    if (stage !== undefined) room?.connect(stage);
  }, [room, stage]);
  if (room === undefined) return <Loading />;
  return (
    <div class={`viewer${room.strip.value ? ' with-strip' : ''}`}>
      <h1 class="sr-only">{t.viewer.title}</h1>
      <Toolbar room={room} viewers={viewers.value} />
      {room.strip.value && <Strip room={room} />}
      <div class="stage">
        {room.error.value !== undefined && <Failed error={room.error.value} />}
        {room.notice.value !== '' && (
          <div class="notice notice-warning" role="alert">
            <p>{room.notice.value}</p>
            <button
              type="button"
              class="button quiet icon-only small"
              aria-label={t.errors.dismiss}
              onClick={() => {
                room.notice.value = '';
              }}
            >
              <Icon of={X} />
            </button>
          </div>
        )}
        <Views room={room} stage={stage} />
      </div>
      <Help room={room} />
    </div>
  );
}
