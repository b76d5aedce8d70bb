/** Owns the table of what a remote modality answered: rows unfold to what is below them, and are retrieved. */

import { ChevronDown, ChevronRight, CloudDownload } from 'lucide';
import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { type Answers, askBelow } from '../api/queries.ts';
import { find, type Level, type Tags } from '../api/resources.ts';
import { date, personName } from '../format.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Modalities } from '../parts/modalities.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { href } from '../router.ts';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import { COLUMNS, emptyKeys } from './form.ts';

const words = t.query;
/** Rows that are listed. */
export const MOST = 500;
/** Studies looked up here in one question. */
const ASKED = 100;

const BELOW = { Patient: 'Study', Study: 'Series', Series: 'Instance' } as const;

/** What an answer is called. */
export function nameOf(level: Level, row: Tags): string {
  const patient = personName(row['PatientName']) || row['PatientID'] || t.studies.noName;
  switch (level) {
    case 'Patient':
      return patient;
    case 'Study':
      return [patient, date(row['StudyDate']), row['StudyDescription'] ?? ''].filter((part) => part !== '').join(', ');
    case 'Series':
      return row['SeriesDescription'] || row['SeriesInstanceUID'] || t.studies.noDescription;
    case 'Instance':
      return row['SOPInstanceUID'] ?? '';
  }
}

function Cell({ keyword, row }: { readonly keyword: string; readonly row: Tags }) {
  const value = row[keyword] ?? '';
  if (value === '') return <span class="muted">{t.common.none}</span>;
  if (keyword.endsWith('Name')) return <strong>{personName(value)}</strong>;
  if (keyword.endsWith('Date')) return <span class="nowrap">{date(value)}</span>;
  if (keyword === 'ModalitiesInStudy' || keyword === 'Modality') return <Modalities value={value} />;
  if (keyword.endsWith('UID')) return <code class="wrap small">{value}</code>;
  return <>{value.replaceAll('\\', ', ')}</>;
}

/** What stands below: as many of them as say something. */
function Small({ keywords, row }: { readonly keywords: readonly string[]; readonly row: Tags }) {
  const values = keywords.flatMap((keyword) => {
    const value = row[keyword] ?? '';
    return value === '' ? [] : [keyword.endsWith('Date') ? date(value) : value];
  });
  return values.length === 0 ? null : <div class="muted small wrap">{values.join(' · ')}</div>;
}

const titleOf = (keyword: string): string => {
  const titles: Readonly<Record<string, string>> = t.tags;
  return words.column[keyword] ?? titles[keyword] ?? keyword;
};

const isNumber = (keyword: string): boolean => keyword.startsWith('NumberOf');

/** Which of the studies of some answers are stored here: their ids by UID. */
async function storedHere(rows: readonly Tags[], signal: AbortSignal): Promise<ReadonlyMap<string, string>> {
  const uids = [...new Set(rows.flatMap((row) => row['StudyInstanceUID'] ?? []))];
  const page = { since: 0, limit: ASKED, order: [], tags: [] };
  const known = new Map<string, string>();
  for (let first = 0; first < uids.length; first += ASKED) {
    const Query = { StudyInstanceUID: uids.slice(first, first + ASKED).join('\\') };
    for (const { ID, MainDicomTags } of await find({ Level: 'Study', Query }, page, signal)) {
      known.set(MainDicomTags['StudyInstanceUID'] ?? '', ID);
    }
  }
  return known;
}

/** What is chosen of the first table. */
export interface Choice {
  readonly chosen: ReadonlySet<number>;
  readonly choose: (chosen: ReadonlySet<number>) => void;
}

interface TableProps {
  readonly answers: Answers;
  /** Changes when what is stored here may have changed. */
  readonly arrived: number;
  readonly onRetrieve: (answers: Answers, rows: readonly number[]) => void;
  readonly choice?: Choice;
}

