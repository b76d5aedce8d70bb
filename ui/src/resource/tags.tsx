/** Owns data sets as trees: searched as it is typed, values copied, UIDs followed, bytes looked at. */

import { Binary, ChevronDown, ChevronRight, Search } from 'lucide';
import { useCallback, useMemo, useState } from 'preact/hooks';
import { get, url } from '../api.ts';
import { type Dataset, type Element, type Place, rawElement, sharedTags } from '../api/resources.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { t } from '../texts.ts';
import { Copy } from './copy.tsx';
import { Hex } from './hex.tsx';
import { isUid, Uid } from './uid.tsx';

/** Lines that are shown at first; a data set may have tens of thousands. */
const MOST = 400;
/** Characters of a value that are shown. */
const LONGEST = 400;
/** Bytes of an element that are fetched to be looked at. */
const MOST_BYTES = 1 << 20;

/** One line of the tree. */
interface Line {
  /** As `/content` takes it: `0040-a730/0/0040-a160`. */
  readonly path: string;
  readonly depth: number;
  readonly tag: string;
  readonly element: Element | undefined;
  /** Of an item: which one. */
  readonly item: number | undefined;
  readonly hasChildren: boolean;
}

const isSequence = (element: Element): element is Element & { readonly Value: readonly Dataset[] } =>
  Array.isArray(element.Value);

/** Whether an element, or something in it, has all the words. */
function has(tag: string, element: Element, words: readonly string[]): boolean {
  const { Name: name, Value: value } = element;
  const own = `${tag} ${tag.replace(',', '')} ${name} ${typeof value === 'string' ? value : ''}`;
  const text = own.toLowerCase();
  return words.every((word) => text.includes(word));
}

/** The lines that are shown: those below what is open, or everything on the way to what was searched for. */
function linesOf(dataset: Dataset, open: ReadonlySet<string>, words: readonly string[]): readonly Line[] {
  const add = (each: Dataset, path: string, depth: number): readonly Line[] => {
    const lines: Line[] = [];
    for (const [tag, element] of Object.entries(each)) {
      const here = `${path}${tag.replace(',', '-')}`;
      const matches = words.length > 0 && has(tag, element, words);
      const below: Line[] = [];
      if (isSequence(element) && (open.has(here) || words.length > 0)) {
        for (const [index, item] of element.Value.entries()) {
          const inside = add(item, `${here}/${index}/`, depth + 2);
          const isOpen = words.length === 0 || open.has(here);
          if (inside.length > 0 || isOpen) {
            below.push({
              path: `${here}/${index}`,
              depth: depth + 1,
              tag: '',
              element: undefined,
              item: index,
              hasChildren: false,
            });
            below.push(...inside);
          }
        }
      }
      if (words.length > 0 && !matches && below.length === 0) continue;
      const hasChildren = isSequence(element) && element.Value.length > 0;
      lines.push({ path: here, depth, tag, element, item: undefined, hasChildren }, ...below);
    }
    return lines;
  };
  return add(dataset, '', 0);
}

interface BytesProps {
  readonly instance: string;
  readonly path: string;
  readonly label: string;
}

/** Pixel Data is not one value but frames or fragments, which have numbers. */
const isPixelData = (path: string): boolean => path.endsWith('7fe0-0010');

function Bytes({ instance, path, label }: BytesProps) {
  const fragments = useFetched(
    async (signal) =>
      isPixelData(path) ? get<readonly string[]>(`${url('instances', instance, 'content')}/${path}`, { signal }) : [],
    [instance, path],
  );
  const [chosen, setChosen] = useState('0');
  const whole = isPixelData(path) ? `${path}/${chosen}` : path;
  const read = useCallback(
    async (offset: number, length: number, signal: AbortSignal) =>
      (await rawElement(instance, whole, Math.min(MOST_BYTES, offset + length), signal)).subarray(offset),
    [instance, whole],
  );
  if (fragments.error !== undefined) return <Failed error={fragments.error} retry={fragments.reload} />;
  const all = fragments.value ?? [];
  return (
    <>
      {all.length > 1 && (
        <label class="row-inline small">
          {t.resource.fragment}
          <select value={chosen} onChange={(event) => setChosen(event.currentTarget.value)}>
            {all.map((each) => (
              <option key={each}>{each}</option>
            ))}
          </select>
        </label>
      )}
      <Hex key={whole} size={undefined} read={read} label={label} />
    </>
  );
}

function Value({ element }: { readonly element: Element }) {
  const { Value: value, Type } = element;
  if (Type === 'Sequence')
    return <span class="muted">{t.resource.items(Array.isArray(value) ? value.length : 0)}</span>;
  if (Type === 'TooLong') return <span class="muted">{t.resource.tooLong}</span>;
  if (Type === 'Binary') return <span class="muted">{t.resource.binary}</span>;
  if (typeof value !== 'string' || value === '') return <span class="muted">{t.actions.emptyValue}</span>;
  const parts = value.split('\\');
  if (parts.length <= 16 && parts.every(isUid)) {
    return (
      <>
        {parts.map((each, index) => (
          <span key={index} class="value">
            <Uid of={each} />
          </span>
        ))}
      </>
    );
  }
  return <span class="value">{value.length > LONGEST ? `${value.slice(0, LONGEST)} …` : value}</span>;
}

interface RowProps {
  readonly line: Line;
  readonly isOpen: boolean;
  readonly onToggle: (path: string) => void;
  readonly instance: string | undefined;
  readonly looksAt: string | undefined;
  readonly onLook: (path: string | undefined) => void;
}

