/** Owns modifying: new values, a look at what becomes of the old ones, then a copy or a change in place. */

import { Plus, X } from 'lucide';
import { useState } from 'preact/hooks';
import { type Changes, modify } from '../api/actions.ts';
import { type Dataset, type Place, type Resource, sharedTags, tags } from '../api/resources.ts';
import { useFetched } from '../parts/fetched.ts';
import { follow } from '../parts/followed.tsx';
import { Icon } from '../parts/icon.tsx';
import { t } from '../texts.ts';
import { ActionForm } from './form.tsx';
import { targetsOf } from './naming.ts';
import type { ActionProps } from './toolbar.tsx';

const PATIENT = ['PatientName', 'PatientID', 'PatientBirthDate', 'PatientSex'] as const;
const STUDY = ['StudyDescription', 'StudyDate', 'AccessionNumber', 'StudyID', 'ReferringPhysicianName'] as const;
const SERIES = ['SeriesDescription', 'SeriesNumber', 'BodyPartExamined', 'ProtocolName'] as const;

/** Tags that are offered at each level. */
const FIELDS: Readonly<Record<Place, readonly string[]>> = {
  patients: PATIENT,
  studies: [...PATIENT, ...STUDY],
  series: SERIES,
  instances: [],
};

const UIDS = ['StudyInstanceUID', 'SeriesInstanceUID', 'SOPInstanceUID'];

/** How a change is made: new identifiers beside the old resource, or under the same identifiers instead of it. */
type Manner = 'copy' | 'place';

/** Values that resources have for a tag now, each once. */
function valuesOf(resources: readonly Resource[], tag: string): readonly string[] {
  const all = resources.map((each) => ({ ...each.PatientMainDicomTags, ...each.MainDicomTags })[tag] ?? '');
  return [...new Set(all)];
}

/** The body of the request. */
function changesOf(place: Place, resources: readonly Resource[], edited: Edited, manner: Manner): Changes {
  const [patientId = ''] = valuesOf(resources, 'PatientID');
  const Replace = {
    // A patient is modified under an identifier that is always said.
    ...(place === 'patients' && { PatientID: patientId }),
    ...edited.values,
  };
  if (manner === 'copy') return { Replace, Remove: edited.removed, Force: true, KeepSource: true };
  const movesPatient = 'PatientID' in edited.values;
  return { Replace, Remove: edited.removed, Keep: UIDS, Force: true, KeepSource: !movesPatient };
}

interface Edited {
  readonly values: Readonly<Record<string, string>>;
  readonly removed: readonly string[];
}

/** Whether what is known of a patient changes, but not which patient it is. */
function namesPatient({ values, removed }: Edited): boolean {
  const changed = [...Object.keys(values), ...removed];
  return !changed.includes('PatientID') && PATIENT.some((tag) => changed.includes(tag));
}

/** Resources whose other tags are looked at to show what they are now. */
const MOST_LOOKED_AT = 10;

/** What the instances of each of these have in common. */
async function sharedOf(
  place: Place,
  resources: readonly Resource[],
  signal: AbortSignal,
): Promise<readonly Dataset[]> {
  return Promise.all(
    resources.map(async ({ ID }) => (place === 'instances' ? tags(ID, signal) : sharedTags(place, ID, signal))),
  );
}

/** Values of a tag (its keyword, or `0010,4000`) in some data sets, each once. */
function valuesIn(datasets: readonly Dataset[], tag: string): readonly string[] {
  const wanted = tag.replace(/^([0-9a-f]{4})[-,]?([0-9a-f]{4})$/i, '$1,$2').toLowerCase();
  const values = datasets.map((dataset) => {
    const found = Object.entries(dataset).find(([at, { Name }]) => at === wanted || Name.toLowerCase() === wanted);
    return typeof found?.[1].Value === 'string' ? found[1].Value : '';
  });
  return [...new Set(values)];
}

interface DifferenceProps {
  readonly place: Place;
  readonly resources: readonly Resource[];
  readonly edited: Edited;
}

/** What will be different: the old values and the new one, tag by tag. */
function Difference({ place, resources, edited }: DifferenceProps) {
  const others = [...Object.keys(edited.values), ...edited.removed].filter((tag) => !FIELDS[place].includes(tag));
  const known = useFetched(
    async (signal) => (others.length === 0 ? [] : sharedOf(place, resources.slice(0, MOST_LOOKED_AT), signal)),
    [place, resources, edited],
  );
  const rows = [
    ...Object.entries(edited.values).map(([tag, value]) => ({ tag, value })),
    ...edited.removed.map((tag) => ({ tag, value: undefined })),
  ];
  return (
    <div class="table-scroll">
      <table class="table diff">
        <thead>
          <tr>
            <th scope="col">{t.actions.tag}</th>
            <th scope="col">{t.actions.before}</th>
            <th scope="col">{t.actions.after}</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ tag, value }) => {
            const old = others.includes(tag) ? valuesIn(known.value ?? [], tag) : valuesOf(resources, tag);
            return (
              <tr key={tag}>
                <th scope="row">{t.tags[tag as keyof typeof t.tags] ?? tag}</th>
                <td>
                  <del>{old.length > 3 ? t.actions.differentValues(old.length) : old.join(' / ') || t.common.none}</del>
                </td>
                <td>
                  {value === undefined ? <em>{t.actions.removed}</em> : <ins>{value || t.actions.emptyValue}</ins>}
                </td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </div>
  );
}

