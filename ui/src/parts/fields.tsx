/** Owns the fields of forms about one object: each reads its value from a draft, and gives a changed draft. */

import type { ComponentChildren } from 'preact';

/** A form's content. */
export type Draft = Readonly<Record<string, unknown>>;

/** What every field is given. */
export interface FieldProps {
  readonly draft: Draft;
  readonly onDraft: (draft: Draft) => void;
  /** The key in the draft. */
  readonly of: string;
  readonly label: string;
}

/** A copy of a draft with another value; `undefined` takes the key away. */
export function changed(draft: Draft, key: string, value: unknown): Draft {
  const { [key]: _, ...others } = draft;
  return value === undefined ? others : { ...others, [key]: value };
}

interface TextProps extends FieldProps {
  readonly type?: 'text' | 'url' | 'password' | 'number';
  readonly required?: boolean;
  readonly placeholder?: string;
  readonly pattern?: string;
  readonly maxLength?: number;
  readonly min?: number;
  readonly max?: number;
  readonly step?: number | 'any';
  readonly hint?: string;
  readonly focus?: boolean;
}

const shown = (value: unknown): string =>
  typeof value === 'string' || typeof value === 'number' ? String(value) : Array.isArray(value) ? value.join(', ') : '';

/** A line of text, or a number. Empty is absent. */
export function TextField({ draft, onDraft, of, label, hint, type = 'text', focus = false, ...rest }: TextProps) {
  // The types of an input know a role for each of its types, and none for several.
  const one = type as 'text';
  return (
    <label class="field">
      <span>{label}</span>
      <input
        {...rest}
        type={one}
        name={of}
        autoFocus={focus}
        autocomplete={type === 'password' ? 'new-password' : 'off'}
        spellcheck={false}
        value={shown(draft[of])}
        onInput={(event) => {
          const { value, valueAsNumber } = event.currentTarget;
          onDraft(changed(draft, of, value === '' ? undefined : type === 'number' ? valueAsNumber : value));
        }}
      />
      {hint !== undefined && <small class="muted">{hint}</small>}
    </label>
  );
}

/** Yes or no; what the default says is absent. */
export function CheckField({
  draft,
  onDraft,
  of,
  label,
  initial = false,
}: FieldProps & { readonly initial?: boolean }) {
  return (
    <label class="check">
      <input
        type="checkbox"
        name={of}
        checked={(draft[of] ?? initial) === true}
        onChange={(event) => onDraft(changed(draft, of, event.currentTarget.checked))}
      />
      {label}
    </label>
  );
}

interface ChoiceProps extends FieldProps {
  readonly options: readonly (readonly [value: string, label: string])[];
}

/** One of some; the first is the default, and absent. */
export function ChoiceField({ draft, onDraft, of, label, options }: ChoiceProps) {
  const value = shown(draft[of]);
  const known = options.some(([each]) => each === value);
  return (
    <label class="field">
      <span>{label}</span>
      <select
        name={of}
        value={value}
        onChange={(event) =>
          onDraft(changed(draft, of, event.currentTarget.value === '' ? undefined : event.currentTarget.value))
        }
      >
        {options.map(([each, text]) => (
          <option key={each} value={each}>
            {text}
          </option>
        ))}
        {!known && <option value={value}>{value}</option>}
      </select>
    </label>
  );
}

/** Fields that belong together. */
export function FieldGroup({ title, children }: { readonly title: string; readonly children: ComponentChildren }) {
  return (
    <fieldset class="group">
      <legend>{title}</legend>
      {children}
    </fieldset>
  );
}
