/** Owns the page "Upload": where files are dropped or chosen, how the upload goes, and what came of it. */

import { CloudUpload, Eye, FilePlus, FolderPlus, Pause, Play, RotateCcw, Square, TriangleAlert } from 'lucide';
import { useEffect, useRef, useState } from 'preact/hooks';
import { resource } from '../api/resources.ts';
import { bytes, date, duration, personName } from '../format.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Modalities } from '../parts/modalities.tsx';
import { Page } from '../parts/page.tsx';
import { Table } from '../parts/table.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import {
  addUpload,
  cancel,
  MOST_NAMED,
  pause,
  resume,
  retryFailed,
  type StudyCount,
  type Upload as State,
  upload,
} from '../upload/queue.ts';
import { chosenFiles } from '../upload/sources.ts';
import '../upload/upload.css';

/** Studies that are listed. */
const MOST_STUDIES = 100;

function Choose({ folder, primary }: { readonly folder: boolean; readonly primary: boolean }) {
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => {
    if (folder) input.current?.setAttribute('webkitdirectory', '');
  }, [folder]);
  const text = folder ? t.upload.chooseFolder : t.upload.chooseFiles;
  return (
    <>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        aria-label={text}
        onChange={({ currentTarget }) => {
          const files = [...(currentTarget.files ?? [])];
          if (files.length > 0) addUpload(chosenFiles(files));
          // Or the same files could not be chosen again.
          currentTarget.value = '';
        }}
      />
      <button type="button" class={primary ? 'button primary' : 'button'} onClick={() => input.current?.click()}>
        <Icon of={folder ? FolderPlus : FilePlus} /> {text}
      </button>
    </>
  );
}

function DropZone({ slim }: { readonly slim: boolean }) {
  return (
    <section class={slim ? 'drop-zone slim' : 'drop-zone'}>
      <Icon of={CloudUpload} size={slim ? 22 : 40} />
      <div>
        <h2>{slim ? t.upload.more : t.upload.invite}</h2>
        {!slim && <p>{t.upload.inviteHint}</p>}
      </div>
      <div class="row">
        <Choose folder={false} primary={!slim} />
        <Choose folder primary={false} />
      </div>
    </section>
  );
}

function Tile({
  title,
  value,
  bad = false,
}: {
  readonly title: string;
  readonly value: number;
  readonly bad?: boolean;
}) {
  return (
    <div class={bad ? 'tile bad' : 'tile'}>
      <dt>{title}</dt>
      <dd>{value.toLocaleString('en')}</dd>
    </div>
  );
}

/** How the upload goes. */
function Progress({ now }: { readonly now: State }) {
  const isEnded = now.state === 'ended';
  const title = now.state === 'ended' ? (now.cancelled ? t.upload.cancelled : t.upload.ended) : t.upload[now.state];
  const facts = isEnded
    ? [t.upload.took(duration(now.seconds), bytes(now.bytes))]
    : now.state === 'running'
      ? [
          t.upload.rate(now.rate.toFixed(now.rate < 10 ? 1 : 0), bytes(now.byteRate)),
          now.looking ? t.upload.looking : now.left === undefined ? '' : t.upload.left(duration(now.left)),
        ]
      : [];
  return (
    <section class="panel upload-now" aria-label={t.upload.progress}>
      <div class="upload-head">
        <strong role="status">{title}</strong>
        <span>{t.upload.progressOf(now.settled, now.found, now.looking)}</span>
        {facts.map((fact) => fact !== '' && <span class="muted">{fact}</span>)}
        {!isEnded && (
          <div class="toolbar">
            {now.state === 'running' ? (
              <button type="button" class="button small" onClick={() => pause()}>
                <Icon of={Pause} /> {t.upload.pause}
              </button>
            ) : (
              <button type="button" class="button small primary" onClick={resume}>
                <Icon of={Play} /> {t.upload.resume}
              </button>
            )}
            <button type="button" class="button small" onClick={cancel}>
              <Icon of={Square} /> {t.upload.stop}
            </button>
          </div>
        )}
      </div>
      <progress max={1} value={now.progress} aria-label={t.upload.progress} />
      {now.reason !== undefined && (
        <p class="notice notice-warning" role="alert">
          <Icon of={TriangleAlert} size={18} /> {now.reason}
        </p>
      )}
      {now.state === 'running' && now.busyUntil !== undefined && (
        <p class="muted">{t.upload.busy(Math.max(1, Math.ceil((now.busyUntil - Date.now()) / 1000)))}</p>
      )}
      {!isEnded && (
        <ul class="under-way" aria-label={t.upload.underWay}>
          {now.underWay.map(({ path, part }) => (
            <li key={path}>
              <bdi class="ellipsis" title={path}>
                {path}
              </bdi>
              <progress max={1} value={part} aria-label={path} />
            </li>
          ))}
        </ul>
      )}
      <dl class="tiles">
        <Tile title={t.upload.stored} value={now.stored} />
        <Tile title={t.upload.already} value={now.already} />
        {now.filtered > 0 && <Tile title={t.upload.filtered} value={now.filtered} />}
        <Tile title={t.upload.notDicom} value={now.notDicom} />
        <Tile title={t.upload.failed} value={now.failures.length} bad={now.failures.length > 0} />
      </dl>
    </section>
  );
}

