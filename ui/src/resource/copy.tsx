/** Owns the small button that copies a value. */

import { Check, Copy as CopyIcon } from 'lucide';
import { useEffect, useState } from 'preact/hooks';
import { Icon } from '../parts/icon.tsx';
import { notifyError } from '../parts/toasts.tsx';
import { t } from '../texts.ts';

/** Copies a text. Over plain HTTP browsers have no clipboard for pages: a field that is selected does it there. */
async function copy(text: string): Promise<void> {
  if (window.isSecureContext) {
    await navigator.clipboard.writeText(text);
    return;
  }
  const field = document.createElement('textarea');
  field.value = text;
  const place = document.querySelector('dialog[open]') ?? document.body;
  place.append(field);
  field.select();
  const isCopied = document.execCommand('copy');
  field.remove();
  if (!isCopied) throw new Error(t.resource.notCopied);
}

/** The button; `title` says of what. */
export function Copy({ of, title }: { readonly of: string; readonly title: string }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 1500);
    return () => clearTimeout(timer);
  }, [copied]);
  return (
    <button
      type="button"
      class="button quiet icon-only tiny"
      aria-label={copied ? t.common.copied : t.resource.copy(title)}
      title={copied ? t.common.copied : t.common.copy}
      onClick={() => void copy(of).then(() => setCopied(true), notifyError)}
    >
      <Icon of={copied ? Check : CopyIcon} size={13} />
    </button>
  );
}
