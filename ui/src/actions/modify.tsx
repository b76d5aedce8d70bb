/** Owns modifying: new values, a look at what becomes of the old ones, then a copy or a change in place. */

import { Plus } from 'lucide';
import { useState } from 'preact/hooks';
import { type Changes, modify } from '../api/actions.ts';
import type { Place, Resource } from '../api/resources.ts';
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

/** What will be different: the old values and the new one, tag by tag. */
function Difference({ resources, edited }: { readonly resources: readonly Resource[]; readonly edited: Edited }) {
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
            const old = valuesOf(resources, tag);
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
  const tags = [...new Set([...FIELDS[place], ...Object.keys(edited.values), ...edited.removed])];
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
            if (other.trim() !== '') onChange({ ...edited, removed: [...new Set([...edited.removed, other.trim()])] });
            setOther('');
          }}
        >
          {t.actions.removeTag}
        </button>
      </div>
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
        const begun = await modify(place, ids, changesOf(place, resources, edited, manner));
        for (const { ID } of begun) follow(ID, t.actions.modifying(what), () => onDone('changed'));
      }}
      extra={
        <button type="button" class="button" onClick={() => setReviewing(false)}>
          {t.actions.back}
        </button>
      }
    >
      <Difference resources={resources} edited={edited} />
      <p class="muted">{t.actions.mannerHint[manner]}</p>
    </ActionForm>
  );
}
