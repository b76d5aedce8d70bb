/** Owns the bar that appears when studies are selected: how many, and what can be done with them. */

import { X } from 'lucide';
import { Toolbar } from '../actions/toolbar.tsx';
import { find, type Search } from '../api/resources.ts';
import { Icon } from '../parts/icon.tsx';
import { notifyError } from '../parts/toasts.tsx';
import { t } from '../texts.ts';
import { clearSelection, select, selection } from './selection.ts';

/** Studies that "all" can be. */
const MOST = 1000;

async function selectAll(search: Search): Promise<void> {
  select(await find(search, { since: 0, limit: MOST, order: [], tags: [] }), true);
}

/** The bar; nothing where nothing is selected. */
export function SelectionBar({ search, total }: { readonly search: Search; readonly total: number }) {
  const chosen = [...selection.value.values()];
  if (chosen.length === 0) return null;
  return (
    <div class="selection-bar">
      <strong role="status">{t.common.selected(chosen.length)}</strong>
      {chosen.length < total && chosen.length < MOST && (
        <button type="button" class="button quiet small" onClick={() => void selectAll(search).catch(notifyError)}>
          {total <= MOST ? t.studies.selectAll(total) : t.studies.selectFirst(MOST)}
        </button>
      )}
      <Toolbar
        place="studies"
        resources={chosen}
        onDone={(done) => {
          if (done === 'deleted') clearSelection();
        }}
      />
      <button type="button" class="button quiet small" onClick={clearSelection}>
        <Icon of={X} /> {t.studies.clearSelection}
      </button>
    </div>
  );
}
