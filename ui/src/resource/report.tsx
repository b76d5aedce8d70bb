/** Owns structured reports (PS3.3 §C.17.3) as text: the tree of content items, each with its concept, its value, and what it points to. */

import type { Dataset } from '../api/resources.ts';
import { date, personName, time } from '../format.ts';
import { t } from '../texts.ts';
import { Uid } from './uid.tsx';

/** Content items that are shown; hostile files nest without end. */
const MOST = 5000;
const DEEPEST = 40;

/** Value of an element as text. */
function text(of: Dataset | undefined, tag: string): string {
  const value = of?.[tag]?.Value;
  return typeof value === 'string' ? value : '';
}

/** Items of a sequence. */
function items(of: Dataset | undefined, tag: string): readonly Dataset[] {
  const value = of?.[tag]?.Value;
  return Array.isArray(value) ? (value as readonly Dataset[]) : [];
}

/** Code Meaning of the first code of a sequence, or its Code Value. */
function code(of: Dataset | undefined, tag: string): string {
  const [first] = items(of, tag);
  return text(first, '0008,0104') || text(first, '0008,0100');
}

/** The value of an item by its Value Type (0040,a040). */
function Value({ item }: { readonly item: Dataset }) {
  const type = text(item, '0040,a040');
  switch (type) {
    case 'TEXT':
      return <span class="sr-text">{text(item, '0040,a160')}</span>;
    case 'NUM': {
      const [measured] = items(item, '0040,a300');
      return measured === undefined ? (
        <em>{code(item, '0040,a301') || t.resource.noMeasurement}</em>
      ) : (
        <strong>
          {text(measured, '0040,a30a')} {code(measured, '0040,08ea')}
        </strong>
      );
    }
    case 'CODE':
      return <span>{code(item, '0040,a168')}</span>;
    case 'PNAME':
      return <span>{personName(text(item, '0040,a123'))}</span>;
    case 'DATE':
      return <span>{date(text(item, '0040,a121'))}</span>;
    case 'TIME':
      return <span>{time(text(item, '0040,a122'))}</span>;
    case 'DATETIME': {
      const value = text(item, '0040,a120');
      return <span>{`${date(value.slice(0, 8))} ${time(value.slice(8))}`}</span>;
    }
    case 'UIDREF':
      return <Uid of={text(item, '0040,a124')} />;
    case 'IMAGE':
    case 'COMPOSITE':
    case 'WAVEFORM':
      return (
        <>
          {items(item, '0008,1199').map((each, index) => {
            const frames = text(each, '0008,1160');
            return (
              <span key={index}>
                <Uid of={text(each, '0008,1155')} /> {frames !== '' && t.resource.frames(frames.replaceAll('\\', ', '))}
              </span>
            );
          })}
        </>
      );
    case 'SCOORD':
    case 'SCOORD3D':
      return (
        <span class="muted">
          {text(item, '0070,0023')} {text(item, '0070,0022').replaceAll('\\', ', ')}
        </span>
      );
    case 'TCOORD':
      return <span class="muted">{text(item, '0040,a130')}</span>;
    default:
      return null;
  }
}

function Item({
  item,
  depth,
  left,
}: {
  readonly item: Dataset;
  readonly depth: number;
  readonly left: { count: number };
}) {
  left.count -= 1;
  if (left.count < 0) return null;
  const concept = code(item, '0040,a043');
  const below = depth >= DEEPEST ? [] : items(item, '0040,a730');
  const isContainer = text(item, '0040,a040') === 'CONTAINER';
  const reference = text(item, '0040,db73');
  return (
    <li>
      {isContainer ? (
        <span class="sr-heading">{concept}</span>
      ) : (
        <span>
          {concept !== '' && <span class="sr-concept">{concept}: </span>}
          <Value item={item} />
          {reference !== '' && <span class="muted">{t.resource.refersTo(reference.replaceAll('\\', '.'))}</span>}
        </span>
      )}
      {below.length > 0 && (
        <ul>
          {below.map((each, index) => (
            <Item key={index} item={each} depth={depth + 1} left={left} />
          ))}
        </ul>
      )}
    </li>
  );
}

/** Whether a data set is a structured report. */
export function isReport(dataset: Dataset): boolean {
  return text(dataset, '0040,a040') === 'CONTAINER' && dataset['0040,a730'] !== undefined;
}

/** A report. */
export function Report({ dataset }: { readonly dataset: Dataset }) {
  const left = { count: MOST };
  const state = [text(dataset, '0040,a491'), text(dataset, '0040,a493')].filter((part) => part !== '');
  return (
    <article class="panel report">
      <h2>{code(dataset, '0040,a043') || t.resource.report}</h2>
      <p class="muted">
        {[date(text(dataset, '0008,0023')), time(text(dataset, '0008,0033')), ...state]
          .filter((part) => part !== '')
          .join(' · ')}
      </p>
      <ul>
        {items(dataset, '0040,a730').map((each, index) => (
          <Item key={index} item={each} depth={0} left={left} />
        ))}
      </ul>
      {left.count < 0 && <p class="muted">{t.resource.reportCut}</p>}
    </article>
  );
}
