/** Owns splitting a study: chosen series go to a new one. */

import { useState } from 'preact/hooks';
import { split } from '../api/actions.ts';
import { related } from '../api/resources.ts';
import { follow } from '../parts/followed.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Failed, Loading } from '../parts/page.tsx';
import { t } from '../texts.ts';
import { ActionForm } from './form.tsx';
import { nameOf } from './naming.ts';
import type { ActionProps } from './toolbar.tsx';

const FIELDS = ['StudyDescription', 'PatientName', 'PatientID'] as const;

/** The dialog; it splits the first of the studies it is given. */
export function SplitStudy({ resources, onClose, onDone }: ActionProps) {
  const [study] = resources;
  const series = useFetched(
    async (signal) => (study === undefined ? [] : related('studies', study.ID, 'series', signal)),
    [study],
  );
  const [chosen, setChosen] = useState<readonly string[]>([]);
  const [values, setValues] = useState<Readonly<Record<string, string>>>({});
  const [keepSource, setKeepSource] = useState(false);
  if (study === undefined) return null;
  const all = series.value ?? [];
  const now = { ...study.PatientMainDicomTags, ...study.MainDicomTags };
  return (
    <ActionForm
      title={t.actions.splitTitle(nameOf(study))}
      confirm={t.actions.split}
      disabled={chosen.length === 0}
      onClose={onClose}
      run={async () => {
        const { ID } = await split(study.ID, chosen, values, keepSource);
        const all = chosen.length === series.value?.length && !keepSource;
        follow(ID, t.actions.splitting(t.common.series(chosen.length)), () => onDone(all ? 'deleted' : 'changed'));
      }}
    >
      {series.error !== undefined && <Failed error={series.error} retry={series.reload} />}
      {series.value === undefined && series.error === undefined && <Loading />}
      <fieldset class="radio-list">
        <legend>{t.actions.splitSeries}</legend>
        {all.map(({ ID, MainDicomTags: tags, Instances = [] }) => (
          <label key={ID} class="check">
            <input
              type="checkbox"
              checked={chosen.includes(ID)}
              onChange={(event) =>
                setChosen(event.currentTarget.checked ? [...chosen, ID] : chosen.filter((each) => each !== ID))
              }
            />
            <span>
              {tags['Modality']} {tags['SeriesDescription'] || t.studies.noDescription}{' '}
              <span class="muted">{t.common.instances(Instances.length)}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <p class="muted">{t.actions.splitHint}</p>
      {FIELDS.map((tag) => (
        <label key={tag} class="field">
          <span>{t.tags[tag]}</span>
          <input
            value={values[tag] ?? now[tag] ?? ''}
            onInput={(event) => setValues({ ...values, [tag]: event.currentTarget.value })}
          />
        </label>
      ))}
      <label class="check">
        <input type="checkbox" checked={keepSource} onChange={(event) => setKeepSource(event.currentTarget.checked)} />
        {t.actions.keepSource}
      </label>
    </ActionForm>
  );
}