/** What is below one answer, asked for when it is unfolded. */
function Below({
  answers,
  index,
  ...rest
}: Pick<TableProps, 'answers' | 'arrived' | 'onRetrieve'> & { readonly index: number }) {
  const level = BELOW[answers.level as keyof typeof BELOW];
  const below = useFetched(
    (signal) => askBelow(answers.id, index, level, emptyKeys(level), signal),
    [answers.id, index],
  );
  if (below.error !== undefined) return <Failed error={below.error} retry={below.reload} />;
  if (below.value === undefined) return <Loading />;
  if (below.value.rows.length === 0) return <p class="muted">{words.nothingBelow}</p>;
  return (
    <div class="panel">
      <AnswerTable answers={below.value} {...rest} />
    </div>
  );
}

/** The table of one query. */
export function AnswerTable({ answers, arrived, onRetrieve, choice }: TableProps) {
  const { level, rows } = answers;
  const [open, setOpen] = useState<ReadonlySet<number>>(new Set());
  const here = useFetched(
    async (signal) => (level === 'Study' ? storedHere(rows.slice(0, MOST), signal) : new Map<string, string>()),
    [answers, arrived],
  );
  const shown = rows.slice(0, MOST);
  const columns = COLUMNS[level];
  const unfolds = level !== 'Instance';
  const writes = mayWrite.value;
  const toggle = (set: ReadonlySet<number>, index: number): ReadonlySet<number> => {
    const next = new Set(set);
    if (!next.delete(index)) next.add(index);
    return next;
  };
  const width = columns.length + (choice && writes ? 1 : 0) + (unfolds ? 1 : 0) + 1;
  return (
    <div class="table-scroll">
      <table class="table">
        <caption class="sr-only">{words.levels[level]}</caption>
        <thead>
          <tr>
            {choice && writes && (
              <th scope="col" class="narrow">
                <input
                  type="checkbox"
                  aria-label={words.selectAll}
                  checked={choice.chosen.size === shown.length}
                  onChange={(event) =>
                    choice.choose(new Set(event.currentTarget.checked ? shown.map((_, index) => index) : []))
                  }
                />
              </th>
            )}
            {unfolds && (
              <th scope="col" class="narrow">
                <span class="sr-only">{t.jobs.details}</span>
              </th>
            )}
            {columns.map(([keyword = '']) => (
              <th key={keyword} scope="col" class={isNumber(keyword) ? 'numeric' : undefined}>
                {titleOf(keyword)}
              </th>
            ))}
            <th scope="col">
              <span class="sr-only">{t.actions.title}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {shown.map((row, index) => {
            const name = nameOf(level, row);
            const stored = here.value?.get(row['StudyInstanceUID'] ?? '');
            return (
              <Fragment key={index}>
                <tr>
                  {choice && writes && (
                    <td class="narrow">
                      <input
                        type="checkbox"
                        aria-label={words.select(name)}
                        checked={choice.chosen.has(index)}
                        onChange={() => choice.choose(toggle(choice.chosen, index))}
                      />
                    </td>
                  )}
                  {unfolds && (
                    <td class="narrow">
                      <button
                        type="button"
                        class="fold"
                        aria-expanded={open.has(index)}
                        aria-label={words.unfold(name)}
                        onClick={() => setOpen(toggle(open, index))}
                      >
                        <Icon of={open.has(index) ? ChevronDown : ChevronRight} />
                      </button>
                    </td>
                  )}
                  {columns.map(([keyword = '', ...others]) => (
                    <td key={keyword} class={isNumber(keyword) ? 'numeric' : undefined}>
                      <Cell keyword={keyword} row={row} />
                      <Small keywords={others} row={row} />
                    </td>
                  ))}
                  <td>
                    <div class="row end-row">
                      {stored !== undefined && (
                        <a class="badge good" href={href(`studies/${stored}`)} title={words.hereHint}>
                          {words.here}
                        </a>
                      )}
                      {writes && (
                        <button
                          type="button"
                          class="button small"
                          aria-label={`${words.retrieve} ${name}`}
                          onClick={() => onRetrieve(answers, [index])}
                        >
                          <Icon of={CloudDownload} size={14} /> {words.retrieve}
                        </button>
                      )}
                    </div>
                  </td>
                </tr>
                {open.has(index) && (
                  <tr class="unfolded-row">
                    <td colSpan={width}>
                      <Below answers={answers} index={index} arrived={arrived} onRetrieve={onRetrieve} />
                    </td>
                  </tr>
                )}
              </Fragment>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}
