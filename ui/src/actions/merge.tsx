/** Owns merging studies: the series of all go to one of them. */

import { useState } from 'preact/hooks';
import { merge } from '../api/actions.ts';
import { date } from '../format.ts';
import { follow } from '../parts/followed.tsx';
import { t } from '../texts.ts';
import { ActionForm } from './form.tsx';
import { nameOf } from './naming.ts';
import type { ActionProps } from './toolbar.tsx';

/** The dialog. */
export function MergeStudies({ resources, onClose, onDone }: ActionProps) {
  const [target, setTarget] = useState(resources[0]?.ID ?? '');
  const [keepSource, setKeepSource] = useState(false);
  const others = resources.filter((each) => each.ID !== target);
  const series = others.reduce((sum, each) => sum + (each.Series?.length ?? 0), 0);
  return (
    <ActionForm
      title={t.actions.mergeTitle(resources.length)}
      confirm={t.actions.merge}
      onClose={onClose}
      run={async () => {
        const ids = others.map((each) => each.ID);
        const { ID } = await merge(target, ids, keepSource);
        follow(ID, t.actions.merging(resources.length), () => onDone(keepSource ? 'changed' : 'deleted'));
      }}
    >
      <fieldset class="radio-list">
        <legend>{t.actions.mergeTarget}</legend>
        {resources.map((each) => (
          <label key={each.ID} class="check">
            <input type="radio" name="target" checked={each.ID === target} onChange={() => setTarget(each.ID)} />
            <span>
              {nameOf(each)} <span class="muted">{date(each.MainDicomTags['StudyDate'])}</span>
            </span>
          </label>
        ))}
      </fieldset>
      <p>{t.actions.mergeSums(t.common.series(series), keepSource)}</p>
      <label class="check">
        <input type="checkbox" checked={keepSource} onChange={(event) => setKeepSource(event.currentTarget.checked)} />
        {t.actions.keepSource}
      </label>
    </ActionForm>
  );
}
