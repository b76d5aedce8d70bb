/** Owns the files of a resource: what they are, taken away, checked, compressed on the disk, added and deleted. */

import { Download, FilePlus, Trash2 } from 'lucide';
import { useRef, useState } from 'preact/hooks';
import { getText, post, url } from '../api.ts';
import { attach, type Attachment, attachments, detach, type Place } from '../api/resources.ts';
import { ActionForm } from '../actions/form.tsx';
import { bytes } from '../format.ts';
import { ask } from '../parts/dialog.tsx';
import { useFetched } from '../parts/fetched.ts';
import { Icon } from '../parts/icon.tsx';
import { Failed, Loading } from '../parts/page.tsx';
import { notify, notifyError } from '../parts/toasts.tsx';
import { mayWrite } from '../session.ts';
import { t } from '../texts.ts';
import { Copy } from './copy.tsx';

interface AttachmentsProps {
  readonly place: Place;
  readonly id: string;
  readonly version: string;
}

/** Names of the server's own, which cannot be taken away. */
const OWN = new Set(['dicom', 'dicom-as-json', 'dicom-until-pixel-data']);

interface Listed extends Attachment {
  readonly compressed: boolean;
}

async function list(place: Place, id: string, signal: AbortSignal): Promise<readonly Listed[]> {
  const all = await attachments(place, id, signal);
  return Promise.all(
    all.map(async (each) => ({
      ...each,
      compressed: (await getText(url(place, id, 'attachments', each.name, 'is-compressed'), { signal })) === '1',
    })),
  );
}

function Row({
  place,
  id,
  each,
  onChange,
}: {
  readonly place: Place;
  readonly id: string;
  readonly each: Listed;
  readonly onChange: () => void;
}) {
  const { name } = each;
  const [busy, setBusy] = useState(false);
  const at = (...parts: readonly string[]): string => url(place, id, 'attachments', name, ...parts);
  const run = async (work: () => Promise<void>): Promise<void> => {
    setBusy(true);
    try {
      await work();
    } catch (error) {
      notifyError(error);
    } finally {
      setBusy(false);
    }
  };
  const verify = async (): Promise<void> => {
    await post(at('verify-md5'), '');
    notify(t.resource.verified(name));
  };
  const toggle = async (): Promise<void> => {
    await post(at(each.compressed ? 'uncompress' : 'compress'), '');
    onChange();
  };
  const drop = async (): Promise<void> => {
    const sure = await ask({
      title: t.resource.deleteAttachment(name),
      body: <p>{t.actions.cannotBeUndone}</p>,
      confirm: t.common.delete,
      danger: true,
    });
    if (!sure) return;
    await detach(place, id, name);
    onChange();
  };
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>
        {bytes(each.size)} {each.compressed && <span class="badge">{t.resource.compressed}</span>}
        {each.md5 !== '' && (
          <div class="md5 muted">
            <span class="mono">{each.md5}</span>
            <Copy of={each.md5} title={t.resource.md5} />
          </div>
        )}
      </td>
      <td class="tools wide">
        <a class="button small" href={at('data')} download={name === 'dicom' ? `${id}.dcm` : name}>
          <Icon of={Download} /> {t.actions.download}
        </a>
        <button type="button" class="button small" disabled={busy} onClick={() => void run(verify)}>
          {t.resource.verify}
        </button>
        {mayWrite.value && (
          <button type="button" class="button small" disabled={busy} onClick={() => void run(toggle)}>
            {each.compressed ? t.resource.uncompress : t.resource.compress}
          </button>
        )}
        {mayWrite.value && !OWN.has(name) && (
          <button
            type="button"
            class="button quiet icon-only small"
            aria-label={t.resource.deleteAttachment(name)}
            onClick={() => void run(drop)}
          >
            <Icon of={Trash2} />
          </button>
        )}
      </td>
    </tr>
  );
}

interface AddProps extends Omit<AttachmentsProps, 'version'> {
  /** The names that are there. */
  readonly known: readonly string[];
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** The dialog that adds a file. */
function Add({ place, id, known, onClose, onDone }: AddProps) {
  const [name, setName] = useState('');
  const [chosen, setChosen] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  return (
    <ActionForm
      title={t.resource.addAttachment}
      confirm={t.common.add}
      disabled={name === '' || !chosen}
      onClose={onClose}
      run={async () => {
        const file = input.current?.files?.[0];
        if (file === undefined) return;
        await attach(place, id, name, file, !known.includes(name));
        onDone();
      }}
    >
      <label class="field">
        <span>{t.resource.attachmentName}</span>
        <input value={name} onInput={(event) => setName(event.currentTarget.value.trim())} />
        <small class="muted">{t.resource.attachmentHint}</small>
      </label>
      <label class="field">
        <span>{t.upload.file}</span>
        <input ref={input} type="file" onChange={(event) => setChosen((event.currentTarget.files?.length ?? 0) > 0)} />
      </label>
    </ActionForm>
  );
}

/** The box. */
export function Attachments({ place, id, version }: AttachmentsProps) {
  const { value, error, reload } = useFetched(async (signal) => list(place, id, signal), [place, id, version]);
  const [adding, setAdding] = useState(false);
  return (
    <section class="panel">
      <header>
        <h2>{t.resource.attachments}</h2>
        {mayWrite.value && (
          <button type="button" class="button small" onClick={() => setAdding(true)}>
            <Icon of={FilePlus} /> {t.common.add}
          </button>
        )}
      </header>
      {error !== undefined && <Failed error={error} retry={reload} />}
      {value === undefined && error === undefined && <Loading />}
      {value?.length === 0 && <p class="panel-body muted">{t.resource.noAttachments}</p>}
      {value !== undefined && value.length > 0 && (
        <div class="table-scroll">
          <table class="table plain">
            <caption class="sr-only">{t.resource.attachments}</caption>
            <tbody>
              {value.map((each) => (
                <Row key={each.name} place={place} id={id} each={each} onChange={reload} />
              ))}
            </tbody>
          </table>
        </div>
      )}
      {adding && (
        <Add
          place={place}
          id={id}
          known={(value ?? []).map((each) => each.name)}
          onClose={() => setAdding(false)}
          onDone={reload}
        />
      )}
    </section>
  );
}
