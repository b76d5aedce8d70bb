/** Owns the page of the studies: the fields that narrow it, the list, and what is done with those that are selected. */

import { FolderOpen, SearchX } from 'lucide';
import { useEffect, useRef, useState } from 'preact/hooks';
import { onChange } from '../live.ts';
import { Empty, Failed, Loading, Page } from '../parts/page.tsx';
import { href } from '../router.ts';
import { mayWrite } from '../session.ts';
import { ColumnChoice } from '../studies/columns.tsx';
import { clearFilter, filter, isNarrowed, orderOf, ordering, searchOf } from '../studies/filter.ts';
import { Filters } from '../studies/filters.tsx';
import { List } from '../studies/list.tsx';
import { REACHABLE, useRows } from '../studies/rows.ts';
import { SelectionBar } from '../studies/selection-bar.tsx';
import { t } from '../texts.ts';

/** Changes after which the list may be another. */
const RELEVANT = /^(New|Stable|Anonymized|Modified|Deleted|Updated)/;
/** Milliseconds between two refreshes while changes come in. */
const REFRESH = 1500;

function Nothing() {
  if (isNarrowed.value) {
    return (
      <Empty icon={SearchX} title={t.studies.nothingFound}>
        <p>{t.studies.nothingFoundHint}</p>
        <button type="button" class="button" onClick={clearFilter}>
          {t.studies.clear}
        </button>
      </Empty>
    );
  }
  return (
    <Empty icon={FolderOpen} title={t.studies.noStudies}>
      <p>{t.studies.noStudiesHint}</p>
      {mayWrite.value && (
        <a class="button primary" href={href('upload')}>
          {t.studies.uploadSome}
        </a>
      )}
    </Empty>
  );
}

/** The page. */
export function Studies() {
  const search = searchOf(filter.value);
  const rows = useRows(search, orderOf(ordering.value));
  const sight = useRef({ first: 0, last: 0 });
  const [announced, setAnnounced] = useState('');
  const total = rows.total.value;

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stop = onChange(({ ChangeType, ResourceType }) => {
      if (ResourceType === 'Instance' || !RELEVANT.test(ChangeType) || timer !== undefined) return;
      timer = setTimeout(() => {
        timer = undefined;
        rows.refresh(sight.current.first, sight.current.last);
      }, REFRESH);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  }, [rows]);

  useEffect(() => {
    if (total !== undefined) setAnnounced(t.common.studies(total));
  }, [total]);

  return (
    <Page
      full
      title={t.nav.studies}
      subtitle={
        <span role="status">
          {announced}
          {total !== undefined && total > REACHABLE && ` ${t.studies.onlyFirst(REACHABLE)}`}
        </span>
      }
      actions={<ColumnChoice />}
    >
      <Filters />
      <SelectionBar search={search} total={total ?? 0} />
      {rows.error.value !== undefined && (
        <Failed
          error={rows.error.value}
          retry={() => {
            rows.error.value = undefined;
            rows.refresh(sight.current.first, sight.current.last);
          }}
        />
      )}
      {total === undefined ? (
        rows.error.value === undefined && <Loading />
      ) : total === 0 ? (
        <Nothing />
      ) : (
        <List
          rows={rows}
          onSight={(first, last) => {
            sight.current = { first, last };
            rows.look(first, last);
          }}
        />
      )}
    </Page>
  );
}
