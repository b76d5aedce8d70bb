/** Owns what every page has: its heading with actions, the title of the window, and how waiting, failing and emptiness look. */

import { CircleAlert } from 'lucide';
import type { IconNode } from 'lucide';
import type { ComponentChildren } from 'preact';
import { useEffect } from 'preact/hooks';
import { messageOf } from '../api.ts';
import { t } from '../texts.ts';
import { Icon } from './icon.tsx';

interface PageProps {
  readonly title: string;
  /** Beside the title: counts, states. */
  readonly subtitle?: ComponentChildren;
  readonly actions?: ComponentChildren;
  readonly children: ComponentChildren;
  /** Fills the height of the window, and scrolls inside. */
  readonly full?: boolean;
}

/** A page below the frame. */
export function Page({ title, subtitle, actions, children, full = false }: PageProps) {
  useEffect(() => {
    document.title = `${title} · Isen`;
  }, [title]);
  return (
    <div class={full ? 'page full' : 'page'}>
      <header class="page-head">
        <h1>{title}</h1>
        {subtitle !== undefined && <div class="page-subtitle">{subtitle}</div>}
        {actions !== undefined && <div class="page-actions">{actions}</div>}
      </header>
      {children}
    </div>
  );
}

/** Stands where something is still being fetched; shown only when it takes long enough to be noticed. */
export function Loading() {
  return (
    <p class="loading" role="status">
      {t.common.loading}
    </p>
  );
}

/** Stands where something could not be fetched: what to do, and a way to try again. */
export function Failed({ error, retry }: { readonly error: unknown; readonly retry?: () => void }) {
  return (
    <div class="notice notice-error" role="alert">
      <Icon of={CircleAlert} size={20} />
      <p>{messageOf(error)}</p>
      {retry !== undefined && (
        <button type="button" class="button small" onClick={retry}>
          {t.errors.retry}
        </button>
      )}
    </div>
  );
}

interface EmptyProps {
  readonly icon: IconNode;
  readonly title: string;
  /** Why there is nothing, and what would bring something. */
  readonly children?: ComponentChildren;
}

/** Stands where there is nothing to show. */
export function Empty({ icon, title, children }: EmptyProps) {
  return (
    <div class="empty">
      <Icon of={icon} size={32} />
      <h2>{title}</h2>
      {children !== undefined && <div>{children}</div>}
    </div>
  );
}
