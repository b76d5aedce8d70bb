/** Owns the metadata of a resource: listed, and those of the user edited. */

import { Pencil, Plus, Trash2 } from 'lucide';
import { useState } from 'preact/hooks';
import { metadata, type Place, setMetadata } from '../api/resources.ts';
import { type System, system } from '../api/server.ts';
import { ActionForm } from '../actions/form.tsx';
import { timestamp } from '../format.ts';
import { ask } from '../parts/dialog.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { notifyError } from '../parts/toasts.tsx';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import { Copy } from './copy.tsx';
import { Uid } from './uid.tsx';

interface MetadataProps {
  readonly place: Place;
  readonly id: string;
  readonly version: string;
}

/** Whether users may change a metadata: those that the configuration names, and numbers, which are theirs. */
const isUsers = (name: string, { UserMetadata }: System): boolean =>
  /^\d+$/.test(name) || Object.hasOwn(UserMetadata ?? {}, name);

function Value({ name, value }: { readonly name: string; readonly value: string }) {
  if (name === 'SopClassUid' || name === 'TransferSyntax') return <Uid of={value} linked={false} />;
  return <>{/Date$|^LastUpdate$/.test(name) ? timestamp(value) : value || t.common.none}</>;
}

/** The dialog that sets one. */
function Edit({ place, id, name, value, known, onClose, onDone }: EditProps) {
  const [typedName, setTypedName] = useState(name ?? '');
  const [typed, setTyped] = useState(value);
  return (
    <ActionForm
      title={name === undefined ? t.resource.addMetadata : t.resource.editMetadata(name)}
      confirm={t.common.save}
      disabled={typedName === ''}
      onClose={onClose}
      run={async () => {
        await setMetadata(place, id, typedName, typed, !known.includes(typedName));
        onDone();
      }}
    >
      {name === undefined && (
        <label class="field">
          <span>{t.resource.metadataName}</span>
          <input value={typedName} onInput={(event) => setTypedName(event.currentTarget.value.trim())} />
          <small class="muted">{t.resource.metadataHint}</small>
        </label>
      )}
      <label class="field">
        <span>{t.resource.value}</span>
        <textarea rows={3} value={typed} onInput={(event) => setTyped(event.currentTarget.value)} />
      </label>
    </ActionForm>
  );
}

interface EditProps {
  readonly place: Place;
  readonly id: string;
  /** Absent for a new one. */
  readonly name: string | undefined;
  readonly value: string;
  /** The names that are there. */
  readonly known: readonly string[];
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** The box. */
export function Metadata({ place, id, version }: MetadataProps) {
  const { value, error, reload } = useFetched(async (signal) => metadata(place, id, signal), [place, id, version]);
  const server = useFetched(system, []).value;
  const [edited, setEdited] = useState<{ readonly name: string | undefined; readonly value: string } | undefined>();
  const drop = async (name: string): Promise<void> => {
    const sure = await ask({
      title: t.resource.deleteMetadata(name),
      body: <p>{t.actions.cannotBeUndone}</p>,
      confirm: t.common.delete,
      danger: true,
    });
    if (!sure) return;
    await setMetadata(place, id, name, undefined, false);
    reload();
  };
  return (
    <section class="panel">
      <header>
        <h2>{t.resource.metadata}</h2>
        {mayWrite.value && (
          <button type="button" class="button small" onClick={() => setEdited({ name: undefined, value: '' })}>
            <Icon of={Plus} /> {t.common.add}
          </button>
        )}
      </header>
      {error !== undefined && <Failed error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading />}
      {value !== undefined && Object.keys(value).length === 0 && (
        <p class="panel-body muted">{t.resource.noMetadata}</p>
      )}
      {value !== undefined && Object.keys(value).length > 0 && (
        <table class="table plain">
          <caption class="sr-only">{t.resource.metadata}</caption>
          <tbody>
            {Object.entries(value).map(([name, each]) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                <td>
                  <Value name={name} value={each} />
                </td>
                <td class="tools">
                  <Copy of={each} title={name} />
                  {mayWrite.value && server !== undefined && isUsers(name, server) && (
                    <>
                      <button
                        type="button"
                        class="button quiet icon-only tiny"
                        aria-label={t.resource.editMetadata(name)}
                        onClick={() => setEdited({ name, value: each })}
                      >
                        <Icon of={Pencil} size={13} />
                      </button>
                      <button
                        type="button"
                        class="button quiet icon-only tiny"
                        aria-label={t.resource.deleteMetadata(name)}
                        onClick={() => void drop(name).catch(notifyError)}
                      >
                        <Icon of={Trash2} size={13} />
                      </button>
                    </>
                  )}
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {edited !== undefined && (
        <Edit
          place={place}
          id={id}
          {...edited}
          known={Object.keys(value ?? {})}
          onClose={() => setEdited(undefined)}
          onDone={reload}
        />
      )}
    </section>
  );
}
