/** Owns the plain table: some hundreds of rows that are all there, ordered by a click on a heading. */

import { ArrowDown, ArrowUp } from 'lucide';
import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { Icon } from './icon.tsx';

/** One column of a {@link Table}. */
export interface Column<Row> {
  readonly key: string;
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** What rows are ordered by; without it the column does not order. */
  readonly order?: (row: Row) => string | number;
  readonly numeric?: boolean;
  /** Left out where there is little room. */
  readonly minor?: boolean;
}

const classOf = <Row,>({ numeric, minor }: Column<Row>): string | undefined =>
  [numeric === true ? 'numeric' : '', minor === true ? 'minor' : ''].join(' ').trim() || undefined;

interface TableProps<Row> {
  /** What the table is, for screen readers. */
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** Stands in the place of the rows when there are none. */
  readonly empty?: ComponentChildren;
}

/** A table of rows that are all known. */
export function Table<Row>({ caption, columns, rows, keyOf, empty }: TableProps<Row>) {
  const [by, setBy] = useState<{ readonly key: string; readonly descending: boolean } | undefined>();
  const order = columns.find((column) => column.key === by?.key)?.order;
  const direction = by?.descending === true ? -1 : 1;
  const shown =
    order === undefined
      ? rows
      : rows.toSorted((a, b) => {
          const [left, right] = [order(a), order(b)];
          return left === right ? 0 : left < right ? -direction : direction;
        });
  if (rows.length === 0 && empty !== undefined) return <>{empty}</>;
  return (
    <div class="table-scroll">
      <table class="table">
        <caption class="sr-only">{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => {
              const { key, title, order: ordered } = column;
              const current = by?.key === key;
              return (
                <th
                  key={key}
                  scope="col"
                  class={classOf(column)}
                  aria-sort={current ? (by.descending ? 'descending' : 'ascending') : undefined}
                >
                  {ordered === undefined ? (
                    title
                  ) : (
                    <button type="button" onClick={() => setBy({ key, descending: current && !by.descending })}>
                      {title}
                      {current && <Icon of={by.descending ? ArrowDown : ArrowUp} size={13} />}
                    </button>
                  )}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>
          {shown.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((column) => (
                <td key={column.key} class={classOf(column)}>
                  {column.cell(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
