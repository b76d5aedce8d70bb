/** Owns the dialog that adds or changes a modality, peer or webhook. */

import { useState } from 'preact/hooks';
import { ActionForm } from '../actions/form.tsx';
import { messageOf } from '../api.ts';
import { describe, type Description, type Destinations, echoAddress } from '../api/destinations.ts';
import { changed, type Draft, TextField } from '../parts/fields.tsx';
import { notify } from '../parts/toasts.tsx';
import { t } from '../texts.ts';
import { headersSent, PeerFields, WebhookFields } from './http-fields.tsx';
import { ModalityFields } from './modality-fields.tsx';
import { Reason } from './reason.tsx';
import { scheduleOf } from './sending-fields.tsx';
import { reasonOf } from './testing.ts';

const FIELDS = { modalities: ModalityFields, peers: PeerFields, webhooks: WebhookFields } as const;

/** Key of the name in the draft: no field of a description is called so. */
const NAME = 'name';

/** What is not sent as it stands in the draft. */
const LEFT_OUT: ReadonlySet<string> = new Set([NAME, 'Configured', 'Pkcs11', 'HttpHeaders', 'Schedule', 'Password']);

/** A draft as the API takes it. */
function described(kind: Destinations, draft: Draft, stored: Draft): Description {
  const headers = kind === 'modalities' ? undefined : headersSent(draft);
  const schedule = scheduleOf(draft['Schedule']);
  // Null, as it is shown, keeps the one that is there.
  const password = draft['Username'] === undefined ? undefined : (draft['Password'] ?? stored['Password']);
  return {
    ...Object.fromEntries(Object.entries(draft).filter(([key]) => !LEFT_OUT.has(key))),
    ...(schedule !== undefined && { Schedule: schedule }),
    ...(headers !== undefined && { HttpHeaders: headers }),
    ...(password !== undefined && { Password: password }),
  };
}

interface EditProps {
  readonly kind: Destinations;
  /** The one that is changed; undefined adds one. */
  readonly name: string | undefined;
  readonly stored: Description;
  readonly taken: readonly string[];
  readonly onClose: () => void;
  readonly onDone: () => void;
}

/** The dialog. */
export function EditDestination({ kind, name, stored, taken, onClose, onDone }: EditProps) {
  const [draft, setDraft] = useState<Draft>(() =>
    stored['Timeout'] === 0 ? changed(stored, 'Timeout', undefined) : stored,
  );
  const [tested, setTested] = useState<'asking' | 'answers' | { readonly failed: string }>();
  const words = t.destinations;
  const isNew = name === undefined;
  const Fields = FIELDS[kind];
  const change = (next: Draft): void => {
    setDraft(next);
    setTested(undefined);
  };
  const test = async (): Promise<void> => {
    setTested('asking');
    try {
      await echoAddress(described(kind, draft, stored));
      setTested('answers');
    } catch (thrown) {
      setTested({ failed: reasonOf(thrown) ?? messageOf(thrown) });
    }
  };
  return (
    <ActionForm
      wide
      title={isNew ? words.add[kind] : words.editTitle(name)}
      confirm={t.common.save}
      onClose={onClose}
      extra={
        kind === 'modalities' && (
          <button
            type="button"
            class="button"
            disabled={tested === 'asking' || draft['Host'] === undefined || draft['Port'] === undefined}
            onClick={() => void test()}
          >
            {tested === 'asking' ? words.testing : words.test}
          </button>
        )
      }
      run={async () => {
        const called = name ?? String(draft[NAME]);
        if (isNew && taken.includes(called)) throw new Error(words.nameTaken(words.one[kind]));
        await describe(kind, called, described(kind, draft, stored));
        notify(words.saved(called));
        onDone();
      }}
    >
      {isNew && (
        <TextField
          draft={draft}
          onDraft={change}
          of={NAME}
          label={words.name}
          required
          focus
          maxLength={64}
          pattern="[A-Za-z0-9_\-]+"
          hint={words.nameHint}
        />
      )}
      <Fields draft={draft} onDraft={change} isNew={isNew} stored={stored} />
      <div role="status">
        {tested === 'answers' && <p class="good">{words.echoDone}</p>}
        {typeof tested === 'object' && (
          <div class="notice notice-error">
            <Reason of={tested.failed} />
          </div>
        )}
      </div>
    </ActionForm>
  );
}
