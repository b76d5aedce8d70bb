/** Owns what is selected among the children of a page, and the bar that says what can be done with them. */

import { X } from 'lucide';
import { useState } from 'preact/hooks';
import { Toolbar } from '../actions/toolbar.tsx';
import type { Place, Resource } from '../api/resources.ts';
import { Icon } from '../parts/icon.tsx';
import { t } from '../texts.ts';

/** What is selected of these children. */
export interface Chosen {
  readonly has: (id: string) => boolean;
  readonly choose: (id: string, chosen: boolean) => void;
  readonly all: (chosen: boolean) => void;
  readonly resources: readonly Resource[];
}

/** Keeps what is selected of `children`; what goes away is not selected any more. */
export function useChosen(children: readonly Resource[]): Chosen {
  const [ids, setIds] = useState<ReadonlySet<string>>(new Set());
  return {
    has: (id) => ids.has(id),
    choose: (id, chosen) => {
      const next = new Set(ids);
      if (chosen) next.add(id);
      else next.delete(id);
      setIds(next);
    },
    all: (chosen) => setIds(new Set(chosen ? children.map(({ ID }) => ID) : [])),
    resources: children.filter(({ ID }) => ids.has(ID)),
  };
}

interface BarProps {
  readonly place: Place;
  readonly chosen: Chosen;
  readonly of: number;
  readonly onDone: () => void;
}

/** The bar above the children: select all, or what can be done with those that are selected. */
export function ChosenBar({ place, chosen, of, onDone }: BarProps) {
  const { resources, all } = chosen;
  if (resources.length === 0) return null;
  return (
    <div class="selection-bar">
      <strong role="status">{t.common.selected(resources.length)}</strong>
      {resources.length < of && (
        <button type="button" class="button quiet small" onClick={() => all(true)}>
          {t.studies.selectAll(of)}
        </button>
      )}
      <Toolbar
        place={place}
        resources={resources}
        onDone={(done) => {
          if (done === 'deleted') all(false);
          onDone();
        }}
      />
      <button type="button" class="button quiet small" onClick={() => all(false)}>
        <Icon of={X} /> {t.studies.clearSelection}
      </button>
    </div>
  );
}
