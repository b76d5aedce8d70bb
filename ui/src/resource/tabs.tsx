/** Owns the parts of a page that are shown one at a time; which one stands in the address. */

import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';
import { navigate, path, query } from '../router.ts';

/** One part. */
export interface Tab {
  readonly name: string;
  readonly title: string;
  readonly body: ComponentChildren;
}

/** The parts, the first of which is shown at the start; the arrow keys go from one to the next. */
export function Tabs({ label, tabs }: { readonly label: string; readonly tabs: readonly Tab[] }) {
  const id = useId();
  const wanted = query.value.get('part');
  const at = Math.max(
    0,
    tabs.findIndex(({ name }) => name === wanted),
  );
  const show = (index: number): void => {
    const next = tabs[(index + tabs.length) % tabs.length];
    if (next === undefined) return;
    navigate(next === tabs[0] ? path.value : `${path.value}?part=${next.name}`, { replace: true });
    document.getElementById(`${id}-${next.name}`)?.focus();
  };
  const shown = tabs[at];
  return (
    <>
      <div
        class="tabs"
        role="tablist"
        aria-label={label}
        onKeyDown={({ key }) => {
          if (key === 'ArrowRight') show(at + 1);
          else if (key === 'ArrowLeft') show(at - 1);
        }}
      >
        {tabs.map(({ name, title }, index) => (
          <button
            key={name}
            id={`${id}-${name}`}
            type="button"
            role="tab"
            aria-selected={index === at}
            aria-controls={`${id}-panel`}
            tabIndex={index === at ? 0 : -1}
            onClick={() => show(index)}
          >
            {title}
          </button>
        ))}
      </div>
      <div id={`${id}-panel`} role="tabpanel" aria-labelledby={shown && `${id}-${shown.name}`} key={shown?.name}>
        {shown?.body}
      </div>
    </>
  );
}
