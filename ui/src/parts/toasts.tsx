/** Owns the notes at the corner that say what was done or went wrong; they go by themselves unless they are errors. */

import { signal } from '@preact/signals';
import { CircleAlert, CircleCheck, X } from 'lucide';
import { isAborted, messageOf } from '../api.ts';
import { t } from '../texts.ts';
import { Icon } from './icon.tsx';

interface Toast {
  readonly id: number;
  readonly kind: 'done' | 'error';
  readonly text: string;
  readonly action?: { readonly label: string; readonly run: () => void };
}

const toasts = signal<readonly Toast[]>([]);
/** Notes on the screen at once; the oldest goes first. */
const MOST = 5;
const SECONDS = 6;
let next = 0;

function dismiss(id: number): void {
  toasts.value = toasts.value.filter((toast) => toast.id !== id);
}

function show(toast: Omit<Toast, 'id'>): void {
  const id = next++;
  toasts.value = [...toasts.value.slice(1 - MOST), { ...toast, id }];
  if (toast.kind === 'done') setTimeout(() => dismiss(id), SECONDS * 1000);
}

/** Says that something was done, with something to do next where there is. */
export function notify(text: string, action?: Toast['action']): void {
  show({ kind: 'done', text, ...(action && { action }) });
}

/** Says what went wrong; nothing where it was only called off. */
export function notifyError(thrown: unknown): void {
  if (!isAborted(thrown)) show({ kind: 'error', text: messageOf(thrown) });
}

/** Where the notes appear. */
export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((toast) => (
        <div key={toast.id} class={`toast toast-${toast.kind}`}>
          <Icon of={toast.kind === 'error' ? CircleAlert : CircleCheck} size={18} />
          <p>{toast.text}</p>
          {toast.action && (
            <button type="button" class="button quiet small" onClick={toast.action.run}>
              {toast.action.label}
            </button>
          )}
          <button type="button" class="button quiet icon-only small" onClick={() => dismiss(toast.id)}>
            <Icon of={X} />
            <span class="sr-only">{t.errors.dismiss}</span>
          </button>
        </div>
      ))}
    </div>
  );
}
