/** Owns anonymising: a copy without what names the patient. */

import { useState } from 'preact/hooks';
import { anonymize } from '../api/actions.ts';
import { follow } from '../parts/followed.tsx';
import { t } from '../texts.ts';
import { ActionForm } from './form.tsx';
import { targetsOf } from './naming.ts';
import type { ActionProps } from './toolbar.tsx';

/** What research often needs to keep, although it may say something about the patient. */
const KEEPABLE = ['StudyDescription', 'SeriesDescription', 'PatientSex', 'PatientAge', 'StudyDate'] as const;

/** The dialog. */
export function Anonymize({ place, resources, onClose, onDone }: ActionProps) {
  const [name, setName] = useState('');
  const [id, setId] = useState('');
  const [keep, setKeep] = useState<readonly string[]>([]);
  const [privateTags, setPrivateTags] = useState(false);
  const [keepSource, setKeepSource] = useState(true);
  const what = targetsOf(place, resources);
  return (
    <ActionForm
      title={t.actions.anonymizeTitle(what)}
      confirm={t.actions.anonymize}
      onClose={onClose}
      run={async () => {
        const Replace = { ...(name !== '' && { PatientName: name }), ...(id !== '' && { PatientID: id }) };
        const ids = resources.map((each) => each.ID);
        const { ID } = await anonymize(place, ids, {
          Replace,
          Keep: keep,
          KeepSource: keepSource,
          KeepPrivateTags: privateTags,
          ...(id !== '' && { Force: true }),
        });
        follow(ID, t.actions.anonymizing(what), () => onDone('changed'));
      }}
    >
      <p class="muted">{t.actions.anonymizeHint}</p>
      <div class="two">
        <label class="field">
          <span>{t.actions.newName}</span>
          <input
            value={name}
            placeholder={t.actions.chosenByServer}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <label class="field">
          <span>{t.actions.newId}</span>
          <input
            value={id}
            placeholder={t.actions.chosenByServer}
            onInput={(event) => setId(event.currentTarget.value)}
          />
        </label>
      </div>
      <fieldset class="radio-list">
        <legend>{t.actions.keepTags}</legend>
        {KEEPABLE.map((tag) => (
          <label key={tag} class="check">
            <input
              type="checkbox"
              checked={keep.includes(tag)}
              onChange={(event) =>
                setKeep(event.currentTarget.checked ? [...keep, tag] : keep.filter((each) => each !== tag))
              }
            />
            {t.tags[tag]}
          </label>
        ))}
        <label class="check">
          <input
            type="checkbox"
            checked={privateTags}
            onChange={(event) => setPrivateTags(event.currentTarget.checked)}
          />
          {t.actions.keepPrivate}
        </label>
      </fieldset>
      <label class="check">
        <input
          type="checkbox"
          checked={!keepSource}
          onChange={(event) => setKeepSource(!event.currentTarget.checked)}
        />
        {t.actions.deleteSource}
      </label>
    </ActionForm>
  );
}
