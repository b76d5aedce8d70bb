/**
 * Owns the list itself: only the rows in sight are in the page, however many there are. It is a table to screen readers; the arrow keys
 * go from row to row.
 */

import { ArrowDown, ArrowUp, ChevronDown, ChevronRight, Eye } from 'lucide';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { Resource } from '../api/resources.ts';
import { Icon } from '../parts/icon.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { STUDY_COLUMNS } from './columns.tsx';
import { type ColumnName, columns, ORDERS, ordering } from './filter.ts';
import { REACHABLE, type Rows } from './rows.ts';
import { select, selection } from './selection.ts';
import { Unfolded, unfoldedHeight } from './unfolded.tsx';

/** Pixels of a row and of the headings. */
const ROW = 44;
/** Pixels of the columns at the edges, between columns, and beside them. */
const EDGE = 28;
const GAP = 8;
const PADDING = 16;
/** Rows above and below what is in sight. */
const MARGIN = 8;

/** Where the list was, for coming back. */
let leftAt = 0;

interface Unfold {
  readonly id: string;
  readonly index: number;
  readonly height: number;
}

/** Unfolded rows where they are now: others may have come in above them. */
function settled(unfolded: readonly Unfold[], rows: Rows): readonly Unfold[] {
  const SEARCHED = 50;
  return unfolded
    .map((each) => {
      const here = rows.at(each.index);
      if (here === undefined || here.ID === each.id) return each;
      for (let away = 1; away <= SEARCHED; away++) {
        for (const index of [each.index + away, each.index - away]) {
          if (rows.at(index)?.ID === each.id) return { ...each, index };
        }
      }
      return undefined;
    })
    .filter((each) => each !== undefined)
    .toSorted((a, b) => a.index - b.index);
}

function Heading({ name }: { readonly name: ColumnName }) {
  const { column, descending } = ordering.value;
  const title = t.studies.column[name];
  const numeric = STUDY_COLUMNS[name].numeric === true ? 'numeric' : '';
  if (ORDERS[name] === undefined) {
    return (
      <div role="columnheader" class={numeric}>
        {name === 'preview' ? <span class="sr-only">{title}</span> : title}
      </div>
    );
  }
  const isCurrent = column === name;
  return (
    <div role="columnheader" class={numeric} aria-sort={isCurrent ? (descending ? 'descending' : 'ascending') : 'none'}>
      <button
        type="button"
        onClick={() => {
          ordering.value = {
            column: name,
            descending: isCurrent ? !descending : name === 'date' || name === 'received',
          };
        }}
      >
        {title}
        {isCurrent && <Icon of={descending ? ArrowDown : ArrowUp} size={13} />}
      </button>
    </div>
  );
}

/** The arrow keys move the focus to the same place of the next row. */
function moveFocus(event: KeyboardEvent): void {
  const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
  const from = event.target instanceof HTMLElement ? event.target : undefined;
  const row = from?.closest<HTMLElement>('[data-index]');
  if (step === 0 || from === undefined || row == null) return;
  const index = Number(row.dataset['index']) + step;
  const next = row.parentElement?.querySelector<HTMLElement>(`[data-index="${index}"]`);
  const place = [...row.querySelectorAll('a, button, input')].indexOf(from);
  const target = next?.querySelectorAll<HTMLElement>('a, button, input')[place];
  if (target === undefined) return;
  event.preventDefault();
  target.focus();
}

interface RowProps {
  readonly study: Resource | undefined;
  readonly index: number;
  readonly top: number;
  readonly open: boolean;
  readonly onUnfold: (study: Resource, index: number) => void;
  readonly onSelect: (study: Resource, index: number, chosen: boolean, range: boolean) => void;
}

function Row({ study, index, top, open, onUnfold, onSelect }: RowProps) {
  const place = { transform: `translateY(${top}px)`, height: `${ROW}px` };
  if (study === undefined) {
    return <div class="study-row waiting" role="row" aria-rowindex={index + 2} style={place} data-index={index} />;
  }
  const name = study.PatientMainDicomTags?.['PatientName'] ?? '';
  const chosen = selection.value.has(study.ID);
  return (
    <div
      class={`study-row ${chosen ? 'chosen' : ''} ${open ? 'open' : ''}`}
      role="row"
      aria-rowindex={index + 2}
      aria-selected={chosen}
      style={place}
      data-index={index}
      onClick={(event) => {
        const at = event.target;
        if (at instanceof Element && at.closest('a, button, input, label') === null) onUnfold(study, index);
      }}
    >
      <div role="cell">
        <button
          type="button"
          class="button quiet icon-only small"
          aria-expanded={open}
          aria-label={t.studies.unfold(name)}
          onClick={() => onUnfold(study, index)}
        >
          <Icon of={open ? ChevronDown : ChevronRight} />
        </button>
      </div>
      <div role="cell">
        <label class="check-cell">
          <input
            type="checkbox"
            checked={chosen}
            aria-label={t.studies.select(name)}
            onClick={(event) => onSelect(study, index, event.currentTarget.checked, event.shiftKey)}
          />
        </label>
      </div>
      {columns.value.map((column) => (
        <div key={column} role="cell" class={STUDY_COLUMNS[column].numeric === true ? 'numeric' : 'ellipsis'}>
          {STUDY_COLUMNS[column].cell(study)}
        </div>
      ))}
      <div role="cell" class="study-end">
        <a
          class="button quiet icon-only small"
          href={href(`view/${study.ID}`)}
          aria-label={t.studies.viewOf(name)}
          title={t.studies.view}
        >
          <Icon of={Eye} />
        </a>
      </div>
    </div>
  );
}

