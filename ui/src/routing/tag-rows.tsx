/** Owns rows of a tag and a value each, as rules and queries have them. */

import { Plus, X } from 'lucide';
import { useId } from 'preact/hooks';
import { Icon } from '../parts/icon.tsx';
import { t } from '../texts.ts';

/** One tag with its value as it is typed. */
export type TagRow = readonly [tag: string, value: string];

interface TagRowsProps {
  readonly rows: readonly TagRow[];
  readonly onRows: (rows: readonly TagRow[]) => void;
  /** Keywords offered besides the main tags. */
  readonly offered?: readonly string[];
}

/** The rows, and a button for one more. */
export function TagRows({ rows, onRows, offered = [] }: TagRowsProps) {
  const list = useId();
  const words = t.rules;
  const replace = (index: number, row: TagRow): void => onRows(rows.with(index, row));
  return (
    <>
      <datalist id={list}>
        {[...Object.keys(t.tags), ...offered].map((keyword) => (
          <option key={keyword} value={keyword} />
        ))}
      </datalist>
      {rows.map(([tag, value], index) => (
        <div key={index} class="pair">
          <input
            aria-label={words.tag}
            placeholder={words.tagExample}
            list={list}
            autocomplete="off"
            spellcheck={false}
            value={tag}
            onInput={(event) => replace(index, [event.currentTarget.value, value])}
          />
          <input
            aria-label={`${words.value} ${tag}`}
            placeholder={words.value}
            autocomplete="off"
            spellcheck={false}
            value={value}
            onInput={(event) => replace(index, [tag, event.currentTarget.value])}
          />
          <button type="button" class="button quiet icon-only" onClick={() => onRows(rows.toSpliced(index, 1))}>
            <Icon of={X} />
            <span class="sr-only">{words.removeTag(tag)}</span>
          </button>
        </div>
      ))}
      <div>
        <button type="button" class="button small" onClick={() => onRows([...rows, ['', '']])}>
          <Icon of={Plus} size={14} /> {words.addTag}
        </button>
      </div>
    </>
  );
}