function Row({ line, isOpen, onToggle, instance, looksAt, onLook }: RowProps) {
  const { path, depth, tag, element, item, hasChildren } = line;
  const inset = { '--depth': String(depth) };
  if (element === undefined) {
    return (
      <tr class="item">
        <td colSpan={4} style={inset}>
          {t.resource.item((item ?? 0) + 1)}
        </td>
      </tr>
    );
  }
  const looked = looksAt === path;
  const name = element.PrivateCreator === undefined ? element.Name : `${element.Name} (${element.PrivateCreator})`;
  return (
    <>
      <tr>
        <td style={inset} class="tag">
          {hasChildren ? (
            <button
              type="button"
              class="button quiet icon-only tiny"
              aria-expanded={isOpen}
              aria-label={t.resource.unfold(element.Name)}
              onClick={() => onToggle(path)}
            >
              <Icon of={isOpen ? ChevronDown : ChevronRight} size={14} />
            </button>
          ) : (
            <span class="tiny" />
          )}
          <code>{tag}</code>
        </td>
        <td class="name">
          {/* Keywords have no blanks to be broken at. */}
          {name.split(/(?<=[a-z])(?=[A-Z])/).map((word, index) => [index > 0 && <wbr key={`${index} break`} />, word])}
        </td>
        <td>
          <Value element={element} />
        </td>
        <td class="tools">
          {typeof element.Value === 'string' && element.Value !== '' && (
            <Copy of={element.Value} title={element.Name} />
          )}
          {instance !== undefined && element.Type !== 'Sequence' && (
            <button
              type="button"
              class="button quiet icon-only tiny"
              aria-expanded={looked}
              aria-label={t.resource.bytesOfTag(element.Name)}
              title={t.resource.bytes}
              onClick={() => onLook(looked ? undefined : path)}
            >
              <Icon of={Binary} size={14} />
            </button>
          )}
        </td>
      </tr>
      {looked && instance !== undefined && (
        <tr class="bytes">
          <td colSpan={4}>
            <Bytes instance={instance} path={path} label={t.resource.bytesOfTag(element.Name)} />
          </td>
        </tr>
      )}
    </>
  );
}

interface TagsProps {
  readonly dataset: Dataset;
  /** Whose bytes can be looked at; absent where the data set is of several. */
  readonly instance?: string;
  readonly label: string;
}

/** A data set as a tree. */
export function Tags({ dataset, instance, label }: TagsProps) {
  const [text, setText] = useState('');
  const [open, setOpen] = useState<ReadonlySet<string>>(new Set());
  const [looksAt, setLooksAt] = useState<string | undefined>();
  const [most, setMost] = useState(MOST);
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
  const lines = useMemo(() => linesOf(dataset, open, words), [dataset, open, text]);
  const toggle = (path: string): void => {
    const next = new Set(open);
    if (!next.delete(path)) next.add(path);
    setOpen(next);
  };
  const sequences = (): ReadonlySet<string> => {
    const paths = new Set<string>();
    const add = (each: Dataset, path: string): void => {
      for (const [tag, element] of Object.entries(each)) {
        if (!isSequence(element)) continue;
        const here = `${path}${tag.replace(',', '-')}`;
        paths.add(here);
        for (const [index, item] of element.Value.entries()) add(item, `${here}/${index}/`);
      }
    };
    add(dataset, '');
    return paths;
  };
  const found = lines.filter((line) => line.element !== undefined).length;
  return (
    <section class="panel tags" aria-label={label}>
      <header>
        <label class="filter grow">
          <span class="sr-only">{t.resource.searchTags}</span>
          <Icon of={Search} />
          <input
            type="search"
            placeholder={t.resource.searchTags}
            value={text}
            onInput={(event) => {
              setText(event.currentTarget.value);
              setMost(MOST);
            }}
          />
        </label>
        <span class="muted" role="status">
          {t.resource.elements(found)}
        </span>
        <span class="row">
          <button type="button" class="button small" onClick={() => setOpen(sequences())}>
            {t.resource.unfoldAll}
          </button>
          <button type="button" class="button small" onClick={() => setOpen(new Set())}>
            {t.resource.foldAll}
          </button>
          <Copy of={JSON.stringify(dataset, undefined, 2)} title={t.resource.asJson} />
        </span>
      </header>
      <div class="table-scroll">
        <table class="table tree">
          <caption class="sr-only">{label}</caption>
          <thead>
            <tr>
              <th scope="col">{t.actions.tag}</th>
              <th scope="col">{t.resource.name}</th>
              <th scope="col">{t.resource.value}</th>
              <td />
            </tr>
          </thead>
          <tbody>
            {lines.slice(0, most).map((line) => (
              <Row
                key={line.path}
                line={line}
                isOpen={open.has(line.path) || words.length > 0}
                onToggle={toggle}
                instance={instance}
                looksAt={looksAt}
                onLook={setLooksAt}
              />
            ))}
          </tbody>
        </table>
      </div>
      {lines.length === 0 && <p class="panel-body muted">{t.resource.noTagFound}</p>}
      {lines.length > most && (
        <p class="panel-body">
          <button type="button" class="button small" onClick={() => setMost(most + MOST * 5)}>
            {t.resource.showMore(lines.length - most)}
          </button>
        </p>
      )}
    </section>
  );
}

interface SharedProps {
  readonly place: Place;
  readonly id: string;
  readonly version: string;
}

/** What all instances of a resource have in common. */
export function SharedTags({ place, id, version }: SharedProps) {
  const { value, error, reload } = useFetched(async (signal) => sharedTags(place, id, signal), [place, id, version]);
  if (value !== undefined) return <Tags dataset={value} label={t.resource.commonTags} />;
  return error === undefined ? <Loading /> : <Failed error={error} retry={reload} />;
}