function Failures({ now }: { readonly now: State }) {
  const retried = now.failures.filter(({ found }) => found !== undefined).length;
  if (now.failures.length === 0) return null;
  return (
    <section class="panel">
      <header>
        <h2>{t.upload.failures}</h2>
        {retried > 0 && (
          <button type="button" class="button small" onClick={retryFailed}>
            <Icon of={RotateCcw} /> {t.upload.retry(retried)}
          </button>
        )}
      </header>
      <Table
        caption={t.upload.failures}
        rows={now.failures}
        keyOf={({ path }) => path}
        columns={[
          {
            key: 'file',
            title: t.upload.file,
            cell: ({ path }) => <span class="path">{path}</span>,
            order: (row) => row.path,
          },
          { key: 'reason', title: t.upload.reason, cell: ({ reason }) => reason },
        ]}
      />
    </section>
  );
}

function StudyLine({ id, counts }: { readonly id: string; readonly counts: StudyCount }) {
  const { value } = useFetched(async (signal) => resource('studies', id, signal, ['ModalitiesInStudy']), [id]);
  const patient = value?.PatientMainDicomTags ?? {};
  return (
    <tr>
      <td>
        <a class="study-name" href={href(`studies/${id}`)}>
          {personName(patient['PatientName']) || patient['PatientID'] || t.studies.noName}
        </a>
      </td>
      <td class="day">{date(value?.MainDicomTags['StudyDate'])}</td>
      <td>
        <Modalities value={value?.RequestedTags?.['ModalitiesInStudy'] ?? ''} />
      </td>
      <td>{value?.MainDicomTags['StudyDescription']}</td>
      <td class="numeric">{counts.stored.toLocaleString('en')}</td>
      <td class="numeric">{counts.already.toLocaleString('en')}</td>
      <td class="numeric">
        <a class="button quiet small" href={href(`view/${id}`)}>
          <Icon of={Eye} /> {t.studies.view}
        </a>
      </td>
    </tr>
  );
}

function Summary({ now }: { readonly now: State }) {
  if (now.studies.size === 0) return null;
  const shown = [...now.studies].slice(0, MOST_STUDIES);
  const { column } = t.studies;
  return (
    <section class="panel">
      <header>
        <h2>{t.upload.studies}</h2>
        <span class="muted">{t.common.studies(now.studies.size)}</span>
      </header>
      <div class="table-scroll">
        <table class="table">
          <caption class="sr-only">{t.upload.studies}</caption>
          <thead>
            <tr>
              {[column.name, column.date, column.modalities, column.description].map((title) => (
                <th key={title} scope="col">
                  {title}
                </th>
              ))}
              <th scope="col" class="numeric">
                {t.upload.stored}
              </th>
              <th scope="col" class="numeric">
                {t.upload.already}
              </th>
              <td />
            </tr>
          </thead>
          <tbody>
            {shown.map(([id, counts]) => (
              <StudyLine key={id} id={id} counts={counts} />
            ))}
          </tbody>
        </table>
      </div>
      {now.studies.size > MOST_STUDIES && (
        <p class="muted panel-body">{t.upload.moreStudies(now.studies.size - MOST_STUDIES)}</p>
      )}
    </section>
  );
}

function NotDicom({ now }: { readonly now: State }) {
  const [open, setOpen] = useState(false);
  if (now.notDicom === 0) return null;
  return (
    <details class="panel" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{t.upload.notDicomTitle(now.notDicom)}</summary>
      {open && (
        <ul class="paths" tabIndex={0} aria-label={t.upload.notDicom}>
          {now.notDicomNames.map((path) => (
            <li key={path}>{path}</li>
          ))}
          {now.notDicom > MOST_NAMED && <li>{t.actions.andMore(now.notDicom - MOST_NAMED)}</li>}
        </ul>
      )}
    </details>
  );
}

/** The page. */
export function Upload() {
  const now = upload.value;
  return (
    <Page title={t.upload.title}>
      <div class="stack upload-page">
        <DropZone slim={now !== undefined} />
        {now !== undefined && (
          <>
            <Progress now={now} />
            <Failures now={now} />
            <Summary now={now} />
            <NotDicom now={now} />
          </>
        )}
      </div>
    </Page>
  );
}
