/** Owns sending to a modality or a peer. */

import { useState } from 'preact/hooks';
import { destinations, type Destinations, send } from '../api/actions.ts';
import { follow } from '../parts/followed.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Failed, Loading } from '../parts/page.tsx';
import { href } from '../router.ts';
import { t } from '../texts.ts';
import { ActionForm } from './form.tsx';
import { targetsOf } from './naming.ts';
import type { ActionProps } from './toolbar.tsx';

interface Chosen {
  readonly kind: keyof Destinations;
  readonly name: string;
}

const KINDS = ['modalities', 'peers'] as const;

/** The dialog. */
export function SendTo({ place, resources, onClose }: ActionProps) {
  const known = useFetched(destinations, []);
  const [chosen, setChosen] = useState<Chosen | undefined>();
  const what = targetsOf(place, resources);
  const none = known.value !== undefined && KINDS.every((kind) => known.value?.[kind].length === 0);
  return (
    <ActionForm
      title={t.actions.sendTitle(what)}
      confirm={t.actions.send}
      disabled={chosen === undefined}
      onClose={onClose}
      run={async () => {
        if (chosen === undefined) return;
        const ids = resources.map((each) => each.ID);
        const { ID } = await send(chosen.kind, chosen.name, ids);
        follow(ID, t.actions.sending(what, chosen.name));
      }}
    >
      {known.error !== undefined && <Failed error={known.error} retry={known.reload} />}
      {known.value === undefined && known.error === undefined && <Loading />}
      {none && (
        <p>
          {t.actions.noDestinations} <a href={href('modalities')}>{t.actions.addDestination}</a>
        </p>
      )}
      {KINDS.map(
        (kind) =>
          (known.value?.[kind].length ?? 0) > 0 && (
            <fieldset key={kind} class="radio-list">
              <legend>{t.actions.destinationKinds[kind]}</legend>
              {known.value?.[kind].map((name) => (
                <label key={name} class="check">
                  <input
                    type="radio"
                    name="destination"
                    checked={chosen?.kind === kind && chosen.name === name}
                    onChange={() => setChosen({ kind, name })}
                  />
                  {name}
                </label>
              ))}
            </fieldset>
          ),
      )}
    </ActionForm>
  );
}
