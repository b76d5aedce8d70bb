/** Owns the page of what was sent elsewhere: the latest first, page by page. */

import { Eraser, Send } from 'lucide';
import { useState } from 'preact/hooks';
import { clearExports, type Export, exportsAfter, lastExport } from '../api/routes.ts';
import { timestamp } from '../format.ts';
import { ask } from '../parts/dialog.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { type Column, Table } from '../parts/table.tsx';
import { notify, notifyError } from '../parts/toasts.tsx';
import { href } from '../router.ts';
import { RoutingTabs } from '../routing/tabs.tsx';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import './administration.css';

const words = t.exports;
const PAGE = 100;

const COLUMNS: readonly Column<Export>[] = [
  { key: 'number', title: t.changes.number, numeric: true, cell: ({ Seq }) => Seq.toLocaleString('en') },
  { key: 'date', title: words.date, cell: ({ Date: date }) => <span class="nowrap">{timestamp(date, true)}</span> },
  {
    key: 'to',
    title: words.to,
    order: ({ RemoteModality }) => RemoteModality,
    cell: ({ RemoteModality }) => <strong>{RemoteModality}</strong>,
  },
  {
    key: 'what',
    title: words.what,
    cell: ({ ResourceType, Path }) => (
      <a href={href(Path)}>{t.changes.levels[ResourceType as keyof typeof t.changes.levels]}</a>
    ),
  },
  {
    key: 'patient',
    title: words.patient,
    order: ({ PatientID = '' }) => PatientID,
    cell: ({ PatientID = '' }) => PatientID,
  },
  {
    key: 'uid',
    title: 'UID',
    cell: ({ SOPInstanceUID, StudyInstanceUID = '' }) => (
      <code class="wrap small">{SOPInstanceUID ?? StudyInstanceUID}</code>
    ),
  },
];

/** The page. */
export function Exports() {
  /** The number that the page ends with; undefined is the latest. */
  const [until, setUntil] = useState<number | undefined>();
  const page = useFetched(
    async (signal) => {
      const last = until ?? (await lastExport(signal));
      const rows = last === 0 ? [] : await exportsAfter(Math.max(0, last - PAGE), PAGE, signal);
      return rows.toReversed();
    },
    [until],
  );
  const rows = page.value ?? [];
  const first = rows.at(-1)?.Seq ?? 0;
  const clear = async (): Promise<void> => {
    const isWanted = await ask({
      title: words.clearTitle,
      body: <p>{words.clearBody}</p>,
      confirm: words.clear,
      danger: true,
    });
    if (!isWanted) return;
    await clearExports();
    notify(words.cleared);
    setUntil(undefined);
    page.reload();
  };
  return (
    <Page
      title={t.queues.title}
      actions={
        mayWrite.value &&
        rows.length > 0 && (
          <button type="button" class="button danger" onClick={() => void clear().catch(notifyError)}>
            <Icon of={Eraser} /> {words.clear}
          </button>
        )
      }
    >
      <RoutingTabs />
      {page.error !== undefined && <Failed error={page.error} retry={page.reload} />}
      {page.value === undefined ? (
        page.error === undefined && <Loading />
      ) : (
        <div class="panel">
          <Table
            caption={words.title}
            columns={COLUMNS}
            rows={rows}
            keyOf={({ Seq }) => String(Seq)}
            empty={
              <Empty icon={Send} title={words.none}>
                <p>{words.noneHint}</p>
              </Empty>
            }
          />
        </div>
      )}
      {page.value !== undefined && (rows.length > 0 || until !== undefined) && (
        <div class="row">
          <button type="button" class="button" disabled={first <= 1} onClick={() => setUntil(first - 1)}>
            {words.older}
          </button>
          <button
            type="button"
            class="button"
            onClick={() => {
              setUntil(undefined);
              page.reload();
            }}
          >
            {words.newest}
          </button>
        </div>
      )}
    </Page>
  );
}
