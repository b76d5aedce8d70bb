/** Owns the dialog of an action: it runs what is asked, shows what went wrong in place, and closes when it is begun. */

import type { ComponentChildren } from 'preact';
import { useState } from 'preact/hooks';
import { messageOf } from '../api.ts';
import { Dialog } from '../parts/dialog.tsx';
import { t } from '../texts.ts';

interface FormProps {
  readonly title: string;
  /** The words of the button that does it. */
  readonly confirm: string;
  readonly danger?: boolean;
  readonly wide?: boolean;
  readonly disabled?: boolean;
  /** Does it; `'stay'` keeps the dialog open, for a next step. */
  readonly run: () => Promise<void | 'stay'> | 'stay';
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  /** Buttons before the last one. */
  readonly extra?: ComponentChildren;
}

/** A dialog that does one thing. */
export function ActionForm({ title, confirm, danger = false, wide = false, disabled = false, ...rest }: FormProps) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();
  const submit = async (): Promise<void> => {
    if (busy || disabled) return;
    setBusy(true);
    setError(undefined);
    try {
      if ((await rest.run()) === 'stay') setBusy(false);
      else rest.onClose();
    } catch (thrown) {
      setError(thrown);
      setBusy(false);
    }
  };
  return (
    <Dialog
      title={title}
      wide={wide}
      onClose={rest.onClose}
      onSubmit={() => void submit()}
      actions={
        <>
          <button type="button" class="button" onClick={rest.onClose}>
            {t.common.cancel}
          </button>
          {rest.extra}
          <button type="submit" class={danger ? 'button danger solid' : 'button primary'} disabled={busy || disabled}>
            {confirm}
          </button>
        </>
      }
    >
      {rest.children}
      {error !== undefined && (
        <p class="form-error" role="alert">
          {messageOf(error)}
        </p>
      )}
    </Dialog>
  );
}
