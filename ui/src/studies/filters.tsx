/** Owns the fields that narrow the list of studies, as they are typed in. */

import { Search, X } from 'lucide';
import { useEffect, useRef, useState } from 'preact/hooks';
import { allLabels } from '../api/resources.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Popover } from '../parts/popover.tsx';
import { t } from '../texts.ts';
import { clearFilter, filter, isNarrowed, narrow, PERIODS } from './filter.ts';

/** Milliseconds after the last key until the list follows. */
const PAUSE = 200;

/** Modalities offered at once; others can be typed. */
const MODALITIES = ['CT', 'MR', 'CR', 'DX', 'US', 'XA', 'MG', 'PT', 'NM', 'RF', 'OT', 'SR', 'SEG', 'RTSTRUCT'] as const;

type TextField = 'name' | 'id' | 'description' | 'accession';

/** A field for words, which narrows the list when the typing pauses. */
function Words({ field, wide = false }: { readonly field: TextField; readonly wide?: boolean }) {
  const [text, setText] = useState(filter.value[field]);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  useEffect(() => setText(filter.value[field]), [filter.value[field]]);
  return (
    <label class={wide ? 'filter wide' : 'filter'}>
      <span class="sr-only">{t.studies.column[field]}</span>
      {field === 'name' && <Icon of={Search} />}
      <input
        type="search"
        placeholder={t.studies.column[field]}
        value={text}
        onInput={(event) => {
          const { value } = event.currentTarget;
          setText(value);
          clearTimeout(timer.current);
          timer.current = setTimeout(() => narrow({ [field]: value }), PAUSE);
        }}
      />
    </label>
  );
}

function Days() {
  const { period, from, to } = filter.value;
  return (
    <>
      <label class="filter">
        <span class="sr-only">{t.studies.column.date}</span>
        <select value={period} onChange={(event) => narrow({ period: event.currentTarget.value })}>
          <option value="">{t.studies.anyDate}</option>
          {Object.keys(PERIODS).map((each) => (
            <option key={each} value={each}>
              {t.studies.periods[each as keyof typeof PERIODS]}
            </option>
          ))}
          <option value="range">{t.studies.range}</option>
        </select>
      </label>
      {period === 'range' && (
        <span class="row">
          <label>
            <span class="sr-only">{t.studies.from}</span>
            <input type="date" value={from} onChange={(event) => narrow({ from: event.currentTarget.value })} />
          </label>
          –
          <label>
            <span class="sr-only">{t.studies.to}</span>
            <input type="date" value={to} onChange={(event) => narrow({ to: event.currentTarget.value })} />
          </label>
        </span>
      )}
    </>
  );
}

interface ChoiceProps {
  readonly title: string;
  readonly of: readonly string[];
  readonly chosen: readonly string[];
  readonly onChange: (chosen: readonly string[]) => void;
  readonly empty?: string;
}

/** Several of a list. */
function Choice({ title, of, chosen, onChange, empty }: ChoiceProps) {
  return (
    <Popover label={chosen.length === 0 ? title : chosen.join(', ')} active={chosen.length > 0}>
      <fieldset class="choice">
        <legend>{title}</legend>
        {of.length === 0 && <p class="muted">{empty}</p>}
        {of.map((each) => (
          <label key={each} class="check">
            <input
              type="checkbox"
              checked={chosen.includes(each)}
              onChange={(event) =>
                onChange(event.currentTarget.checked ? [...chosen, each] : chosen.filter((other) => other !== each))
              }
            />
            {each}
          </label>
        ))}
      </fieldset>
    </Popover>
  );
}

/** The row of fields above the list. */
export function Filters() {
  const labels = useFetched(allLabels, []);
  const { modalities, labels: chosen } = filter.value;
  return (
    <search class="filters" aria-label={t.studies.filters}>
      <Words field="name" wide />
      <Words field="id" />
      <Days />
      <Choice
        title={t.studies.anyModality}
        of={[...new Set([...MODALITIES, ...modalities])]}
        chosen={modalities}
        onChange={(next) => narrow({ modalities: next })}
      />
      <Words field="description" wide />
      <Words field="accession" />
      <Choice
        title={t.studies.anyLabel}
        of={[...new Set([...(labels.value ?? []), ...chosen])]}
        chosen={chosen}
        onChange={(next) => narrow({ labels: next })}
        empty={t.studies.noLabels}
      />
      {isNarrowed.value && (
        <button type="button" class="button quiet" onClick={clearFilter}>
          <Icon of={X} /> {t.studies.clear}
        </button>
      )}
    </search>
  );
}
