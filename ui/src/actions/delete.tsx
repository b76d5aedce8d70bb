/** Owns deleting: it says first what will go. */

import { deleteAll } from '../api/actions.ts';
import { statistics } from '../api/resources.ts';
import { bytes } from '../format.ts';
import { useFetched } from '../parts/fetched.ts';
import { Loading } from '../parts/page.tsx';
import { notify } from '../parts/toasts.tsx';
import { t } from '../texts.ts';
import { ActionForm } from './form.tsx';
import { countOf, nameOf } from './naming.ts';
import type { ActionProps } from './toolbar.tsx';

/** Resources that are counted one by one; of more only their number is said. */
const MOST_COUNTED = 100;
const MOST_NAMED = 8;

/** The dialog. */
export function Delete({ place, resources, onClose, onDone }: ActionProps) {
  const sums = useFetched(
    async (signal) => {
      if (resources.length > MOST_COUNTED) return undefined;
      const all = await Promise.all(resources.map(async (each) => statistics(place, each.ID, signal)));
      const sum = (of: (each: (typeof all)[number]) => number): number =>
        all.reduce((total, each) => total + of(each), 0);
      return {
        studies: sum((each) => each.CountStudies ?? 0),
        series: sum((each) => each.CountSeries ?? 0),
        instances: place === 'instances' ? all.length : sum((each) => each.CountInstances ?? 0),
        size: sum((each) => Number(each.DiskSize)),
      };
    },
    [place, resources],
  );
  const protectedOnes = resources.filter((each) => each.IsProtected === true).length;
  const what = countOf(place, resources.length);
  return (
    <ActionForm
      danger
      title={t.actions.deleteTitle(what)}
      confirm={t.actions.deleteConfirm(what)}
      onClose={onClose}
      run={async () => {
        await deleteAll(resources.map((each) => each.ID));
        notify(t.actions.deleted(what));
        onDone('deleted');
      }}
    >
      <ul class="named">
        {resources.slice(0, MOST_NAMED).map((each) => (
          <li key={each.ID}>{nameOf(each)}</li>
        ))}
        {resources.length > MOST_NAMED && <li class="muted">{t.actions.andMore(resources.length - MOST_NAMED)}</li>}
      </ul>
      {sums.loading ? (
        <Loading />
      ) : (
        sums.value !== undefined && (
          <p>
            {t.actions.deleteSums(
              [
                place === 'patients' ? t.common.studies(sums.value.studies) : '',
                place === 'patients' || place === 'studies' ? t.common.series(sums.value.series) : '',
                t.common.instances(sums.value.instances),
              ].filter((part) => part !== ''),
              bytes(sums.value.size),
            )}
          </p>
        )
      )}
      {protectedOnes > 0 && <p>{t.actions.deleteProtected}</p>}
      <p>
        <strong>{t.actions.cannotBeUndone}</strong>
      </p>
    </ActionForm>
  );
}
