/** Owns rows of links to pages that belong together. */

import type { ComponentChildren } from 'preact';
import { href, path } from '../router.ts';

/** One of several pages that belong together. */
export interface Tab {
  readonly to: string;
  readonly title: string;
  /** Behind the title: a count. */
  readonly note?: ComponentChildren;
}

/** The links, the page that is open marked. */
export function Tabs({ label, of }: { readonly label: string; readonly of: readonly Tab[] }) {
  return (
    <nav class="tabs" aria-label={label}>
      {of.map(({ to, title, note }) => (
        <a key={to} href={href(to)} aria-current={path.value === to ? 'page' : undefined}>
          {title}
          {note}
        </a>
      ))}
    </nav>
  );
}
