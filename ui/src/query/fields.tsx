/** Owns the form of a query: whom is asked, for what level, and the fields of that level. */

import { Search } from 'lucide';
import type { Level } from '../api/resources.ts';
import { Icon } from '../parts/icon.tsx';
import { FieldGroup } from '../parts/fields.tsx';
import { TagRows } from '../routing/tag-rows.tsx';
import { PERIODS } from '../studies/filter.ts';
import { t } from '../texts.ts';
import { FIELDS, fill, form } from './form.ts';

const words = t.query;
const LEVELS = ['Patient', 'Study', 'Series', 'Instance'] as const satisfies readonly Level[];
/** Modalities that can be ticked. */
const KINDS = ['CT', 'MR', 'CR', 'DX', 'US', 'XA', 'MG', 'PT', 'NM', 'RF', 'OT', 'SR'] as const;

const titles: Readonly<Record<string, string>> = t.tags;

function Days() {
  const { period, from, to } = form.value;
  return (
    <div class="field">
      <label class="field">
        <span>{words.date}</span>
        <select name="period" value={period} onChange={(event) => fill({ period: event.currentTarget.value })}>
          <option value="">{words.anyDate}</option>
          {(Object.keys(PERIODS) as (keyof typeof PERIODS)[]).map((each) => (
            <option key={each} value={each}>
              {t.studies.periods[each]}
            </option>
          ))}
          <option value="range">{words.range}</option>
        </select>
      </label>
      {period === 'range' && (
        <div class="row range">
          <input
            type="date"
            aria-label={words.from}
            value={from}
            onInput={(event) => fill({ from: event.currentTarget.value })}
          />
          <input
            type="date"
            aria-label={words.to}
            value={to}
            onInput={(event) => fill({ to: event.currentTarget.value })}
          />
        </div>
      )}
    </div>
  );
}

function Kinds() {
  const { modalities } = form.value;
  return (
    <FieldGroup title={words.modalities}>
      <div class="chips">
        {KINDS.map((each) => (
          <button
            key={each}
            type="button"
            class="chip"
            aria-pressed={modalities.includes(each)}
            onClick={() =>
              fill({
                modalities: modalities.includes(each)
                  ? modalities.filter((other) => other !== each)
                  : [...modalities, each],
              })
            }
          >
            {each}
          </button>
        ))}
      </div>
    </FieldGroup>
  );
}

interface FormProps {
  readonly modalities: readonly string[];
  readonly busy: boolean;
  readonly onSubmit: () => void;
}

/** The form. */
export function QueryForm({ modalities, busy, onSubmit }: FormProps) {
  const { modality, level, values, others } = form.value;
  return (
    <form
      class="panel panel-body stack"
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit();
      }}
    >
      <div class="row query-head">
        <label class="field">
          <span>{words.modality}</span>
          <select name="modality" value={modality} onChange={(event) => fill({ modality: event.currentTarget.value })}>
            {modalities.map((each) => (
              <option key={each} value={each}>
                {each}
              </option>
            ))}
          </select>
        </label>
        <fieldset class="chips">
          <legend>{words.level}</legend>
          {LEVELS.map((each) => (
            <button
              key={each}
              type="button"
              class="chip"
              aria-pressed={level === each}
              onClick={() => fill({ level: each })}
            >
              {words.levels[each]}
            </button>
          ))}
        </fieldset>
      </div>
      <div class="two">
        {FIELDS[level].map((keyword) => (
          <label key={keyword} class="field">
            <span>{titles[keyword] ?? keyword}</span>
            <input
              name={keyword}
              autocomplete="off"
              spellcheck={false}
              value={values[keyword] ?? ''}
              onInput={(event) => fill({ values: { ...form.value.values, [keyword]: event.currentTarget.value } })}
            />
          </label>
        ))}
        {level === 'Study' && <Days />}
      </div>
      {(level === 'Study' || level === 'Series') && <Kinds />}
      <TagRows rows={others} onRows={(rows) => fill({ others: rows })} />
      <div class="row">
        <button type="submit" class="button primary" disabled={busy || modality === ''}>
          <Icon of={Search} /> {busy ? words.asking : words.ask}
        </button>
        <span class="muted small">{words.wildcards}</span>
      </div>
    </form>
  );
}