interface ListProps {
  readonly rows: Rows;
  /** Called with what is in sight, whenever that changes. */
  readonly onSight: (first: number, last: number) => void;
}

/** The list of what `rows` holds. */
export function List({ rows, onSight }: ListProps) {
  const scroller = useRef<HTMLDivElement>(null);
  const [view, setView] = useState({ top: leftAt, height: 800 });
  const [unfolded, setUnfolded] = useState<readonly Unfold[]>([]);
  const lastSelected = useRef<number | undefined>(undefined);
  const total = Math.min(rows.total.value ?? 0, REACHABLE);
  void rows.version.value;
  const open = settled(unfolded, rows);

  useLayoutEffect(() => {
    const element = scroller.current;
    if (element === null) return;
    element.scrollTop = leftAt;
    const measure = (): void => {
      leftAt = element.scrollTop;
      setView({ top: element.scrollTop, height: element.clientHeight });
    };
    const observer = new ResizeObserver(measure);
    observer.observe(element);
    element.addEventListener('scroll', measure, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener('scroll', measure);
    };
  }, [rows.total.value === undefined]);

  const topOf = (index: number): number => {
    let top = index * ROW;
    for (const each of open) if (each.index < index) top += each.height;
    return top;
  };
  const indexAt = (y: number): number => {
    let rest = y;
    for (const { index, height } of open) {
      if (rest <= (index + 1) * ROW) break;
      rest = Math.max((index + 1) * ROW, rest - height);
    }
    return Math.floor(rest / ROW);
  };
  const first = Math.max(0, Math.min(indexAt(view.top), total - 1) - MARGIN);
  const last = Math.min(total - 1, indexAt(view.top + view.height) + MARGIN);
  useEffect(() => onSight(first, Math.max(first, last)), [rows, first, last]);

  const unfold = (study: Resource, index: number): void =>
    setUnfolded(
      open.some((each) => each.id === study.ID)
        ? open.filter((each) => each.id !== study.ID)
        : [...open, { id: study.ID, index, height: unfoldedHeight(study.Series?.length ?? 1) }],
    );
  const choose = (study: Resource, index: number, chosen: boolean, range: boolean): void => {
    const from = range ? (lastSelected.current ?? index) : index;
    lastSelected.current = index;
    const between: Resource[] = [study];
    for (let at = Math.min(from, index); at <= Math.max(from, index); at++) {
      const each = rows.at(at);
      if (each !== undefined) between.push(each);
    }
    select(between, chosen);
  };

  const shownColumns = columns.value.map((name) => STUDY_COLUMNS[name]);
  const tracks = [
    ...[EDGE, EDGE].map((pixels) => `${pixels}px`),
    ...shownColumns.map(({ least, part }) => (part === undefined ? `${least}px` : `minmax(${least}px, ${part}fr)`)),
    `${EDGE}px`,
  ].join(' ');
  const least = shownColumns.reduce((sum, column) => sum + column.least + GAP, EDGE * 3 + GAP * 2 + PADDING * 2);
  const indexes = Array.from({ length: Math.max(0, last - first + 1) }, (_, offset) => first + offset);
  const shown = indexes.map((index) => rows.at(index)).filter((each) => each !== undefined);
  const allChosen = shown.length > 0 && shown.every((study) => selection.value.has(study.ID));
  return (
    <div
      class="studies"
      ref={scroller}
      role="table"
      aria-label={t.nav.studies}
      aria-rowcount={total + 1}
      style={{ '--tracks': tracks, '--least': `${least}px`, '--gap': `${GAP}px`, '--padding': `${PADDING}px` }}
      onKeyDown={moveFocus}
      tabIndex={-1}
    >
      <div class="studies-head" role="row" aria-rowindex={1}>
        <div role="columnheader">
          <span class="sr-only">{t.studies.seriesOfStudy}</span>
        </div>
        <div role="columnheader">
          <label class="check-cell">
            <input
              type="checkbox"
              aria-label={t.studies.selectShown}
              checked={allChosen}
              onChange={(event) => select(shown, event.currentTarget.checked)}
            />
          </label>
        </div>
        {columns.value.map((name) => (
          <Heading key={name} name={name} />
        ))}
        <div role="columnheader">
          <span class="sr-only">{t.studies.view}</span>
        </div>
      </div>
      <div class="studies-body" role="rowgroup" style={{ height: `${topOf(total)}px` }}>
        {indexes.map((index) => {
          const study = rows.at(index);
          const each = open.find((other) => other.index === index);
          return [
            <Row
              key={`row-${index}`}
              study={study}
              index={index}
              top={topOf(index)}
              open={each !== undefined}
              onUnfold={unfold}
              onSelect={choose}
            />,
            each !== undefined && (
              <div
                key={`series-${each.id}`}
                class="unfolded-place"
                role="row"
                style={{ transform: `translateY(${topOf(index) + ROW}px)`, height: `${each.height}px` }}
              >
                <div role="cell">
                  <Unfolded study={each.id} />
                </div>
              </div>
            ),
          ];
        })}
      </div>
    </div>
  );
}
