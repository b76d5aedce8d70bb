/** Owns adding labels to one or many resources, and taking them away. */

import { Plus, X } from 'lucide';
import { useState } from 'preact/hooks';
import { allLabels, setLabel } from '../api/resources.ts';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Label } from '../parts/labels.tsx';
import { notify } from '../parts/toasts.tsx';
import { t } from '../texts.ts';
import { ActionForm } from './form.tsx';
import { targetsOf } from './naming.ts';
import type { ActionProps } from './toolbar.tsx';

/** What a label may be made of; the server takes nothing else. */
const LABEL = /^[A-Za-z0-9_-]{1,64}$/;

/** The dialog. */
export function EditLabels({ place, resources, onClose, onDone }: ActionProps) {
  const known = useFetched(allLabels, []);
  const [typed, setTyped] = useState('');
  const [added, setAdded] = useState<readonly string[]>([]);
  const [taken, setTaken] = useState<readonly string[]>([]);
  const before = [...new Set(resources.flatMap((each) => each.Labels ?? []))];
  const shown = [...new Set([...before, ...added])].filter((label) => !taken.includes(label)).toSorted();
  const wrong = typed !== '' && !LABEL.test(typed);
  const add = (label: string): void => {
    if (!LABEL.test(label)) return;
    setAdded([...new Set([...added, label])]);
    setTaken(taken.filter((each) => each !== label));
    setTyped('');
  };
  const offered = (known.value ?? []).filter((label) => !shown.includes(label));
  return (
    <ActionForm
      title={t.actions.labelsTitle(targetsOf(place, resources))}
      confirm={t.common.save}
      disabled={added.length === 0 && taken.length === 0 && (typed === '' || wrong)}
      onClose={onClose}
      run={async () => {
        const all = typed !== '' && !wrong ? [...added, typed] : added;
        for (const { ID, Labels = [] } of resources) {
          for (const label of all) if (!Labels.includes(label)) await setLabel(place, ID, label, true);
          for (const label of taken) if (Labels.includes(label)) await setLabel(place, ID, label, false);
        }
        notify(t.actions.labelsSaved);
        onDone('changed');
      }}
    >
      {shown.length === 0 ? (
        <p class="muted">{t.actions.noLabelsYet}</p>
      ) : (
        <ul class="row">
          {shown.map((label) => (
            <li key={label} class="row-inline">
              <Label of={label} />
              {resources.length > 1 && (
                <span class="muted small">{resources.filter((each) => each.Labels?.includes(label)).length}</span>
              )}
              <button
                type="button"
                class="button quiet icon-only small"
                aria-label={t.actions.takeLabel(label)}
                onClick={() => {
                  setAdded(added.filter((each) => each !== label));
                  if (before.includes(label)) setTaken([...taken, label]);
                }}
              >
                <Icon of={X} size={14} />
              </button>
            </li>
          ))}
        </ul>
      )}
      <div class="row">
        <label class="field grow">
          <span>{t.actions.newLabel}</span>
          <input
            value={typed}
            list="labels-known"
            aria-invalid={wrong}
            onInput={(event) => setTyped(event.currentTarget.value.trim())}
            onKeyDown={(event) => {
              if (event.key !== 'Enter' || typed === '') return;
              event.preventDefault();
              add(typed);
            }}
          />
        </label>
        <datalist id="labels-known">
          {offered.map((label) => (
            <option key={label} value={label} />
          ))}
        </datalist>
        <button type="button" class="button end" onClick={() => add(typed)} disabled={typed === '' || wrong}>
          <Icon of={Plus} /> {t.common.add}
        </button>
      </div>
      {wrong && <p class="form-error">{t.actions.labelRule}</p>}
    </ActionForm>
  );
}