interface FieldsProps {
  readonly place: Place;
  readonly resources: readonly Resource[];
  readonly edited: Edited;
  readonly onChange: (edited: Edited) => void;
}

function Fields({ place, resources, edited, onChange }: FieldsProps) {
  const [other, setOther] = useState('');
  const tags = [...new Set([...FIELDS[place], ...Object.keys(edited.values)])].filter(
    (tag) => !edited.removed.includes(tag),
  );
  const set = (tag: string, value: string | undefined): void => {
    const { [tag]: _, ...rest } = edited.values;
    onChange({
      values: value === undefined ? rest : { ...rest, [tag]: value },
      removed: edited.removed.filter((each) => each !== tag),
    });
  };
  const add = (): void => {
    if (other.trim() !== '') set(other.trim(), '');
    setOther('');
  };
  return (
    <>
      <div class="two">
        {tags.map((tag) => {
          const old = valuesOf(resources, tag);
          const [only = ''] = old;
          return (
            <label key={tag} class="field">
              <span>{t.tags[tag as keyof typeof t.tags] ?? tag}</span>
              <input
                value={edited.values[tag] ?? (old.length === 1 ? only : '')}
                placeholder={old.length > 1 ? t.actions.differentValues(old.length) : ''}
                class={tag in edited.values ? 'changed' : undefined}
                onInput={(event) => {
                  const { value } = event.currentTarget;
                  set(tag, old.length === 1 && value === only && FIELDS[place].includes(tag) ? undefined : value);
                }}
              />
            </label>
          );
        })}
      </div>
      <div class="row">
        <label class="grow">
          <span class="sr-only">{t.actions.otherTag}</span>
          <input
            value={other}
            placeholder={t.actions.otherTag}
            onInput={(event) => setOther(event.currentTarget.value)}
            onKeyDown={(event) => {
              if (event.key !== 'Enter') return;
              event.preventDefault();
              add();
            }}
          />
        </label>
        <button type="button" class="button" onClick={add}>
          <Icon of={Plus} /> {t.actions.setTag}
        </button>
        <button
          type="button"
          class="button"
          onClick={() => {
            const { [other.trim()]: _, ...values } = edited.values;
            if (other.trim() !== '') onChange({ values, removed: [...new Set([...edited.removed, other.trim()])] });
            setOther('');
          }}
        >
          {t.actions.removeTag}
        </button>
      </div>
      {edited.removed.length > 0 && (
        <ul class="row" aria-label={t.actions.removed}>
          {edited.removed.map((tag) => (
            <li key={tag} class="row-inline">
              <del>{t.tags[tag as keyof typeof t.tags] ?? tag}</del>
              <button
                type="button"
                class="button quiet icon-only small"
                aria-label={t.actions.keepTag(tag)}
                onClick={() => onChange({ ...edited, removed: edited.removed.filter((each) => each !== tag) })}
              >
                <Icon of={X} size={14} />
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

/** The dialog: first the fields, then the difference. */
export function Modify({ place, resources, onClose, onDone }: ActionProps) {
  const [edited, setEdited] = useState<Edited>({ values: {}, removed: [] });
  const [manner, setManner] = useState<Manner>('copy');
  const [reviewing, setReviewing] = useState(false);
  const what = targetsOf(place, resources);
  const nothing = Object.keys(edited.values).length === 0 && edited.removed.length === 0;
  if (!reviewing) {
    return (
      <ActionForm
        wide
        title={t.actions.modifyTitle(what)}
        confirm={t.actions.review}
        disabled={nothing}
        onClose={onClose}
        run={() => {
          setReviewing(true);
          return 'stay';
        }}
      >
        <Fields place={place} resources={resources} edited={edited} onChange={setEdited} />
        <fieldset class="radio-list">
          <legend>{t.actions.manner}</legend>
          {(['copy', 'place'] as const).map((each) => (
            <label key={each} class="check">
              <input type="radio" name="manner" checked={manner === each} onChange={() => setManner(each)} />
              {t.actions.manners[each]}
            </label>
          ))}
        </fieldset>
      </ActionForm>
    );
  }
  return (
    <ActionForm
      wide
      danger={manner === 'place'}
      title={t.actions.reviewTitle(what)}
      confirm={t.actions.mannerConfirm[manner]}
      onClose={onClose}
      run={async () => {
        const ids = resources.map((each) => each.ID);
        const { ID } = await modify(place, ids, changesOf(place, resources, edited, manner));
        follow(ID, t.actions.modifying(what), () => onDone('changed'));
      }}
      extra={
        <button type="button" class="button" onClick={() => setReviewing(false)}>
          {t.actions.back}
        </button>
      }
    >
      <Difference place={place} resources={resources} edited={edited} />
      <p class="muted">{t.actions.mannerHint[manner]}</p>
      {manner === 'place' && place !== 'patients' && namesPatient(edited) && (
        <p class="notice notice-warning">{t.actions.patientHint}</p>
      )}
    </ActionForm>
  );
}
