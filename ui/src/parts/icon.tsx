/** Owns the icons: Lucide's, drawn in the colour of the text around them. They say nothing to screen readers; what they stand on does. */

import { h } from 'preact';
import type { IconNode } from 'lucide';

/** One icon of lucide, `size` in CSS pixels. */
export function Icon({ of, size = 16 }: { readonly of: IconNode; readonly size?: number }) {
  return (
    <svg
      class="icon"
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      stroke-width="1.75"
      stroke-linecap="round"
      stroke-linejoin="round"
      aria-hidden="true"
    >
      {of.map(([tag, attributes]) => h(tag, attributes))}
    </svg>
  );
}
