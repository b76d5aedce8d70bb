/** Owns dialogs: the browser's own modal one, which keeps the focus inside, closes with Escape and gives the focus back. */

import { signal } from '@preact/signals';
import { X } from 'lucide';
import type { ComponentChildren } from 'preact';
import { useEffect, useId, useRef } from 'preact/hooks';
import { t } from '../texts.ts';
import { Icon } from './icon.tsx';

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  /** Buttons at the end; the one that goes on stands last. */
  readonly actions?: ComponentChildren;
  readonly wide?: boolean;
  /** Wraps the content in a form: Enter does what the last button does. */
  readonly onSubmit?: () => void;
}

/** A modal dialog; it is open as long as it is rendered. */
export function Dialog({ title, onClose, children, actions, wide = false, onSubmit }: DialogProps) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    dialog?.showModal();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog
      ref={ref}
      class={wide ? 'dialog wide' : 'dialog'}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          onSubmit?.();
        }}
      >
        <header>
          <h2 id={id}>{title}</h2>
          <button type="button" class="button quiet icon-only" onClick={onClose}>
            <Icon of={X} />
            <span class="sr-only">{t.common.close}</span>
          </button>
        </header>
        <div class="dialog-body">{children}</div>
        {actions && <footer>{actions}</footer>}
      </form>
    </dialog>
  );
}

/** A question that is answered with yes or no. */
interface Question {
  readonly title: string;
  /** What will happen, with counts. */
  readonly body: ComponentChildren;
  /** The words of the button that says yes: a verb. */
  readonly confirm: string;
  readonly danger?: boolean;
}

const asked = signal<(Question & { readonly answer: (yes: boolean) => void }) | undefined>(undefined);

/** Asks before something is done; resolves to whether it shall be. */
export async function ask(question: Question): Promise<boolean> {
  asked.value?.answer(false);
  return new Promise((resolve) => {
    asked.value = {
      ...question,
      answer(yes) {
        asked.value = undefined;
        resolve(yes);
      },
    };
  });
}

/** Where the question appears. */
export function Asked() {
  const question = asked.value;
  if (question === undefined) return null;
  const { title, body, confirm, danger = false, answer } = question;
  return (
    <Dialog
      title={title}
      onClose={() => answer(false)}
      onSubmit={() => answer(true)}
      actions={
        <>
          <button type="button" class="button" onClick={() => answer(false)}>
            {t.common.cancel}
          </button>
          <button type="submit" class={danger ? 'button danger' : 'button primary'}>
            {confirm}
          </button>
        </>
      }
    >
      {body}
    </Dialog>
  );
}
